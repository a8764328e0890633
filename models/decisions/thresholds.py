"""Thresholds from out-of-fold probabilities: the best one for F1, and the lowest one that is precise enough."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


class TopK:
    """The k highest of many probabilities that come in blocks: the others are neither sorted nor held."""

    def __init__(self, k: int) -> None:
        self._k = k
        self._kept = [np.zeros(0, np.float32)]
        self._floor = -1.0

    def add(self, probabilities: Floats) -> None:
        """Take a block of any shape."""
        self._kept.append(probabilities[probabilities > self._floor])
        if sum(map(len, self._kept)) > 2 * self._k:
            kept = np.concatenate(self._kept)
            self._kept = [np.partition(kept, -self._k)[-self._k :]]
            self._floor = float(self._kept[0].min())

    def rising(self) -> tuple[Floats, float]:
        """The probabilities that are held, sorted (between k and 2 k, or all there were), and a floor.

        All probabilities over the floor are held, and none under it. It is -1 where nothing was dropped.
        """
        return np.sort(np.concatenate(self._kept)), self._floor


def best_threshold(probabilities: Floats, true: Floats, *, floor: float = -1.0) -> float:
    """The threshold with the best F1, half way to the next lower probability.

    probabilities: of all entries above the floor, and of some at the floor, sorted. true: probabilities of the true
    entries, at least one, in any order. An entry with probability 0 is never predicted.
    """
    # the best cut is at a true entry: between two of them, a lower cut only adds false predictions
    cuts = np.unique(true[true > max(floor, 0)])
    if not len(cuts):  # every threshold misses all true entries
        cuts = probabilities[-1:]
    predicted = len(probabilities) - np.searchsorted(probabilities, cuts)
    f1 = 2 * _at_least(true, cuts) / (predicted + len(true))
    best = int(np.flatnonzero(f1 == f1.max())[-1])
    lower = int(np.searchsorted(probabilities, cuts[best]))
    below = float(probabilities[lower - 1]) if lower else 0.0
    return (float(cuts[best]) + below) / 2


def precise_threshold(probabilities: Floats, true: Floats, target: float) -> float:
    """The lowest threshold at which precision is at least the target; infinite where there is none.

    probabilities, true: as in best_threshold. Only the highest len(true) / target probabilities are needed: more
    predictions than that cannot reach the target. A threshold with fewer than 1 / (1 - target) predictions is not
    considered, because so few predictions cannot show such a precision.
    """
    probabilities = probabilities[-(int(len(true) / target) + 2) :]
    cuts = np.unique(probabilities)
    predicted = len(probabilities) - np.searchsorted(probabilities, cuts)
    precise = _at_least(true, cuts) >= target * predicted
    enough = np.flatnonzero(precise & (predicted >= 1 / (1 - target) - 1e-9))
    return float(cuts[enough[0]]) if len(enough) else np.inf


def _at_least(true: Floats, cuts: Floats) -> NDArray[np.int64]:
    """How many true entries are at or over each cut."""
    return np.asarray(len(true) - np.searchsorted(np.sort(true), cuts))
