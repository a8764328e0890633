"""Thresholds from out-of-fold probabilities: the best one for F1, and the lowest one that is precise enough."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


class Highest:
    """The highest of many probabilities that come in blocks: the others are neither sorted nor held."""

    def __init__(self, many: int) -> None:
        self._many = many
        self._kept = [np.zeros(0, np.float32)]
        self._floor = -1.0

    def add(self, probabilities: Floats) -> None:
        """Take a block of any shape."""
        self._kept.append(probabilities[probabilities > self._floor])
        if sum(map(len, self._kept)) > 2 * self._many:
            kept = np.concatenate(self._kept)
            self._kept = [np.partition(kept, -self._many)[-self._many :]]
            self._floor = float(self._kept[0].min())

    def rising(self) -> tuple[Floats, float]:
        """What is held, sorted, and the probability up to which some are missing, -1 where none is."""
        return np.sort(np.concatenate(self._kept)), self._floor


def best_threshold(cells: Floats, true: Floats, *, floor: float = -1.0) -> float:
    """The threshold with the best F1, half way to the next lower probability.

    cells: all probabilities over the floor, rising, a floor that is one of them with it. true: those of the true cells,
    at least one, in any order. Exactly 0 is never predicted. The best cut is just under a true cell: what is false
    between two of them only adds to what is predicted.
    """
    cuts = np.unique(true[true > max(floor, 0)])
    if not len(cuts):  # all that is true is missed by any threshold
        cuts = cells[-1:]
    predicted = len(cells) - np.searchsorted(cells, cuts)
    f1 = 2 * _at_least(true, cuts) / (predicted + len(true))
    best = int(np.flatnonzero(f1 == f1.max())[-1])
    lower = int(np.searchsorted(cells, cuts[best]))
    below = float(cells[lower - 1]) if lower else 0.0
    return (float(cuts[best]) + below) / 2


def precise_threshold(cells: Floats, true: Floats, target: float) -> float:
    """The lowest probability from which on precision is at least the target, infinite where there is none.

    cells, true: as in best_threshold; of the cells only the highest len(true) / target count, as of more not enough can
    be true. Fewer than 1 / (1 - target) predictions cannot show such a precision and do not count.
    """
    cells = cells[-(int(len(true) / target) + 2) :]
    cuts = np.unique(cells)
    predicted = len(cells) - np.searchsorted(cells, cuts)
    precise = _at_least(true, cuts) >= target * predicted
    enough = np.flatnonzero(precise & (predicted >= 1 / (1 - target) - 1e-9))
    return float(cuts[enough[0]]) if len(enough) else np.inf


def _at_least(true: Floats, cuts: Floats) -> NDArray[np.int64]:
    return np.asarray(len(true) - np.searchsorted(np.sort(true), cuts))
