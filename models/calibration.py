"""Calibrated probabilities, decision thresholds and routing, fitted on held-in predictions only.

Few positives per label is the normal case, so labels share strength: each label's Platt scaling is pulled
toward the one fitted on all labels, and each label's threshold toward the global one by its number of
positives. What the other labels of a text say of a label is learnt for all labels together.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy.sparse import csr_matrix

from rubricator.models.label_dependence import LabelDependence

Array = NDArray[np.float64]
DECISIONS = np.array(["reject", "review", "accept"])


class CalibrationSettings(BaseModel):
    """How strongly labels share, and when a prediction may be accepted without review."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prior_strength: float = Field(default=4.0, gt=0)  # pull of a label's scaling toward the shared one
    shared_threshold_weight: float = Field(
        default=10.0, ge=0
    )  # positives at which a label's own threshold counts half
    accept_precision: float = Field(
        default=0.95, gt=0, lt=1
    )  # held-in precision that automatic acceptance needs
    dependence: bool = True  # what other labels of the text say of a label counts, where there are several


@dataclass(frozen=True)
class Calibration:
    """Per label: probability = sigmoid(slope · logit(raw) + offset), and its thresholds. All arrays float64
    (labels,). dependence: what changes these probabilities by one another, if anything.

    A raw probability of exactly 0 says that the label is unknown: it stays 0 and is rejected. A label without
    positives that has raw probabilities all the same gets the scaling and the threshold that all share. accept is
    infinite where precision never reaches the target.
    """

    slope: Array
    offset: Array
    decision: Array
    accept: Array
    positives: NDArray[np.int64]
    dependence: LabelDependence | None = None

    @classmethod
    def fit(cls, targets: csr_matrix, raw: NDArray[np.float32], settings: CalibrationSettings) -> Self:
        """Fit on raw probabilities (rows, labels) of models that did not see those rows."""
        truth = targets.toarray().astype(bool)
        positives = truth.sum(axis=0)
        scores, known = _logit(raw), raw > 0  # 0: the label had no positives where that row was held out
        usable = known.any(axis=0)
        shared = _platt(scores[known][:, None], truth[known][:, None], known[known][:, None])
        slope, offset = _platt(scores, truth, known, prior=shared[:, 0], strength=settings.prior_strength)
        unseen = ~(truth & known).any(axis=0)
        slope[unseen], offset[unseen] = shared[:, 0]
        scaled = cls(slope, offset, np.zeros_like(slope), np.zeros_like(slope), positives)
        probabilities = scaled.apply(raw)
        dependence = LabelDependence.fit(targets, probabilities) if settings.dependence else None
        probabilities = dependence.apply(probabilities) if dependence else probabilities
        everywhere = _best_threshold(probabilities[:, usable].ravel(), truth[:, usable].ravel(), default=0.5)
        decision = np.full(len(slope), everywhere)
        weight = positives / (positives + settings.shared_threshold_weight + 1e-12)
        for label in np.flatnonzero(usable & (positives > 0)):
            own = _best_threshold(probabilities[:, label], truth[:, label], default=everywhere)
            decision[label] = _sigmoid(weight[label] * _logit(own) + (1 - weight[label]) * _logit(everywhere))
        accept = _precise_threshold(
            probabilities[:, usable].ravel(), truth[:, usable].ravel(), settings.accept_precision
        )
        return cls(slope, offset, decision, np.maximum(accept, decision), positives, dependence)

    def apply(self, raw: NDArray[np.float32]) -> NDArray[np.float32]:
        """Calibrated probabilities, float32 (rows, labels); 0 stays 0."""
        scaled = _sigmoid(self.slope * _logit(raw) + self.offset)
        probabilities = np.where(raw > 0, scaled, 0).astype(np.float32)
        return self.dependence.apply(probabilities) if self.dependence else probabilities

    def decide(self, probabilities: NDArray[np.float32]) -> NDArray[np.str_]:
        """reject (under the decision threshold), review, or accept, for each probability (rows, labels)."""
        positive = self.positive(probabilities)
        accepted = positive & (probabilities >= self.accept)
        chosen: NDArray[np.str_] = DECISIONS[positive.astype(int) + accepted]
        return chosen

    def positive(self, probabilities: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which probabilities (rows, labels) are at or over their decision threshold."""
        return (probabilities >= self.decision) & (probabilities > 0)

    def to_json(self) -> list[dict[str, Any]]:
        """One object per label; accept is null where no probability is ever accepted."""
        return [
            {
                "positives": int(positives),
                "slope": slope,
                "offset": offset,
                "decision": decision,
                "accept": accept if np.isfinite(accept) else None,
            }
            for positives, slope, offset, decision, accept in zip(
                self.positives,
                *(a.tolist() for a in (self.slope, self.offset, self.decision, self.accept)),
                strict=True,
            )
        ]

    @classmethod
    def from_json(cls, rows: list[dict[str, Any]], dependence: dict[str, Any] | None = None) -> Self:
        """What to_json wrote, and LabelDependence.to_json."""
        columns = {
            name: np.array([np.inf if row[name] is None else row[name] for row in rows], np.float64)
            for name in ("slope", "offset", "decision", "accept")
        }
        return cls(
            **columns,
            positives=np.array([row["positives"] for row in rows], np.int64),
            dependence=LabelDependence.from_json(dependence, labels=len(rows)) if dependence else None,
        )


def _logit(probability: Any) -> Any:
    clipped = np.clip(np.asarray(probability, np.float64), 1e-7, 1 - 1e-7)
    return np.log(clipped) - np.log1p(-clipped)


def _sigmoid(score: Any) -> Any:
    return 1 / (1 + np.exp(-score))


def _platt(
    scores: Array,
    truth: NDArray[np.bool_],
    known: NDArray[np.bool_],
    *,
    prior: Array | None = None,
    strength: float = 1e-6,
) -> Array:
    """Slope and offset (2, columns) by Platt scaling (Platt 1999, with his smoothed targets) and a Gaussian prior.

    scores, truth, known: (rows, columns); what is not known does not count. prior: (2,), slope and offset to be
    pulled toward with this strength; None means slope 1 and the column's own base rate.
    """
    with_label, without = (truth & known).sum(axis=0), (~truth & known).sum(axis=0)
    wanted = np.where(truth, (with_label + 1) / (with_label + 2), 1 / (without + 2))
    scores = np.where(known, scores, 0)
    if prior is None:
        centre = np.stack([np.ones(scores.shape[1]), np.log((with_label + 1) / (without + 1))])
    else:
        centre = np.repeat(np.reshape(prior, (2, 1)), scores.shape[1], axis=1)
    slope, offset = centre
    for _ in range(30):
        probability = _sigmoid(slope * scores + offset)
        error, curve = known * (probability - wanted), known * probability * (1 - probability)
        gradient_slope = (error * scores).sum(axis=0) + strength * (slope - centre[0])
        gradient_offset = error.sum(axis=0) + strength * (offset - centre[1])
        slope_slope = (curve * scores**2).sum(axis=0) + strength
        slope_offset = (curve * scores).sum(axis=0)
        offset_offset = curve.sum(axis=0) + strength
        determinant = slope_slope * offset_offset - slope_offset**2
        step_slope = (offset_offset * gradient_slope - slope_offset * gradient_offset) / determinant
        step_offset = (slope_slope * gradient_offset - slope_offset * gradient_slope) / determinant
        # a damped step: plain Newton overshoots where a label is nearly separable
        damping = 1 / np.maximum(1, np.hypot(step_slope, step_offset) / 2)
        slope, offset = slope - damping * step_slope, offset - damping * step_offset
        if max(abs(step_slope).max(initial=0), abs(step_offset).max(initial=0)) < 1e-8:
            break
    return np.stack([slope, offset])


def _best_threshold(probabilities: NDArray[np.float32], truth: NDArray[np.bool_], *, default: float) -> float:
    """The threshold with the best F1, half way to the next lower probability; default where nothing is
    true."""
    if not truth.any():
        return default
    order = np.argsort(-probabilities, kind="stable")
    ranked, hits = probabilities[order].astype(np.float64), np.cumsum(truth[order])
    f1 = 2 * hits / (np.arange(1, len(ranked) + 1) + truth.sum())
    below = np.append(ranked[1:], 0.0)
    f1[ranked == below] = -1  # not a cut: equal probabilities stay together
    best = int(np.argmax(f1))
    return float((ranked[best] + below[best]) / 2)


def _precise_threshold(probabilities: NDArray[np.float32], truth: NDArray[np.bool_], target: float) -> float:
    """The lowest probability from which on precision is at least the target, infinite where there is none.

    Fewer than 1 / (1 - target) predictions cannot show such a precision and do not count.
    """
    order = np.argsort(-probabilities, kind="stable")
    ranked = probabilities[order].astype(np.float64)
    count = np.arange(1, len(ranked) + 1)
    precise = np.cumsum(truth[order]) >= target * count
    cut = ranked != np.append(ranked[1:], -1.0)
    enough = np.flatnonzero(precise & cut & (count >= 1 / (1 - target) - 1e-9))
    return float(ranked[enough[-1]]) if len(enough) else np.inf
