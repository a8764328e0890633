"""Reliability bins against NumPy's histogram."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from rubricator.models.scores.reliability import reliability_curve


def test_bins_are_those_of_a_histogram() -> None:
    random = np.random.default_rng(0)
    probabilities = random.random((200, 7)).astype(np.float32)
    truth = random.random(probabilities.shape) < probabilities
    found = reliability_curve(csr_matrix(truth), probabilities)
    edges = np.linspace(0, 1, 11)
    count = np.histogram(probabilities, edges)[0]
    assert [entries for entries, *_ in found] == count.tolist()
    total = np.histogram(probabilities, edges, weights=probabilities)[0]
    assert [mean for _, mean, _ in found] == pytest.approx(total / count, rel=1e-4)
    assert [share for *_, share in found] == pytest.approx(
        np.histogram(probabilities[truth], edges)[0] / count
    )


def test_empty_bins_are_left_out_and_1_is_in_the_last() -> None:
    found = reliability_curve(csr_matrix([[1, 0]]), np.array([[1.0, 0.05]], np.float32))
    assert found == [(1, pytest.approx(0.05), 0), (1, 1, 1)]
