"""The interface of every classifier, and the table of classifier names."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from rubricator.nlp.contexts import Context
from rubricator.nlp.errors import RubricatorError, did_you_mean

if TYPE_CHECKING:
    from rubricator.nlp.examples import Examples
    from rubricator.nlp.units import UnitName

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

ONLY_FOR: dict[str, "UnitName"] = {"mentions": "note", "stacked": "sentence", "keywords": "sentence"}
NEURAL_LIBRARIES = ("accelerate", "tokenizers", "torch", "transformers")  # of the extra [neural]


class UnknownClassifierError(RubricatorError):
    """A classifier name that is not in the table."""


class UnfitClassifierError(RubricatorError):
    """A classifier that does not work on this unit of text."""


class MissingLibraryError(RubricatorError):
    """A classifier whose libraries are not installed; says how to install them."""


class ContextError(RubricatorError):
    """Texts without the sentences around them, for a classifier that reads these."""

    def __init__(self) -> None:
        super().__init__(
            "this classifier reads the sentences around each text, but these texts came without contexts (a whole "
            "note has none); for whole notes choose another classifier, such as svm"
        )


@dataclass(frozen=True, slots=True)
class EvidenceSpan:
    """The span text[start:end] and its weight.

    The weight is the span's share of the evidence for a label. The weights for a text and label sum to at most 1.
    """

    start: int
    end: int
    weight: float


@dataclass(frozen=True)
class OutOfFold:
    """Predictions for all or some of the training rows, by models that were not trained on them.

    Calibration and thresholds are fitted on these.
    """

    rows: NDArray[np.int64]  # numbers of the training rows
    probabilities: NDArray[np.float32]  # (rows, labels)

    def first(self, rows: int) -> "OutOfFold":
        """The predictions for the training rows with numbers below `rows`."""
        kept = self.rows < rows
        return OutOfFold(self.rows[kept], self.probabilities[kept])


class TextClassifier(Protocol):
    """Texts in, one probability per label out. A label that the classifier does not know has probability exactly 0."""

    labels: list[str]
    settings: BaseModel
    out_of_fold: OutOfFold | None  # set by fit; not saved

    @staticmethod
    def default_settings(unit: "UnitName", /) -> BaseModel: ...

    def __init__(self, labels: Sequence[str], settings: Any) -> None: ...

    def fit(self, examples: "Examples") -> Self:
        """Learn from texts and their labels. Examples of one group stay together in every inner split."""
        ...

    def predict_proba(
        self, texts: Sequence[str], *, contexts: Sequence[Context] | None = None
    ) -> NDArray[np.float32]:
        """Probabilities (texts, labels), not yet calibrated. contexts: the sentences around each text."""
        ...

    def evidence(
        self, texts: Sequence[str], labels: Sequence[Sequence[int]]
    ) -> list[list[list[EvidenceSpan]]]:
        """For each text and each requested label number: the spans that support the label, strongest first."""
        ...

    def save(self, folder: Path) -> None: ...

    @classmethod
    def load(cls, folder: Path) -> Self: ...


def check_classifier(name: str) -> None:
    """Raises UnknownClassifierError for a name that is not in CLASSIFIERS."""
    if name not in CLASSIFIERS:
        raise UnknownClassifierError(
            f"there is no classifier {name!r}; there is: {', '.join(sorted(CLASSIFIERS))}"
            f"{did_you_mean(name, CLASSIFIERS)}"
        )


def check_unit(name: str, unit: "UnitName") -> None:
    """Raises UnfitClassifierError for a classifier that works on the other unit of text only (ONLY_FOR)."""
    if (only := ONLY_FOR.get(name, unit)) != unit:
        others = [other for other in sorted(CLASSIFIERS) if ONLY_FOR.get(other, unit) == unit]
        raise UnfitClassifierError(
            f"the classifier {name!r} works on a whole {only}, not on a {unit}; there is: {', '.join(others)}"
            if only == "note"
            else f"the classifier {name!r} works on a {only}, not on a whole {unit}; there is: {', '.join(others)}"
        )


def classifier_class(name: str) -> type[TextClassifier]:
    """The class of a classifier, by its name or by its import path in this project (`MODULE:CLASS`).

    The benchmark gives import paths. Raises UnknownClassifierError, which lists the known names. Raises
    MissingLibraryError where the classifier is a neural network and its libraries are not installed.
    """
    if name.startswith(f"{__package__}.") and ":" in name:
        path = name
    else:
        check_classifier(name)
        path = CLASSIFIERS[name]
    module, _, attribute = path.partition(":")
    missing = ""
    try:
        found: type[TextClassifier] = getattr(import_module(module), attribute)
        return found
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in NEURAL_LIBRARIES:
            raise
    raise MissingLibraryError(
        f"the classifier {name!r} is a neural network and needs {missing}, which is not installed; install the extra "
        "[neural]: run `make install` or `pip install '.[neural]'` in the repository of Rubricator"
    )
