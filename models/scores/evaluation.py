"""Figures of merit with bootstrap confidence intervals over groups.

Conventions, since papers differ and seldom say:
- micro: over all cells of (rows × labels). macro: mean over all labels asked about; a label that is neither
  there nor predicted counts as F1 0. macro_f1_of_means is the harmonic mean of macro precision and macro
  recall (as in CAML). at_half: decided by a probability of at least 0.5, whatever the thresholds.
- AUROC and AUPRC (average precision) macro: mean over labels that have both classes.
- P@k: true labels among the k best of a row, over k. MAP: over rows that have a label, with all labels
  ranked; of equal probabilities the first label ranks first.
- ece: |mean probability - share of positives| over ten equal bins, all cells; ece_predicted: predicted cells
  only.
- Buckets: labels by their number of positives in training. recall_at_15: share of their true cells whose label is
  among the 15 best of the row, all labels ranked.
- Interval: 2.5 % to 97.5 % of resamples of whole groups with replacement. Macro means, AUROC and AUPRC are resampled
  through their first-order expansion in the weights of the groups (the infinitesimal jackknife; for AUROC that is
  Obuchowski 1997): scored on each resample, labels with few positives drift away from their value on the sample.

What is true and what is decided is sparse, and probabilities are gone through in blocks: nothing here takes memory of
the size of (rows × labels).
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, vstack

from rubricator.models.entries import blocks

Array = NDArray[np.float64]
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Decisions = NDArray[np.bool_] | csr_matrix
Matrix = TypeVar("Matrix", NDArray[Any], csr_matrix)
BUCKETS = {"0": (0, 0), "1-10": (1, 10), "11-50": (11, 50), ">50": (51, np.inf)}  # positives in training
_CUTS = (1, 5, 8, 15)  # of P@k
_BINS = 10


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its 95 % confidence interval."""

    value: float
    low: float
    high: float
    resamples: int


@dataclass(frozen=True, slots=True)
class LabelScore:
    """One label: how often it is there and predicted, and how well."""

    label: str
    support: int
    predicted: int
    precision: float
    recall: float
    f1: float
    threshold: float | None


@dataclass(frozen=True, slots=True)
class Bucket:
    """The labels with so many positives in training: their number, their true cells here, and their figures."""

    labels: int
    positives: int
    metrics: dict[str, Estimate]  # micro_f1, macro_f1, recall_at_15; none where there are no true cells


@dataclass(frozen=True)
class Evaluation:
    """All figures by name (one that is undefined on these rows, such as AUROC of one class, is left out)."""

    metrics: dict[str, Estimate]
    per_label: list[LabelScore]
    counts: dict[str, int]  # rows, groups, labels, positives
    buckets: dict[str, Bucket] = field(default_factory=dict)  # where the positives in training are known

    def values(self) -> dict[str, float]:
        """The figures without intervals."""
        return {name: estimate.value for name, estimate in self.metrics.items()}

    def rows(self) -> list[tuple[str, str, str]]:
        """(name, value, interval) as text, for a table."""
        return [
            (
                name,
                f"{estimate.value:.3f}",
                f"{estimate.low:.3f}-{estimate.high:.3f}" if estimate.resamples else "",
            )
            for name, estimate in self.metrics.items()
        ]

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON types."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """Micro-F1 of b minus that of a on the same rows; worse: the share of resamples under 0."""

    difference: float
    low: float
    high: float
    worse: float
    resamples: int


def evaluate(
    targets: csr_matrix,
    probabilities: Floats,
    decisions: Decisions,
    groups: Ints,
    labels: Sequence[str],
    *,
    thresholds: Array | None = None,
    training_positives: Ints | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Score calibrated probabilities and decisions (rows, labels) against 0/1 targets of the same shape.

    groups: (rows,), what is resampled. thresholds: (labels,), only for the table by label. training_positives:
    (labels,), for the buckets. bootstrap 0: no intervals.
    """
    truth, decided = _cells(targets), _cells(decisions)
    names, group = np.unique(groups, return_inverse=True)
    there = _sums(truth, 0)
    buckets = {} if training_positives is None else _members(training_positives)
    summed = _summed_figures(truth, probabilities, decided, group, buckets)
    ranked = _ranked_figures(truth, probabilities, group)

    def figures(weights: Array) -> dict[str, Array]:
        return summed(weights) | ranked(weights)

    found = figures(np.ones((1, len(names))))
    drawn = _resample(figures, len(names), bootstrap, seed)
    estimates = {
        name: _estimate(float(value[0]), drawn.get(name, np.zeros(0)))
        for name, value in found.items()
        if np.isfinite(value[0])
    }
    in_buckets = {
        bucket: Bucket(
            labels=len(members),
            positives=int(there[members].sum()),
            metrics={
                name: estimates.pop(f"{bucket}/{name}") for name in _OF_BUCKETS if f"{bucket}/{name}" in found
            },
        )
        for bucket, members in buckets.items()
    }
    return Evaluation(
        metrics=estimates,
        per_label=_label_scores(truth, decided, labels, thresholds),
        counts={
            "rows": truth.shape[0],
            "groups": len(names),
            "labels": len(labels),
            "positives": int(there.sum()),
        },
        buckets=in_buckets,
    )


