"""Train a model, and cross-validate the whole of what training does, on examples of any task."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel
from rubricator.models.calibration import Calibration, CalibrationSettings
from rubricator.models.classifier import TrainedModel, classifier_class
from rubricator.models.evaluation import evaluate
from rubricator.models.folds import assign_folds
from scipy.sparse import csr_matrix

DEFAULT_CALIBRATION = CalibrationSettings()


@dataclass(frozen=True)
class OutOfFold:
    """Predictions for each row by a model trained, calibrated and given thresholds without that row's
    fold."""

    probabilities: NDArray[np.float32]  # (rows, labels), calibrated
    decisions: NDArray[np.bool_]  # (rows, labels), positive: not rejected
    accepted: NDArray[np.bool_]  # (rows, labels), positive without review
    folds: NDArray[np.int64]  # (rows,)
    metrics: list[dict[str, float]]  # per fold


def train_model(
    *,
    task: str,
    classifier: str,
    texts: Sequence[str],
    targets: csr_matrix,
    groups: NDArray[np.int64],
    labels: Sequence[str],
    settings: BaseModel | None = None,
    calibration: CalibrationSettings = DEFAULT_CALIBRATION,
    descriptions: Sequence[str | None] | None = None,
    code_system: str | None = None,
    fingerprint: str = "",
) -> TrainedModel:
    """Fit the classifier, then calibration and thresholds on what it held in.

    targets: 0/1 (texts, labels). groups: (texts,), kept whole in every inner split. settings: the
    classifier's own, None for its defaults for the task. Raises UnknownClassifierError and FoldError.
    """
    kind = classifier_class(classifier)
    chosen = kind.default_settings(task) if settings is None else settings
    fitted = kind(labels, chosen).fit(texts, targets, groups=groups)
    held_in = fitted.held_in
    if held_in is None:
        raise RuntimeError(f"{classifier} kept no held-in predictions to calibrate on")
    return TrainedModel(
        task=task,
        classifier_name=classifier,
        classifier=fitted,
        calibration=Calibration.fit(targets.tocsr()[held_in.rows], held_in.probabilities, calibration),
        descriptions=list(descriptions) if descriptions is not None else [None] * len(labels),
        code_system=code_system,
        settings={
            "classifier": chosen.model_dump(mode="json"),
            "calibration": calibration.model_dump(mode="json"),
        },
        fingerprint=fingerprint,
    )


def cross_validate(
    *,
    task: str,
    classifier: str,
    texts: Sequence[str],
    targets: csr_matrix,
    groups: NDArray[np.int64],
    labels: Sequence[str],
    settings: BaseModel | None = None,
    calibration: CalibrationSettings = DEFAULT_CALIBRATION,
    folds: int = 10,
    grouped: bool = True,
    seed: int = 0,
    on_fold: Callable[[int, dict[str, float]], None] | None = None,
) -> OutOfFold:
    """Train on all folds but one and predict that one, in turn; nothing of a fold reaches what predicts it.

    grouped False splits rows at random, whatever their groups: the optimistic figure to print beside the
    grouped one.
    on_fold: called after each fold with its number and figures. Raises FoldError under two groups.
    """
    targets = targets.tocsr()
    if not grouped:
        groups = np.arange(len(texts))
    fold_of = assign_folds(targets, groups, folds, seed=seed)
    probabilities = np.zeros(targets.shape, np.float32)
    decisions, accepted = np.zeros(targets.shape, bool), np.zeros(targets.shape, bool)
    metrics = []
    for fold in range(fold_of.max() + 1):
        train, test = np.flatnonzero(fold_of != fold).tolist(), np.flatnonzero(fold_of == fold).tolist()
        model = train_model(
            task=task,
            classifier=classifier,
            texts=[texts[row] for row in train],
            targets=targets[train],
            groups=groups[train],
            labels=labels,
            settings=settings,
            calibration=calibration,
        )
        probabilities[test] = model.predict_proba([texts[row] for row in test])
        decided = model.decide(probabilities[test])
        decisions[test], accepted[test] = decided != "reject", decided == "accept"
        scores = evaluate(
            targets[test], probabilities[test], decisions[test], groups[test], labels, bootstrap=0
        )
        metrics.append(scores.values())
        if on_fold:
            on_fold(fold, metrics[-1])
    return OutOfFold(probabilities, decisions, accepted, fold_of, metrics)
