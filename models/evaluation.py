"""Figures of merit with bootstrap confidence intervals over groups.

Conventions, since papers differ and seldom say:
- micro: over all cells of (rows × labels). macro: mean over all labels asked about; a label that is neither
  there nor predicted counts as F1 0. macro_f1_of_means is the harmonic mean of macro precision and macro
  recall (as in CAML).
- AUROC and AUPRC (average precision) macro: mean over labels that have both classes.
- P@k: true labels among the k best of a row, over k. MAP: over rows that have a label, with all labels
  ranked.
- ece: |mean probability - share of positives| over ten equal bins, all cells; ece_predicted: predicted cells
  only.
- Interval: 2.5 % to 97.5 % of resamples of whole groups with replacement. A label that a resample lacks keeps its
  whole-sample figure in the macro means. AUROC and AUPRC get fewer resamples where there are many cells (each estimate
  says how many).
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

Array = NDArray[np.float64]
_CUTS = (1, 5, 8, 15)  # of P@k
_BINS = 10
_RANKED_WORK = 100_000_000  # cells × resamples spent on AUROC and AUPRC
_CHUNK_CELLS = 4_000_000  # numbers held at a time


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


@dataclass(frozen=True)
class Evaluation:
    """All figures by name (one that is undefined on these rows, such as AUROC of one class, is left out)."""

    metrics: dict[str, Estimate]
    per_label: list[LabelScore]
    counts: dict[str, int]  # rows, groups, labels, positives

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
    probabilities: NDArray[np.float32],
    decisions: NDArray[np.bool_],
    groups: NDArray[np.int64],
    labels: Sequence[str],
    *,
    thresholds: Array | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Score calibrated probabilities and decisions (rows, labels) against 0/1 targets of the same shape.

    groups: (rows,), what is resampled. thresholds: (labels,), only for the table by label. bootstrap 0: no
    intervals.
    """
    truth = targets.toarray().astype(bool)
    names, group = np.unique(groups, return_inverse=True)
    summed, ranked = (
        _summed_figures(truth, probabilities, decisions, group),
        _ranked_figures(truth, probabilities, group),
    )
    everyone = np.ones((1, len(names)))
    found = {name: values[0] for name, values in (summed(everyone) | ranked(everyone)).items()}
    ranked_resamples = min(bootstrap, max(20, _RANKED_WORK // max(truth.size, 1)))
    samples = _resample(summed, len(names), bootstrap, seed, cells=5 * len(labels))
    samples |= _resample(ranked, len(names), ranked_resamples, seed, cells=truth.size)
    metrics = {}
    for name, value in found.items():
        if np.isfinite(value):
            drawn = samples.get(name, np.zeros(0))
            drawn = drawn[np.isfinite(drawn)]
            low, high = np.percentile(drawn, [2.5, 97.5]) if len(drawn) else (value, value)
            metrics[name] = Estimate(float(value), float(low), float(high), len(drawn))
    return Evaluation(
        metrics=metrics,
        per_label=_label_scores(truth, decisions, labels, thresholds),
        counts={
            "rows": len(truth),
            "groups": len(names),
            "labels": len(labels),
            "positives": int(truth.sum()),
        },
    )


def paired_bootstrap(
    targets: csr_matrix,
    decisions_a: NDArray[np.bool_],
    decisions_b: NDArray[np.bool_],
    groups: NDArray[np.int64],
    *,
    bootstrap: int = 1000,
    seed: int = 0,
) -> PairedDifference:
    """Is b better than a in micro-F1, on the same resamples of groups? (Berg-Kirkpatrick et al. 2012)."""
    truth = targets.toarray().astype(bool)
    names, group = np.unique(groups, return_inverse=True)
    counts = [
        np.stack(
            [
                np.bincount(group, (truth & decided).sum(axis=1)),
                np.bincount(group, truth.sum(axis=1) + decided.sum(axis=1)),
            ],
            1,
        )
        for decided in (decisions_a, decisions_b)
    ]

    def difference(weights: Array) -> dict[str, Array]:
        a, b = (_ratio(2 * total[:, 0], total[:, 1]) for total in (weights @ count for count in counts))
        return {"difference": b - a}

    value = difference(np.ones((1, len(names))))["difference"][0]
    drawn = _resample(difference, len(names), bootstrap, seed)["difference"]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return PairedDifference(float(value), float(low), float(high), float((drawn < 0).mean()), bootstrap)


def on_labels(values: np.ndarray, labels: Sequence[str], wanted: Sequence[str]) -> np.ndarray:
    """Columns of values (rows, labels) in the order of other labels; zero for a label that the model does
    not know."""
    column = {label: number for number, label in enumerate(labels)}
    found = np.zeros((len(values), len(wanted)), values.dtype)
    for number, label in enumerate(wanted):
        if label in column:
            found[:, number] = values[:, column[label]]
    return found


Figures = Callable[[Array], dict[str, Array]]  # weights of groups (resamples, groups) → figures (resamples,)


def _resample(
    figures: Figures, groups: int, resamples: int, seed: int, *, cells: int = 0
) -> dict[str, Array]:
    """Figures over resamples of the groups, a chunk at a time so that memory does not grow with their
    number."""
    chunk = max(1, _CHUNK_CELLS // max(cells, groups))
    random = np.random.default_rng(seed)
    drawn = []
    for start in range(0, resamples, chunk):
        picks = random.integers(groups, size=(min(chunk, resamples - start), groups))
        drawn.append(
            figures(np.stack([np.bincount(pick, minlength=groups) for pick in picks]).astype(np.float64))
        )
    return {name: np.concatenate([part[name] for part in drawn]) for name in drawn[0]} if drawn else {}


def _summed_figures(
    truth: NDArray[np.bool_],
    probabilities: NDArray[np.float32],
    decisions: NDArray[np.bool_],
    group: NDArray[np.int64],
) -> Figures:
    """Figures made of sums over rows: counted once per group, so that a resample is a matrix product."""
    hits, predicted, there = (_by_group(group, cells) for cells in (truth & decisions, decisions, truth))
    rows = [
        np.ones(len(truth)),
        (truth == decisions).all(axis=1),
        truth.any(axis=1),
        _average_precision(truth, probabilities),
    ]
    cuts = [cut for cut in _CUTS if cut < truth.shape[1]]
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, : max(cuts, default=0)]
    ranked_hits = np.take_along_axis(truth, best, axis=1)
    rows += [ranked_hits[:, :cut].mean(axis=1) for cut in cuts]
    by_row = _by_group(group, np.stack(rows, axis=1).astype(np.float64))
    bins_all = _by_group(group, _bin_sums(truth, probabilities, np.ones_like(decisions)))
    bins_predicted = _by_group(group, _bin_sums(truth, probabilities, decisions))

    def by_label(weights: Array) -> list[tuple[Array, Array]]:
        """(part, whole) of precision, recall and F1 of each label, (resamples, labels)."""
        hit, chosen, present = (np.asarray(counts.T @ weights.T).T for counts in (hits, predicted, there))
        return [(hit, chosen), (hit, present), (2 * hit, chosen + present)]

    whole_sample = [_ratio(*counts) for counts in by_label(np.ones((1, group.max() + 1)))]

    def figures(weights: Array) -> dict[str, Array]:
        labels = by_label(weights)
        micro = [_ratio(part.sum(axis=1), whole.sum(axis=1)) for part, whole in labels]
        precision, recall, f1 = (
            # a label that a resample lacks keeps its whole-sample figure: with many rare ones the mean would drift
            np.where(counts[1] > 0, _ratio(*counts), figure).mean(axis=1)
            for counts, figure in zip(labels, whole_sample, strict=True)
        )
        sums = np.asarray(by_row.T @ weights.T)
        return {
            "micro_f1": micro[2],
            "micro_precision": micro[0],
            "micro_recall": micro[1],
            "macro_f1": f1,
            "macro_f1_of_means": _ratio(2 * precision * recall, precision + recall),
            "macro_precision": precision,
            "macro_recall": recall,
            "exact_match": _ratio(sums[1], sums[0]),
            "map": _ratio(sums[3], sums[2]),
            **{f"p_at_{cut}": _ratio(sums[4 + number], sums[0]) for number, cut in enumerate(cuts)},
            "ece": _calibration_error(bins_all, weights),
            "ece_predicted": _calibration_error(bins_predicted, weights),
        }

    return figures


def _ranked_figures(
    truth: NDArray[np.bool_], probabilities: NDArray[np.float32], group: NDArray[np.int64]
) -> Figures:
    """AUROC and AUPRC, from one sort of the cells and the cumulative weights of each resample."""
    rows = np.repeat(np.arange(len(truth)), truth.shape[1])
    micro = _sorted_cells(truth.ravel(), probabilities.ravel(), group[rows])
    both = np.flatnonzero(truth.any(axis=0) & ~truth.all(axis=0))
    per_label = [_sorted_cells(truth[:, label], probabilities[:, label], group) for label in both]

    everyone = np.ones((1, group.max() + 1))
    whole = np.array([_areas(everyone, *cells) for cells in per_label]).reshape(-1, 2, 1)

    def figures(weights: Array) -> dict[str, Array]:
        auroc, auprc = _areas(weights, *micro)
        areas = np.array([_areas(weights, *cells) for cells in per_label]).reshape(-1, 2, len(weights))
        # a label with one class in a resample keeps its whole-sample area: without rare labels the mean would drift
        areas = np.where(np.isfinite(areas), areas, whole)
        macro = areas.mean(axis=0) if per_label else np.full((2, len(weights)), np.nan)
        return {"micro_auroc": auroc, "macro_auroc": macro[0], "micro_auprc": auprc, "macro_auprc": macro[1]}

    return figures


def _sorted_cells(
    truth: NDArray[np.bool_], probabilities: NDArray[np.float32], group: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.int64]]:
    """Truth and group of the cells by falling probability, and the last cell of each run of equal ones."""
    order = np.argsort(-probabilities, kind="stable")
    ranked = probabilities[order]
    return truth[order], group[order], np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))


