"""Calibrated probabilities, decision thresholds and routing, fitted on out-of-fold predictions only.

Few positives per label is the normal case, so labels share strength: each label's Platt scaling is pulled
toward the one fitted on all labels, and each label's threshold toward the global one by its number of
positives. What the other labels of a text say of a label is learnt for all labels together.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy.sparse import csc_matrix, csr_matrix

from rubricator.models.decisions.label_dependence import Company, LabelDependence
from rubricator.models.decisions.thresholds import Highest, best_threshold, precise_threshold
from rubricator.models.entries import blocks, log_odds

Array = NDArray[np.float64]
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
_CELLS = 1 << 19  # worked on at a time, as float64
_HELD = 1 << 22  # cells held at a time, as float32
_HELD_PER_TRUE = 20  # cells among which a threshold for all is looked for, where that is more
_FEWEST_ROWS = 64  # applied to at a time, where it can be: associations of labels are read for each block
_BINS = 1 << 18  # of log-odds
_REACH = 17  # log-odds of raw probabilities lie within


class CalibrationSettings(BaseModel):
    """How strongly labels share, and when a prediction may be accepted without review."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prior_strength: float = Field(default=4.0, gt=0)  # pull of a label's scaling toward the shared one
    shared_threshold_weight: float = Field(
        default=10.0, ge=0
    )  # positives at which a label's own threshold counts half
    accept_precision: float = Field(
        default=0.95, gt=0, lt=1
    )  # out-of-fold precision that automatic acceptance needs
    dependence: bool = True  # what other labels of the text say of a label counts, where there are several


