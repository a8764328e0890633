"""Words of notes that look like names of persons and of places of care. A model keeps such words out of its vocabulary.

The notes as a whole decide on each word, by the groups (patients) whose notes use it:

1. A word of the language is no name: notes write it in lower case ("brown sputum"), or with a noun of medicine
   ("Parkinson's disease").
2. A word is a name where it stands in the place of one: after "Dr.", before "MD" or "Hospital", after "Signed by:".
3. A word with a capital is a name where it is in a list of names, and no word of medicine.
4. A word that only few groups have, and that is no word of medicine, may be a name that no list knows, if it has a
   capital. In notes in one case, each such word may be one.

Step 4 is not for languages whose common nouns have capitals.
Words of medicine are those of the names of ICD-10-CM codes, and eponyms. The other words are data (person_names.toml).
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rubricator.nlp.hidden_text import hides_text
from rubricator.nlp.icd import icd10cm_names
from rubricator.nlp.module_data import toml_of
from rubricator.nlp.words.name_list import listed_names
from rubricator.nlp.words.tokens import WORD, base_form

FEW_GROUPS = 5  # a word that fewer groups have may be a name
_LEAST_SHARE = 0.1  # of the groups that have a word, the share whose use decides
_WORD_GROUPS = 2  # groups that use it as a word of the language
_SHORTEST = 3  # letters of a word that its capital tells of
_SHORTEST_IN_CAPITALS = 5  # letters of a listed name in capitals; shorter ones are acronyms too
_LONGEST_LABEL = 40  # characters
_LEAST_CASED, _MOST_CAPITALS = 0.3, 0.4  # shares of words in lower case, and of words with a capital


@hides_text()
class _Uses(NamedTuple):
    """The words (base forms) of the notes of a group, by how they are used."""

    all: set[str]
    as_word: set[str]
    in_place_of_name: set[str]
    may_be_name: set[str]
    listed: set[str]


def person_names(texts: Sequence[str], groups: NDArray[np.int64]) -> frozenset[str]:
    """The words (`base_form`) that look like names. texts: of whole notes. groups: (texts,), the group of each note."""
    of_group: dict[int, _Uses] = defaultdict(lambda: _Uses(set(), set(), set(), set(), set()))
    for text, group in zip(texts, groups.tolist(), strict=True):
        _add_uses(text, of_group[group])
    all_of, as_word, in_place, doubtful, listed = (
        Counter(word for uses in of_group.values() for word in uses[kind]) for kind in range(5)
    )

    def is_name(word: str) -> bool:
        many = all_of[word]
        if as_word[word] >= max(_WORD_GROUPS, _LEAST_SHARE * many):
            return False
        if in_place[word] >= max(1, _LEAST_SHARE * many):
            return True
        if word in _medical_words():
            return False
        return listed[word] > 0 or (doubtful[word] > 0 and many < FEW_GROUPS)

    return frozenset(filter(is_name, in_place | doubtful | listed))


def _add_uses(text: str, uses: _Uses) -> None:
    """Add the words of a note."""
    words = WORD.findall(text)
    if not words:
        return
    capitals = sum(word[0].isupper() and not word.isupper() for word in words)
    cased = sum(map(str.islower, words)) >= _LEAST_CASED * len(words) and capitals > 0
    sparing = cased and capitals < _MOST_CAPITALS * len(words)
    rest = text
    for start, end in _name_spans(text, cased):
        uses.in_place_of_name.update(map(base_form, WORD.findall(text[start:end])))
        rest = rest[:start] + " " * (end - start) + rest[end:]
    uses.as_word.update(base_form(match[1]) for match in _patterns(cased).eponym.finditer(rest))
    uses.all.update(map(base_form, words))
    names = listed_names()
    for word in set(WORD.findall(rest)):
        base = base_form(word)
        if not cased:
            if len(base) >= _SHORTEST:
                uses.may_be_name.add(base)
        elif word.islower():
            uses.as_word.add(base)
        elif word.isupper():
            if len(base) >= _SHORTEST_IN_CAPITALS and base in names:
                uses.listed.add(base)
        elif word[0].isupper() and len(base) >= _SHORTEST:
            if sparing:
                uses.may_be_name.add(base)
            if base in names:
                uses.listed.add(base)


def _name_spans(text: str, cased: bool) -> Iterator[tuple[int, int]]:
    """The places of names, as offsets (start, end); they may overlap."""
    patterns = _patterns(cased)
    for pattern in patterns.names:
        for match in pattern.finditer(text):
            yield from (match.span(number) for number in range(1, pattern.groups + 1) if match[number])
    for match in patterns.after_colon.finditer(text):
        if _ends_with_label(text[max(0, match.start() - _LONGEST_LABEL) : match.start()]):
            yield match.span(1)


def _ends_with_label(text: str) -> bool:
    words = text.lower().split()
    return any(" ".join(words[first:]).lstrip("(*#") in _labels() for first in range(len(words)))


@cache
def _labels() -> frozenset[str]:
    return frozenset(toml_of(__name__)["labels"])


class _Patterns(NamedTuple):
    """names: the groups of a match are names. after_colon: group 1 is a name where a label stands before the match.

    eponym: group 1 is an eponym.
    """

    names: tuple[re.Pattern[str], ...]
    after_colon: re.Pattern[str]
    eponym: re.Pattern[str]


@cache
def _patterns(cased: bool) -> _Patterns:
    """For notes with upper and lower case, or for notes in one case.

    All parts of a pattern are bounded, and a name begins at the start of a word: time is linear in the text.
    """
    rules = toml_of(__name__)
    word = rf"(?<![\w'’]){_LETTER}+(?:['’]{_LETTER}+)*(?![\w])"
    one = rf"(?={_UPPER}){word}" if cased else word
    particle = _any(rules["particles"])
    # words of a name, with initials, particles and hyphens between them
    link = rf"(?:\.?[ \t]{{1,3}}|-|,[ \t]{{1,2}})(?:(?:{particle})[ \t]){{0,2}}"
    name = rf"(?:(?:{particle})[ \t]){{0,2}}{one}(?:{link}{one}){{0,3}}"
    no_comma = name.replace(r"|,[ \t]{1,2}", "")
    blank = r"[ \t]{0,3}\n?[ \t]{0,3}"
    titled = rf"(?<![\w])(?:{_any(rules['titles'])})(?:\.|\b){blank}"
    dotted_capitals = r"(?<![\w])(?:DR|MR|MRS|MS)\.[ \t]{0,3}" if cased else r"(?!)"
    qualified, after_comma = _any(rules["credentials"]), _any(rules["credentials_after_comma"])
    credentials = rf"(?:,?[ \t]{{0,3}}(?:{qualified})|,[ \t]{{0,3}}(?:{after_comma}))(?!\w)"
    last_first = rf"{one}(?:[- ]{one}){{0,2}},[ \t]{{1,3}}{one}(?:[ \t]{one}){{0,2}}\.?"
    relatives = _any([*rules["relatives"], *map(str.capitalize, rules["relatives"])])
    places, first = _any(rules["institutions"]), _any(rules["institutions_first"])
    follows = rf"[ \t]{{0,8}}[(|,;-]{{0,2}}[ \t]{{0,8}}(?:{_any(rules['after_last_first'])}"
    parts = rf"[ \t]{{1,2}}(?:(?:of|the|de|la|and|&)[ \t]){{0,2}}{one}|['’.-]{{1,2}}[ \t]?{one}"
    flags = 0 if cased else re.IGNORECASE
    patterns = (
        rf"(?:{titled}|{dotted_capitals})({no_comma})(?:[ \t](?:and|und|y|et|en|&)[ \t]({no_comma}))?",
        rf"({no_comma}){credentials}",
        rf"(?i:(?<!\w)Dear[ \t])({no_comma})",
        rf"(?<!\w)(?:{relatives})(?:'s name)?(?:[ \t]is)?,?[ \t](?!\w*[A-Z]{{2}})({no_comma})"
        if cased
        else r"(?!)",
        rf"(?m:^[ \t]{{0,8}})({last_first})(?m:[ \t]{{0,8}}\r?$)",
        rf"({last_first})(?={follows}|\d))",
        rf"({no_comma})(?={follows})[ \t]?[:.#)])",
        rf"({one}(?:{parts}){{0,3}})[ \t](?:{places})(?!\w)",
        rf"(?<!\w)(?:{first})[ \t]({no_comma})",
        r"((?<![\w.+-])[\w.+-]{1,64}@[\w.-]{1,255})",
    )
    nouns = _any(rules["eponym_nouns"])
    eponym = rf"({one})(?=(?:['’]s?)?[ \t-](?:{_LETTER}+[ \t-])?(?i:{nouns})(?!\w))"
    return _Patterns(
        tuple(re.compile(pattern, flags) for pattern in patterns),
        re.compile(rf"[ \t]{{0,3}}[:#][ \t]{{0,8}}({name}(?:[ \t]{{0,3}}[;/&][ \t]{{0,3}}{name})?)", flags),
        re.compile(eponym, flags),
    )


@cache
def _medical_words() -> frozenset[str]:
    """Words of the names of ICD-10-CM codes that are no listed names, and eponyms."""
    words = {
        base_form(word) for names in icd10cm_names().values() for name in names for word in WORD.findall(name)
    }
    return frozenset(words - listed_names()) | frozenset(toml_of(__name__)["eponyms"])


def _any(words: Sequence[str]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


_LETTER = r"[^\W\d_]"
_UPPER = r"[A-ZÀ-ÖØ-ÞĀĂĄĆČĎĐĒĖĘĚĞĢĪĮİĶĻĽŁŃŅŇŌŐŒŘŚŞŠȘŢŤȚŪŮŰŲŹŻŽ]"
