"""Examples from annotated sentences (gold units)."""

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_matrix

from rubricator.nlp.builders.notes import Failed, note_rows, raise_failure
from rubricator.nlp.contexts import Context, neighbours
from rubricator.nlp.examples import ExampleError, Examples
from rubricator.nlp.hidden_text import hides_text
from rubricator.nlp.lexicon.lexicon import Lexicon
from rubricator.nlp.sections.finder import Section, SectionFinder
from rubricator.nlp.words.tokens import HAS_LETTER_OR_DIGIT


def annotated_examples(
    batches: Iterable[pa.RecordBatch],
    annotations: Path,
    *,
    lexicon: Lexicon,
    label: str = "plan",
    failed: Failed = raise_failure,
) -> Examples:
    """One example for each annotated unit.

    annotations: JSON lines (also .gz) with `note_id`, `units` ([[start, end, 0 or 1], …]) and optionally `kind`, the
    stratum. The words of headings are removed from the texts of units, as in training. A unit that is only a heading
    has an empty text, for which every model gives probability 0.
    failed: called with the note id and the error of a note that cannot be processed, instead of raising the error.
    Raises ExampleError for a line without units or labels, a unit outside its note, a missing note, or a file without
    units.
    """
    finder = SectionFinder(lexicon)
    annotated = _annotations(annotations)
    notes = 0
    units: list[_GoldUnit] = []
    for note_id, text in note_rows(batches, ("note_id", "text")):
        annotation = annotated.pop(note_id, None)
        if annotation is None:
            continue
        try:
            sections = finder.find(text)
        except BaseException as error:
            failed(note_id, error)
            continue
        if not all(0 <= start < end <= len(text) for start, end, _ in annotation["units"]):
            raise ExampleError(
                f"{annotations}: note {note_id}: a unit is outside its note of {len(text)} characters"
            )
        notes += 1
        units += _gold_units(note_id, text, sections, annotation, group=notes)
    if annotated:
        raise ExampleError(
            f"{annotations}: {len(annotated)} annotated notes are not among the notes, such as {min(annotated)!r}"
        )
    if not units:
        raise ExampleError(
            f"{annotations}: there is no unit to score; write 'units' as [[start, end, 0 or 1], …]"
        )
    return _examples(units, notes, label)


def _examples(units: Sequence["_GoldUnit"], notes: int, label: str) -> Examples:
    values = np.array([unit.value for unit in units], dtype=np.uint8)
    return Examples(
        ids=[unit.example_id for unit in units],
        groups=np.array([unit.group for unit in units], dtype=np.int64),
        texts=[unit.text for unit in units],
        contexts=[unit.context for unit in units],
        targets=csr_matrix(values.reshape(-1, 1)),
        labels=[label],
        counts={"notes": notes, "sentences": len(units), "positive sentences": int(values.sum())},
        strata=[unit.stratum for unit in units],
    )


@hides_text()
class _GoldUnit(NamedTuple):
    example_id: str
    group: int
    text: str
    context: Context
    value: int
    stratum: str


def _gold_units(
    note_id: str, text: str, sections: Sequence[Section], annotation: Mapping[str, Any], *, group: int
) -> list[_GoldUnit]:
    """The annotated units of a note, without the words of headings."""
    headings = [(section.heading_start, section.heading_end) for section in sections]
    texts = [_without(headings, text, start, end) for start, end, _ in annotation["units"]]
    stratum = str(annotation.get("kind", "all"))
    return [
        _GoldUnit(f"{note_id}:{start}:{end}", group, unit_text, context, value, stratum)
        for (start, end, value), unit_text, context in zip(
            annotation["units"], texts, neighbours(texts), strict=True
        )
    ]


def note_ids_in(path: Path) -> set[str]:
    """The note ids of a JSON lines file (also .gz) with a `note_id` in each line, such as an annotation file."""
    return {row["note_id"] for _, row in _json_rows(path)}


def _annotations(path: Path) -> dict[str, dict[str, Any]]:
    """The annotation of each note id."""
    found = {}
    for number, row in _json_rows(path):
        units = row.get("units")
        if not isinstance(units, list) or not all(map(_is_unit, units)):
            raise ExampleError(
                f"{path}, line {number}: 'units' must be a list [[start, end, 0 or 1], …] of whole numbers"
            )
        if row["note_id"] in found:
            raise ExampleError(f"{path}, line {number}: note {row['note_id']} has another line too")
        found[row["note_id"]] = row
    return found


def _is_unit(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 3
        and all(isinstance(number, int) for number in value)
        and value[2] in (0, 1)
    )


def _without(headings: Sequence[tuple[int, int]], text: str, start: int, end: int) -> str:
    kept, at = [], start
    for heading_start, heading_end in headings:
        if heading_start < end and start < heading_end:
            kept.append(text[at : max(at, heading_start)])
            at = heading_end
    kept.append(text[at:end])
    return " ".join(part.strip(" \t\n:-–—") for part in kept if HAS_LETTER_OR_DIGIT.search(part))


def _json_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each line with its number."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                row = json.loads(line) if line.strip() else None
                if row is None:
                    continue
                if not isinstance(row, dict) or not isinstance(row.get("note_id"), str):
                    raise ExampleError(f"{path}, line {number}: it must be an object with a string 'note_id'")
                yield number, row
    except (OSError, ValueError) as error:
        reason = type(error).__name__
    else:
        return
    raise ExampleError(f"{path} cannot be read as JSON lines: {reason}")
