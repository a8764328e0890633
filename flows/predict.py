"""Predict: notes and a registered model in; labelled units with probability, decision and evidence out."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rubricator.flows.extract import lexicon_digests
from rubricator.flows.home import open_home
from rubricator.flows.jobs.engines import choose_engine
from rubricator.flows.jobs.shards import JobResult, ShardTables, read_manifest, run_job
from rubricator.models.registry import registry
from rubricator.models.registry.registry import ResolvedModel
from rubricator.nlp.icd import code_warnings, describe
from rubricator.nlp.lexicon.lexicon import Lexicon
from rubricator.nlp.readers.notes import NoteReader, NoteSettings
from rubricator.nlp.sections.finder import SectionFinder
from rubricator.nlp.tasks import task_named
from rubricator.nlp.units import TextUnit, units_of

if TYPE_CHECKING:
    from rubricator.models.classifier import EvidenceSpan
    from rubricator.models.trained_model import TrainedModel

Ints = NDArray[np.int64]

CHARACTERS_AT_ONCE = 1_000_000  # bounds the memory of their features
LABELS_WITH_EVIDENCE = 50  # of a unit; finding it for every label of every unit would take most of the time

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


def predict(
    notes: str,
    *,
    model: str,
    out: str,
    top_k: int | None = None,
    min_probability: float | None = None,
    lexicon: Sequence[str] = (),
    id_column: str | None = None,
    patient_column: str | None = None,
    text_column: str | None = None,
    codes_column: str | None = None,
    workers: int | None = None,
    shard_size: int | None = None,
    engine: str = "local",
    home: str | None = None,
) -> "Predicted":
    """Apply a model to all notes that the folder `out` does not hold yet; an alias is looked up once.

    model: NAME (its champion), NAME@ALIAS, NAME/VERSION, an MLflow URI or a folder. top_k: rows of a unit.
    min_probability: rows under it are not written; by default those that are rejected. lexicon, engine, workers
    and shard_size as for `extract`, and so are offsets. Another version of the same model may go on in the same folder.
    Raises RegistryError, NoteFormatError, LexiconError, JobError (with its kinds) and SafeError.
    """
    open_home(home).init_mlflow()
    step = PredictStep(
        model=registry.resolve(model),
        top_k=top_k,
        min_probability=min_probability,
        lexicon=tuple(str(Path(file).absolute()) for file in lexicon),
    )
    columns = NoteSettings(
        id_column=id_column, patient_column=patient_column, text_column=text_column, codes_column=codes_column
    )
    job = run_job(
        step,
        lambda on_dead_letter: NoteReader(notes, columns, on_dead_letter=on_dead_letter),
        Path(out),
        engine=choose_engine(engine, workers),
        source=notes,
        shard_size=shard_size,
    )
    others = {
        made["model_version"]: made["notes"]
        for made in read_manifest(job.out)["made_by"]
        if made["model_version"] != step.model.version
    }
    return Predicted(**vars(job), model=f"{step.model.name}/{step.model.version}", by_other_versions=others)


@dataclass(frozen=True, kw_only=True)
class Predicted(JobResult):
    """What one run did, and with which model. by_other_versions: notes of the folder done by other versions."""

    model: str
    by_other_versions: dict[str, int]

    def __str__(self) -> str:
        others = (
            f"; version {by} did {count:,} notes before" for by, count in self.by_other_versions.items()
        )
        return f"{self.model}: {super().__str__()}{''.join(others)}"


@dataclass(frozen=True, kw_only=True)
class PredictStep:
    """The work of `predict`. lexicon: absolute paths."""

    model: ResolvedModel
    top_k: int | None
    min_probability: float | None
    lexicon: tuple[str, ...]

    name = "predict"
    schemas = {"predictions": PREDICTIONS_SCHEMA}  # noqa: RUF012

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "model": self.model.name,
            "top_k": self.top_k,
            "min_probability": self.min_probability,
            "lexicon": lexicon_digests(self.lexicon),
        }

    @property
    def made_by(self) -> dict[str, str]:
        return {
            "model": self.model.name,
            "model_version": self.model.version,
            "run_id": self.model.run_id or "",
            "rubricator": version("rubricator"),
        }

    def prepare(self) -> "Prediction":
        return Prediction(self, registry.load(self.model), Lexicon.load(*map(Path, self.lexicon)))


class Prediction:
    """A loaded model at work: notes in (a table with note_id and text), rows of PREDICTIONS_SCHEMA out."""

    def __init__(self, step: PredictStep, model: "TrainedModel", lexicon: Lexicon) -> None:
        self.step = step
        self.model = model
        self.task = task_named(model.task)
        self.finder = SectionFinder(lexicon)
        self.about: dict[int, tuple[str | None, list[str]]] = {}

    def __call__(self, notes: pa.Table) -> ShardTables:
        texts = notes["text"].to_pylist()
        units = [
            unit
            for note_id, text in zip(notes["note_id"].to_pylist(), texts, strict=True)
            for unit in units_of(self.task.unit, note_id, text, self.finder.find)
        ]
        tables = [self.rows(some) for some in _at_once(units)]
        predictions = pa.concat_tables([PREDICTIONS_SCHEMA.empty_table(), *tables])
        figures = Counter(f"rows/{decision}" for decision in predictions["decision"].to_pylist())
        return ShardTables({"predictions": predictions}, {"units": len(units), **figures})

    def rows(self, units: Sequence[TextUnit]) -> pa.Table:
        texts = [unit.text for unit in units]
        probabilities = self.model.predict_proba(texts, contexts=[unit.context for unit in units])
        decisions = np.asarray(self.model.decide(probabilities))
        least = self.step.min_probability
        kept = decisions != "reject" if least is None else probabilities >= least
        unit, label, rank = _best_first(probabilities, kept, self.step.top_k)
        chosen = [units[row] for row in unit]
        about = [self.describe(column) for column in label.tolist()]
        columns = {
            "note_id": [unit.note_id for unit in chosen],
            "start": [unit.start for unit in chosen],
            "end": [unit.end for unit in chosen],
            "label": [self.model.labels[column] for column in label],
            "probability": probabilities[unit, label],
            "rank": rank,
            "decision": decisions[unit, label],
            "evidence": self.evidence(units, unit, label, rank),
            "description": [description for description, _ in about],
            "warnings": [warnings for _, warnings in about],
            "model": [self.step.model.name] * len(chosen),
            "model_version": [self.step.model.version] * len(chosen),
            "run_id": [self.step.model.run_id] * len(chosen),
        }
        arrays = [pa.array(columns[field.name], field.type) for field in PREDICTIONS_SCHEMA]
        return pa.table(arrays, schema=PREDICTIONS_SCHEMA)

    def evidence(
        self, units: Sequence[TextUnit], unit: Ints, label: Ints, rank: Ints
    ) -> list[list[dict[str, float]]]:
        """The evidence of each row, as offsets into the note. Rows are in order of unit and rank."""
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

    def describe(self, column: int) -> tuple[str | None, list[str]]:
        """Description and warnings of a label, looked up once."""
        if column not in self.about:
            label, description = self.model.labels[column], self.model.descriptions[column]
            is_code = self.task.labels_are_codes
            self.about[column] = (
                description or (describe(label) if is_code else None),
                code_warnings(label) if is_code and self.model.code_system else [],
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


def _best_first(
    probabilities: NDArray[np.float32], kept: NDArray[np.bool_], top_k: int | None
) -> tuple[Ints, Ints, Ints]:
    """Row, column and rank (from 1) of the kept cells, row by row, the most probable first, at most top_k a row."""
    row, column = np.nonzero(kept)
    order = np.lexsort((column, -probabilities[row, column], row))
    row, column = row[order], column[order]
    rank = np.arange(len(row)) - np.searchsorted(row, row) + 1
    best = rank <= (top_k or len(row))
    return row[best], column[best], rank[best]
