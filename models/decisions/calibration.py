"""Calibrated probabilities, decision thresholds and routing, fitted on out-of-fold predictions only.

Most labels have few positives, so labels borrow strength from one another. The Platt scaling of a label is shrunk
toward the scaling fitted on all labels. The threshold of a label is shrunk toward the threshold of all labels: the
fewer positives the label has, the more. How the other labels of a text change the probability of a label is learnt on
all labels together (label_dependence.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy.sparse import csc_matrix, csr_matrix
from scipy.special import expit

from rubricator.models.decisions.label_dependence import LabelContext, LabelDependence
from rubricator.models.decisions.thresholds import TopK, best_threshold, precise_threshold
from rubricator.models.entries import blocks, log_odds

Array = NDArray[np.float64]
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
_ENTRIES = 1 << 19  # worked on at a time, as float64
_HELD = 1 << 22  # entries held at a time, as float32
_HELD_PER_TRUE = 20  # entries held for each true one, where that is more
_FEWEST_ROWS = 64  # in a block: each block reads the associations of all labels again
_BINS = 1 << 18  # of log-odds
_REACH = 17  # the log-odds of raw probabilities lie between -_REACH and _REACH


class CalibrationSettings(BaseModel):
    """How strongly labels borrow from one another, and when a prediction is accepted without review."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prior_strength: float = Field(
        default=4.0,
        gt=0,
        description="Strength (precision of the Gaussian prior) with which the Platt scaling of a label is shrunk "
        "toward that of all labels.",
    )
    shared_threshold_weight: float = Field(
        default=10.0,
        ge=0,
        description="Number of positives at which the label's own threshold and the threshold of all labels weigh the "
        "same. The larger, the closer are the thresholds of rare labels to that of all labels.",
    )
    accept_precision: float = Field(
        default=0.95,
        gt=0,
        lt=1,
        description="Precision on out-of-fold predictions that a probability must reach to be accepted without review.",
    )
    dependence: bool = Field(
        default=True,
        description="Whether the probability of a label also depends on the other labels of the text. It has no effect "
        "where there is one label.",
    )


