"""A section of a note, and the schema of the table of sections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa

from rubricator.nlp.hidden_text import hides_text

SECTIONS_SCHEMA = pa.schema(
    [
        pa.field("note_id", pa.string(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("loinc", pa.string()),
        pa.field("heading", pa.string(), nullable=False),
        pa.field("heading_start", pa.int32(), nullable=False),
        pa.field("heading_end", pa.int32(), nullable=False),
        pa.field("body_start", pa.int32(), nullable=False),
        pa.field("body_end", pa.int32(), nullable=False),
        pa.field("rule", pa.string(), nullable=False),
        pa.field("confidence", pa.float32(), nullable=False),
    ]
)


@hides_text("category", "loinc", "rule")
class Section(NamedTuple):
    """A heading and its body. Offsets are half-open string offsets into the note.

    `heading` is the text from heading_start to heading_end. `rule` says how the heading was recognised, and
    `confidence` (0..1] how reliable this rule is, see CONFIDENCE. An empty body has body_start == body_end.
    """

    category: str
    loinc: str | None
    heading: str
    heading_start: int
    heading_end: int
    body_start: int
    body_end: int
    rule: str
    confidence: float


@dataclass(frozen=True, slots=True)
class RejectedHeading:
    """A phrase that looks like a heading but was refused. reason: that of a guard, or "part_of_" and a category."""

    start: int
    end: int
    reason: str


CONFIDENCE = {  # by rule
    "line_colon": 1.0,  # "PLAN:" at the start of a line
    "line_alone": 0.95,  # "PLAN" alone on its line
    "markup": 0.95,  # "## Plan", "**Plan**", "<h3>Plan</h3>"
    "dated": 0.95,  # "Plan 4/12/2020:", "Assessment and plan (continued):"
    "qualified": 0.9,  # "Plan for tonight:", "Neurosurgery plan:"
    "joined": 0.9,  # "Impression, plan and follow-up:"
    "separator": 0.9,  # "PLAN - ", "Plan<tab>", "PLAN ....."
    "soap_letter": 0.85,  # "P:" in an S/O/A/P note
    "item": 0.85,  # "- Medical Treatment:" under a mixed heading
    "inline": 0.8,  # "... Plan: ..." inside a line
    "typo": 0.75,  # "ASSESMENT AND PLAN:"
    "lead_in": 0.8,  # "The plan is as follows:" alone on its line
    "caps_lead": 0.7,  # "PLAN Continue aspirin" without any separator
    "inline_caps": 0.6,  # the same inside a line of a note that lost its line breaks
    "unknown": 0.6,  # looks like a heading and is not in the lexicon
}
