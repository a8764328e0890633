"""An ensemble: the mean of the calibrated log-odds of models that were registered before."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple, NoReturn, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict

from rubricator.models.classifier import EvidenceSpan, HeldIn, TrainedModel, read_json, write_json
from rubricator.models.evaluation import on_labels
from rubricator.models.evidence import evidence_spans
from rubricator.models.held_out import HeldOut
from rubricator.nlp.contexts import Context
from rubricator.nlp.errors import RubricatorError

_LEAST = 1e-4  # a probability under it counts as it: no member can forbid a label alone


class EnsembleError(RubricatorError):
    """Members that cannot be averaged, or that are not worth it; says why."""


class EnsembleSettings(BaseModel):
    """Which models, and when it is worth it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    members: Annotated[  # NAME, NAME@ALIAS or NAME/VERSION; one string has commas between them
        tuple[str, ...], BeforeValidator(lambda given: given.split(",") if isinstance(given, str) else given)
    ] = ()
    must_win: bool = True  # registered only if it is better than its best member


class Member(NamedTuple):
    """A registered model as NAME/VERSION, and what it predicted in cross-validation."""

    name: str
    model: TrainedModel
    held_out: HeldOut


class EnsembleClassifier:
    """Averages its members; each gives calibrated probabilities of the labels it knows, and counts for those only."""

    def __init__(
        self,
        labels: Sequence[str],
        settings: EnsembleSettings,
        *,
        members: Sequence[TrainedModel] = (),
        descriptions: Sequence[str | None] | None = None,  # noqa: ARG002
    ) -> None:
        self.labels = list(labels)
        self.settings: BaseModel = settings
        self.members = list(members)
        self.held_in: HeldIn | None = None

    @property
    def requirements(self) -> tuple[str, ...]:
        """Packages that its members need."""
        return tuple(
            sorted({name for each in self.members for name in getattr(each.classifier, "requirements", ())})
        )

    @staticmethod
    def default_settings(task: str) -> EnsembleSettings:  # noqa: ARG004
        """No members: they have to be named."""
        return EnsembleSettings()

    def fit(self, *_texts: object, **_more: object) -> NoReturn:
        """Members are trained before; raises EnsembleError."""
        raise EnsembleError(
            "an ensemble is made of registered models and is not trained itself: "
            "rubricator train … --model ensemble --setting members=NAME/VERSION,NAME/VERSION"
        )

    def predict_proba(
        self, texts: Sequence[str], *, contexts: Sequence[Context] | None = None
    ) -> NDArray[np.float32]:
        """Mean log-odds of the members as probabilities, float32 (texts, labels); 0 for a label none of them knows."""
        return average(
            [
                on_labels(member.predict_proba(texts, contexts=contexts), member.labels, self.labels)
                for member in self.members
            ]
        )

    def evidence(
        self, texts: Sequence[str], labels: Sequence[Sequence[int]]
    ) -> list[list[list[EvidenceSpan]]]:
        """For each text and asked label: where the members' spans are, with the mean of their weights."""
        found: list[list[list[list[EvidenceSpan]]]] = [[[] for _ in asked] for asked in labels]
        for member in self.members:
            number = {label: own for own, label in enumerate(member.labels)}
            asked = [[at for at, label in enumerate(row) if self.labels[label] in number] for row in labels]
            own = [
                [number[self.labels[row[at]]] for at in kept] for row, kept in zip(labels, asked, strict=True)
            ]
            for of_text, kept, spans in zip(found, asked, member.evidence(texts, own), strict=True):
                for at, of_label in zip(kept, spans, strict=True):
                    of_text[at].append(of_label)
        return [[_merged(of_label) for of_label in of_text] for of_text in found]

    def save(self, folder: Path) -> None:
        """classifier.json, and each member as a whole model in members/0, members/1, …"""
        write_json(
            folder / "classifier.json",
            {"labels": self.labels, "settings": self.settings.model_dump(mode="json")},
        )
        for number, member in enumerate(self.members):
            member.save(folder / "members" / str(number))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """What save wrote."""
        config = read_json(folder / "classifier.json")
        settings = EnsembleSettings.model_validate(config["settings"])
        members = [
            TrainedModel.load(folder / "members" / str(number)) for number in range(len(settings.members))
        ]
        return cls(config["labels"], settings, members=members)


def average(probabilities: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """sigmoid of the mean log-odds of calibrated probabilities, each (rows, labels); exactly 0 is no vote, and the
    result where there is none."""
    total = np.zeros(probabilities[0].shape, np.float32)
    votes = np.zeros(probabilities[0].shape, np.float32)
    for each in probabilities:
        known = each > 0
        clipped = np.clip(each, _LEAST, 1 - _LEAST)
        total += np.where(known, np.log(clipped) - np.log1p(-clipped), 0)
        votes += known
    mean = 1 / (1 + np.exp(-total / np.maximum(votes, 1)))
    return np.where(votes > 0, mean, 0).astype(np.float32)


def _merged(of_members: Sequence[Sequence[EvidenceSpan]]) -> list[EvidenceSpan]:
    """Spans cut where one begins or ends; each part carries its share of the spans over it."""
    spans = [span for member in of_members for span in member]
    cuts = np.unique([edge for span in spans for edge in (span.start, span.end)])
    offsets = np.stack([cuts[:-1], cuts[1:]], axis=1).astype(np.int64)
    parts = np.zeros(len(offsets))
    for span in spans:
        within = slice(np.searchsorted(cuts, span.start), np.searchsorted(cuts, span.end))
        length = offsets[within, 1] - offsets[within, 0]
        parts[within] += span.weight * length / (span.end - span.start)
    return evidence_spans(offsets, parts)
