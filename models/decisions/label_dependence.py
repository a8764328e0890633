"""Dependence between the labels of a text: for example, a symptom is not coded beside the disease that explains it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags_array, triu
from scipy.special import expit

from rubricator.models.entries import log_odds

Array = NDArray[np.float64]
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
_FEWEST = 5  # positives of a label that has associations
_MOST_LABELS = 2000  # the most frequent ones: the association of each pair is held in memory
_SMOOTHING = 0.5  # added to the counts of pairs
_CLIP = 7.0  # log-odds are clipped to ± this
_MARGIN = 4.0  # the margin is clipped to ± this, in log-odds
_ENTRIES = 2_000_000  # enough to learn six coefficients from
_ROWS = 64  # whose features are made at a time


class LabelContext(NamedTuple):
    """A summary of the probabilities of all labels in some rows: the context of each single label."""

    expected: Array  # (rows,) expected number of labels
    best: Array  # (rows, 2) the highest log-odds and the second highest
    frequent: Floats  # (rows, frequent labels) probabilities

    @classmethod
    def empty(cls, rows: int, frequent: int) -> Self:
        """Arrays of these sizes, to be filled by `put`."""
        return cls(np.empty(rows), np.empty((rows, 2)), np.empty((rows, frequent), np.float32))

    def of(self, rows: slice) -> "LabelContext":
        """The context of some of the rows; a view."""
        return LabelContext(self.expected[rows], self.best[rows], self.frequent[rows])

    def put(self, rows: slice, context: "LabelContext") -> None:
        """Fill in the context of some of the rows."""
        self.expected[rows], self.best[rows], self.frequent[rows] = context


@dataclass(frozen=True)
class LabelDependence:
    """A second logistic regression over calibrated probabilities (stacked binary relevance, Godbole & Sarawagi 2004).

    All labels share its weights, so that few numbers are learnt. The features of a label in a row are:

    - the log-odds of the label
    - the log of the expected number of other labels
    - the margin: log-odds of the label minus the highest log-odds of another label
    - the sum over other labels of probability · association, for positive associations only
    - the same for negative associations only

    The association of two labels is the log of how often they occur together, divided by how often they would by
    chance (pointwise mutual information).

    pairs: number of training rows with both labels (labels, labels), symmetric; on the diagonal, the number of rows
    with the label. It is 0 for labels with too few positives. rows: number of training rows. weights: (6,), the
    intercept last.
    """

    pairs: csr_matrix
    rows: int
    weights: Array

    @classmethod
    def fit(cls, targets: csr_matrix, probabilities: Callable[[Ints], Floats]) -> Self | None:
        """Learn from 0/1 targets (rows, labels) and out-of-fold probabilities.

        probabilities: gives the probabilities of the requested rows, (requested rows, labels). Returns None where
        fewer than two labels are frequent, or where the known entries are all true or all false.
        """
        from sklearn.linear_model import LogisticRegression  # slow to import, and prediction does not need it

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
        drawn = np.random.default_rng(0).permutation(rows)[: max(_ENTRIES // labels, 1)]
        together = unfitted._together()

        def known_entries() -> Iterator[tuple[Array, NDArray[np.bool_]]]:
            for start in range(0, len(drawn), _ROWS):
                some = drawn[start : start + _ROWS]
                given = probabilities(some)
                features = unfitted._features_of_counted(given, counted[some], together)
                yield features[:, given > 0].T, targets[some].toarray()[given > 0] > 0

        features, truth = map(np.concatenate, zip(*known_entries(), strict=True))
        if truth.all() or not truth.any():
            return None
        fitted = LogisticRegression(max_iter=300).fit(features, truth)
        return cls(unfitted.pairs, rows, np.append(fitted.coef_[0], fitted.intercept_))

    def context(self, probabilities: Floats, labels: Ints) -> LabelContext:
        """The context of rows, from their probabilities (rows, these labels).

        labels: numbers of the labels, ascending. Any other label has probability 0.
        """
        two = probabilities if len(labels) > 1 else np.pad(probabilities, ((0, 0), (2, 0)))
        best = np.sort(np.partition(two, -2, axis=1)[:, -2:], axis=1)[:, ::-1]
        number = self._number[labels]
        frequent = np.zeros((len(probabilities), len(self.frequent)), np.float32)
        frequent[:, number[number >= 0]] = probabilities[:, number >= 0]
        return LabelContext(probabilities.sum(axis=1, dtype=np.float64), _clipped_log_odds(best), frequent)

    def apply(self, probabilities: Floats, labels: Ints, context: LabelContext) -> Floats:
        """Probabilities (rows, these labels), changed by the other labels of their rows; 0 stays 0.

        labels: numbers of the labels, ascending.
        """
        scores = np.tensordot(self.weights[:-1], self._features(probabilities, labels, context), 1)
        return np.where(probabilities > 0, expit(scores + self.weights[-1]), 0).astype(np.float32)

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON types. A pair is [label number, label number, count]."""
        upper = triu(self.pairs).tocoo()
        return {
            "rows": self.rows,
            "weights": self.weights.tolist(),
            "pairs": np.stack([upper.row, upper.col, upper.data], axis=1).tolist(),
        }

    @classmethod
    def from_json(cls, values: dict[str, Any], *, labels: int) -> Self:
        """Read what to_json gave. labels: number of labels of the model."""
        row, column, count = np.array(values["pairs"], np.int64).T
        upper = csr_matrix((count, (row, column)), shape=(labels, labels))
        pairs = csr_matrix(upper + triu(upper, 1).T)
        return cls(pairs, values["rows"], np.array(values["weights"], np.float64))

    @cached_property
    def frequent(self) -> Ints:
        """Numbers of the frequent labels, ascending."""
        return np.flatnonzero(self.pairs.diagonal())

    @cached_property
    def _number(self) -> Ints:
        """The position of each label among the frequent ones, -1 where it is not one of them."""
        number = np.full(self.pairs.shape[0], -1)
        number[self.frequent] = np.arange(len(self.frequent))
        return number

    @cached_property
    def _associations(self) -> tuple[Array, Array]:
        """Positive and negative associations of the frequent labels, two matrices (frequent, frequent), else 0."""
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

    def _features(self, probabilities: Floats, labels: Ints, context: LabelContext) -> Array:
        """Features (5, rows, these labels), in the order of the class docstring.

        The last two are sums over the frequent labels only.
        """
        own = probabilities.astype(np.float64)
        odds, (best, second) = _clipped_log_odds(own), context.best.T[:, :, None]
        rival = np.where(odds >= best, second, best)
        features = np.zeros((5, *own.shape))
        features[0] = odds
        features[1] = np.log(context.expected[:, None] - own + 0.05)
        features[2] = np.clip(odds - rival, -_MARGIN, _MARGIN)
        there = np.flatnonzero(self._number[labels] >= 0)
        if len(there):
            number = self._number[labels[there]]
            between = slice(number[0], number[-1] + 1)
            frequent = context.frequent.astype(np.float64)
            for feature, association in zip(features[3:], self._associations, strict=True):
                feature[:, there] = (frequent @ association[:, between])[:, number - number[0]]
        return features

    def _features_of_counted(self, probabilities: Floats, counted: csr_matrix, together: Ints) -> Array:
        """As _features, for all labels of training rows; counted: their frequent labels.

        The labels of a row itself are subtracted from the pair counts, so that they do not predict one another.
        """
        labels = np.arange(probabilities.shape[1])
        features = self._features(probabilities, labels, self.context(probabilities, labels))
        for row, given in enumerate(probabilities.astype(np.float64)):
            own = counted.indices[counted.indptr[row] : counted.indptr[row + 1]]
            number = self._number[own]
            pairs = np.ix_(number, number)
            without = self._signed_associations(together[pairs] - 1, together.diagonal()[number])
            for feature, association, less in zip(features[3:], self._associations, without, strict=True):
                feature[row, own] += given[own] @ (less - association[pairs])
        return features


def _clipped_log_odds(probabilities: NDArray[Any]) -> Array:
    return np.clip(log_odds(probabilities.astype(np.float64)), -_CLIP, _CLIP)
