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
    found = list(_CANDIDATE.finditer(text))
    at = 0
    while at < len(found):
        step = 1
        plain, meaning, may_go_on = _looked_up(found[at].group())
        if may_go_on:
            phrase = plain
            for number in range(1, _LONGEST):
                if (
                    at + number >= len(found)
                    or text[found[at + number - 1].end() : found[at + number].start()] != " "
                ):
                    break
                phrase += " " + _looked_up(found[at + number].group())[0]
                if longer := _table()[0].get(phrase):
                    meaning, step = longer, number + 1
        if meaning:
            yield found[at].start(), found[at + step - 1].end(), meaning
        at += step


@lru_cache(maxsize=1 << 16)
def _looked_up(word: str) -> tuple[str, str | None, bool]:
    """The word as in the list in lower case, its meaning, and whether it is the first of an abbreviation of several."""
    any_case, as_written, first_words = _table()
    written = _DIGITS.sub("0", word.replace(".", "").replace("’", "'"))
    plain = written.lower()
    return plain, as_written.get(written) or any_case.get(plain), plain in first_words


@lru_cache(maxsize=1)
def _table() -> tuple[dict[str, str], dict[str, str], frozenset[str]]:
    """Meanings in any case, meanings with case as written, and the first words of abbreviations of several words."""
    lists = toml_of(__name__)
    any_case, as_written = lists["any_case"], lists["as_written"]
    return any_case, as_written, frozenset(key.split(" ")[0] for key in any_case if " " in key)
