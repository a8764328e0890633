"""Stratified folds and parts: each label is spread evenly, and groups are kept whole."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from rubricator.nlp.errors import RubricatorError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class FoldError(RubricatorError):
    """There are too few groups to hold one out."""


def assign_folds(targets: csr_matrix, groups: Ints, folds: int, *, seed: int) -> Ints:
    """Fold number of each row (rows,). Rows of a group share a fold, and each label is spread evenly.

    targets: 0/1 (rows, labels). groups: (rows,). Where there are fewer groups than folds, each group is a fold.
    Raises FoldError where there are fewer than two groups, or fewer than two folds are asked for.
    """
    names, group = np.unique(groups, return_inverse=True)
    folds = min(folds, len(names))
    if folds < 2:
        raise FoldError(
            f"{len(groups)} examples in {len(names)} group(s) cannot be split into a part for training and a part "
            "held out: notes of one patient, and notes with nearly the same text, stay together; give different "
            "notes of at least two patients"
        )
    rows = np.arange(len(groups))
    members = csr_matrix((np.ones(len(rows)), (group, rows)), shape=(len(names), len(rows)))
    fold_of = stratified_parts(
        csr_matrix(members @ targets.astype(np.float64)),
        np.full(folds, 1 / folds),
        order=np.argsort(np.random.default_rng(seed).permutation(len(names))),
        sizes=np.bincount(group).astype(np.float64),
    )
    return fold_of[group]


def stratified_parts(
    counts: csr_matrix, shares: Floats, *, order: Ints | None = None, sizes: Floats | None = None
) -> Ints:
    """Part number of each group (groups,), by iterative stratification (Sechidis et al. 2011).

    Labels are taken from the rarest to the most frequent. Each group that has the label goes to the part that lacks
    most of it; among equal parts, to the one that lacks most rows, then to the first. Groups without labels come last.

    counts: (groups, labels), how often a group has a label. shares: (parts,), which sum to 1. sizes: (groups,), rows of
    each group. With sizes, the groups that have most of a label are placed first, and of these the largest. Without
    sizes, each group counts as one row. order: (groups,), rank of each group among otherwise equal ones; None: its row
    number.
    """
    groups, _ = counts.shape
    rank = np.arange(groups) if order is None else order
    rows = np.ones(groups) if sizes is None else sizes
    by_label = counts.tocsc()
    totals = np.asarray(by_label.sum(axis=0)).ravel()
    wanted_rows = shares * rows.sum()
    part_of = np.full(groups, -1)

    def place(candidates: Ints, amounts: Floats, wanted: Floats) -> None:
        keys: list[NDArray[Any]] = [rank[candidates]]
        if sizes is not None:
            keys += [-sizes[candidates], -amounts]
        for at in np.lexsort(keys):
            part = np.lexsort((-wanted_rows, -np.round(wanted, 9)))[0]
            wanted[part] -= amounts[at]
            wanted_rows[part] -= rows[candidates[at]]
            part_of[candidates[at]] = part

    for label in np.argsort(totals, kind="stable"):
        column = slice(by_label.indptr[label], by_label.indptr[label + 1])
        holders, amounts = by_label.indices[column].astype(np.int64), by_label.data[column]
        placed = part_of[holders] >= 0
        there = np.bincount(part_of[holders[placed]], amounts[placed], len(shares))
        place(holders[~placed], amounts[~placed], shares * totals[label] - there)
    unlabelled = np.flatnonzero(part_of < 0)
    place(unlabelled, np.zeros(len(unlabelled)), np.zeros(len(shares)))
    return part_of


def label_counts(labels_of: Sequence[Sequence[int]], labels: int) -> csr_matrix:
    """How often each group has each label: (groups, labels). labels_of: the label numbers of each group."""
    ends = np.cumsum([0, *map(len, labels_of)])
    numbers = np.array([number for group in labels_of for number in group], np.int64)
    counts = csr_matrix((np.ones(len(numbers)), numbers, ends), shape=(len(labels_of), labels))
    counts.sum_duplicates()
    return counts
