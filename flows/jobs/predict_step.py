"""The work of `predict` on a shard: the predictions of a registered model."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from rubricator.flows.jobs.files import sha256_by_name
from rubricator.flows.jobs.step import ShardTables
from rubricator.models.prediction import PREDICTIONS_SCHEMA, MadeBy, Predictor
from rubricator.models.registry import registry
from rubricator.models.registry.registry import ResolvedModel
from rubricator.nlp.lexicon.lexicon import Lexicon
from rubricator.nlp.sections.finder import SectionFinder


@dataclass(frozen=True, kw_only=True)
class PredictStep:
    """The work of `predict`. lexicon: absolute paths."""

    model: ResolvedModel
    top_k: int | None
    min_probability: float | None
    lexicon: tuple[str, ...]

    name: ClassVar[str] = "predict"
    schemas: ClassVar[Mapping[str, pa.Schema]] = {"predictions": PREDICTIONS_SCHEMA}

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "model": self.model.name,
            "top_k": self.top_k,
            "min_probability": self.min_probability,
            "lexicon": sha256_by_name(self.lexicon),
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
        """Load the model."""
        return Predictor(
            registry.load(self.model),
            SectionFinder(Lexicon.load(*map(Path, self.lexicon))),
            made_by=MadeBy(self.model.name, self.model.version, self.model.run_id),
            top_k=self.top_k,
            min_probability=self.min_probability,
        )


@dataclass(frozen=True)
class PredictWork:
    """A loaded model, which predicts the notes of a shard."""

    predictor: Predictor

    def __call__(self, notes: pa.Table) -> ShardTables:
        predictions, units = self.predictor.predict(notes)
        figures = Counter(f"rows/{decision}" for decision in predictions["decision"].to_pylist())
        return ShardTables({"predictions": predictions}, {"units": units, **figures})
