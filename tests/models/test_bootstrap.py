"""Paired differences of two models."""

import numpy as np
from scipy.sparse import csr_matrix

from rubricator.models.scores.bootstrap import paired_bootstrap


def test_paired_difference_is_sharper_than_the_two_intervals() -> None:
    random = np.random.default_rng(0)
    truth = random.random((300, 6)) < np.linspace(0.4, 0.05, 6)
    targets, scores = csr_matrix(truth.astype(np.uint8)), random.normal(0.35 + 0.3 * truth, 0.2).clip(0, 1)
    worse = scores >= 0.5
    better = worse | (targets.toarray().astype(bool) & (scores > 0.4))
    found = paired_bootstrap(targets, worse, better, np.arange(300))
    assert found.low > 0
    assert found.worse == 0
    same = paired_bootstrap(targets, worse, worse, np.arange(300))
    assert (same.difference, same.low, same.high, same.worse) == (0, 0, 0, 0)


def test_both_models_are_scored_on_the_same_resamples() -> None:
    random = np.random.default_rng(0)
    truth = random.random((200, 3)) < 0.3
    right = truth ^ (random.random(truth.shape) < 0.1)  # a tenth is wrong
    wrong = right ^ (random.random(truth.shape) < 0.02)
    found = paired_bootstrap(csr_matrix(truth), csr_matrix(wrong), right, np.arange(200) // 2, bootstrap=300)
    assert found.low < found.difference < found.high
    assert found.high - found.low < 0.1, "the difference varies less than either model"
