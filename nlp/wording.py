"""Labelling functions beside the heading: what the wording of a sentence says of it.

The rules are data (wording.toml): plain English of clinical notes, no terms of one site.
"""

import re
from functools import lru_cache
from typing import Any, NamedTuple

from rubricator.nlp.module_data import toml_of

PLAN = "plan"  # the label of plan sentences


def worded_as_plan(text: str) -> int | None:
    """1: the sentence says what is to be done and nothing else; 0: something else only; None: both, or neither.

    As labels of a data-programming model (Ratner et al., arXiv 1711.10160) that answers only where its rules agree.
    """
    rules = _rules()
    plan, other = bool(rules.plan.search(text)), bool(rules.other.search(text))
    return int(plan) if plan != other else None


def says_where_next(text: str) -> bool:
    """Whether the sentence says where the patient goes next, as the last one of an operative note does."""
    return bool(_rules().next_place.search(text))


def is_boilerplate(text: str) -> bool:
    """Whether the sentence is about the note or the visit ("Total time spent: 35 minutes.") and says nothing of what
    will be done."""
    rules = _rules()
    return bool(rules.boilerplate.search(text)) and not rules.to_be_done.search(text)


class _Rules(NamedTuple):
    plan: re.Pattern[str]  # what speaks for a plan
    other: re.Pattern[str]  # what speaks for something else
    next_place: re.Pattern[str]
    boilerplate: re.Pattern[str]
    to_be_done: re.Pattern[str]  # what no boilerplate says


@lru_cache(maxsize=1)
def _rules() -> _Rules:
    rules = toml_of(__name__)
    plan, other = rules["plan"], rules["other"]
    return _Rules(
        _any_of(*plan.values()),
        _any_of(*other.values()),
        _any_of(plan["disposition"]),
        _any_of(other["boilerplate"]),
        _any_of(plan["obligation"], plan["follow_up"]),
    )


def _any_of(*rules: dict[str, Any]) -> re.Pattern[str]:
    return re.compile(
        "|".join(f"(?:{pattern})" for rule in rules for pattern in rule["patterns"]), re.IGNORECASE
    )
