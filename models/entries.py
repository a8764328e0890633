"""Entries (a row and a label) of matrices: their log-odds, other orders of labels, and blocks that bound memory."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

MOST_AT_ONCE = 4_000_000  # numbers held at a time
Real = TypeVar("Real", np.float32, np.float64)
Matrix = TypeVar("Matrix", NDArray[Any], csr_matrix)


def blocks(rows: int, columns: int, *, entries: int = MOST_AT_ONCE, least: int = 1) -> Iterator[slice]:
    """Slices of the rows of a matrix, in order. Each has at most `entries` entries, but at least `least` rows."""
    step = max(least, entries // max(columns, 1))
    for start in range(0, rows, step):
        yield slice(start, start + step)


def log_odds(probabilities: NDArray[Real], *, least: float = 1e-7) -> NDArray[Real]:
    """log(p / (1 - p)). Probabilities are clipped to between `least` and 1 - `least`."""
    clipped = np.clip(probabilities, least, 1 - least)
    odds: NDArray[Real] = np.log(clipped) - np.log1p(-clipped)
    return odds


def on_labels(values: Matrix, labels: Sequence[str], wanted: Sequence[str]) -> Matrix:
    """The columns of values (rows, labels) in the order of the wanted labels.

    values: an array or a sparse matrix. A wanted label that is not among the labels gets a column of zeros.
    """
    column = {label: number for number, label in enumerate(labels)}
    known = [number for number, label in enumerate(wanted) if label in column]
    columns = [column[wanted[number]] for number in known]
    if isinstance(values, csr_matrix):
        ones = np.ones(len(known), values.dtype)
        return csr_matrix(values @ csr_matrix((ones, (columns, known)), shape=(len(labels), len(wanted))))
    found = np.zeros((len(values), len(wanted)), values.dtype)
    found[:, known] = values[:, columns]
    return found
