"""Words of notes that look like names of persons and of places of care. A model keeps such words out of its vocabulary.

The notes as a whole decide on each word, by the groups (patients) whose notes use it:

1. A word of the language is no name: notes write it in lower case ("brown sputum"), or with a noun of medicine
   ("Parkinson's disease").
2. A word is a name where it stands in the place of one: after "Dr.", before "MD" or "Hospital", after "Signed by:".
3. A word with a capital is a name where it is in a list of names, and no word of medicine.
4. A word that only few groups have, and that is no word of medicine, may be a name that no list knows, if it has a
   capital. In notes in one case, each such word may be one.

Step 4 is not for languages whose common nouns have capitals.
Words of medicine are those of the names of ICD-10-CM codes, and eponyms that are data (person_names.toml).
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rubricator.nlp.hidden_text import hides_text
from rubricator.nlp.icd import icd10cm_names
from rubricator.nlp.module_data import toml_of
from rubricator.nlp.words.name_list import listed_names
from rubricator.nlp.words.name_places import eponyms, name_places
from rubricator.nlp.words.tokens import WORD, base_form

FEW_GROUPS = 5  # a word that fewer groups have may be a name
_LEAST_SHARE = 0.1  # of the groups that have a word, the share whose use decides
_WORD_GROUPS = 2  # groups that use it as a word of the language
_SHORTEST = 3  # letters of a word that its capital tells of
_SHORTEST_IN_CAPITALS = 5  # letters of a listed name in capitals; shorter ones are acronyms too
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
    places = name_places(text, cased=cased)
    for start, end in places:
        uses.in_place_of_name.update(map(base_form, WORD.findall(text[start:end])))
    rest = _without(text, places)
    uses.as_word.update(map(base_form, eponyms(rest, cased=cased)))
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


def _without(text: str, places: Sequence[tuple[int, int]]) -> str:
    """The text with blanks at these places (start, end), which are sorted and may overlap."""
    parts, at = [], 0
    for start, end in places:
        parts.append(text[at : max(at, start)])
        at = max(at, end)
    return " ".join([*parts, text[at:]])


@cache
def _medical_words() -> frozenset[str]:
    """Words of the names of ICD-10-CM codes that are no listed names, and eponyms."""
    words = {
        base_form(word) for names in icd10cm_names().values() for name in names for word in WORD.findall(name)
    }
    return frozenset(words - listed_names()) | frozenset(toml_of(__name__)["eponyms"])
