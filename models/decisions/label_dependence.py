"""What the labels of a text say of one another: a symptom is not coded beside the disease that explains it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags_array, triu

from rubricator.models.entries import log_odds

Array = NDArray[np.float64]
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
_FEWEST = 5  # positives of a label whose company is known
_MOST_LABELS = 2000  # the most frequent ones: the association of each pair is held in memory
_SMOOTHING = 0.5  # of the counts of pairs
_CLIP = 7.0  # log-odds
_MARGIN = 4.0  # log-odds
_CELLS = 2_000_000  # enough to tell six coefficients from
_ROWS = 64  # read at a time to learn from


class Company(NamedTuple):
    """What all labels of some rows say together."""

    expected: Array  # (rows,) how many labels
    best: Array  # (rows, 2) the highest log-odds and the second highest
    frequent: Floats  # (rows, frequent labels) probabilities

    @classmethod
    def empty(cls, rows: int, frequent: int) -> Self:
        """To be filled."""
        return cls(np.empty(rows), np.empty((rows, 2)), np.empty((rows, frequent), np.float32))

    def of(self, rows: slice) -> "Company":
        """That of some of the rows; a view."""
        return Company(self.expected[rows], self.best[rows], self.frequent[rows])

    def put(self, rows: slice, company: "Company") -> None:
        """Fill in that of some of the rows."""
        self.expected[rows], self.best[rows], self.frequent[rows] = company


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
    def fit(cls, targets: csr_matrix, probabilities: Callable[[Ints], Floats]) -> Self | None:
        """Learn from 0/1 targets (rows, labels) and out-of-fold probabilities (some, labels) of the rows asked for;
        None where no two labels are frequent."""
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
        together = unfitted._together()

        def known_cells() -> Iterator[tuple[Array, NDArray[np.bool_]]]:
            for start in range(0, len(drawn), _ROWS):
                some = drawn[start : start + _ROWS]
                given = probabilities(some)
                evidence = unfitted._evidence_of_counted(given, counted[some], together)
                yield evidence[:, given > 0].T, targets[some].toarray()[given > 0] > 0

        evidence, truth = map(np.concatenate, zip(*known_cells(), strict=True))
        if truth.all() or not truth.any():
            return None
        fitted = LogisticRegression(max_iter=300).fit(evidence, truth)
        return cls(unfitted.pairs, rows, np.append(fitted.coef_[0], fitted.intercept_))

    def company(self, probabilities: Floats, labels: Ints) -> Company:
        """probabilities: (rows, some), of these labels, rising; any other is 0."""
        two = probabilities if len(labels) > 1 else np.pad(probabilities, ((0, 0), (2, 0)))
        best = np.sort(np.partition(two, -2, axis=1)[:, -2:], axis=1)[:, ::-1]
        number = self._number[labels]
        frequent = np.zeros((len(probabilities), len(self.frequent)), np.float32)
        frequent[:, number[number >= 0]] = probabilities[:, number >= 0]
        return Company(probabilities.sum(axis=1, dtype=np.float64), _clipped_log_odds(best), frequent)

    def apply(self, probabilities: Floats, labels: Ints, company: Company) -> Floats:
        """Probabilities (rows, some), of these labels, rising, that heed all labels of their rows; 0 stays 0."""
        scores = np.tensordot(self.weights[:-1], self._evidence(probabilities, labels, company), 1)
        heeded = 1 / (1 + np.exp(-(scores + self.weights[-1])))
        return np.where(probabilities > 0, heeded, 0).astype(np.float32)

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
    def frequent(self) -> Ints:
        """Numbers of the frequent labels, rising."""
        return np.flatnonzero(self.pairs.diagonal())

    @cached_property
    def _number(self) -> Ints:
        """Of each label among the frequent ones, -1 where it is none."""
        number = np.full(self.pairs.shape[0], -1)
        number[self.frequent] = np.arange(len(self.frequent))
        return number

    @cached_property
    def _associations(self) -> tuple[Array, Array]:
        """Of the frequent labels with one another (frequent, frequent): the positive ones, and the negative ones."""
        together = self._together()
        return self._signed_associations(together, together.diagonal())

    def _together(self) -> Ints:
        counts: Ints = self.pairs[self.frequent][:, self.frequent].toarray()
        return counts

    def _signed_associations(self, together: Ints, alone: Ints) -> tuple[Array, Array]:
        by_chance = np.outer(alone, alone) / self.rows
        association: Array = np.log((together + _SMOOTHING) / (by_chance + _SMOOTHING))
        np.fill_diagonal(association, 0)
        return np.maximum(association, 0), np.minimum(association, 0)

    def _evidence(self, probabilities: Floats, labels: Ints, company: Company) -> Array:
        """(5, rows, some); the last two are what the frequent labels say for and against each label."""
        given = probabilities.astype(np.float64)
        odds, (best, second) = _clipped_log_odds(given), company.best.T[:, :, None]
        rival = np.where(odds >= best, second, best)
        evidence = np.zeros((5, *given.shape))
        evidence[0] = odds
        evidence[1] = np.log(company.expected[:, None] - given + 0.05)
        evidence[2] = np.clip(odds - rival, -_MARGIN, _MARGIN)
        there = np.flatnonzero(self._number[labels] >= 0)
        if len(there):
            number = self._number[labels[there]]
            between = slice(number[0], number[-1] + 1)
            frequent = company.frequent.astype(np.float64)
            for said, association in zip(evidence[3:], self._associations, strict=True):
                said[:, there] = (frequent @ association[:, between])[:, number - number[0]]
        return evidence

    def _evidence_of_counted(self, probabilities: Floats, counted: csr_matrix, together: Ints) -> Array:
        """That of all labels of rows that are among the pairs themselves: their own targets are left out of these."""
        labels = np.arange(probabilities.shape[1])
        evidence = self._evidence(probabilities, labels, self.company(probabilities, labels))
        for row, given in enumerate(probabilities.astype(np.float64)):
            own = counted.indices[counted.indptr[row] : counted.indptr[row + 1]]
            number = self._number[own]
            pairs = np.ix_(number, number)
            without = self._signed_associations(together[pairs] - 1, together.diagonal()[number])
            for said, association, less in zip(evidence[3:], self._associations, without, strict=True):
                said[row, own] += given[own] @ (less - association[pairs])
        return evidence


def _clipped_log_odds(probabilities: NDArray[Any]) -> Array:
    return np.clip(log_odds(probabilities.astype(np.float64)), -_CLIP, _CLIP)
