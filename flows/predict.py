"""Predict: notes and a registered model in; labelled units with probability, decision and evidence out."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa

from rubricator.flows.extract import lexicon_digests
from rubricator.flows.home import open_home
from rubricator.flows.jobs.engines import choose_engine
from rubricator.flows.jobs.shards import JobResult, ShardTables, read_manifest, run_job
from rubricator.models.prediction import PREDICTIONS_SCHEMA, MadeBy, Predictor
from rubricator.models.registry import registry
from rubricator.models.registry.registry import ResolvedModel
from rubricator.nlp.lexicon.lexicon import Lexicon
from rubricator.nlp.readers.notes import NoteReader, NoteSettings
from rubricator.nlp.sections.finder import SectionFinder


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

    def prepare(self) -> "PredictWork":
        return PredictWork(self.predictor())

    def predictor(self) -> Predictor:
        """The model, loaded."""
        return Predictor(
            registry.load(self.model),
            SectionFinder(Lexicon.load(*map(Path, self.lexicon))),
            made_by=MadeBy(self.model.name, self.model.version, self.model.run_id),
            top_k=self.top_k,
            min_probability=self.min_probability,
        )


@dataclass(frozen=True)
class PredictWork:
    """A loaded model at work on the notes of a shard."""

    predictor: Predictor

    def __call__(self, notes: pa.Table) -> ShardTables:
        predictions, units = self.predictor.predict(notes)
        figures = Counter(f"rows/{decision}" for decision in predictions["decision"].to_pylist())
        return ShardTables({"predictions": predictions}, {"units": units, **figures})
