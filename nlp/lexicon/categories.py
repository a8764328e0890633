"""Categories of sections and their attributes. headings.toml describes the values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

Role = Literal["plan", "mixed", "not-plan", "neutral"]
WeakLabel = Literal["positive", "negative"]
ByWording = Literal["plan", "next_place"]
Place = Literal["before_plan", "outside_plan", "after_plan"]
Joined = Literal["plan", "companion", "judgement", "investigation"]
Kind = Literal[
    "advice",
    "examination",
    "instructions",
    "holds_parts",
    "holds_items",
    "holds_unknown",
    "no_topics",
    "never_part",
    "own_in_mixed",
    "repeated",
    "by_problem",
    "lettered",
    "problem_column",
    "plan_column",
]
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Category:
    """A category of sections. headings.toml describes the values."""

    name: str
    loinc: str | None = None
    role: Role = "neutral"
    weak_label: WeakLabel | None = None
    by_wording: ByWording | None = None
    place: Place | None = None
    joined: Joined | None = None
    kinds: frozenset[Kind] = frozenset()

    def has(self, kind: Kind) -> bool:
        return kind in self.kinds

    @cached_property
    def holds_plan(self) -> bool:
        """Whether it holds a plan, alone or mixed with reasoning."""
        return self.role in ("plan", "mixed")

    @cached_property
    def may_hold_parts(self) -> bool:
        """Whether headings of other categories may be parts of it."""
        return self.holds_plan or self.has("holds_parts")

    @cached_property
    def is_never_in_plan(self) -> bool:
        """Whether its heading is never a part of a plan."""
        return self.place in ("before_plan", "outside_plan")


def joined_category(categories: Sequence[Category]) -> str:
    """The category of a heading "X and Y", from the categories of X and Y.

    If one is a plan and all may be joined, it is "plan" or, with a judgement or an investigation,
    "assessment_and_plan". A judgement with recommendations is "assessment_and_plan" too. Otherwise it is that of X.
    """
    joined = {category.joined for category in categories}
    if "plan" in joined and None not in joined:
        plan = all(category.joined == "companion" or category.role == "plan" for category in categories)
        return "plan" if plan else "assessment_and_plan"
    if (
        "judgement" in joined
        and any(category.name == "recommendations" for category in categories)
        and all(category.joined == "judgement" or category.has("advice") for category in categories)
    ):
        return "assessment_and_plan"
    return categories[0].name
