"""Descriptions of labels: a text with the words of a label's description is likelier to have the label."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_matrix, csr_matrix, diags_array, vstack
from scipy.special import expit

from rubricator.models.entries import blocks, log_odds
from rubricator.models.linear.ngrams import NgramFeatures

Floats = NDArray[np.float32]
_ENTRIES = 2_000_000  # enough to learn two coefficients from


class DescriptionMatch(NamedTuple):
    """What the descriptions of labels add to the linear models."""

    weights: csc_matrix  # to be added to the weights (columns, labels)
    described_only: NDArray[np.bool_]  # labels without positives that have a description
    intercept: float  # of these labels

    def apply(self, features: csr_matrix, out_of_fold: Floats) -> Floats:
        """Add the weights to the out-of-fold decisions: changes the probabilities (rows, labels) in place."""
        only = self.described_only
        for block in blocks(*out_of_fold.shape):
            decisions = np.where(only, self.intercept, log_odds(out_of_fold[block]))
            scores = decisions + (features[block] @ self.weights).toarray()
            out_of_fold[block] = np.where(only | (out_of_fold[block] > 0), expit(scores), 0)
        return out_of_fold


def match_descriptions(
    features: csr_matrix, targets: csr_matrix, out_of_fold: Floats, described: csc_matrix, *, seed: int
) -> DescriptionMatch:
    """Learn how much a match between a text and the description of a label counts.

    The features of a description, times a factor, are added to the weights of its label. All labels with positives
    share one factor, so that codes with few positives gain most. The factor comes from a logistic regression over all
    entries on the out-of-fold decision and the match: it is the ratio of the second coefficient to the first.

    A label without positives has its description only. Its factor and its intercept come from a logistic regression on
    the match alone, in which each label weighs as if it had one positive. The intercept is lowered where there are
    more of these labels than labels with one positive: they cannot all be as frequent as those (Good 1953: the number
    of labels with one positive estimates how often unseen labels occur).

    features: (rows, columns). targets, out_of_fold: (rows, labels). described: (columns, labels), the features of the
    descriptions.
    """
    rows, labels = out_of_fold.shape
    positives = targets.getnnz(axis=0)
    seen, only = np.flatnonzero(positives), (positives == 0) & (described.getnnz(axis=0) > 0)
    drawn = np.random.default_rng(seed).permutation(rows)[: -(-_ENTRIES // max(1, len(seen)))]
    drawn.sort()
    matches = (features[drawn] @ described[:, seen]).toarray()
    truth, decided = targets[drawn][:, seen].toarray() > 0, out_of_fold[np.ix_(drawn, seen)]
    known = decided > 0
    beside, _ = _odds(truth[known], log_odds(decided[known]), matches[known])
    factors = np.full(labels, max(0.0, beside[1] / beside[0]) if beside[0] > 0 else 0.0, np.float32)
    present = truth.any(axis=0)
    # as if each label had one positive
    weights = np.where(truth, 1 / np.maximum(truth.sum(axis=0), 1), rows / len(drawn))[:, present].ravel()
    alone, base = _odds(truth[:, present].ravel(), matches[:, present].ravel(), weights=weights)
    only &= alone[0] > 0
    base += np.log(min(1, max(1, (positives == 1).sum()) / max(1, only.sum())))
    factors[only] = alone[0]
    return DescriptionMatch(csc_matrix(described @ diags_array(factors)), only, base)


def description_features(features: NgramFeatures, descriptions: Sequence[str], columns: int) -> csc_matrix:
    """Features of each description (columns, labels), scaled to unit length.

    Words of many descriptions ("unspecified") count less. columns: number of all features, including those of the
    context, which are 0 for descriptions.
    """
    found = features.transform(descriptions)
    commonness = np.bincount(found.indices, minlength=found.shape[1])
    found = found @ diags_array(np.log(len(descriptions) / (1 + commonness)) + 1)
    norm = np.sqrt(found.multiply(found).sum(axis=1).A1)
    described = (diags_array(1 / np.maximum(norm, 1e-12)) @ found).T
    context = csc_matrix((columns - found.shape[1], len(descriptions)))
    return csc_matrix(vstack([described, context], format="csc"), dtype=np.float32)


def _odds(
    truth: NDArray[np.bool_], *evidence: Floats, weights: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.float64], float]:
    """Coefficients (one for each array of evidence) and intercept of a logistic regression on truth (entries,).

    All are 0 where the truth is the same for all entries.
    """
    from sklearn.linear_model import LogisticRegression

    if not truth.any() or truth.all():
        return np.zeros(len(evidence)), 0.0
    fitted = LogisticRegression(C=np.inf).fit(np.stack(evidence, axis=1), truth, sample_weight=weights)
    return fitted.coef_[0], float(fitted.intercept_[0])