def paired_bootstrap(
    targets: csr_matrix,
    decisions_a: Decisions,
    decisions_b: Decisions,
    groups: Ints,
    *,
    bootstrap: int = 1000,
    seed: int = 0,
) -> PairedDifference:
    """Is b better than a in micro-F1, on the same resamples of groups? (Berg-Kirkpatrick et al. 2012)."""
    truth = _cells(targets)
    names, group = np.unique(groups, return_inverse=True)
    a, b = (
        np.stack(
            [
                np.bincount(group, 2 * _sums(truth.multiply(decided), 1)),
                np.bincount(group, _sums(truth, 1) + _sums(decided, 1)),
            ]
        )
        for decided in map(_cells, (decisions_a, decisions_b))
    )

    def difference(weights: Array) -> dict[str, Array]:
        return {"difference": _ratio(*(b @ weights.T)) - _ratio(*(a @ weights.T))}

    value = difference(np.ones((1, len(names))))["difference"][0]
    drawn = _resample(difference, len(names), bootstrap, seed)["difference"]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return PairedDifference(float(value), float(low), float(high), float((drawn < 0).mean()), bootstrap)


def on_labels(values: Matrix, labels: Sequence[str], wanted: Sequence[str]) -> Matrix:
    """Columns of values (rows, labels), an array or a sparse matrix, in the order of other labels; zero for a label
    that the model does not know."""
    column = {label: number for number, label in enumerate(labels)}
    known = [number for number, label in enumerate(wanted) if label in column]
    columns = [column[wanted[number]] for number in known]
    if isinstance(values, csr_matrix):
        ones = np.ones(len(known), values.dtype)
        return csr_matrix(values @ csr_matrix((ones, (columns, known)), shape=(len(labels), len(wanted))))
    found = np.zeros((len(values), len(wanted)), values.dtype)
    found[:, known] = values[:, columns]
    return found


Figures = Callable[[Array], dict[str, Array]]  # weights of groups (resamples, groups) → figures (resamples,)
_OF_BUCKETS = ("micro_f1", "macro_f1", "recall_at_15")
_AT_HALF = ("micro_f1", "micro_precision", "micro_recall", "macro_f1")


def _resample(figures: Figures, groups: int, resamples: int, seed: int) -> dict[str, Array]:
    """Figures over resamples of the groups, a chunk at a time so that memory does not grow with their
    number."""
    random = np.random.default_rng(seed)
    drawn = []
    for some in blocks(resamples, groups):
        picks = random.integers(groups, size=(min(some.stop, resamples) - some.start, groups))
        drawn.append(
            figures(np.stack([np.bincount(pick, minlength=groups) for pick in picks]).astype(np.float64))
        )
    return {name: np.concatenate([part[name] for part in drawn]) for name in drawn[0]} if drawn else {}


def _estimate(value: float, drawn: Array) -> Estimate:
    drawn = drawn[np.isfinite(drawn)]
    low, high = np.percentile(drawn, [2.5, 97.5]) if len(drawn) else (value, value)
    return Estimate(value, float(low), float(high), len(drawn))


def _members(training_positives: Ints) -> dict[str, Ints]:
    """The label numbers of each bucket."""
    return {
        name: np.flatnonzero((training_positives >= low) & (training_positives <= high))
        for name, (low, high) in BUCKETS.items()
    }


