"""Words and numbers of texts with their offsets, with marks of what is not asserted, and expanded abbreviations."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rubricator.nlp.assertions import Scope, assertion_scopes
from rubricator.nlp.hidden_text import hides_text
from rubricator.nlp.words.abbreviations import abbreviations
from rubricator.nlp.words.tokens import TOKEN

Int = NDArray[np.int64]

_DIGITS = str.maketrans("123456789", "000000000")


@hides_text()
@dataclass(frozen=True, slots=True)
class Tokens:
    """All tokens of a batch of texts as flat arrays (tokens,); start and end are offsets into the text of that row.

    rows: number of texts. row: number of the token's text. form: number of the token's form. forms: the distinct tokens
    in lower case, with digits as 0, and in front of them the mark of a word that is not asserted.
    """

    rows: int
    row: Int
    start: Int
    end: Int
    form: Int
    forms: list[str]


def tokenize(texts: Sequence[str], *, assertions: bool = False, expand: bool = False) -> Tokens:
    """Words and numbers with their offsets.

    assertions: whether to mark words that are not asserted of the patient. expand: whether to replace an abbreviation
    by the words that it stands for; they all get its offsets.
    """
    numbers: dict[str, int] = {}
    rows: list[int] = []
    starts: list[int] = []
    ends: list[int] = []
    forms: list[int] = []
    for row, text in enumerate(texts):
        found = _expanded(text) if expand else _words(text)
        here = [start for start, _, _ in found]
        words = [word.lower().translate(_DIGITS) for *_, word in found]
        if assertions:
            marks = _marks(here, assertion_scopes(text))
            words = [mark + word for mark, word in zip(marks, words, strict=True)]
        rows += [row] * len(here)
        starts += here
        ends += [end for _, end, _ in found]
        forms += [numbers.setdefault(word, len(numbers)) for word in words]
    return Tokens(
        rows=len(texts),
        row=np.array(rows, np.int64),
        start=np.array(starts, np.int64),
        end=np.array(ends, np.int64),
        form=np.array(forms, np.int64),
        forms=list(numbers),
    )


def _words(text: str) -> list[tuple[int, int, str]]:
    return [(match.start(), match.end(), match.group()) for match in TOKEN.finditer(text)]


def _expanded(text: str) -> list[tuple[int, int, str]]:
    found, at = _words(text), 0
    words: list[tuple[int, int, str]] = []
    for start, end, meaning in abbreviations(text):
        while at < len(found) and found[at][0] < start:
            words.append(found[at])
            at += 1
        words += [(start, end, word) for *_, word in _words(meaning)]
        while at < len(found) and found[at][0] < end:
            at += 1
    return words + found[at:]


def _marks(starts: list[int], scopes: Iterable[Scope]) -> list[str]:
    """The mark of the last scope that each token starts in, empty outside of all scopes."""
    marks = [""] * len(starts)
    for start, end, mark in scopes:
        first, last = bisect_left(starts, start), bisect_left(starts, end)
        marks[first:last] = [mark] * (last - first)
    return marks
