"""Weak labels: the heading of a section labels the sentences of its body (Poddar et al., arXiv 1906.11930).

Rules against leakage: no sentence holds a word of a heading; negatives come only from notes that have a
positive section, and there only from sections that are confidently something else; all other sentences stay
unlabelled.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field
from rubricator.nlp.sentences import split_parts

if TYPE_CHECKING:
    from rubricator.nlp.headings import Lexicon
    from rubricator.nlp.sections import Section

SENTENCES_SCHEMA = pa.schema(
    [
        pa.field("note_id", pa.string(), nullable=False),
        pa.field("patient_id", pa.string(), nullable=False),
        pa.field("start", pa.int32(), nullable=False),
        pa.field("end", pa.int32(), nullable=False),
        pa.field("category", pa.string()),
        pa.field("label", pa.int8()),
    ]
)

PLAN_WIDE = (
    "plan",
    "recommendations",
    "follow_up",
    "disposition",
    "discharge_instructions",
    "patient_instructions",
)


class WeakLabelSettings(BaseModel):
    """Which categories count as 1. With `plan` among them, categories of role not-plan count as 0.

    With any other label the negatives are all other known categories but mixed ones.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    positive: frozenset[str] = Field(default=frozenset({"plan"}), min_length=1)

    def labels(self, lexicon: Lexicon) -> dict[str, int]:
        """Category → 1 or 0; a category that is not in it leaves its sentences unlabelled.

        Raises ValueError for a positive category that the lexicon lacks.
        """
        if missing := self.positive - lexicon.categories.keys():
            known = ", ".join(sorted(lexicon.categories))
            raise ValueError(f"no category {sorted(missing)} in the lexicon; its categories are {known}")
        plan = "plan" in self.positive
        return {
            name: int(name in self.positive)
            for name, category in lexicon.categories.items()
            if name in self.positive
            or (category.role == "not-plan" if plan else category.role != "mixed" and name != "unknown")
        }


@dataclass(frozen=True, slots=True)
class LabelledSentence:
    """A sentence of a note; category is None outside sections, label None where it is unlabelled."""

    start: int
    end: int
    category: str | None
    label: int | None


def label_note(
    text: str, sections: Sequence[Section], settings: WeakLabelSettings, lexicon: Lexicon
) -> list[LabelledSentence]:
    """All sentences of a note in order, labelled by the section they stand in.

    Units without a word of two letters ("1.", "98.6", "x 3") are never labelled.
    """
    labels = settings.labels(lexicon)
    if not any(labels.get(section.category) == 1 for section in sections):
        labels = {}
    parts, categories = _parts(text, sections)
    return [
        LabelledSentence(
            start, end, category, labels.get(category) if _WORD.search(text, start, end) else None
        )
        for category, spans in zip(categories, split_parts(text, parts), strict=True)
        for start, end in spans
    ]


_WORD = re.compile(r"[^\W\d_]{2}")
_TAG = r"<[^<>\n]{1,60}>"
_AFTER_HEADING = re.compile(
    rf"(?:\s|{_TAG}|[^\w\s<])*"
)  # separator and closing markup of a heading without a body
_BEFORE_HEADING = re.compile(rf"(?:{_TAG}\s*)+$")  # bullets and "##" are dropped by the sentence splitter


def _parts(text: str, sections: Sequence[Section]) -> tuple[list[tuple[int, int]], list[str | None]]:
    """Section bodies and the text between them, in order; headings and their markup left out."""
    parts: list[tuple[int, int]] = []
    categories: list[str | None] = []
    at = 0
    for section in sections:
        if text[at : section.heading_start].strip():
            opening = _BEFORE_HEADING.search(text, at, section.heading_start)
            parts.append((at, opening.start() if opening else section.heading_start))
            categories.append(None)
        if section.body_start < section.body_end:
            parts.append((section.body_start, section.body_end))
            categories.append(section.category)
            at = section.body_end
        else:
            at = _AFTER_HEADING.match(text, section.heading_end).end()
    parts.append((at, len(text)))
    categories.append(None)
    return parts, categories
