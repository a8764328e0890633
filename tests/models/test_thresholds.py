"""Thresholds against trying every cut, from all probabilities and from the highest of many."""

import numpy as np
import pytest
from numpy.typing import NDArray

from rubricator.models.decisions.thresholds import TopK, best_threshold, precise_threshold


def made_up(seed: int, decimals: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Probabilities, many of them equal, some 0, and what is true."""
    random = np.random.default_rng(seed)
    probabilities = np.round(random.random(3000) ** 4, decimals).astype(np.float32)
    return probabilities, random.random(3000) < 0.4 * probabilities


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("decimals", [1, 2, 7])
def test_no_cut_has_a_better_f1_and_the_highest_probabilities_are_enough(seed: int, decimals: int) -> None:
    entries, true = made_up(seed, decimals)

    def f1(cut: float) -> float:
        return float(2 * (true & (entries >= cut)).sum() / ((entries >= cut).sum() + true.sum()))

    found = best_threshold(np.sort(entries), entries[true])
    assert f1(found) == max(f1(cut) for cut in np.unique(entries[entries > 0]))
    assert found not in entries

    highest = TopK(700)
    for block in np.split(entries, 30):
        highest.add(block.reshape(4, -1))
    held, floor = highest.rising()
    assert len(held) < len(entries)
    assert (held[held > floor] == np.sort(entries[entries > floor])).all()
    assert best_threshold(held, entries[true], floor=floor) == found


@pytest.mark.parametrize("decimals", [1, 2, 7])
def test_the_lowest_probability_that_is_precise_enough(decimals: int) -> None:
    entries, _ = made_up(0, decimals)
    true = np.random.default_rng(1).random(3000) < entries * 0.9
    precise = [cut for cut in np.unique(entries) if true[entries >= cut].mean() >= 0.7]
    assert precise_threshold(np.sort(entries), entries[true], 0.7) == min(precise)
    assert precise_threshold(np.sort(entries), entries[:0], 0.7) == np.inf


def test_what_is_true_and_has_probability_0_counts_as_missed() -> None:
    assert best_threshold(np.array([0, 0.2, 0.4, 0.8], np.float32), np.zeros(1, np.float32)) == pytest.approx(
        0.6
    )
    assert best_threshold(np.zeros(4, np.float32), np.zeros(1, np.float32)) == 0
