"""Where names of persons and of places of care stand in notes. The words around names are data (name_places.toml).

All parts of a pattern are bounded, and a name begins at the start of a word: time is linear in the text.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

from rubricator.nlp.module_data import toml_of
from rubricator.nlp.words.tokens import LETTER

_UPPER = f"[{''.join(letter for letter in map(chr, range(0x250)) if letter.isupper())}]"  # of Latin alphabets
_WORD = rf"(?<![\w'’]){LETTER}+(?:['’]{LETTER}+)*(?!\w)"
_BLANKS = r"[ \t]{0,8}"
_LONGEST_LABEL = 40  # characters


def name_places(text: str, *, cased: bool) -> list[tuple[int, int]]:
    """The places of names as offsets (start, end), sorted; they may overlap. cased: notes have upper and lower case."""
    patterns = _patterns(cased)
    found = [
        match.span(number)
        for pattern in patterns.names
        for match in pattern.finditer(text)
        for number in range(1, pattern.groups + 1)
        if match[number]
    ]
    found += [
        match.span(1)
        for match in patterns.after_colon.finditer(text)
        if _ends_with_label(text[max(0, match.start() - _LONGEST_LABEL) : match.start()])
    ]
    return sorted(found)


def eponyms(text: str, *, cased: bool) -> Iterator[str]:
    """The words before a noun of medicine, such as "Parkinson" in "Parkinson's disease". cased: as for name_places."""
    yield from (match[1] for match in _patterns(cased).eponym.finditer(text))


class _Patterns(NamedTuple):
    """names: the groups of a match are names. after_colon: group 1 is a name where a label stands before the match.

    eponym: group 1 is an eponym.
    """

    names: tuple[re.Pattern[str], ...]
    after_colon: re.Pattern[str]
    eponym: re.Pattern[str]


@cache
def _patterns(cased: bool) -> _Patterns:
    rules = toml_of(__name__)
    one = rf"(?={_UPPER}){_WORD}" if cased else _WORD
    names = [*_in_both_cases(rules, one, cased), *(_in_upper_and_lower_case(rules, one) if cased else ())]
    name = _name(rules, one, 3 if cased else 2, comma=True)
    after_colon = rf"[ \t]{{0,3}}[:#]{_BLANKS}({name}(?:[ \t]{{0,3}}[;/&][ \t]{{0,3}}{name})?)"
    nouns = _any(rules["eponym_nouns"])
    eponym = rf"({one})(?=(?:['’]s?)?[ \t-](?:{LETTER}+[ \t-])?(?i:{nouns})(?!\w))"
    flags = 0 if cased else re.IGNORECASE
    return _Patterns(
        tuple(re.compile(pattern, flags) for pattern in names),
        re.compile(after_colon, flags),
        re.compile(eponym, flags),
    )


def _in_both_cases(rules: dict[str, Any], one: str, cased: bool) -> Iterator[str]:
    """Patterns for all notes. Without capitals nothing ends a name, so that it has fewer words."""
    name = _name(rules, one, 3 if cased else 1)
    last_first = rf"{one}(?:[- ]{one}){{0,2}},[ \t]{{1,3}}{one}(?:[ \t]{one}){{0,2}}\.?"
    follows = rf"{_BLANKS}[(|,;-]{{0,2}}{_BLANKS}(?:{_any(rules['after_last_first'])}"
    yield rf"({name})(?:,?[ \t]{{0,3}}(?:{_any(rules['credentials'])}))(?!\w)"
    yield rf"(?i:(?<!\w)Dear[ \t])({name})"
    yield rf"(?m:^{_BLANKS})({last_first})(?m:{_BLANKS}\r?$)"
    yield rf"({last_first})(?={follows}|\d))"
    yield rf"({name})(?={follows})[ \t]?[:.#)])"
    within = rf"[ \t]{{1,2}}(?:(?:of|the|de|la|and|&)[ \t]){{0,2}}{one}|['’.-]{{1,2}}[ \t]?{one}"
    yield rf"({one}(?:{within}){{0,{3 if cased else 0}}})[ \t](?:{_any(rules['institutions'])})(?!\w)"
    yield r"((?<![\w.+-])[\w.+-]{1,64}@[\w.-]{1,255})"
    if not cased:
        yield rf"(?<!\w)(?:{_any(rules['titles_in_one_case'])})[ \t]{{0,3}}({_name(rules, one, 0)})"


def _in_upper_and_lower_case(rules: dict[str, Any], one: str) -> Iterator[str]:
    """Patterns that need the capital of a name."""
    name = _name(rules, one, 3)
    title = rf"(?<!\w)(?:(?:{_any(rules['titles'])})(?:\.|\b)|(?:DR|MR|MRS|MS)\.)[ \t]{{0,3}}\n?[ \t]{{0,3}}"
    yield rf"{title}({name})(?:[ \t](?:and|und|y|et|en|&)[ \t]({name}))?"
    yield rf"({name}),[ \t]{{0,3}}(?:{_any(rules['credentials_after_comma'])})(?!\w)"
    yield rf"(?<!\w)(?:{_any(rules['institutions_first'])})[ \t]({name})"
    relatives = _any([*rules["relatives"], *map(str.capitalize, rules["relatives"])])
    yield rf"(?<!\w)(?:{relatives})(?:'s name)?(?:[ \t]is)?,?[ \t](?!\w*[A-Z]{{2}})({name})"


def _name(rules: dict[str, Any], one: str, more: int, *, comma: bool = False) -> str:
    """A word and up to `more` words, with initials, particles and hyphens between them, and with commas if asked."""
    particles = rf"(?:(?:{_any(rules['particles'])})[ \t]){{0,2}}+"
    after_comma = r"|,[ \t]{1,2}" if comma else ""
    return rf"{particles}{one}(?:-{one})?(?:(?:\.?[ \t]{{1,3}}|-{after_comma}){particles}{one}){{0,{more}}}"


def _any(words: Sequence[str]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


def _ends_with_label(text: str) -> bool:
    words = text.lower().split()
    return any(" ".join(words[first:]).lstrip("(*#") in _labels() for first in range(len(words)))


@cache
def _labels() -> frozenset[str]:
    return frozenset(toml_of(__name__)["labels"])
