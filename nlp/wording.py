"""Labelling functions beside the heading: what the wording of a sentence says of it.

The rules are data (wording.toml): plain English of clinical notes, no terms of one site.
"""

import re
import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Any


def worded_as_plan(text: str) -> int | None:
    """1: the sentence says what is to be done and nothing else; 0: something else only; None: both, or neither.

    As labels of a data-programming model (Ratner et al., arXiv 1711.10160) that answers only where its rules agree.
    """
    plan, other = (bool(rule.search(text)) for rule in _rules()[:2])
    return int(plan) if plan != other else None


def says_where_next(text: str) -> bool:
    """Whether the sentence says where the patient goes next, as the last one of an operative note does."""
    return bool(_rules()[2].search(text))


@lru_cache(maxsize=1)
def _rules() -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    """What speaks for a plan, what for something else, and what names the next place."""
    rules = tomllib.loads(Path(__file__).with_name("wording.toml").read_text(encoding="utf-8"))
    plan, other = rules["plan"].values(), rules["other"].values()
    return _any_of(*plan), _any_of(*other), _any_of(rules["plan"]["disposition"])


def _any_of(*rules: dict[str, Any]) -> re.Pattern[str]:
    return re.compile(
        "|".join(f"(?:{pattern})" for rule in rules for pattern in rule["patterns"]), re.IGNORECASE
    )
