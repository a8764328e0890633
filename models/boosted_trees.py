"""Gradient-boosted decision trees for a yes-or-no question: learnt by scikit-learn, kept as plain arrays."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

_FIELDS = {
    "feature": ("feature_idx", np.int64),
    "threshold": ("num_threshold", np.float64),
    "missing_left": ("missing_go_to_left", np.bool_),
    "left": ("left", np.int64),
    "right": ("right", np.int64),
    "leaf": ("is_leaf", np.bool_),
    "value": ("value", np.float64),
}


@dataclass(frozen=True)
class BoostedTrees:
    """All nodes of all trees, one after the other; left and right are node numbers in the same arrays.

    roots: (trees,), the first node of each. The log-odds of a row are base plus the values of the leaves it falls into.
    """

    base: float
    roots: NDArray[np.int64]
    nodes: dict[str, NDArray[Any]]  # by the names of _FIELDS, each (nodes,)

    @classmethod
    def fit(cls, features: NDArray[np.float32], truth: NDArray[np.bool_], *, seed: int) -> Self:
        """Learn from features (rows, columns), NaN where unknown, and truth (rows,)."""
        if truth.all() or not truth.any():
            base = np.log((truth.sum() + 0.5) / ((~truth).sum() + 0.5))
            return cls(
                float(base),
                np.zeros(0, np.int64),
                {name: np.zeros(0, kind) for name, (_, kind) in _FIELDS.items()},
            )
        from sklearn.ensemble import HistGradientBoostingClassifier
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        trees_of = HistGradientBoostingClassifier(
            max_iter=200,
            learning_rate=0.05,
            max_leaf_nodes=8,
            min_samples_leaf=min(40, max(1, len(truth) // 20)),
            l2_regularization=1.0,
            early_stopping=False,
            random_state=seed,
        )
        with threadpool_limits(
            1
        ):  # threads cost more than they give on small trees, and folds have processes
            learnt = trees_of.fit(features, truth)
        trees = [tree.nodes for (tree,) in learnt._predictors]
        roots = np.cumsum([0, *map(len, trees)])[:-1]
        nodes: dict[str, NDArray[Any]] = {
            name: np.concatenate([tree[field] for tree in trees]).astype(kind)
            for name, (field, kind) in _FIELDS.items()
        }
        first = np.repeat(roots, [len(tree) for tree in trees])
        nodes["left"], nodes["right"] = nodes["left"] + first, nodes["right"] + first
        return cls(float(learnt._baseline_prediction.item()), roots, nodes)

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
        return np.asarray(1 / (1 + np.exp(-score)))

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Everything, as arrays by name."""
        return {"base": np.array([self.base]), "roots": self.roots, **self.nodes}

    @classmethod
    def restore(cls, tensors: dict[str, NDArray[Any]]) -> Self:
        """Take back what tensors() gave."""
        return cls(float(tensors["base"].item()), tensors["roots"], {name: tensors[name] for name in _FIELDS})
