"""The spellings that a variant of a lexicon file stands for: braces list alternatives, as in a shell."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import product

from rubricator.nlp.lexicon.file_format import LexiconError
from rubricator.nlp.lexicon.normal_form import normal_form, umlaut_forms

SOAP_LETTERS = frozenset("soap")  # S: O: A: P: are headings too


def spellings(variant: str, where: str) -> set[str]:
    """All spellings of a variant; umlauts also as two letters. Raises LexiconError, which says `where`."""
    found = _expand(variant, where)
    return found if variant.isascii() else set(umlaut_forms(found))


def check_spellings(found: Iterable[str], where: str) -> None:
    """Raises LexiconError for what a user's file cannot name."""
    for spelling in sorted(found):
        key = normal_form(spelling)
        if key in SOAP_LETTERS:
            raise LexiconError(
                f"{where}: variant {spelling!r}: the letters S, O, A and P are headings only together, and are known"
            )
        if len(key) > _LONGEST or len(key.split()) > _MOST_WORDS:
            raise LexiconError(
                f"{where}: variant {spelling!r} is too long: a heading has at most {_LONGEST} characters and "
                f"{_MOST_WORDS} words"
            )


def _expand(variant: str, where: str) -> set[str]:
    """All that braces stand for: "{chief ,}complaint{,s}" is four spellings."""
    pieces = _INNERMOST_BRACES.split(variant)  # what stands between groups, and by turns what is in them
    outside = "".join(pieces[::2])
    if "{" not in outside and "}" not in outside:
        choices = [piece.split(",") if number % 2 else [piece] for number, piece in enumerate(pieces)]
        return set(map("".join, product(*choices)))
    if len(pieces) == 1:
        raise LexiconError(f"{where}: unbalanced braces in {variant!r}")
    before, inner, after = _INNERMOST_BRACES.split(variant, 1)
    return {spelling for choice in inner.split(",") for spelling in _expand(before + choice + after, where)}


_LONGEST = (
    80  # characters of a variant; what is longer is not looked at as a heading, nor is what has more words
)
_MOST_WORDS = 15
_INNERMOST_BRACES = re.compile(r"\{([^{}]*)\}")
