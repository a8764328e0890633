"""A trained model: a fitted classifier with its calibration and thresholds, saved as one folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from rubricator.models.classifier import (
    EvidenceSpan,
    TextClassifier,
    UnknownClassifierError,
    classifier_class,
)
from rubricator.models.decisions.calibration import Calibration
from rubricator.models.model_files import ModelFormatError, read_json, write_json
from rubricator.nlp.contexts import Context, whole_sentence
from rubricator.nlp.errors import RubricatorError
from rubricator.nlp.wording import PLAN, is_boilerplate
from rubricator.nlp.words.tokens import HAS_WORD

FORMAT_VERSION = 2


@dataclass(kw_only=True)
class TrainedModel:
    """A fitted classifier with its calibration and thresholds. On disk it is one folder of JSON and safetensors.

    descriptions: per label, None where unknown. training_positives: number of positive training examples of each
    label. code_system: names and releases of the code systems of the labels, None where the labels are not codes.
    settings: of the classifier, of calibration and of the training examples, as JSON. fingerprint: sha256 of the
    training examples. card: the model card, as Markdown.
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

    def __repr__(self) -> str:
        few = repr(self.labels) if len(self.labels) < 4 else f"{len(self.labels):,} labels"
        return f"<TrainedModel {self.task}: {self.classifier_name}, {few}, data {self.fingerprint[:12]}>"

    @property
    def labels(self) -> list[str]:
        return self.classifier.labels

    def predict_proba(
        self, texts: Sequence[str], *, contexts: Sequence[Context] | None = None
    ) -> NDArray[np.float32]:
        """Calibrated probabilities (texts, labels).

        A probability is exactly 0 for a label that the classifier does not know, and for a text without a word. The
        probability of a plan is also exactly 0 for boilerplate.

        contexts: the sentences around each text, None for whole notes. A fragment of a sentence is read together with
        the sentence that it continues.
        """
        read, around = texts, contexts
        if contexts is not None:
            whole = [whole_sentence(text, context) for text, context in zip(texts, contexts, strict=True)]
            read, around = [text for text, _ in whole], [context for _, context in whole]
        probabilities = self.calibration.apply(self.classifier.predict_proba(read, contexts=around))
        probabilities[[row for row, text in enumerate(texts) if not HAS_WORD.search(text)]] = 0
        if PLAN in self.labels:
            probabilities[list(map(is_boilerplate, texts)), self.labels.index(PLAN)] = 0
        return probabilities

    def decide(self, probabilities: NDArray[np.float32]) -> NDArray[np.str_]:
        """One of "reject", "review" and "accept" for each calibrated probability (n, labels)."""
        return self.calibration.decide(probabilities)

    def positive(self, probabilities: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which calibrated probabilities (n, labels) are not rejected. It takes less memory than decide."""
        return self.calibration.positive(probabilities)

    def evidence(
        self, texts: Sequence[str], labels: Sequence[Sequence[int]]
    ) -> list[list[list[EvidenceSpan]]]:
        """As TextClassifier.evidence."""
        return self.classifier.evidence(texts, labels)

    def save(self, folder: Path | str) -> None:
        """Write the model into a new or empty folder. Raises ModelFormatError where it is not empty, or no folder."""
        folder = Path(folder)
        if folder.exists() and not folder.is_dir():
            raise ModelFormatError(f"{folder} is a file; give a new folder for the model")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # private: the vocabulary has words of notes
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
    def load(cls, folder: Path | str) -> Self:
        """Read what save wrote.

        Raises ModelFormatError for another format version, unknown settings, and a missing or broken file.
        """
        folder = Path(folder)
        config = read_json(folder / "config.json")
        version = config.get("format_version") if isinstance(config, dict) else None
        if version != FORMAT_VERSION:
            raise ModelFormatError(
                f"{folder} has a model of format {version!r}, but this version of Rubricator reads format "
                f"{FORMAT_VERSION}; train the model again, or use the version that wrote it"
            )
        try:
            return cls._read(folder, config)
        except ValidationError as error:
            wrong = ", ".join(".".join(map(str, each["loc"])) for each in error.errors())
            problem = f"has settings that this version does not know ({wrong or 'all'})"
        except UnknownClassifierError as error:
            problem = f"has a classifier that this version does not know: {error}"
        except RubricatorError:
            raise
        except Exception as error:  # of any library, and its message may quote the vocabulary
            problem = f"is not a whole model, or its files do not belong together ({type(error).__name__})"
        raise ModelFormatError(f"{folder} {problem}; train the model again, or use the version that wrote it")

    @classmethod
    def _read(cls, folder: Path, config: dict[str, Any]) -> Self:
        rows = read_json(folder / "labels.json")
        classifier = classifier_class(config["classifier"]).load(folder)
        if len(rows) != len(classifier.labels):
            raise ValueError(f"{len(rows)} and {len(classifier.labels)} labels")
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
