"""Gradient-boosted decision trees for binary classification: trained by scikit-learn, kept as plain arrays."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingClassifier

_ARRAYS: dict[str, type[np.generic]] = {  # of nodes, by name
    "feature": np.int64,
    "threshold": np.float64,
    "missing_left": np.bool_,
    "left": np.int64,
    "right": np.int64,
    "leaf": np.bool_,
    "value": np.float64,
}


@dataclass(frozen=True)
class BoostedTrees:
    """All nodes of all trees, one after the other.

    The log-odds of a row are `base` plus the values of the leaves it falls into, one in each tree.

    roots: (trees,), the first node of each tree. nodes: arrays (nodes,) by name. feature, threshold: a row goes left
    where its feature is at most the threshold. missing_left: whether it goes left where the feature is NaN. left,
    right: numbers of the child nodes. leaf: whether the node has no children. value: of a leaf, in log-odds.
    """

    base: float
    roots: NDArray[np.int64]
    nodes: dict[str, NDArray[Any]]

    @classmethod
    def fit(cls, features: NDArray[np.float32], truth: NDArray[np.bool_], *, seed: int) -> Self:
        """Learn from features (rows, columns), NaN where unknown, and truth (rows,)."""
        if truth.all() or not truth.any():
            base = np.log((truth.sum() + 0.5) / ((~truth).sum() + 0.5))
            none = {name: np.zeros(0, kind) for name, kind in _ARRAYS.items()}
            return cls(float(base), np.zeros(0, np.int64), none)
        from sklearn.ensemble import HistGradientBoostingClassifier
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        untrained = HistGradientBoostingClassifier(
            max_iter=200,
            learning_rate=0.05,
            max_leaf_nodes=8,
            min_samples_leaf=min(40, max(1, len(truth) // 20)),
            l2_regularization=1.0,
            early_stopping=False,
            random_state=seed,
        )
        # on small trees threads cost more time than they save, and folds already run in parallel processes
        with threadpool_limits(1):
            fitted = untrained.fit(features, truth)
        base, trees = learnt_by_sklearn(fitted)
        sizes = [len(tree["leaf"]) for tree in trees]
        roots = np.cumsum([0, *sizes])[:-1]
        nodes: dict[str, NDArray[Any]] = {
            name: np.concatenate([tree[name] for tree in trees]).astype(kind)
            for name, kind in _ARRAYS.items()
        }
        first = np.repeat(roots, sizes)
        nodes["left"], nodes["right"] = nodes["left"] + first, nodes["right"] + first
        return cls(base, roots, nodes)

    def predict_proba(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Probability of the positive class (rows,)."""
        score = np.full(len(features), self.base)
        rows = np.arange(len(features))
        for root in self.roots:
            at = np.full(len(features), root)
            while not self.nodes["leaf"][at].all():
                value = features[rows, self.nodes["feature"][at]]
                left = np.where(
                    np.isnan(value), self.nodes["missing_left"][at], value <= self.nodes["threshold"][at]
                )
                below = np.where(left, self.nodes["left"][at], self.nodes["right"][at])
                at = np.where(self.nodes["leaf"][at], at, below)
            score += self.nodes["value"][at]
        return np.asarray(expit(score))

    def tensors(self) -> dict[str, NDArray[Any]]:
        """All arrays by name, to be saved."""
        return {"base": np.array([self.base]), "roots": self.roots, **self.nodes}

    @classmethod
    def restore(cls, tensors: dict[str, NDArray[Any]]) -> Self:
        """The trees from what tensors() gave."""
        nodes = {name: tensors[name] for name in _ARRAYS}
        return cls(float(tensors["base"].item()), tensors["roots"], nodes)


def learnt_by_sklearn(
    fitted: "HistGradientBoostingClassifier",
) -> tuple[float, list[dict[str, NDArray[Any]]]]:
    """The base, and the nodes of each tree as arrays by name; `left` and `right` count within the tree.

    scikit-learn does not publish them, so this function reads private attributes; no other does. The versions that
    have these attributes are named in tests/models/test_boosted_trees.py.
    """
    names = {
        "feature": "feature_idx",
        "threshold": "num_threshold",
        "missing_left": "missing_go_to_left",
        "left": "left",
        "right": "right",
        "leaf": "is_leaf",
        "value": "value",
    }
    trees = [{name: tree.nodes[theirs] for name, theirs in names.items()} for (tree,) in fitted._predictors]
    return float(fitted._baseline_prediction.item()), trees
