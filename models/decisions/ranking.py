"""Which labels of a unit are kept, and in which order."""

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def best_first(
    probabilities: NDArray[np.float32], kept: NDArray[np.bool_], top_k: int | None
) -> tuple[Ints, Ints, Ints]:
    """Row, column and rank (from 1) of the kept entries, row by row, the most probable first, at most top_k a row.

    probabilities, kept: (rows, labels). Equal probabilities are in the order of their columns.
    """
    row, column = np.nonzero(kept)
    order = np.lexsort((column, -probabilities[row, column], row))
    row, column = row[order], column[order]
    rank = np.arange(len(row)) - np.searchsorted(row, row) + 1
    best = rank <= (top_k or len(row))
    return row[best], column[best], rank[best]