def _summed_figures(
    truth: csr_matrix,
    probabilities: Floats,
    decided: csr_matrix,
    group: Ints,
    buckets: dict[str, Ints],
) -> Figures:
    """Figures made of sums over rows: summed once per group, so that a resample is a matrix product."""
    rows, labels = truth.shape
    by_group = csr_matrix((np.ones(rows), (group, np.arange(rows))))
    row, ranks = _rows(truth), _ranks(truth, probabilities)
    half = vstack(
        [_cells(probabilities[block] >= 0.5) for block in blocks(*probabilities.shape)], format="csr"
    )
    hits, present = _sums(truth.multiply(decided), 1), _sums(truth, 1)
    exact = (hits == present) & (_sums(decided, 1) == present)
    cuts = [cut for cut in _CUTS if cut < labels]
    of_rows = [np.ones(rows), exact, present > 0, _average_precision(row, ranks, present)]
    of_rows += [np.bincount(row, ranks <= cut, rows) / cut for cut in cuts]
    by_row = np.asarray(by_group @ np.stack(of_rows, axis=1).astype(np.float64))
    bins_all = np.asarray(by_group @ _bin_sums(truth, probabilities))
    bins_predicted = np.asarray(by_group @ _bin_sums_of(decided, truth, probabilities))
    best = csr_matrix(((ranks <= _CUTS[-1]).astype(np.float64), truth.indices, truth.indptr), truth.shape)
    by_threshold, by_half = (_f1_figures(truth, cells, group) for cells in (decided, half))
    of_buckets = {
        bucket: (
            _f1_figures(truth[:, members], decided[:, members], group),
            _by_group(group, _sums(best[:, members], 1)),
            _by_group(group, _sums(truth[:, members], 1)),
        )
        for bucket, members in buckets.items()
        if truth[:, members].nnz
    }

    def figures(weights: Array) -> dict[str, Array]:
        at_half, sums = by_half(weights), by_row.T @ weights.T
        found = {
            **by_threshold(weights),
            **{f"{name}_at_half": at_half[name] for name in _AT_HALF},
            "exact_match": _ratio(sums[1], sums[0]),
            "map": _ratio(sums[3], sums[2]),
            **{f"p_at_{cut}": _ratio(sums[4 + number], sums[0]) for number, cut in enumerate(cuts)},
            "ece": _calibration_error(bins_all, weights),
            "ece_predicted": _calibration_error(bins_predicted, weights),
        }
        for bucket, (f1, among_best, there) in of_buckets.items():
            own = f1(weights)
            found |= {f"{bucket}/{name}": own[name] for name in ("micro_f1", "macro_f1")}
            if labels > _CUTS[-1]:
                found[f"{bucket}/recall_at_15"] = _ratio(weights @ among_best, weights @ there)
        return found

    return figures


def _f1_figures(truth: csr_matrix, decided: csr_matrix, group: Ints) -> Figures:
    """Micro and macro precision, recall and F1."""
    hits = truth.multiply(decided)
    of_name = {"f1": (2 * hits, decided + truth), "precision": (hits, decided), "recall": (hits, truth)}
    sums, means = {}, dict[str, tuple[float, Array]]()
    for name, (part, whole) in of_name.items():
        sums[name] = [_by_group(group, _sums(cells, 1)) for cells in (part, whole)]
        there = _sums(whole, 0)
        scores, share = _ratio(_sums(part, 0), there), _ratio(np.ones(len(there)), there * len(there))
        means[name] = float(scores.mean()), _by_group(group, part @ share - whole @ (share * scores))

    def figures(weights: Array) -> dict[str, Array]:
        micro = {
            f"micro_{name}": _ratio(weights @ part, weights @ whole) for name, (part, whole) in sums.items()
        }
        macro = {f"macro_{name}": _expanded(weights, *mean) for name, mean in means.items()}
        precision, recall = macro["macro_precision"], macro["macro_recall"]
        return micro | macro | {"macro_f1_of_means": _ratio(2 * precision * recall, precision + recall)}

    return figures


def _expanded(weights: Array, value: float, change: Array) -> Array:
    """A share in each resample, to first order: its value and its change with the weight of each group."""
    return np.clip(value + (weights - 1) @ change, 0, 1)


def _ranks(truth: csr_matrix, probabilities: Floats) -> Ints:
    """Rank, from 1, of the label of each true cell in its row."""
    row, column = _rows(truth), truth.indices[:, None]
    own, place = probabilities[row, truth.indices][:, None], np.arange(truth.shape[1])
    ranks = np.empty(truth.nnz, np.int64)
    for some in blocks(truth.nnz, truth.shape[1]):
        others = probabilities[row[some]]
        ties = (others == own[some]) & (place < column[some])
        ranks[some] = 1 + (others > own[some]).sum(axis=1) + ties.sum(axis=1)
    return ranks


