"""Cells of rows and labels: their log-odds, and how many are worked on at once."""

from collections.abc import Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

MOST = 4_000_000  # numbers held at a time
Real = TypeVar("Real", np.float32, np.float64)


def blocks(number: int, each: int, *, cells: int = MOST, least: int = 1) -> Iterator[slice]:
    """So many rows, each of so many cells, in runs of few cells and of no fewer rows than `least`."""
    step = max(least, cells // max(each, 1))
    for start in range(0, number, step):
        yield slice(start, start + step)


def log_odds(probabilities: NDArray[Real], *, least: float = 1e-7) -> NDArray[Real]:
    """log p / (1 - p); a p under `least`, or over 1 - least, counts as that."""
    clipped = np.clip(probabilities, least, 1 - least)
    odds: NDArray[Real] = np.log(clipped) - np.log1p(-clipped)
    return odds
