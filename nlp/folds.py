"""Folds that keep groups whole and spread every label, rare ones first."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from rubricator.nlp.errors import RubricatorError


class FoldError(RubricatorError):
    """Too few groups to hold any out."""


def assign_folds(
    targets: csr_matrix, groups: NDArray[np.int64], folds: int, *, seed: int
) -> NDArray[np.int64]:
    """Fold number of each row: rows of a group share one, and each label is spread evenly.

    targets: 0/1 (rows, labels). groups: (rows,). Iterative stratification (Sechidis et al. 2011) over
    groups, labels from the rarest to the most frequent. There are fewer folds where there are fewer groups.
    Raises FoldError under 2.
    """
    names, group = np.unique(groups, return_inverse=True)
    folds = min(folds, len(names))
    if folds < 2:
        raise FoldError(
            f"{len(groups)} examples in {len(names)} group(s) cannot be split into a part to learn from "
            "and a part held out: notes of a patient, and notes of nearly the same text, stay together; give different "
            "notes of at least two patients (--patient-column names their column)"
        )
    rows = np.arange(len(groups))
    members = csr_matrix((np.ones(len(rows)), (group, rows)), shape=(len(names), len(rows)))
    counts = (members @ targets.astype(np.float64)).tocsc()
    sizes = np.bincount(group).astype(np.float64)
    shuffled = np.random.default_rng(seed).permutation(len(names))
    rank = np.argsort(shuffled)  # breaks ties, the same way for the same seed
    totals = np.asarray(counts.sum(axis=0)).ravel()
    wanted_rows = np.full(folds, len(rows) / folds)
    fold_of = np.full(len(names), -1)

    def place(
        candidates: NDArray[np.int64], amounts: NDArray[np.float64], wanted: NDArray[np.float64]
    ) -> None:
        for candidate in np.lexsort((rank[candidates], -sizes[candidates], -amounts)):
            fold = np.lexsort((-wanted_rows, -np.round(wanted, 9)))[0]
            wanted[fold] -= amounts[candidate]
            wanted_rows[fold] -= sizes[candidates[candidate]]
            fold_of[candidates[candidate]] = fold

    for label in np.argsort(totals, kind="stable"):
        column = slice(counts.indptr[label], counts.indptr[label + 1])
        holders, amounts = counts.indices[column], counts.data[column]
        wanted = totals[label] / folds - np.bincount(
            fold_of[holders][fold_of[holders] >= 0], amounts[fold_of[holders] >= 0], folds
        )
        free = fold_of[holders] < 0
        place(holders[free], amounts[free], wanted)
    unlabelled = np.flatnonzero(fold_of < 0)
    place(unlabelled, np.zeros(len(unlabelled)), np.zeros(folds))
    return fold_of[group]