@dataclass(frozen=True)
class Calibration:
    """Per label: probability = sigmoid(slope · logit(raw) + offset), and two thresholds. All arrays are (labels,).

    decision: threshold from which on a label is positive. accept: threshold from which on a positive is accepted
    without review. It is infinite where precision never reaches the target, and for a label without positives, whose
    precision is unknown. dependence: how the probabilities of a text change one another, None for not at all.

    A raw probability of exactly 0 means that the label is unknown: it stays 0 and is rejected. A label without
    positives can have raw probabilities too. It gets the scaling and the threshold of all labels.
    """

    slope: Array
    offset: Array
    decision: Array
    accept: Array
    positives: NDArray[np.int64]
    dependence: LabelDependence | None = None

    @classmethod
    def fit(cls, targets: csr_matrix, raw: Floats, settings: CalibrationSettings) -> Self:
        """Fit on 0/1 targets and raw probabilities, both (rows, labels), of models that were not trained on those rows.

        It works in blocks of rows or of labels. Besides `raw`, it holds in memory only the targets and the
        probabilities of the frequent labels (`LabelDependence`).

        The scaling and the threshold of all labels are fitted on all entries, with two approximations. Log-odds are
        collected in narrow bins, which moves the scaling by less than 1e-6. The threshold is searched among the
        highest probabilities, 20 for each true entry; a lower one could be better only where no F1 reaches 2 / 21.
        """
        truth = csr_matrix(targets, dtype=bool)
        truth.eliminate_zeros()
        of_label = truth.tocsc()
        shared = _platt(*_binned(truth, raw))
        slope, offset = np.repeat(shared, raw.shape[1], axis=1)
        known = np.zeros(raw.shape[1], bool)
        for some in blocks(raw.shape[1], len(raw), entries=_ENTRIES):
            given, true = np.ascontiguousarray(raw[:, some].T), of_label[:, some].T.toarray()
            known[some] = given.any(axis=1)  # 0: the label had no positives where that row was held out
            seen = np.flatnonzero((true & (given > 0)).any(axis=1))
            slope[some][seen], offset[some][seen] = _platt(
                log_odds(given[seen].astype(np.float64)),
                true[seen],
                given[seen] > 0,
                prior=shared,
                strength=settings.prior_strength,
            )
        positives = np.diff(of_label.indptr).astype(np.int64)
        fitted = cls(slope, offset, np.zeros_like(slope), np.zeros_like(slope), positives)
        if settings.dependence:
            scaled = fitted._scaled
            fitted = replace(fitted, dependence=LabelDependence.fit(truth, lambda rows: scaled(raw[rows])))
        return fitted._with_thresholds(of_label, raw, np.flatnonzero(known), settings)

    def apply(self, raw: Floats) -> Floats:
        """Calibrated probabilities, float32 (rows, labels); 0 stays 0."""
        probabilities = np.zeros(raw.shape, np.float32)
        for rows in blocks(*raw.shape, entries=_ENTRIES, least=_FEWEST_ROWS):
            labels = np.flatnonzero(raw[rows].any(axis=0))
            scaled = self._scaled(raw[rows, labels], labels)
            if self.dependence:
                context = self.dependence.context(scaled, labels)
                scaled = self.dependence.apply(scaled, labels, context)
            probabilities[rows, labels] = scaled
        return probabilities

    def decide(self, probabilities: Floats) -> NDArray[np.str_]:
        """For each probability (rows, labels): "reject" (below the decision threshold), "review" or "accept"."""
        chosen = np.full(probabilities.shape, "reject")
        chosen[self.positive(probabilities)] = "review"
        chosen[self.accepted(probabilities)] = "accept"
        return chosen

    def positive(self, probabilities: Floats) -> NDArray[np.bool_]:
        """Which probabilities (rows, labels) are at or over their decision threshold."""
        return (probabilities >= self.decision) & (probabilities > 0)

    def accepted(self, probabilities: Floats) -> NDArray[np.bool_]:
        """Which probabilities (rows, labels) are accepted without review."""
        return self.positive(probabilities) & (probabilities >= self.accept)

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
        """Read what to_json gave, and what LabelDependence.to_json gave."""
        columns = {
            name: np.array([np.inf if row[name] is None else row[name] for row in rows], np.float64)
            for name in ("slope", "offset", "decision", "accept")
        }
        return cls(
            **columns,
            positives=np.array([row["positives"] for row in rows], np.int64),
            dependence=LabelDependence.from_json(dependence, labels=len(rows)) if dependence else None,
        )

    def _scaled(self, raw: Floats, labels: Ints | slice = slice(None)) -> Floats:
        """Scaled probabilities (rows, these labels), without the dependence between labels."""
        scaled = expit(self.slope[labels] * log_odds(raw.astype(np.float64)) + self.offset[labels])
        return np.where(raw > 0, scaled, 0).astype(np.float32)

    def _with_thresholds(
        self, truth: csc_matrix, raw: Floats, known: Ints, settings: CalibrationSettings
    ) -> Self:
        """This calibration with fitted thresholds. known: numbers of the labels that have raw probabilities."""
        own = np.full(len(self.slope), np.nan)
        highest = TopK(max(_HELD, _HELD_PER_TRUE * int(self.positives[known].sum())))
        of_true = [np.zeros(0, np.float32)]
        for some, probabilities in self._by_label(raw, known):
            highest.add(probabilities)
            for label, column in zip(some, probabilities, strict=True):
                of_true.append(column[truth.indices[truth.indptr[label] : truth.indptr[label + 1]]])
                if len(of_true[-1]):
                    own[label] = best_threshold(np.sort(column), of_true[-1])
        rising, floor = highest.rising()
        true = np.concatenate(of_true)
        everywhere = best_threshold(rising, true, floor=floor) if len(true) else 0.5
        weight = self.positives / (self.positives + settings.shared_threshold_weight + 1e-12)
        mixed = expit(weight * log_odds(own) + (1 - weight) * log_odds(np.array(everywhere)))
        decision = np.where(np.isnan(own), everywhere, mixed)
        precise = precise_threshold(rising, true, settings.accept_precision)
        accept = np.where(self.positives > 0, np.maximum(precise, decision), np.inf)
        return replace(self, decision=decision, accept=accept)

    def _by_label(self, raw: Floats, labels: Ints) -> Iterator[tuple[Ints, Floats]]:
        """Blocks of these labels, each with its calibrated probabilities (labels of the block, rows)."""
        dependence, context = self.dependence, self._context(raw)
        for at in blocks(len(labels), len(raw), entries=_HELD):
            some = labels[at]
            probabilities = np.empty((len(some), len(raw)), np.float32)
            for rows in blocks(len(raw), max(len(some), context.frequent.shape[1]), entries=_ENTRIES):
                scaled = self._scaled(raw[rows, some], some)
                if dependence:
                    scaled = dependence.apply(scaled, some, context.of(rows))
                probabilities[:, rows] = scaled.T
            yield some, probabilities

    def _context(self, raw: Floats) -> LabelContext:
        """The context of all rows; without frequent labels where there is no dependence."""
        if not self.dependence:
            return LabelContext.empty(len(raw), 0)
        context = LabelContext.empty(len(raw), len(self.dependence.frequent))
        for rows in blocks(*raw.shape, entries=_ENTRIES):
            labels = np.arange(raw.shape[1])
            context.put(rows, self.dependence.context(self._scaled(raw[rows]), labels))
        return context


