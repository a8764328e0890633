"""Sums of sparse entries (rows, labels) by row, by label and by group of rows."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


def ones(values: NDArray[Any] | csr_matrix) -> csr_matrix:
    """1 in each entry that is not 0, sparse and sorted."""
    entries = csr_matrix(values, dtype=np.float64, copy=True)
    entries.eliminate_zeros()
    entries.data[:] = 1
    entries.sort_indices()
    return entries


def row_numbers(entries: csr_matrix) -> Ints:
    """The row of each entry, in order."""
    found: Ints = np.repeat(np.arange(entries.shape[0]), np.diff(entries.indptr))
    return found


def sums(entries: csr_matrix, axis: int) -> Array:
    """Sums over the rows (axis 0) or over the labels (axis 1)."""
    return np.asarray(entries.sum(axis=axis), np.float64).ravel()


def group_sums(group: Ints, values: Array) -> Array:
    """Sums of values (rows, …) over the rows of each group (groups, …). group: (rows,), numbers from 0."""
    if values.ndim == 1:
        return np.bincount(group, values).astype(np.float64)
    rows = len(group)
    return np.asarray(csr_matrix((np.ones(rows), (group, np.arange(rows)))) @ values)


def ratio(part: Array, whole: Array) -> Array:
    """part / whole, 0 where whole is 0."""
    return np.divide(part, whole, out=np.zeros(np.broadcast(part, whole).shape), where=whole != 0)
