"""Negated and uncertain words of clinical notes. The rules are data (negation.toml)."""

import re
from bisect import bisect_left
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from rubricator.nlp.hidden_text import hides_text
from rubricator.nlp.module_data import toml_of

UNCERTAIN, NEGATED = "?", "¬"  # marks, never part of a word
NEGATION_REACH = 5  # how many words a single word negates


@hides_text()
class Scope(NamedTuple):
    """text[start:end] is uncertain or negated. mark: UNCERTAIN or NEGATED."""

    start: int
    end: int
    mark: str


def assertion_scopes(text: str) -> Iterator[Scope]:
    """The scope of each trigger: from the end of the trigger to the end of its clause (NegEx, Chapman et al. 2001).

    Uncertain scopes come first, then negated ones, each from left to right. Scopes may overlap.
    """
    triggers, clause_end = _scope_rules()
    ends = [match.start() for match in clause_end.finditer(text)] + [len(text)]
    for mark, trigger in triggers:
        for match in trigger.finditer(text):
            yield Scope(match.end(), ends[bisect_left(ends, match.end())], mark)


def negates(word: str) -> bool:
    """Whether this word negates the NEGATION_REACH words after it."""
    return _single_words().fullmatch(word) is not None


@lru_cache(maxsize=1)
def _scope_rules() -> tuple[tuple[tuple[str, re.Pattern[str]], ...], re.Pattern[str]]:
    """The triggers by mark, and the end of a clause."""
    rules = toml_of(__name__)
    negation = rules["negation"]
    uncertain = rules["uncertainty"]["scopes"]["words"]
    negated = negation["both"]["words"] + negation["scopes"]["words"]
    ends = rf"[.;:!?\n]|{_any_of(rules['clause_end']['scopes']['words'])}"
    return (
        (UNCERTAIN, re.compile(_any_of(uncertain), re.IGNORECASE)),
        (NEGATED, re.compile(_any_of(negated), re.IGNORECASE)),
    ), re.compile(ends, re.IGNORECASE)


@lru_cache(maxsize=1)
def _single_words() -> re.Pattern[str]:
    negation = toml_of(__name__)["negation"]
    return re.compile("|".join(negation["both"]["words"] + negation["single"]["words"]), re.IGNORECASE)


def _any_of(words: list[str]) -> str:
    return rf"\b(?:{'|'.join(words)})\b"
