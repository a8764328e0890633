"""The spellings of a variant in a lexicon file, in which braces list alternatives as in a shell."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import product
from math import prod

from rubricator.nlp.lexicon.file_format import LexiconError
from rubricator.nlp.lexicon.normal_form import normal_form, umlaut_forms

SOAP_LETTERS = frozenset("soap")  # "S:", "O:", "A:" and "P:" are headings too


def spellings(variant: str, where: str) -> set[str]:
    """All spellings of a variant, with umlauts also as two letters. Raises LexiconError. where: for its message."""
    found = _expand(variant, where)
    return found if variant.isascii() else set(umlaut_forms(found))


def check_spellings(found: Iterable[str], where: str) -> None:
    """Raises LexiconError for a spelling that a user's file cannot have."""
    for spelling in sorted(found):
        key = normal_form(spelling)
        if key in SOAP_LETTERS:
            raise LexiconError(
                f"{where}: variant {spelling!r}: the letters S, O, A and P are built in as a set; remove the variant"
            )
        if len(key) > _LONGEST or len(key.split()) > _MOST_WORDS:
            raise LexiconError(
                f"{where}: variant {spelling!r} is too long: a heading has at most {_LONGEST} characters and "
                f"{_MOST_WORDS} words"
            )


def _expand(variant: str, where: str) -> set[str]:
    """All spellings that the braces list: "{chief ,}complaint{,s}" has four."""
    pieces = _INNERMOST_BRACES.split(variant)  # alternately the text outside braces and inside them
    outside = "".join(pieces[::2])
    if "{" not in outside and "}" not in outside:
        choices = [piece.split(",") if number % 2 else [piece] for number, piece in enumerate(pieces)]
        if (count := prod(map(len, choices))) > _MOST_SPELLINGS:
            raise LexiconError(
                f"{where}: the braces of {variant[:40]!r}… have {count:,} spellings, and {_MOST_SPELLINGS:,} are the "
                "most; write several variants"
            )
        return set(map("".join, product(*choices)))
    if len(pieces) == 1:
        raise LexiconError(f"{where}: unbalanced braces in {variant!r}")
    before, inner, after = _INNERMOST_BRACES.split(variant, 1)
    return {spelling for choice in inner.split(",") for spelling in _expand(before + choice + after, where)}


_LONGEST = 80  # characters of a variant; longer phrases, and phrases of more words, are never headings
_MOST_WORDS = 15
_MOST_SPELLINGS = 50_000  # of one variant; each takes memory in every process
_INNERMOST_BRACES = re.compile(r"\{([^{}]*)\}")