def _areas(
    weights: Array, truth: NDArray[np.bool_], group: NDArray[np.int64], ends: NDArray[np.int64]
) -> tuple[Array, Array]:
    """AUROC (trapezes) and average precision (steps) for each resample; nan where it has one class only."""
    weight = weights[:, group]
    above = np.cumsum(weight, axis=1)[:, ends]
    hits = np.cumsum(weight * truth, axis=1)[:, ends]
    misses = above - hits
    all_hits, all_misses = hits[:, -1], misses[:, -1]
    zero = np.zeros((len(weights), 1))
    new_hits, new_misses = np.diff(hits, axis=1, prepend=zero), np.diff(misses, axis=1, prepend=zero)
    with np.errstate(invalid="ignore", divide="ignore"):
        auroc = (new_misses * (hits - new_hits / 2)).sum(axis=1) / (all_hits * all_misses)
        auprc = (new_hits * _ratio(hits, above)).sum(axis=1) / all_hits
    return auroc, np.where(all_misses > 0, auprc, np.nan)


def _average_precision(truth: NDArray[np.bool_], probabilities: NDArray[np.float32]) -> Array:
    """Average precision of each row's ranked labels; 0 where the row has none."""
    order = np.argsort(-probabilities, axis=1, kind="stable")
    ranked = np.take_along_axis(truth, order, axis=1)
    precision = np.cumsum(ranked, axis=1) / np.arange(1, truth.shape[1] + 1)
    return _ratio((precision * ranked).sum(axis=1), ranked.sum(axis=1))


