"""An ensemble: the weighted mean of the calibrated log-odds of models that were registered before."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple, NoReturn, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from scipy.special import expit

from rubricator.models.classifier import EvidenceSpan, OutOfFold
from rubricator.models.entries import blocks, log_odds, on_labels
from rubricator.models.evidence import evidence_spans
from rubricator.models.model_files import read_json, write_json
from rubricator.models.scores.out_of_fold import OutOfFoldTable
from rubricator.models.trained_model import TrainedModel
from rubricator.nlp.contexts import Context
from rubricator.nlp.errors import RubricatorError

if TYPE_CHECKING:
    from rubricator.nlp.examples import Examples
    from rubricator.nlp.units import UnitName

Ints = NDArray[np.int64]
_LEAST = 1e-4  # a lower probability counts as this one, so that a single member cannot rule out a label
_ENTRIES = 2_000_000  # enough to learn a few weights from


class EnsembleError(RubricatorError):
    """Members that cannot be averaged; says why."""


class EnsembleMembersError(EnsembleError):
    """Fewer than two different members."""

    def __init__(self) -> None:
        super().__init__("an ensemble needs at least two different members (the setting `members`)")


class EnsembleTrainingError(EnsembleError):
    """`fit` was called on an ensemble, which does not learn from examples itself."""

    def __init__(self) -> None:
        super().__init__(
            "an ensemble is made of registered models (the setting `members`) and is not trained on examples itself"
        )


class NoGainError(EnsembleError):
    """An ensemble that is not better than its best member, while the setting `must_win` is true."""


class EnsembleSettings(BaseModel):
    """Which models are averaged, and when the ensemble is registered."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    members: Annotated[
        tuple[str, ...], BeforeValidator(lambda given: given.split(",") if isinstance(given, str) else given)
    ] = Field(
        default=(),
        description="Registered models to average, at least two, separated by commas: each as NAME, NAME@ALIAS or "
        "NAME/VERSION.",
    )
    must_win: bool = Field(
        default=True,
        description="Whether the ensemble is registered only if its micro-F1 is better than that of its best member "
        "(95 % interval of the difference above 0).",
    )


class Member(NamedTuple):
    """A registered model, its name as NAME/VERSION, and its out-of-fold predictions from cross-validation."""

    name: str
    model: TrainedModel
    held_out: OutOfFoldTable