def _binned(truth: csr_matrix, raw: Floats) -> tuple[Array, NDArray[np.bool_], Array]:
    """Log-odds of all known entries in narrow bins, separately for true and false entries.

    For each bin that is not empty: the mean, whether its entries are true, and their number, each (1, bins).
    """
    number, total = np.zeros((2, 2 * _BINS))
    for rows in blocks(*raw.shape, entries=_ENTRIES):
        known = raw[rows] > 0
        scores = log_odds(raw[rows][known].astype(np.float64))
        bins = ((scores + _REACH) * (_BINS / (2 * _REACH))).astype(np.int64)
        bins += _BINS * truth[rows].toarray()[known]
        number += np.bincount(bins, minlength=len(number))
        total += np.bincount(bins, scores, len(number))
    filled = np.flatnonzero(number)
    return (total[filled] / number[filled])[None], (filled >= _BINS)[None], number[filled][None]


def _platt(
    scores: Array,
    truth: NDArray[np.bool_],
    count: NDArray[Any],
    *,
    prior: Array | None = None,
    strength: float = 1e-6,
) -> Array:
    """Slopes and offsets (2, labels) by Platt scaling (Platt 1999, with his smoothed targets) and a Gaussian prior.

    scores, truth, count: (labels, entries). count: how often an entry counts, 0 where the label is not known. prior:
    (2, 1), mean of the prior for slope and offset; None for slope 1 and the label's own base rate. strength: precision
    of the prior.
    """
    with_label, without = (count * truth).sum(axis=1), (count * ~truth).sum(axis=1)
    wanted = np.where(truth, ((with_label + 1) / (with_label + 2))[:, None], (1 / (without + 2))[:, None])
    centre = np.stack([np.ones(len(scores)), np.log((with_label + 1) / (without + 1))])
    if prior is not None:
        centre = np.repeat(prior, len(scores), axis=1)
    slope, offset = centre
    for _ in range(30):
        probability = expit(slope[:, None] * scores + offset[:, None])
        error, curve = count * (probability - wanted), count * probability * (1 - probability)
        curve_scores = curve * scores
        gradient_slope = (error * scores).sum(axis=1) + strength * (slope - centre[0])
        gradient_offset = error.sum(axis=1) + strength * (offset - centre[1])
        slope_slope = (curve_scores * scores).sum(axis=1) + strength
        slope_offset = curve_scores.sum(axis=1)
        offset_offset = curve.sum(axis=1) + strength
        determinant = slope_slope * offset_offset - slope_offset**2
        step_slope = (offset_offset * gradient_slope - slope_offset * gradient_offset) / determinant
        step_offset = (slope_slope * gradient_offset - slope_offset * gradient_slope) / determinant
        # a damped step: plain Newton overshoots where a label is nearly separable
        damping = 1 / np.maximum(1, np.hypot(step_slope, step_offset) / 2)
        slope, offset = slope - damping * step_slope, offset - damping * step_offset
        if max(abs(step_slope).max(initial=0), abs(step_offset).max(initial=0)) < 1e-8:
            break
    return np.stack([slope, offset])
