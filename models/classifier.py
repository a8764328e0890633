"""What every classifier offers, and the table of their names."""

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from rubricator.nlp.contexts import Context
from rubricator.nlp.errors import RubricatorError

if TYPE_CHECKING:
    from rubricator.nlp.examples import Examples
    from rubricator.nlp.tasks import UnitName

# Import paths, so that naming one classifier does not import the libraries of the others.
CLASSIFIERS = {
    "cnn": "rubricator.models.neural.cnn:CnnClassifier",
    "ensemble": "rubricator.models.ensemble.classifier:EnsembleClassifier",
    "svm": "rubricator.models.linear.svm:SvmClassifier",
    "majority": "rubricator.models.baselines:MajorityClassifier",
    "keywords": "rubricator.models.baselines:KeywordClassifier",
    "mentions": "rubricator.models.mentions.classifier:MentionClassifier",
    "stacked": "rubricator.models.linear.stacked:StackedClassifier",
    "transformer": "rubricator.models.neural.transformer:TransformerClassifier",
}
STEPS = "steps.json"  # in the folder of checkpoints, of each network in training: steps done, steps at most


class UnknownClassifierError(RubricatorError):
    """A classifier name that is not in the table."""


class ContextError(RubricatorError):
    """Texts without the sentences around them, for a classifier that reads these."""

    def __init__(self) -> None:
        super().__init__(
            "this classifier reads the sentences around each text, and notes have none: choose another --model, or "
            "the settings that it has for codes"
        )


class ModelFormatError(RubricatorError):
    """A folder that does not hold a model this version can read."""


@dataclass(frozen=True, slots=True)
class EvidenceSpan:
    """text[start:end] carried this share of what spoke for the label."""

    start: int
    end: int
    weight: float


@dataclass(frozen=True)
class OutOfFold:
    """Predictions on training rows, all or a part, by models that did not see them: what calibration and
    thresholds are fitted on."""

    rows: NDArray[np.int64]  # that the predictions are for
    probabilities: NDArray[np.float32]  # (rows, labels)

    def first(self, rows: int) -> "OutOfFold":
        """Those of the first so many training rows."""
        kept = self.rows < rows
        return OutOfFold(self.rows[kept], self.probabilities[kept])


class TextClassifier(Protocol):
    """Texts in, one probability per label out. A label without positives in training has probability exactly
    0."""

    labels: list[str]
    settings: BaseModel
    out_of_fold: OutOfFold | None  # after fit; not saved

    @staticmethod
    def default_settings(unit: "UnitName", /) -> BaseModel: ...

    def __init__(self, labels: Sequence[str], settings: Any) -> None: ...

    def fit(self, examples: "Examples") -> Self:
        """Learn from n texts and their labels; examples of one group stay together in any inner split."""
        ...

    def predict_proba(
        self, texts: Sequence[str], *, contexts: Sequence[Context] | None = None
    ) -> NDArray[np.float32]:
        """Probabilities (n, labels), not yet calibrated. contexts: as in fit."""
        ...

    def evidence(
        self, texts: Sequence[str], labels: Sequence[Sequence[int]]
    ) -> list[list[list[EvidenceSpan]]]:
        """For each text and each label number asked for it: the spans that spoke for the label, strongest
        first."""
        ...

    def save(self, folder: Path) -> None: ...

    @classmethod
    def load(cls, folder: Path) -> Self: ...


@runtime_checkable
class KeepsCheckpoints(Protocol):
    """A classifier whose training, killed and started again with the same data and settings, goes on where it was.

    checkpoints: the folder that fit goes on from, None to keep nothing. It is no setting: those become part of the
    model.
    """

    checkpoints: Path | None


def training_steps(checkpoints: Path) -> list[tuple[int, int]]:
    """Steps done, and steps at most, of each network that is in training with checkpoints somewhere in this folder."""
    found = []
    for folder, _, files in os.walk(checkpoints):  # which passes over folders that go away
        if STEPS not in files:
            continue
        with suppress(OSError, ValueError):  # it has ended, or is being written
            done, most = json.loads(Path(folder, STEPS).read_bytes())
            found.append((done, most))
    return found


def classifier_class(name: str) -> type[TextClassifier]:
    """The class of this name. Raises UnknownClassifierError that lists the names there are."""
    if name not in CLASSIFIERS:
        raise UnknownClassifierError(
            f"there is no classifier {name!r}; there is: {', '.join(sorted(CLASSIFIERS))}"
        )
    module, _, attribute = CLASSIFIERS[name].partition(":")
    found: type[TextClassifier] = getattr(import_module(module), attribute)
    return found


def write_json(path: Path, content: Any) -> None:
    """Write as JSON; a number that JSON has no word for is an error."""
    path.write_text(json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1), encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read JSON of a saved model. Raises ModelFormatError that names the file."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        reason = type(error).__name__
    raise ModelFormatError(
        f"{path} cannot be read ({reason}); the folder is not a saved model, or not a whole one"
    )
