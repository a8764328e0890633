"""What the labels of a text say of one another: a symptom is not coded beside the disease that explains it."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags_array, triu

Array = NDArray[np.float64]
_FEWEST = 5  # positives of a label whose company is known
_MOST_LABELS = 2000  # the most frequent ones: the association of each pair is held in memory
_SMOOTHING = 0.5  # of the counts of pairs
_CLIP = 7.0  # log-odds
_MARGIN = 4.0  # log-odds
_CELLS = 2_000_000  # enough to tell six coefficients from


@dataclass(frozen=True)
class LabelDependence:
    """A second logistic regression over calibrated probabilities, the same for all labels, so that few numbers are
    learnt (stacked binary relevance, Godbole & Sarawagi 2004, with shared weights).

    It reads of each label: its own log-odds; how many other labels are expected; its margin to the best other label;
    and, over the others, their probability times their association with it (log of how often the two stand together
    against by chance), apart where that is positive and where it is negative.

    pairs: how often two labels stood together (labels, labels), symmetric, their own number on the diagonal; only of
    labels with enough positives. rows: that were counted. weights: (6,), the intercept last.
    """

    pairs: csr_matrix
    rows: int
    weights: Array

    @classmethod
    def fit(cls, targets: csr_matrix, probabilities: NDArray[np.float32]) -> Self | None:
        """Learn from 0/1 targets and held-in probabilities (rows, labels); None where no two labels are frequent."""
        from sklearn.linear_model import LogisticRegression  # takes a second, and prediction does without

        rows, labels = targets.shape
        positives = targets.getnnz(axis=0)
        frequent = np.argsort(-positives, kind="stable")[:_MOST_LABELS]
        frequent = frequent[positives[frequent] >= _FEWEST]
        if len(frequent) < 2:
            return None
        kept = diags_array(np.isin(np.arange(labels), frequent).astype(np.int64), dtype=None)
        targets = csr_matrix(targets, dtype=np.int64)
        counted = csr_matrix(targets @ kept)
        unfitted = cls(csr_matrix(counted.T @ counted), rows, np.zeros(6))
        drawn = np.random.default_rng(0).permutation(rows)[: max(_CELLS // labels, 1)]
        evidence = unfitted._evidence(probabilities[drawn], counted[drawn])
        known = probabilities[drawn] > 0
        truth = targets[drawn].toarray()[known] > 0
        if truth.all() or not truth.any():
            return None
        fitted = LogisticRegression(max_iter=300).fit(evidence[known], truth)
        return cls(unfitted.pairs, rows, np.append(fitted.coef_[0], fitted.intercept_))

    def apply(self, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities (rows, labels) that heed one another; 0 stays 0."""
        heeded = np.zeros_like(probabilities)
        block = max(1, _CELLS // max(probabilities.shape[1], 1))
        for start in range(0, len(probabilities), block):
            given = probabilities[start : start + block]
            scores = self._evidence(given) @ self.weights[:-1] + self.weights[-1]
            heeded[start : start + block] = np.where(given > 0, 1 / (1 + np.exp(-scores)), 0)
        return heeded

    def to_json(self) -> dict[str, Any]:
        """As JSON types; pairs by label numbers."""
        upper = triu(self.pairs).tocoo()
        return {
            "rows": self.rows,
            "weights": self.weights.tolist(),
            "pairs": np.stack([upper.row, upper.col, upper.data], axis=1).tolist(),
        }

    @classmethod
    def from_json(cls, values: dict[str, Any], *, labels: int) -> Self:
        """What to_json wrote."""
        row, column, count = np.array(values["pairs"], np.int64).T
        upper = csr_matrix((count, (row, column)), shape=(labels, labels))
        pairs = csr_matrix(upper + triu(upper, 1).T)
        return cls(pairs, values["rows"], np.array(values["weights"], np.float64))

    @cached_property
    def _associations(self) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
        """The frequent labels, their pair counts and their associations (frequent, frequent)."""
        frequent = np.flatnonzero(self.pairs.diagonal())
        counts = self.pairs[frequent][:, frequent].toarray()
        return frequent, counts, self._association(counts, counts.diagonal())

    def _association(self, together: NDArray[np.int64], alone: NDArray[np.int64]) -> Array:
        by_chance = np.outer(alone, alone) / self.rows
        association: Array = np.log((together + _SMOOTHING) / (by_chance + _SMOOTHING))
        np.fill_diagonal(association, 0)
        return association

    def _evidence(self, probabilities: NDArray[np.float32], counted: csr_matrix | None = None) -> Array:
        """(rows, labels, 5). counted: the rows' own targets where they are among the pairs, to be left out of them."""
        given = probabilities.astype(np.float64)
        clipped = np.clip(given, 1e-9, 1 - 1e-9)
        odds = np.clip(np.log(clipped) - np.log1p(-clipped), -_CLIP, _CLIP)
        others = given.sum(axis=1, keepdims=True) - given
        best = np.sort(odds, axis=1)[:, [-1, -2]]
        rival = np.where(odds >= best[:, :1], best[:, 1:], best[:, :1])
        frequent, counts, association = self._associations
        found = given[:, frequent]
        with_it, against_it = np.zeros_like(given), np.zeros_like(given)
        with_it[:, frequent] = found @ np.maximum(association, 0)
        against_it[:, frequent] = found @ np.minimum(association, 0)
        if counted is not None:
            number = np.zeros(given.shape[1], np.int64)
            number[frequent] = np.arange(len(frequent))
            for row in range(len(given)):
                labels = counted.indices[counted.indptr[row] : counted.indptr[row + 1]]
                own = np.ix_(number[labels], number[labels])
                without = self._association(counts[own] - 1, counts.diagonal()[number[labels]])
                for total, part in ((with_it, np.maximum), (against_it, np.minimum)):
                    total[row, labels] += given[row, labels] @ (part(without, 0) - part(association[own], 0))
        margin = np.clip(odds - rival, -_MARGIN, _MARGIN)
        return np.stack([odds, np.log(others + 0.05), margin, with_it, against_it], axis=-1)
