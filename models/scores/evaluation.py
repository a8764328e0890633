"""Figures of merit with bootstrap confidence intervals over groups.

Conventions, since papers differ and seldom say:
- micro: over all entries of (rows × labels). macro: mean over all given labels; a label that is neither true nor
  predicted in any row counts as F1 0. macro_f1_of_means is the harmonic mean of macro precision and macro
  recall (as in CAML). at_half: predicted where the probability is at least 0.5, whatever the thresholds.
- AUROC and AUPRC (average precision) macro: mean over labels that have both classes.
- P@k: true labels among the k best of a row, over k. MAP: over rows that have a label, with all labels
  ranked; of equal probabilities the first label ranks first.
- ece: expected calibration error, the mean of |mean probability - share of positives| over ten bins of equal width,
  weighted by their number of entries. ece_predicted: of the predicted entries only.
- Buckets: labels by their number of positives in training. recall_at_15: share of their true entries whose label is
  among the 15 best of the row, all labels ranked.
- Intervals: see bootstrap.py.

Targets and decisions are sparse, and probabilities are processed in blocks. So nothing here takes more memory of the
size (rows × labels).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from rubricator.models.scores.areas import area_figures
from rubricator.models.scores.bootstrap import Estimate, estimate, resample
from rubricator.models.scores.figures import BUCKET_FIGURES, summed_figures
from rubricator.models.scores.sums import Array, Ints, ones, ratio, sums

BUCKETS = {"0": (0, 0), "1-10": (1, 10), "11-50": (11, 50), ">50": (51, np.inf)}  # positives in training


@dataclass(frozen=True, slots=True)
class LabelScore:
    """One label: how often it is true (support) and predicted, and how well it is predicted."""

    label: str
    support: int
    predicted: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True)
class Bucket:
    """The labels of a bucket: their number, their number of true entries in these rows, and their figures."""

    labels: int
    positives: int
    metrics: dict[str, Estimate]  # micro_f1, macro_f1, recall_at_15; none where there are no true entries


@dataclass(frozen=True)
class Evaluation:
    """All figures by name. A figure that is undefined on these rows, such as AUROC of one class, is left out."""

    metrics: dict[str, Estimate]
    per_label: list[LabelScore]
    counts: dict[str, int]  # rows, groups, labels, positives
    buckets: dict[str, Bucket] = field(default_factory=dict)  # where the positives in training are known

    def values(self) -> dict[str, float]:
        """The figures without intervals."""
        return {name: found.value for name, found in self.metrics.items()}

    def rows(self) -> list[tuple[str, str, str]]:
        """(name, value, interval) as text, for a table."""
        return [
            (name, f"{found.value:.3f}", f"{found.low:.3f}-{found.high:.3f}" if found.resamples else "")
            for name, found in self.metrics.items()
        ]

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON types."""
        return asdict(self)


def evaluate(
    targets: csr_matrix,
    probabilities: NDArray[np.float32],
    decisions: NDArray[np.bool_] | csr_matrix,
    groups: Ints,
    labels: Sequence[str],
    *,
    training_positives: Ints | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Score calibrated probabilities and decisions (rows, labels) against 0/1 targets of the same shape.

    groups: (rows,), what is resampled. training_positives: (labels,), for the buckets. bootstrap: number of resamples,
    0 for no intervals.
    """
    truth, decided = ones(targets), ones(decisions)
    names, group = np.unique(groups, return_inverse=True)
    buckets = {} if training_positives is None else _members(training_positives)
    summed = summed_figures(truth, probabilities, decided, group, buckets)
    areas = area_figures(truth, probabilities, group)

    def figures(weights: Array) -> dict[str, Array]:
        return summed(weights) | areas(weights)

    found = figures(np.ones((1, len(names))))
    drawn = resample(figures, len(names), bootstrap, seed)
    estimates = {
        name: estimate(float(value[0]), drawn.get(name, np.zeros(0)))
        for name, value in found.items()
        if np.isfinite(value[0])
    }
    positives = sums(truth, 0)
    in_buckets = {
        bucket: Bucket(len(members), int(positives[members].sum()), _taken_out(estimates, bucket))
        for bucket, members in buckets.items()
    }
    return Evaluation(
        metrics=estimates,
        per_label=_label_scores(truth, decided, labels),
        counts={
            "rows": truth.shape[0],
            "groups": len(names),
            "labels": len(labels),
            "positives": int(positives.sum()),
        },
        buckets=in_buckets,
    )


def _members(training_positives: Ints) -> dict[str, Ints]:
    """The label numbers of each bucket."""
    return {
        name: np.flatnonzero((training_positives >= low) & (training_positives <= high))
        for name, (low, high) in BUCKETS.items()
    }


def _taken_out(estimates: dict[str, Estimate], bucket: str) -> dict[str, Estimate]:
    """The figures of a bucket, taken out of all figures."""
    return {
        name: estimates.pop(f"{bucket}/{name}") for name in BUCKET_FIGURES if f"{bucket}/{name}" in estimates
    }


def _label_scores(truth: csr_matrix, decided: csr_matrix, labels: Sequence[str]) -> list[LabelScore]:
    hits, predicted, there = (sums(entries, 0) for entries in (truth.multiply(decided), decided, truth))
    precision, recall = ratio(hits, predicted).tolist(), ratio(hits, there).tolist()
    f1 = ratio(2 * hits, predicted + there).tolist()
    return [
        LabelScore(
            label=label,
            support=int(there[number]),
            predicted=int(predicted[number]),
            precision=precision[number],
            recall=recall[number],
            f1=f1[number],
        )
        for number, label in enumerate(labels)
    ]
