"""Labelling functions beside the heading: what the wording of a sentence says of it.

The rules are data (wording.toml): plain English of clinical notes, no terms of one site.
"""

import re
import tomllib
from functools import lru_cache
from pathlib import Path


def worded_as_plan(text: str) -> int | None:
    """1: the sentence says what is to be done and nothing else; 0: something else only; None: both, or neither.

    As labels of a data-programming model (Ratner et al., arXiv 1711.10160) that answers only where its rules agree.
    """
    plan, other = (bool(rule.search(text)) for rule in _rules())
    return int(plan) if plan != other else None


@lru_cache(maxsize=1)
def _rules() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """What speaks for a plan, and what for something else."""
    rules = tomllib.loads(Path(__file__).with_name("wording.toml").read_text(encoding="utf-8"))
    plan, other = (
        re.compile(
            "|".join(f"(?:{pattern})" for rule in rules[side].values() for pattern in rule["patterns"]),
            re.IGNORECASE,
        )
        for side in ("plan", "other")
    )
    return plan, other