@dataclass(frozen=True)
class Calibration:
    """Per label: probability = sigmoid(slope · logit(raw) + offset), and its thresholds. All arrays float64
    (labels,). dependence: what changes these probabilities by one another, if anything.

    A raw probability of exactly 0 says that the label is unknown: it stays 0 and is rejected. A label without
    positives that has raw probabilities all the same gets the scaling and the threshold that all share. accept is
    infinite where precision never reaches the target, and for a label without positives: nothing shows its precision.
    """

    slope: Array
    offset: Array
    decision: Array
    accept: Array
    positives: NDArray[np.int64]
    dependence: LabelDependence | None = None

    @classmethod
    def fit(cls, targets: csr_matrix, raw: Floats, settings: CalibrationSettings) -> Self:
        """Fit on raw probabilities (rows, labels) of models that did not see those rows.

        Goes through blocks of rows or labels: beside raw it holds what is true, and the probabilities of the frequent
        labels (`LabelDependence`). What all labels share is learnt from all cells, with two short cuts: log-odds are
        gathered in narrow bins (which moves the scaling by less than 1e-6), and a threshold is looked for among the
        highest probabilities, 20 for each true cell (another one could be better only where no F1 reaches 2 / 21).
        """
        truth = csr_matrix(targets, dtype=bool)
        truth.eliminate_zeros()
        of_label = truth.tocsc()
        shared = _platt(*_binned(truth, raw))
        slope, offset = np.repeat(shared, raw.shape[1], axis=1)
        known = np.zeros(raw.shape[1], bool)
        for some in blocks(raw.shape[1], len(raw), cells=_CELLS):
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
        for rows in blocks(*raw.shape, cells=_CELLS, least=_FEWEST_ROWS):
            labels = np.flatnonzero(raw[rows].any(axis=0))
            scaled = self._scaled(raw[rows, labels], labels)
            if self.dependence:
                scaled = self.dependence.apply(scaled, labels, self.dependence.company(scaled, labels))
            probabilities[rows, labels] = scaled
        return probabilities

    def decide(self, probabilities: Floats) -> NDArray[np.str_]:
        """reject (under the decision threshold), review, or accept, for each probability (rows, labels)."""
        chosen = np.full(probabilities.shape, "reject")
        chosen[self.positive(probabilities)] = "review"
        chosen[self.accepted(probabilities)] = "accept"
        return chosen

    def positive(self, probabilities: Floats) -> NDArray[np.bool_]:
        """Which probabilities (rows, labels) are at or over their decision threshold."""
        return (probabilities >= self.decision) & (probabilities > 0)

    def accepted(self, probabilities: Floats) -> NDArray[np.bool_]:
        """Which of them are positive without review."""
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

    def _scaled(self, raw: Floats, labels: Ints | slice = slice(None)) -> Floats:
        """Probabilities (rows, some), of these labels, before they heed one another."""
        scaled = _sigmoid(self.slope[labels] * log_odds(raw.astype(np.float64)) + self.offset[labels])
        return np.where(raw > 0, scaled, 0).astype(np.float32)

    def _with_thresholds(
        self, truth: csc_matrix, raw: Floats, known: Ints, settings: CalibrationSettings
    ) -> Self:
        """known: labels that have raw probabilities."""
        own = np.full(len(self.slope), np.nan)
        highest = Highest(max(_HELD, _HELD_PER_TRUE * int(self.positives[known].sum())))
        of_true = [np.zeros(0, np.float32)]
        for some, probabilities in self._by_label(raw, known):
            highest.add(probabilities)
            for label, cells in zip(some, probabilities, strict=True):
                of_true.append(cells[truth.indices[truth.indptr[label] : truth.indptr[label + 1]]])
                if len(of_true[-1]):
                    own[label] = best_threshold(np.sort(cells), of_true[-1])
        cells, floor = highest.rising()
        true = np.concatenate(of_true)
        everywhere = best_threshold(cells, true, floor=floor) if len(true) else 0.5
        weight = self.positives / (self.positives + settings.shared_threshold_weight + 1e-12)
        mixed = _sigmoid(weight * log_odds(own) + (1 - weight) * log_odds(np.array(everywhere)))
        decision = np.where(np.isnan(own), everywhere, mixed)
        precise = precise_threshold(cells, true, settings.accept_precision)
        accept = np.where(self.positives > 0, np.maximum(precise, decision), np.inf)
        return replace(self, decision=decision, accept=accept)

    def _by_label(self, raw: Floats, labels: Ints) -> Iterator[tuple[Ints, Floats]]:
        """Some of these labels at a time, and their calibrated probabilities (some, rows)."""
        dependence, company = self.dependence, self._company(raw)
        for at in blocks(len(labels), len(raw), cells=_HELD):
            some = labels[at]
            probabilities = np.empty((len(some), len(raw)), np.float32)
            for rows in blocks(len(raw), max(len(some), company.frequent.shape[1]), cells=_CELLS):
                scaled = self._scaled(raw[rows, some], some)
                if dependence:
                    scaled = dependence.apply(scaled, some, company.of(rows))
                probabilities[:, rows] = scaled.T
            yield some, probabilities

    def _company(self, raw: Floats) -> Company:
        """Of all rows; empty where labels do not heed one another."""
        if not self.dependence:
            return Company.empty(len(raw), 0)
        company = Company.empty(len(raw), len(self.dependence.frequent))
        for rows in blocks(*raw.shape, cells=_CELLS):
            labels = np.arange(raw.shape[1])
            company.put(rows, self.dependence.company(self._scaled(raw[rows]), labels))
        return company


def _sigmoid(score: Any) -> Any:
    return 1 / (1 + np.exp(-score))


def _binned(truth: csr_matrix, raw: Floats) -> tuple[Array, NDArray[np.bool_], Array]:
    """Log-odds of all known cells in narrow bins, true ones apart: means, whether true, and numbers, each (1, bins)."""
    number, total = np.zeros((2, 2 * _BINS))
    for rows in blocks(*raw.shape, cells=_CELLS):
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

    scores, truth, count: (labels, cells); count: how often a cell counts, 0 where it is not known. prior: (2, 1), slope
    and offset to be pulled toward with this strength; None means slope 1 and the label's own base rate.
    """
    with_label, without = (count * truth).sum(axis=1), (count * ~truth).sum(axis=1)
    wanted = np.where(truth, ((with_label + 1) / (with_label + 2))[:, None], (1 / (without + 2))[:, None])
    centre = np.stack([np.ones(len(scores)), np.log((with_label + 1) / (without + 1))])
    if prior is not None:
        centre = np.repeat(prior, len(scores), axis=1)
    slope, offset = centre
    for _ in range(30):
        probability = _sigmoid(slope[:, None] * scores + offset[:, None])
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
