"""Entries of matrices: other orders of labels, blocks of rows, log-odds."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from scipy.special import expit

from rubricator.models.entries import blocks, log_odds, on_labels


def test_labels_the_model_does_not_know_are_zero() -> None:
    values = np.array([[0.1, 0.2]], np.float32)
    assert (
        on_labels(values, ["a", "b"], ["b", "c", "a"]).tolist()
        == np.array([[0.2, 0, 0.1]], np.float32).tolist()
    )


def test_sparse_entries_are_put_on_other_labels_too() -> None:
    values = csr_matrix([[1, 0], [1, 1]])
    assert on_labels(values, ["a", "b"], ["b", "c", "a"]).toarray().tolist() == [[0, 0, 1], [1, 0, 1]]


@pytest.mark.parametrize(("rows", "columns", "least"), [(10, 3, 1), (7, 100, 2), (0, 5, 1), (5, 0, 1)])
def test_blocks_are_all_rows_in_order(rows: int, columns: int, least: int) -> None:
    found = [np.arange(rows)[block] for block in blocks(rows, columns, entries=9, least=least)]
    assert np.concatenate([np.zeros(0, int), *found]).tolist() == list(range(rows))
    assert all(len(block) * columns <= max(9, least * columns) for block in found)


def test_log_odds_are_finite_and_turned_back_by_a_sigmoid() -> None:
    probabilities = np.array([0, 1e-3, 0.5, 0.9, 1])
    assert np.isfinite(log_odds(probabilities)).all()
    assert expit(log_odds(probabilities)) == pytest.approx(probabilities, abs=1e-6)
