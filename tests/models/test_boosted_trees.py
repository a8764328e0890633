"""Boosted trees as plain arrays: they judge as scikit-learn does, by private attributes that were seen."""

from importlib.metadata import version

import numpy as np
import pytest

from rubricator.models.boosted_trees import BoostedTrees

SEEN = {"1.8", "1.9"}  # versions of scikit-learn with the attributes that learnt_by_sklearn reads


def test_the_private_attributes_of_this_scikit_learn_were_seen() -> None:
    minor = ".".join(version("scikit-learn").split(".")[:2])
    assert minor in SEEN, f"look at learnt_by_sklearn with scikit-learn {minor}, then add it to SEEN"


def test_trees_from_arrays_judge_as_scikit_learn_does() -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    random = np.random.default_rng(0)
    features = random.normal(size=(400, 3)).astype(np.float32)
    features[::7, 1] = np.nan
    truth = np.nan_to_num(features[:, 1]) + features[:, 0] > 0.3
    trees = BoostedTrees.fit(features, truth, seed=0)
    again = BoostedTrees.restore(trees.tensors())
    assert (again.predict_proba(features) == trees.predict_proba(features)).all()
    theirs = HistGradientBoostingClassifier(
        max_iter=200,
        learning_rate=0.05,
        max_leaf_nodes=8,
        min_samples_leaf=20,
        l2_regularization=1.0,
        early_stopping=False,
        random_state=0,
    )
    with threadpool_limits(1):
        judged = theirs.fit(features, truth).predict_proba(features)[:, 1]
    assert trees.predict_proba(features) == pytest.approx(judged, abs=1e-6)
    assert BoostedTrees.fit(features, np.zeros(400, bool), seed=0).predict_proba(features).max() < 0.01
