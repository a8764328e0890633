"""Labelling functions on the wording of a sentence, for sentences that no heading labels.

The rules are data (wording.toml): general English of clinical notes, without terms of a single site.
"""

import re
from functools import lru_cache
from typing import Any, NamedTuple

from rubricator.nlp.module_data import toml_of

PLAN = "plan"  # the label of plan sentences


def worded_as_plan(text: str) -> int | None:
    """1 where only rules for plans match the sentence, 0 where only rules for other content do, else None.

    The labelling functions of data programming (Ratner et al., arXiv 1711.10160), which abstain where they disagree.
    """
    rules = _rules()
    plan, other = bool(rules.plan.search(text)), bool(rules.other.search(text))
    return int(plan) if plan != other else None


def says_where_next(text: str) -> bool:
    """Whether the sentence says where the patient goes next, as the last sentence of an operative note does."""
    return bool(_rules().next_place.search(text))


def is_boilerplate(text: str) -> bool:
    """Whether the sentence is about the note or the visit ("Total time spent: 35 minutes.") and plans nothing."""
    rules = _rules()
    return bool(rules.boilerplate.search(text)) and not rules.to_be_done.search(text)


class _Rules(NamedTuple):
    plan: re.Pattern[str]
    other: re.Pattern[str]  # content that is not a plan
    next_place: re.Pattern[str]
    boilerplate: re.Pattern[str]
    to_be_done: re.Pattern[str]  # never boilerplate


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