class EnsembleClassifier:
    """The weighted mean of its members' calibrated log-odds. A member counts only for the labels that it knows."""

    def __init__(
        self,
        labels: Sequence[str],
        settings: EnsembleSettings,
        *,
        members: Sequence[TrainedModel] = (),
        weights: Sequence[float] = (),
    ) -> None:
        self.labels = list(labels)
        self.settings: BaseModel = settings
        self.members = list(members)
        self.weights = list(weights)
        self.out_of_fold: OutOfFold | None = None

    @property
    def requirements(self) -> tuple[str, ...]:
        """Packages that its members need for prediction."""
        return tuple(
            sorted({name for each in self.members for name in getattr(each.classifier, "requirements", ())})
        )

    @staticmethod
    def default_settings(_unit: "UnitName", /) -> EnsembleSettings:
        """No members; the user must name them."""
        return EnsembleSettings()

    def fit(self, _examples: "Examples") -> NoReturn:
        """Raises EnsembleTrainingError: the members were trained before (see train_ensemble)."""
        raise EnsembleTrainingError

    def predict_proba(
        self, texts: Sequence[str], *, contexts: Sequence[Context] | None = None
    ) -> NDArray[np.float32]:
        """Weighted mean log-odds of the members as probabilities, float32 (texts, labels).

        0 for a label that no member knows.
        """
        return average(
            [
                on_labels(member.predict_proba(texts, contexts=contexts), member.labels, self.labels)
                for member in self.members
            ],
            self.weights,
        )

    def evidence(
        self, texts: Sequence[str], labels: Sequence[Sequence[int]]
    ) -> list[list[list[EvidenceSpan]]]:
        """For each text and requested label: the spans of all members, weighted by member and merged."""
        found: list[list[list[EvidenceSpan]]] = [[[] for _ in asked] for asked in labels]
        for member, weight in zip(self.members, self.weights, strict=True):
            number = {label: own for own, label in enumerate(member.labels)}
            asked = [[at for at, label in enumerate(row) if self.labels[label] in number] for row in labels]
            own = [
                [number[self.labels[row[at]]] for at in kept] for row, kept in zip(labels, asked, strict=True)
            ]
            for of_text, kept, spans in zip(found, asked, member.evidence(texts, own), strict=True):
                for at, of_label in zip(kept, spans, strict=True):
                    of_text[at] += [replace(span, weight=span.weight * weight) for span in of_label]
        return [[_merged(of_label) for of_label in of_text] for of_text in found]

    def save(self, folder: Path) -> None:
        """Write classifier.json, and each member as a whole model in members/0, members/1, …"""
        write_json(
            folder / "classifier.json",
            {
                "labels": self.labels,
                "settings": self.settings.model_dump(mode="json"),
                "weights": self.weights,
            },
        )
        for number, member in enumerate(self.members):
            member.save(folder / "members" / str(number))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what save wrote."""
        config = read_json(folder / "classifier.json")
        settings = EnsembleSettings.model_validate(config["settings"])
        members = [
            TrainedModel.load(folder / "members" / str(number)) for number in range(len(settings.members))
        ]
        return cls(config["labels"], settings, members=members, weights=config["weights"])


def average(probabilities: Sequence[NDArray[np.float32]], weights: Sequence[float]) -> NDArray[np.float32]:
    """sigmoid of the weighted mean log-odds of calibrated probabilities, each (rows, labels).

    A probability of exactly 0 is no vote. The result is 0 where there is no vote.
    """
    averaged = np.zeros_like(probabilities[0])
    for rows in blocks(*averaged.shape):
        total, votes = np.zeros((2, *averaged[rows].shape), np.float32)
        for each, weight in zip(probabilities, weights, strict=True):
            total += np.float32(weight) * _votes(each[rows])
            votes += np.float32(weight) * (each[rows] > 0)
        mean = total / np.where(votes > 0, votes, 1)
        averaged[rows] = np.where(votes > 0, expit(mean), 0)
    return averaged


def fit_weights(
    targets: csr_matrix, probabilities: Sequence[NDArray[np.float32]], rows: Ints, *, least: float = 0.01
) -> list[float]:
    """Weights of the members, of sum 1, by a logistic regression on their log-odds (stacking, Ting & Witten 1999).

    It is fitted on the entries of these rows in which all members have a vote. With many entries it is fitted on a
    random sample of the rows. No weight is negative.

    least: smallest weight, before the weights are scaled to sum 1. It keeps the labels that only one member knows.
    """
    drawn = np.random.default_rng(0).permutation(rows)[: max(1, _ENTRIES // targets.shape[1])]
    known = np.logical_and.reduce([each[drawn] > 0 for each in probabilities])
    scores = np.stack([_votes(each[drawn][known]) for each in probabilities], axis=1).astype(np.float64)
    truth = targets[drawn].toarray()[known].astype(np.float64)

    def loss(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        found = scores @ values[:-1] + values[-1]
        error = expit(found) - truth
        gradient = np.append(scores.T @ error, error.sum())
        return float((np.logaddexp(0, found) - truth * found).sum()), gradient

    members = len(probabilities)
    start = np.append(np.full(members, 1 / members), 0)
    bounds = [(least, None)] * members + [(None, None)]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x[:-1]
    weights: list[float] = (found / found.sum()).tolist()
    return weights


def _votes(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """Log-odds, 0 where there is no vote."""
    return np.where(probabilities > 0, log_odds(probabilities, least=_LEAST), 0)


def _merged(spans: Sequence[EvidenceSpan]) -> list[EvidenceSpan]:
    """Spans that do not overlap: each is cut where another begins or ends, and its weight is divided by length."""
    cuts = np.unique([edge for span in spans for edge in (span.start, span.end)])
    offsets = np.stack([cuts[:-1], cuts[1:]], axis=1).astype(np.int64)
    parts = np.zeros(len(offsets))
    for span in spans:
        within = slice(np.searchsorted(cuts, span.start), np.searchsorted(cuts, span.end))
        length = offsets[within, 1] - offsets[within, 0]
        parts[within] += span.weight * length / (span.end - span.start)
    return evidence_spans(offsets, parts)
