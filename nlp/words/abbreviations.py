"""Abbreviations of clinical notes and the words that they stand for. The list is data (abbreviations.toml)."""

import re
from collections.abc import Iterator
from functools import lru_cache

from rubricator.nlp.module_data import toml_of
from rubricator.nlp.words.tokens import LETTER_OR_DIGIT

_DIGITS = re.compile(r"\d+")
# Words, also with the marks that join the parts of an abbreviation: "p.r.n.", "f/u", "A&Ox3", "q4-6h", "w/"
_PART = LETTER_OR_DIGIT + "+"
_CANDIDATE = re.compile(rf"(?<![\w/.&-]){_PART}(?:[./&'’-]{_PART})*(?:/(?!\w))?(?![\w&])")
_LONGEST = 3  # words of an abbreviation


def abbreviations(text: str) -> Iterator[tuple[int, int, str]]:
    """(start, end, meaning) of each abbreviation in the text, from left to right, without overlaps.

    Digits in a meaning are written as 0, as in the list; they are not the digits of the text.
    """
    any_case, as_written, first_words = _table()
    found = list(_CANDIDATE.finditer(text))
    at = 0
    while at < len(found):
        step = 1
        written = [_plain(found[at].group())]
        meaning = as_written.get(written[0]) or any_case.get(written[0].lower())
        if written[0].lower() in first_words:
            for number in range(1, _LONGEST):
                if (
                    at + number >= len(found)
                    or text[found[at + number - 1].end() : found[at + number].start()] != " "
                ):
                    break
                written.append(_plain(found[at + number].group()))
                if longer := any_case.get(" ".join(written).lower()):
                    meaning, step = longer, number + 1
        if meaning:
            yield found[at].start(), found[at + step - 1].end(), meaning
        at += step


def _plain(written: str) -> str:
    return _DIGITS.sub("0", written.replace(".", "").replace("’", "'"))


@lru_cache(maxsize=1)
def _table() -> tuple[dict[str, str], dict[str, str], frozenset[str]]:
    """Meanings in any case, meanings with case as written, and the first words of abbreviations of several words."""
    lists = toml_of(__name__)
    any_case, as_written = lists["any_case"], lists["as_written"]
    return any_case, as_written, frozenset(key.split(" ")[0] for key in any_case if " " in key)