def _average_precision(row: Ints, ranks: Ints, present: Array) -> Array:
    """Average precision of each row's ranked labels, from the ranks of the true ones; 0 where the row has none."""
    order = np.lexsort((ranks, row))
    nth = np.arange(len(row)) - np.searchsorted(row, row) + 1
    return _ratio(np.bincount(row, nth / ranks[order], len(present)).astype(np.float64), present)


def _bin_sums(truth: csr_matrix, probabilities: Floats) -> Array:
    """Per row: number, summed probability and positives of all cells in each bin, (rows, 3 · bins)."""
    sums = np.zeros((3, truth.shape[0], _BINS))
    for block in blocks(*probabilities.shape):
        cells = probabilities[block]
        at = (_bin(cells) + _BINS * np.arange(len(cells))[:, None]).ravel()
        sums[0, block] = np.bincount(at, minlength=_BINS * len(cells)).reshape(-1, _BINS)
        sums[1, block] = np.bincount(at, cells.ravel(), _BINS * len(cells)).reshape(-1, _BINS)
    row = _rows(truth)
    np.add.at(sums[2], (row, _bin(probabilities[row, truth.indices])), 1)
    return np.concatenate(list(sums), axis=1)


def _bin_sums_of(decided: csr_matrix, truth: csr_matrix, probabilities: Floats) -> Array:
    """As _bin_sums, of the decided cells only."""
    row = _rows(decided)
    own = probabilities[row, decided.indices]
    true = np.asarray(truth[row, decided.indices]).ravel()
    sums = np.zeros((3, truth.shape[0], _BINS))
    for sums_of_one, values in zip(sums, (np.ones(len(own)), own, true), strict=True):
        np.add.at(sums_of_one, (row, _bin(own)), np.asarray(values))
    return np.concatenate(list(sums), axis=1)


def _bin(probabilities: Floats) -> Ints:
    return np.minimum((probabilities * _BINS).astype(np.int64), _BINS - 1)


def _calibration_error(bins: Array, weights: Array) -> Array:
    count, probability, positives = (bins.T @ weights.T).reshape(3, _BINS, -1)
    return _ratio(abs(probability - positives).sum(axis=0), count.sum(axis=0))


def _ranked_figures(truth: csr_matrix, probabilities: Floats, group: Ints) -> Figures:
    """AUROC and AUPRC, and to first order how they change with the weight of each group."""
    changes = {}
    for mean, of in (("micro", _micro_areas), ("macro", _macro_areas)):
        values, of_rows = of(truth, probabilities)
        for name, value, change in zip(("auroc", "auprc"), values, of_rows, strict=True):
            changes[f"{mean}_{name}"] = float(value), _by_group(group, change)

    def figures(weights: Array) -> dict[str, Array]:
        return {name: _expanded(weights, *change) for name, change in changes.items()}

    return figures


class _Areas:
    """AUROC (trapezes) and average precision (steps), and the change of both with the weight of a cell.

    count, under, up_to: for each distinct score of the positives, rising: the positives that have it, and the cells
    (of all) whose score is lower, and lower or equal.
    """

    def __init__(self, count: Ints, under: Ints, up_to: Ints, cells: int) -> None:
        self.positives, self.negatives = int(count.sum()), int(cells - count.sum())
        self.passed = np.append(0, np.cumsum(count))
        negatives_under = under - self.passed[:-1] + (up_to - under - count) / 2
        beaten = negatives_under / self.negatives
        at_least, hits = cells - under, self.positives - self.passed[:-1]
        self.values = np.array([count @ beaten, count @ (hits / at_least)]) / self.positives
        self.lost = np.append(0, np.cumsum(count * hits / at_least**2)) / self.positives
        gained = np.cumsum(count / at_least) / self.positives
        own = (np.stack([beaten, hits / at_least]) - self.values[:, None]) / self.positives
        self.of_positives = own + np.stack([np.zeros(len(count)), gained - self.lost[1:]])  # (2, scores)

    def of_negatives(self, under: Ints, up_to: Ints) -> Array:
        """For cells (n,) with so many of the distinct scores under them, and up to their own: (2, n)."""
        above = 1 - (self.passed[under] + self.passed[up_to]) / (2 * self.positives)
        return np.stack([(above - self.values[0]) / self.negatives, -self.lost[up_to]])


