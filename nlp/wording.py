"""Labelling functions beside the heading: what the wording of a sentence says of it.

The rules are data (wording.toml): plain English of clinical notes, no terms of one site.
"""

import re
from functools import lru_cache
from typing import Any

from rubricator.nlp.module_data import toml_of

PLAN = "plan"  # the label of plan sentences


def worded_as_plan(text: str) -> int | None:
    """1: the sentence says what is to be done and nothing else; 0: something else only; None: both, or neither.

    As labels of a data-programming model (Ratner et al., arXiv 1711.10160) that answers only where its rules agree.
    """
    plan, other = (bool(rule.search(text)) for rule in _rules()[:2])
    return int(plan) if plan != other else None


def says_where_next(text: str) -> bool:
    """Whether the sentence says where the patient goes next, as the last one of an operative note does."""
    return bool(_rules()[2].search(text))


def is_boilerplate(text: str) -> bool:
    """Whether the sentence is about the note or the visit ("Total time spent: 35 minutes.") and says nothing of what
    will be done."""
    boilerplate, to_be_done = _rules()[3:]
    return bool(boilerplate.search(text)) and not to_be_done.search(text)


@lru_cache(maxsize=1)
def _rules() -> tuple[re.Pattern[str], ...]:
    """What speaks for a plan, what for something else, what names the next place; boilerplate, and what it is not."""
    rules = toml_of(__name__)
    plan, other = rules["plan"], rules["other"]
    return (
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
