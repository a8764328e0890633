"""Fit and evaluate an ensemble of registered models on their out-of-fold predictions."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from rubricator.models.classifier import OutOfFold
from rubricator.models.decisions.calibration import Calibration, CalibrationSettings
from rubricator.models.ensemble.classifier import (
    EnsembleClassifier,
    EnsembleError,
    EnsembleMembersError,
    EnsembleSettings,
    Member,
    NoGainError,
    average,
    fit_weights,
)
from rubricator.models.entries import on_labels
from rubricator.models.scores.bootstrap import paired_bootstrap
from rubricator.models.scores.evaluation import evaluate
from rubricator.models.scores.out_of_fold import MOST_ENTRIES, changed_rows
from rubricator.models.trained_model import TrainedModel
from rubricator.models.training import CrossValidation, OnFold, calibrated_model, in_folds
from rubricator.nlp.examples import Examples
from rubricator.nlp.folds import assign_folds


def train_ensemble(
    members: Sequence[Member],
    examples: Examples,
    *,
    task: str,
    settings: EnsembleSettings,
    calibration: CalibrationSettings = CalibrationSettings(),
) -> TrainedModel:
    """Average trained members. Weights, calibration and thresholds are fitted on their out-of-fold predictions.

    Raises EnsembleMembersError where there are fewer than two different members, and EnsembleError where a member was
    not cross-validated on these examples.
    """
    held_out = _held_out(members, examples, task)
    weights = fit_weights(examples.targets, held_out, np.arange(len(examples)))
    pinned = settings.model_copy(update={"members": tuple(member.name for member in members)})
    models = [member.model for member in members]
    fitted = EnsembleClassifier(examples.labels, pinned, members=models, weights=weights)
    fitted.out_of_fold = OutOfFold(np.arange(len(examples)), average(held_out, weights))
    return calibrated_model(
        fitted, examples, task=task, classifier="ensemble", settings=pinned, calibration=calibration
    )


def cross_validate_ensemble(
    members: Sequence[Member],
    examples: Examples,
    *,
    task: str,
    calibration: CalibrationSettings = CalibrationSettings(),
    folds: int = 10,
    seed: int = 0,
    on_fold: OnFold | None = None,
) -> CrossValidation:
    """Average the members' out-of-fold predictions and score each fold.

    Weights, calibration and thresholds for a fold are fitted on the other folds. The members are not trained again.
    Raises what train_ensemble raises.
    """
    held_out = _held_out(members, examples, task)
    fold_of = assign_folds(examples.targets, examples.groups, folds, seed=seed)

    def predictions() -> Iterator[tuple[NDArray[np.float32], Calibration]]:
        for fold in range(fold_of.max() + 1):
            others = np.flatnonzero(fold_of != fold)
            averaged = average(held_out, fit_weights(examples.targets, held_out, others))
            fitted = Calibration.fit(examples.targets[others], averaged[others], calibration)
            found = fitted.apply(averaged[fold_of == fold])
            yield found, fitted

    return in_folds(examples, fold_of, predictions(), on_fold)


def require_win(
    members: Sequence[Member],
    examples: Examples,
    found: CrossValidation,
    settings: EnsembleSettings,
    *,
    seed: int = 0,
) -> tuple[str, float]:
    """Name and micro-F1 of the best member on these examples.

    Raises NoGainError where `must_win` is true and the 95 % interval of the difference to that member is not wholly
    above 0.
    """
    against = {
        member.name: paired_bootstrap(
            examples.targets,
            on_labels(member.held_out.decisions, member.held_out.labels, examples.labels),
            found.decisions,
            examples.groups,
            seed=seed,
        )
        for member in members
    }
    best = min(against, key=lambda name: against[name].difference)
    difference = against[best]
    own = evaluate(
        examples.targets, found.probabilities, found.decisions, examples.groups, examples.labels, bootstrap=0
    ).values()["micro_f1"]
    if settings.must_win and difference.low <= 0:
        raise NoGainError(
            f"not registered: micro-F1 {own:.3f}, {difference.difference:+.3f} against {best} alone (95 % interval "
            f"{difference.low:+.3f} to {difference.high:+.3f}; it must be wholly above 0). The ensemble costs as much "
            "as all its members together: use that member, or register the ensemble anyway with the setting "
            "must_win=false"
        )
    return best, own - difference.difference


def _held_out(members: Sequence[Member], examples: Examples, task: str) -> list[NDArray[np.float32]]:
    """The members' out-of-fold probabilities for these examples, each (rows, labels)."""
    if len({member.name for member in members}) < max(2, len(members)):
        raise EnsembleMembersError
    inputs = examples.inputs_fingerprint()
    for name, model, held_out in members:
        if model.task != task:
            raise EnsembleError(f"{name} was trained for {model.task}, not for {task}")
        if held_out.inputs_sha256 != inputs:
            raise EnsembleError(
                f"{name} was cross-validated on {len(held_out.example_ids)} examples that are not the same as these "
                f"{len(examples)}, so it has no out-of-fold predictions for these; train it again on these notes"
            )
        own, given = (
            on_labels(targets.tocsr(), labels, sorted({*held_out.labels} & {*examples.labels}))
            for targets, labels in (
                (held_out.targets, held_out.labels),
                (examples.targets, examples.labels),
            )
        )
        changed = changed_rows(own, given).sum()
        if changed:
            raise EnsembleError(
                f"the true labels of {changed} examples changed since {name} was "
                "trained; train it again on these notes"
            )
    return [on_labels(_probabilities(member), member.held_out.labels, examples.labels) for member in members]


def _probabilities(member: Member) -> NDArray[np.float32]:
    if member.held_out.probabilities is None:
        raise EnsembleError(
            f"{member.name} was registered without its out-of-fold probabilities: by an older version, or with more "
            f"than {MOST_ENTRIES:,} of them; train it again, with fewer labels or examples where there are more"
        )
    return member.held_out.probabilities