def _micro_areas(truth: csr_matrix, probabilities: Floats) -> tuple[Array, Array]:
    """AUROC and AUPRC over all cells, nan where there is one class only, and their changes (2, rows)."""
    changes = np.zeros((2, truth.shape[0]))
    if not 0 < truth.nnz < probabilities.size:
        return np.full(2, np.nan), changes
    row = _rows(truth)
    own = probabilities[row, truth.indices]
    distinct, number, count = np.unique(own, return_inverse=True, return_counts=True)
    under, up_to = np.zeros((2, len(distinct)), np.int64)
    for block in blocks(*probabilities.shape):
        cells = np.sort(probabilities[block], axis=None)
        under += np.searchsorted(cells, distinct, "left")
        up_to += np.searchsorted(cells, distinct, "right")
    areas = _Areas(count, under, up_to, probabilities.size)
    # the areas are exact; their changes are those of cells rounded to 65,536 values: a table spares a search for each
    rounded = np.arange(1 << 16)
    table = areas.of_negatives(
        np.searchsorted(upper_bits(distinct), rounded, "left"),
        np.searchsorted(upper_bits(distinct), rounded, "right"),
    )
    for block in blocks(*probabilities.shape):
        bits = upper_bits(probabilities[block])
        changes[:, block] = [change[bits].sum(axis=1) for change in table]
    of_positives = areas.of_positives[:, number] - table[:, upper_bits(own)]
    changes += [np.bincount(row, change, truth.shape[0]) for change in of_positives]
    return areas.values, changes


def _macro_areas(truth: csr_matrix, probabilities: Floats) -> tuple[Array, Array]:
    """Means over the labels that have both classes, nan where none has, and their changes (2, rows)."""
    rows, _ = truth.shape
    columns = truth.tocsc()
    present = np.diff(columns.indptr)
    both = np.flatnonzero((present > 0) & (present < rows))
    values, changes = np.zeros(2), np.zeros((2, rows))
    for at in blocks(len(both), rows):
        some = both[at]
        for label, cells in zip(some, np.ascontiguousarray(probabilities[:, some].T), strict=True):
            positive = columns.indices[columns.indptr[label] : columns.indptr[label + 1]]
            distinct, number, count = np.unique(cells[positive], return_inverse=True, return_counts=True)
            under = np.searchsorted(distinct, cells)
            up_to = under + (distinct[np.minimum(under, len(distinct) - 1)] == cells)
            areas = _Areas(count, _running(up_to, len(distinct)), _running(under, len(distinct)), rows)
            change = areas.of_negatives(under, up_to)
            change[:, positive] = areas.of_positives[:, number]
            values += areas.values
            changes += change
    return (values / len(both), changes / len(both)) if len(both) else (np.full(2, np.nan), changes)


def _running(places: Ints, scores: int) -> Ints:
    """How many cells are at or before each of so many places."""
    return np.cumsum(np.bincount(places, minlength=scores + 1))[:-1]


def upper_bits(probabilities: Floats) -> NDArray[np.uint16]:
    """Sign, exponent and seven bits of each: in the order of the numbers, which are not negative."""
    return (np.ascontiguousarray(probabilities, np.float32).view(np.uint32) >> 16).astype(np.uint16)


def _cells(values: NDArray[Any] | csr_matrix) -> csr_matrix:
    """1 in each cell that is not 0, sparse and sorted."""
    cells = csr_matrix(values, dtype=np.float64, copy=True)
    cells.eliminate_zeros()
    cells.data[:] = 1
    cells.sort_indices()
    return cells


def _rows(cells: csr_matrix) -> Ints:
    """The row of each cell, in order."""
    found: Ints = np.repeat(np.arange(cells.shape[0]), np.diff(cells.indptr))
    return found


def _by_group(group: Ints, values: Array) -> Array:
    return np.bincount(group, values).astype(np.float64)


def _sums(cells: csr_matrix, axis: int) -> Array:
    return np.asarray(cells.sum(axis=axis), np.float64).ravel()


def _ratio(part: Array, whole: Array) -> Array:
    """part / whole, 0 where whole is 0."""
    return np.divide(part, whole, out=np.zeros(np.broadcast(part, whole).shape), where=whole != 0)


def _label_scores(
    truth: csr_matrix, decided: csr_matrix, labels: Sequence[str], thresholds: Array | None
) -> list[LabelScore]:
    hits, predicted, there = (_sums(cells, 0) for cells in (truth.multiply(decided), decided, truth))
    precision, recall = _ratio(hits, predicted).tolist(), _ratio(hits, there).tolist()
    f1 = _ratio(2 * hits, predicted + there).tolist()
    return [
        LabelScore(
            label=label,
            support=int(there[number]),
            predicted=int(predicted[number]),
            precision=precision[number],
            recall=recall[number],
            f1=f1[number],
            threshold=None if thresholds is None else float(thresholds[number]),
        )
        for number, label in enumerate(labels)
    ]
