"""What every classifier offers, the table of their names, and the trained model that is saved and loaded."""

import json
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError
from scipy.sparse import csr_matrix

from rubricator.models.calibration import Calibration
from rubricator.nlp.contexts import Context, LabelSpan, whole_sentence
from rubricator.nlp.errors import RubricatorError
from rubricator.nlp.wording import PLAN, is_boilerplate

# Import paths, so that naming one classifier does not import the libraries of the others.
CLASSIFIERS = {
    "cnn": "rubricator.models.cnn:CnnClassifier",
    "ensemble": "rubricator.models.ensemble:EnsembleClassifier",
    "svm": "rubricator.models.svm:SvmClassifier",
    "majority": "rubricator.models.baselines:MajorityClassifier",
    "keywords": "rubricator.models.baselines:KeywordClassifier",
    "mentions": "rubricator.models.mentions:MentionClassifier",
    "stacked": "rubricator.models.stacked:StackedClassifier",
    "transformer": "rubricator.models.transformer:TransformerClassifier",
}
FORMAT_VERSION = 2
STEPS = "steps.json"  # in the folder of checkpoints, of each network in training: steps done, steps at most
_WORD = re.compile(r"[^\W\d_]{2}")  # as weak labels ask for: a number alone says nothing


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
class HeldIn:
    """Predictions on training rows, all or a part, by models that did not see them: what calibration and
    thresholds are fitted on."""

    rows: NDArray[np.int64]  # that the predictions are for
    probabilities: NDArray[np.float32]  # (rows, labels)

    def first(self, rows: int) -> "HeldIn":
        """Those of the first so many training rows."""
        kept = self.rows < rows
        return HeldIn(self.rows[kept], self.probabilities[kept])


class TextClassifier(Protocol):
    """Texts in, one probability per label out. A label without positives in training has probability exactly
    0."""

    labels: list[str]
    settings: BaseModel
    held_in: HeldIn | None  # after fit; not saved

    @staticmethod
    def default_settings(task: str) -> BaseModel: ...

    def __init__(
        self, labels: Sequence[str], settings: Any, *, descriptions: Sequence[str | None] | None = None
    ) -> None:
        """descriptions: what each label means, None where unknown, several names a line each; only fit uses them."""
        ...

    def fit(
        self,
        texts: Sequence[str],
        targets: csr_matrix,
        *,
        groups: NDArray[np.int64],
        contexts: Sequence[Context] | None = None,
        evidence: Sequence[Sequence[LabelSpan]] | None = None,
    ) -> Self:
        """Learn from n texts and their 0/1 targets (n, labels); groups (n,) stay whole in any inner split.

        contexts: what stands around each text, where the texts are parts of notes. evidence: for each text the spans
        that its labels were given for, where they were marked.
        """
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


@dataclass(kw_only=True)
class TrainedModel:
    """A fitted classifier with what turns its output into decisions. One folder on disk: JSON and
    safetensors.

    descriptions: per label, None where unknown. code_system: name and release the labels belong to, if any.
    training_positives: of each label. settings: of the classifier and of calibration, as JSON. fingerprint: sha256 of
    the training examples.
    """

    task: str
    classifier_name: str
    classifier: TextClassifier
    calibration: Calibration
    descriptions: list[str | None]
    training_positives: list[int]
    code_system: str | None
    settings: dict[str, Any]
    fingerprint: str
    card: str = ""

    @property
    def labels(self) -> list[str]:
        return self.classifier.labels

    def predict_proba(
        self, texts: Sequence[str], *, contexts: Sequence[Context] | None = None
    ) -> NDArray[np.float32]:
        """Calibrated probabilities (n, labels); exactly 0 for a label that the classifier cannot tell (no positives, no
        name that it reads), for a text without a word, and of a plan for boilerplate. contexts: what stands around each
        text, where it is a part of a note; fragments are read with the sentence that they continue.
        """
        read, around = texts, contexts
        if contexts is not None:
            whole = [whole_sentence(text, context) for text, context in zip(texts, contexts, strict=True)]
            read, around = [text for text, _ in whole], [context for _, context in whole]
        probabilities = self.calibration.apply(self.classifier.predict_proba(read, contexts=around))
        probabilities[[row for row, text in enumerate(texts) if not _WORD.search(text)]] = 0
        if PLAN in self.labels:
            probabilities[list(map(is_boilerplate, texts)), self.labels.index(PLAN)] = 0
        return probabilities

    def decide(self, probabilities: NDArray[np.float32]) -> NDArray[np.str_]:
        """ "reject", "review" or "accept" for each calibrated probability (n, labels); positive unless
        rejected."""
        return self.calibration.decide(probabilities)

    def positive(self, probabilities: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which of them are not rejected: a byte each, where decisions as words take 24."""
        return self.calibration.positive(probabilities)

    def evidence(
        self, texts: Sequence[str], labels: Sequence[Sequence[int]]
    ) -> list[list[list[EvidenceSpan]]]:
        """As TextClassifier.evidence."""
        return self.classifier.evidence(texts, labels)

    def save(self, folder: Path) -> None:
        """Write the model into this folder, which must not hold anything yet."""
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ModelFormatError(f"{folder} is not empty; give a new folder for the model")
        config = {
            "format_version": FORMAT_VERSION,
            "task": self.task,
            "classifier": self.classifier_name,
            "code_system": self.code_system,
            "settings": self.settings,
            "data_fingerprint": self.fingerprint,
            "label_dependence": dependence.to_json() if (dependence := self.calibration.dependence) else None,
        }
        rows = [
            {"label": label, "description": description, "training_positives": positives, **calibration}
            for label, description, positives, calibration in zip(
                self.labels,
                self.descriptions,
                self.training_positives,
                self.calibration.to_json(),
                strict=True,
            )
        ]
        write_json(folder / "config.json", config)
        write_json(folder / "labels.json", rows)
        (folder / "model_card.md").write_text(self.card, encoding="utf-8")
        self.classifier.save(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what save wrote. Raises ModelFormatError for another format version or a missing or broken
        file."""
        config = read_json(folder / "config.json")
        if config.get("format_version") != FORMAT_VERSION:
            raise ModelFormatError(
                f"{folder} is a model of format {config.get('format_version')!r}, this version reads "
                f"{FORMAT_VERSION}; train it again or use the version that wrote it"
            )
        rows = read_json(folder / "labels.json")
        wrong = ""
        try:
            classifier = classifier_class(config["classifier"]).load(folder)
        except ValidationError as error:
            wrong = ", ".join(".".join(map(str, each["loc"])) for each in error.errors())
        if wrong:
            raise ModelFormatError(
                f"{folder} has settings that this version does not know ({wrong}); train it again or use the version "
                "that wrote it"
            )
        return cls(
            task=config["task"],
            classifier_name=config["classifier"],
            classifier=classifier,
            calibration=Calibration.from_json(rows, config.get("label_dependence")),
            descriptions=[row["description"] for row in rows],
            training_positives=[row["training_positives"] for row in rows],
            code_system=config["code_system"],
            settings=config["settings"],
            fingerprint=config["data_fingerprint"],
            card=(folder / "model_card.md").read_text(encoding="utf-8"),
        )


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
