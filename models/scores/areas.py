"""AUROC and AUPRC (average precision), and their first-order changes with the weight of each group."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from rubricator.models.entries import blocks
from rubricator.models.scores.bootstrap import Figures, first_order
from rubricator.models.scores.sums import Array, Ints, group_sums, row_numbers

Floats = NDArray[np.float32]


def area_figures(truth: csr_matrix, probabilities: Floats, group: Ints) -> Figures:
    """micro_auroc, micro_auprc, macro_auroc and macro_auprc as functions of the weights of the groups."""
    changes = {}
    for mean, of in (("micro", _micro_areas), ("macro", _macro_areas)):
        values, of_rows = of(truth, probabilities)
        for name, value, change in zip(("auroc", "auprc"), values, of_rows, strict=True):
            changes[f"{mean}_{name}"] = float(value), group_sums(group, change)

    def figures(weights: Array) -> dict[str, Array]:
        return {name: first_order(weights, *change) for name, change in changes.items()}

    return figures


def upper_bits(probabilities: Floats) -> NDArray[np.uint16]:
    """The upper 16 bits of each float32, which must not be negative. They are in the order of the numbers."""
    return (np.ascontiguousarray(probabilities, np.float32).view(np.uint32) >> 16).astype(np.uint16)


class _Areas:
    """AUROC (trapezoids) and average precision (steps), and the change of both with the weight of an entry.

    count, under, up_to: for each distinct score of the positives, ascending: the number of positives with this score,
    of all entries with a lower score, and of all entries with a lower or equal score.
    """

    def __init__(self, count: Ints, under: Ints, up_to: Ints, entries: int) -> None:
        self.positives, self.negatives = int(count.sum()), int(entries - count.sum())
        self.passed = np.append(0, np.cumsum(count))
        negatives_under = under - self.passed[:-1] + (up_to - under - count) / 2
        beaten = negatives_under / self.negatives
        at_least, hits = entries - under, self.positives - self.passed[:-1]
        self.values = np.array([count @ beaten, count @ (hits / at_least)]) / self.positives
        self.lost = np.append(0, np.cumsum(count * hits / at_least**2)) / self.positives
        gained = np.cumsum(count / at_least) / self.positives
        own = (np.stack([beaten, hits / at_least]) - self.values[:, None]) / self.positives
        self.of_positives = own + np.stack([np.zeros(len(count)), gained - self.lost[1:]])  # (2, scores)

    def of_negatives(self, under: Ints, up_to: Ints) -> Array:
        """Changes of both areas with the weight of negative entries (2, n).

        under, up_to: (n,), number of distinct scores below the score of the entry, and at or below it.
        """
        above = 1 - (self.passed[under] + self.passed[up_to]) / (2 * self.positives)
        return np.stack([(above - self.values[0]) / self.negatives, -self.lost[up_to]])


def _micro_areas(truth: csr_matrix, probabilities: Floats) -> tuple[Array, Array]:
    """AUROC and AUPRC over all entries, NaN where there is one class only, and their changes (2, rows)."""
    changes = np.zeros((2, truth.shape[0]))
    if not 0 < truth.nnz < probabilities.size:
        return np.full(2, np.nan), changes
    row = row_numbers(truth)
    own = probabilities[row, truth.indices]
    distinct, number, count = np.unique(own, return_inverse=True, return_counts=True)
    under, up_to = np.zeros((2, len(distinct)), np.int64)
    for block in blocks(*probabilities.shape):
        entries = np.sort(probabilities[block], axis=None)
        under += np.searchsorted(entries, distinct, "left")
        up_to += np.searchsorted(entries, distinct, "right")
    areas = _Areas(count, under, up_to, probabilities.size)
    # The areas are exact. Their changes are those of entries rounded to 65,536 values, looked up in a table.
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
    """Means over the labels that have both classes, NaN where none has, and their changes (2, rows)."""
    rows, _ = truth.shape
    columns = truth.tocsc()
    present = np.diff(columns.indptr)
    both = np.flatnonzero((present > 0) & (present < rows))
    values, changes = np.zeros(2), np.zeros((2, rows))
    for at in blocks(len(both), rows):
        some = both[at]
        for label, column in zip(some, np.ascontiguousarray(probabilities[:, some].T), strict=True):
            positive = columns.indices[columns.indptr[label] : columns.indptr[label + 1]]
            distinct, number, count = np.unique(column[positive], return_inverse=True, return_counts=True)
            under = np.searchsorted(distinct, column)
            up_to = under + (distinct[np.minimum(under, len(distinct) - 1)] == column)
            areas = _Areas(count, _running(up_to, len(distinct)), _running(under, len(distinct)), rows)
            change = areas.of_negatives(under, up_to)
            change[:, positive] = areas.of_positives[:, number]
            values += areas.values
            changes += change
    return (values / len(both), changes / len(both)) if len(both) else (np.full(2, np.nan), changes)


def _running(places: Ints, scores: int) -> Ints:
    """How many of the entries are at or before each of the scores. places: (entries,), numbers of scores."""
    return np.cumsum(np.bincount(places, minlength=scores + 1))[:-1]
