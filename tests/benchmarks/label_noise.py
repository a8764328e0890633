"""Training labels that are doubtful, found without a look at anything held out: measured, and not worth it (docs/results.md).

Weak labels are wrong where a heading says less than it seems to. Labels of tests are never touched.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rubricator.models.decisions.calibration import Calibration, CalibrationSettings
from rubricator.models.linear.ngrams import NgramFeatures
from rubricator.models.linear.svm import SvmClassifier
from rubricator.nlp.examples import Examples

Denoise = Literal["none", "confident", "el2n"]
_EARLY_EPOCHS, _RUNS = 3, 5
_SHARE = 0.05  # of the examples, those with the largest early error


def without_doubtful(examples: Examples, denoise: Denoise, *, seed: int = 0) -> Examples:
    """The examples less those of which any label is doubtful."""
    if denoise == "none":
        return examples
    doubtful = _confident(examples) if denoise == "confident" else _el2n(examples, seed)
    return examples.take(np.flatnonzero(~doubtful))


def _confident(examples: Examples) -> NDArray[np.bool_]:
    """Confident learning (Northcutt et al., JAIR 2021) on the out-of-fold probabilities of a linear SVM, by group."""
    from cleanlab.filter import find_label_issues

    svm = SvmClassifier(examples.labels, SvmClassifier.default_settings("sentence")).fit(examples)
    assert svm.out_of_fold is not None
    raw = svm.out_of_fold.probabilities
    probabilities = Calibration.fit(examples.targets, raw, CalibrationSettings()).apply(raw)
    truth = examples.targets.toarray().astype(int)
    doubtful = np.zeros(len(examples), bool)
    for label in np.flatnonzero((truth.min(axis=0) == 0) & (truth.max(axis=0) == 1)):
        of_label = probabilities[:, label]
        doubtful |= find_label_issues(truth[:, label], np.stack([1 - of_label, of_label], axis=1), n_jobs=1)
    return doubtful


def _el2n(examples: Examples, seed: int) -> NDArray[np.bool_]:
    """The largest errors of logistic regressions early in training, EL2N (Paul et al., NeurIPS 2021)."""
    from sklearn.linear_model import SGDClassifier

    settings = SvmClassifier.default_settings("sentence")
    features = NgramFeatures(settings.features).fit_transform(examples.texts, examples.groups)
    truth = examples.targets.toarray().astype(int)
    errors = np.zeros(len(examples))
    for run in range(_RUNS):
        squared = np.zeros(len(examples))
        for label in np.flatnonzero((truth.min(axis=0) == 0) & (truth.max(axis=0) == 1)):
            early = SGDClassifier(
                loss="log_loss", alpha=1e-5, max_iter=_EARLY_EPOCHS, tol=None, random_state=seed + run
            )
            found = early.fit(features, truth[:, label]).predict_proba(features)[:, 1]
            squared += (found - truth[:, label]) ** 2
        errors += np.sqrt(squared)
    return errors > np.quantile(errors, 1 - _SHARE)
