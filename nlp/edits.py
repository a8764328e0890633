"""Edits: rules of ICD-10-CM on codes that stand together. Excludes1: two codes that are never reported together.

The notes "Excludes1" are those of the tabular list (simple-icd-10-cm). A note at a code, a category, a block or a
chapter holds for all codes below it (ICD-10-CM Official Guidelines, I.A.12.a).
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations
from typing import NamedTuple

from rubricator.nlp.icd import code_system, is_valid, normal_code

_IN_BRACKETS = re.compile(r"\(([^()]*)\)")
_CODE = r"[A-Z]\d[0-9A-Z](?:\.[0-9A-Z]+)?"
_ITEM = re.compile(rf"({_CODE})[.-]*(?:-({_CODE})[.-]*)?")  # "E11.-", "R73.9", "J70.2-J70.4"


class Excluded(NamedTuple):
    """The codes from `first` to `last`, with all codes below them. They are the same for one code."""

    first: str
    last: str

    def covers(self, code: str) -> bool:
        """code: with its dot."""
        return self.first <= code[: len(self.first)] and code[: len(self.last)] <= self.last

    def __str__(self) -> str:
        return self.first if self.first == self.last else f"{self.first}-{self.last}"


def excludes1_warnings(codes: Sequence[str]) -> list[list[str]]:
    """For each of the codes of a note: which of the others it must not stand with."""
    warnings: list[list[str]] = [[] for _ in codes]
    for (left, code), (right, other) in combinations(enumerate(codes), 2):
        if rule := _excludes1(code, other):
            warnings[left].append(f"{rule} exclude each other (Excludes1): see {other}")
            warnings[right].append(f"{rule} exclude each other (Excludes1): see {code}")
    return warnings


@lru_cache(maxsize=200_000)
def _excludes1(code: str, other: str) -> str | None:
    """The two entries of the tabular list that exclude each other, such as "E10 and E11"; None where none do."""
    one, two = _known(code), _known(other)
    if one is None or two is None or one == two:
        return None
    for below, against in ((one, two), (two, one)):
        for holder, excluded in _notes(below):
            if excluded.covers(against) and not excluded.covers(below):
                return " and ".join(sorted((holder, str(excluded))))
    return None


@lru_cache(maxsize=100_000)
def _notes(code: str) -> list[tuple[str, Excluded]]:
    """The Excludes1 notes at a code and at all above it, nearest first, each with where it stands."""
    import simple_icd_10_cm as tables

    found = []
    for holder in (code, *tables.get_ancestors(code)):
        for note in tables.get_excludes1(holder):
            found += [(holder, excluded) for excluded in _excluded(note)]
    return found


def _excluded(note: str) -> list[Excluded]:
    """The codes that a note names in brackets. Items that hold for some characters only ("with .31") are left out."""
    items = [
        item for inside in _IN_BRACKETS.findall(note) for item in inside.split(",") if "with" not in inside
    ]
    found = (_ITEM.fullmatch(item.strip()) for item in items)
    return [Excluded(match[1], match[2] or match[1]) for match in found if match]


def _known(code: str) -> str | None:
    """The code in its normal spelling; None where ICD-10-CM does not have it."""
    if code_system(code) != "ICD-10-CM" or not is_valid(code):
        return None
    return normal_code(code, ("ICD-10-CM",))
