"""Parts of groups in given shares, with every label spread evenly."""

import numpy as np
import pytest

from rubricator.nlp.folds import FoldError, assign_folds, label_counts, stratified_parts


def test_parts_have_their_shares_of_every_label() -> None:
    random = np.random.default_rng(0)
    labels_of = [random.permutation(5)[: random.integers(1, 4)].tolist() for _ in range(400)]
    counts = label_counts(labels_of, 5)
    assert counts.shape == (400, 5)
    parts = stratified_parts(counts, np.array([0.75, 0.1, 0.15]))
    for part, share in enumerate((0.75, 0.1, 0.15)):
        of_part = counts[parts == part].sum(axis=0).A1
        assert of_part == pytest.approx(share * counts.sum(axis=0).A1, abs=3)


def test_a_label_that_a_group_has_often_is_counted_so() -> None:
    counts = label_counts([[0, 0, 1], [], [1]], 2)
    assert counts.toarray().tolist() == [[2, 1], [0, 0], [0, 1]]
    assert stratified_parts(counts, np.array([0.5, 0.5])).tolist() == [0, 0, 1]


def test_one_group_cannot_be_split() -> None:
    with pytest.raises(FoldError, match=r"at least two patients$"):
        assign_folds(label_counts([[0], [0]], 1), np.array([7, 7]), 5, seed=0)
