"""Predictions for notes: a model and notes in; labelled units with probability, decision and evidence out."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rubricator.models.decisions.ranking import best_first
from rubricator.models.label_warnings import known_labels, label_warnings
from rubricator.nlp.edits import excludes1_warnings
from rubricator.nlp.icd import describe
from rubricator.nlp.sections.finder import SectionFinder
from rubricator.nlp.tasks import task_named
from rubricator.nlp.units import TextUnit, units_of

if TYPE_CHECKING:
    from rubricator.models.classifier import EvidenceSpan
    from rubricator.models.trained_model import TrainedModel

Ints = NDArray[np.int64]

CHARACTERS_AT_ONCE = (
    1_000_000  # of the units that are predicted together; bounds the memory for their features
)
LABELS_WITH_EVIDENCE = 50  # per unit; evidence for every label of every unit would take most of the time

PREDICTIONS_SCHEMA = pa.schema(
    [
        pa.field("note_id", pa.string(), nullable=False),
        pa.field("start", pa.int32(), nullable=False),  # of the unit, in the note
        pa.field("end", pa.int32(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("probability", pa.float32(), nullable=False),
        pa.field("rank", pa.int16(), nullable=False),  # among the rows of the unit, from 1
        pa.field("decision", pa.string(), nullable=False),
        pa.field(  # offsets into the note; only for the LABELS_WITH_EVIDENCE best labels of a unit
            "evidence",
            pa.list_(pa.struct([("start", pa.int32()), ("end", pa.int32()), ("weight", pa.float32())])),
            nullable=False,
        ),
        pa.field("description", pa.string()),
        pa.field("warnings", pa.list_(pa.string()), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("model_version", pa.string(), nullable=False),
        pa.field("run_id", pa.string()),
    ]
)


class MadeBy(NamedTuple):
    """The model that made a prediction, as each row names it."""

    name: str
    version: str
    run_id: str | None = None


class Predictor:
    """Predicts the units of notes with a model.

    top_k: most rows per unit, None for all. min_probability: rows with a lower probability are left out; None leaves
    out the rows with decision "reject".
    """

    def __init__(
        self,
        model: "TrainedModel",
        finder: SectionFinder,
        *,
        made_by: MadeBy,
        top_k: int | None = None,
        min_probability: float | None = None,
    ) -> None:
        if top_k is not None and top_k < 1:
            raise ValueError(f"top_k is {top_k}; it must be at least 1, or None")
        if min_probability is not None and not 0 <= min_probability <= 1:
            raise ValueError(f"min_probability is {min_probability}; it must be from 0 to 1, or None")
        self.model = model
        self.task = task_named(model.task)
        self.finder = finder
        self.made_by = made_by
        self.top_k, self.min_probability = top_k, min_probability
        self.about: dict[int, tuple[str | None, list[str]]] = {}
        self.known = known_labels(model.settings)

    def predict(self, notes: pa.Table) -> tuple[pa.Table, int]:
        """Rows of PREDICTIONS_SCHEMA for notes (columns `note_id` and `text`), and the number of their units."""
        units = [
            unit
            for note_id, text in zip(notes["note_id"].to_pylist(), notes["text"].to_pylist(), strict=True)
            for unit in units_of(self.task.unit, note_id, text, self.finder.find)
        ]
        tables = [self.rows(some) for some in _at_once(units)]
        return pa.concat_tables([PREDICTIONS_SCHEMA.empty_table(), *tables]), len(units)

    def rows(self, units: Sequence[TextUnit]) -> pa.Table:
        texts = [unit.text for unit in units]
        probabilities = self.model.predict_proba(texts, contexts=[unit.context for unit in units])
        decisions = np.asarray(self.model.decide(probabilities))
        least = self.min_probability
        kept = decisions != "reject" if least is None else probabilities >= least
        unit, label, rank = best_first(probabilities, kept, self.top_k)
        chosen = [units[row] for row in unit]
        decided = decisions[unit, label]
        warnings = self.warnings(unit, label, decided)
        has_warning = np.array(list(map(bool, warnings)), bool)
        decided = np.where(has_warning & (decided == "accept"), "review", decided)
        columns = {
            "note_id": [unit.note_id for unit in chosen],
            "start": [unit.start for unit in chosen],
            "end": [unit.end for unit in chosen],
            "label": [self.model.labels[column] for column in label],
            "probability": probabilities[unit, label],
            "rank": rank,
            "decision": decided,
            "evidence": self.evidence(units, unit, label, rank),
            "description": [self.describe(column)[0] for column in label.tolist()],
            "warnings": warnings,
            "model": [self.made_by.name] * len(chosen),
            "model_version": [self.made_by.version] * len(chosen),
            "run_id": [self.made_by.run_id] * len(chosen),
        }
        arrays = [pa.array(columns[field.name], field.type) for field in PREDICTIONS_SCHEMA]
        return pa.table(arrays, schema=PREDICTIONS_SCHEMA)

    def evidence(
        self, units: Sequence[TextUnit], unit: Ints, label: Ints, rank: Ints
    ) -> list[list[dict[str, float]]]:
        """The evidence of each row, as offsets into the note; empty for ranks beyond LABELS_WITH_EVIDENCE.

        unit, label, rank: (rows,), in order of unit and rank.
        """
        asked: dict[int, list[int]] = {}
        for row, column, place in zip(unit.tolist(), label.tolist(), rank.tolist(), strict=True):
            if place <= LABELS_WITH_EVIDENCE:
                asked.setdefault(row, []).append(column)
        of_units = self.model.evidence([units[row].text for row in asked], list(asked.values()))
        found = iter(
            [_given(units[row], span) for span in spans]
            for row, of_labels in zip(asked, of_units, strict=True)
            for spans in of_labels
        )
        return [next(found) if place <= LABELS_WITH_EVIDENCE else [] for place in rank.tolist()]

    def warnings(self, unit: Ints, label: Ints, decision: NDArray[np.str_]) -> list[list[str]]:
        """The warnings of each row, which force a review: on its code, and on others of the unit that exclude it.

        Only rows that are not rejected exclude each other. All arrays are (rows,), in order of unit.
        """
        found = [list(self.describe(column)[1]) for column in label.tolist()]
        if not (self.task.labels_are_codes and self.model.code_system):
            return found
        given = np.flatnonzero(decision != "reject")
        for rows in np.split(given, np.flatnonzero(np.diff(unit[given])) + 1):
            together = excludes1_warnings([self.model.labels[column] for column in label[rows]])
            for row, warnings in zip(rows.tolist(), together, strict=True):
                found[row] += warnings
        return found

    def describe(self, column: int) -> tuple[str | None, list[str]]:
        """Description and warnings of a label; each label is looked up only once."""
        if column not in self.about:
            label, description = self.model.labels[column], self.model.descriptions[column]
            is_code = self.task.labels_are_codes
            self.about[column] = (
                description or (describe(label) if is_code else None),
                label_warnings(label, code_system=self.model.code_system, known=self.known)
                if is_code
                else [],
            )
        return self.about[column]


def _given(unit: TextUnit, span: "EvidenceSpan") -> dict[str, float]:
    """The evidence as offsets into the note."""
    start, end = unit.given(span.start, span.end)
    return {"start": start, "end": end, "weight": span.weight}


def _at_once(units: Sequence[TextUnit]) -> Iterator[list[TextUnit]]:
    some: list[TextUnit] = []
    size = 0
    for unit in units:
        some.append(unit)
        size += len(unit.text) + len(unit.context.text)
        if size >= CHARACTERS_AT_ONCE:
            yield some
            some, size = [], 0
    if some:
        yield some