def _bin_sums(
    truth: NDArray[np.bool_], probabilities: NDArray[np.float32], cells: NDArray[np.bool_]
) -> Array:
    """Per row: number, summed probability and positives of the cells in each bin, (rows, 3 · bins)."""
    number = np.minimum((probabilities * _BINS).astype(int), _BINS - 1)
    sums = [
        np.where(cells & (number == each), values, 0).sum(axis=1)
        for values in (np.ones_like(probabilities), probabilities, truth)
        for each in range(_BINS)
    ]
    return np.stack(sums, axis=1).astype(np.float64)


def _calibration_error(bins: csr_matrix, weights: Array) -> Array:
    count, probability, positives = np.asarray(bins.T @ weights.T).reshape(3, _BINS, -1)
    return _ratio(abs(probability - positives).sum(axis=0), count.sum(axis=0))


def _by_group(group: NDArray[np.int64], values: np.ndarray) -> csr_matrix:
    """Sums of rows (rows, columns) over groups, sparse (groups, columns)."""
    rows = np.arange(len(group))
    return csr_matrix((np.ones(len(rows)), (group, rows))) @ csr_matrix(values.astype(np.float64))


def _ratio(part: Array, whole: Array) -> Array:
    """part / whole, 0 where whole is 0."""
    return np.divide(part, whole, out=np.zeros(np.broadcast(part, whole).shape), where=whole != 0)


def _label_scores(
    truth: NDArray[np.bool_], decisions: NDArray[np.bool_], labels: Sequence[str], thresholds: Array | None
) -> list[LabelScore]:
    hits, predicted, there = ((cells).sum(axis=0) for cells in (truth & decisions, decisions, truth))
    return [
        LabelScore(
            label=label,
            support=int(there[number]),
            predicted=int(predicted[number]),
            precision=float(_ratio(hits[number], predicted[number])),
            recall=float(_ratio(hits[number], there[number])),
            f1=float(_ratio(2 * hits[number], predicted[number] + there[number])),
            threshold=None if thresholds is None else float(thresholds[number]),
        )
        for number, label in enumerate(labels)
    ]
