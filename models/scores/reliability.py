"""Reliability: in ten bins of equal width, the mean probability against the share of positives."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from rubricator.models.entries import blocks
from rubricator.models.scores.sums import Array, Ints, ratio, row_numbers

Floats = NDArray[np.float32]
_BINS = 10


class ReliabilityBin(NamedTuple):
    """The entries with a probability in a bin: their number, mean probability and share of positives."""

    entries: int
    probability: float
    positives: float


def reliability_curve(targets: csr_matrix, probabilities: Floats) -> list[ReliabilityBin]:
    """The bins that are not empty, ascending, over all entries. Both arguments: (rows, labels)."""
    count, total, positives = bin_sums(targets.tocsr(), probabilities).sum(axis=0).reshape(3, _BINS)
    return [
        ReliabilityBin(
            int(count[each]), float(total[each] / count[each]), float(positives[each] / count[each])
        )
        for each in np.flatnonzero(count)
    ]


def bin_sums(truth: csr_matrix, probabilities: Floats) -> Array:
    """Per row and bin: number of entries, sum of their probabilities, number of positives (rows, 3 · bins)."""
    totals = np.zeros((3, truth.shape[0], _BINS))
    for block in blocks(*probabilities.shape):
        some = probabilities[block]
        at = (_bin(some) + _BINS * np.arange(len(some))[:, None]).ravel()
        totals[0, block] = np.bincount(at, minlength=_BINS * len(some)).reshape(-1, _BINS)
        totals[1, block] = np.bincount(at, some.ravel(), _BINS * len(some)).reshape(-1, _BINS)
    row = row_numbers(truth)
    np.add.at(totals[2], (row, _bin(probabilities[row, truth.indices])), 1)
    return np.concatenate(list(totals), axis=1)


def decided_bin_sums(decided: csr_matrix, truth: csr_matrix, probabilities: Floats) -> Array:
    """As bin_sums, of the predicted entries only."""
    row = row_numbers(decided)
    own = probabilities[row, decided.indices]
    true = np.asarray(truth[row, decided.indices]).ravel()
    totals = np.zeros((3, truth.shape[0], _BINS))
    for total, values in zip(totals, (np.ones(len(own)), own, true), strict=True):
        np.add.at(total, (row, _bin(own)), np.asarray(values))
    return np.concatenate(list(totals), axis=1)


def calibration_error(sums: Array, weights: Array) -> Array:
    """Expected calibration error (resamples,), from bin sums by group (groups, 3 · bins) and weights of the groups."""
    count, probability, positives = (sums.T @ weights.T).reshape(3, _BINS, -1)
    return ratio(abs(probability - positives).sum(axis=0), count.sum(axis=0))


def _bin(probabilities: Floats) -> Ints:
    return np.minimum((probabilities * _BINS).astype(np.int64), _BINS - 1)
