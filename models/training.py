"""Train a model, and cross-validate the whole of what training does, on examples of any task."""

import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from pydantic import BaseModel
from scipy.sparse import csr_matrix

from rubricator.models.classifier import KeepsCheckpoints, TextClassifier, classifier_class
from rubricator.models.context_copies import with_context_copies
from rubricator.models.decisions.calibration import Calibration, CalibrationSettings
from rubricator.models.scores.evaluation import Evaluation, evaluate
from rubricator.models.scores.out_of_fold import OutOfFoldTable
from rubricator.models.trained_model import TrainedModel
from rubricator.nlp.examples import Examples
from rubricator.nlp.folds import assign_folds
from rubricator.nlp.icd import RELEASE, code_system, describe
from rubricator.nlp.tasks import task_named

DEFAULT_CALIBRATION = CalibrationSettings()


_WORTH_PROCESSES = 300_000  # characters: the folds of less are done before processes have started


@dataclass(frozen=True)
class CrossValidation:
    """Predictions for each row by a model trained, calibrated and given thresholds without that row's
    fold."""

    probabilities: NDArray[np.float32]  # (rows, labels), calibrated
    decisions: NDArray[np.bool_]  # (rows, labels), positive: not rejected
    accepted: NDArray[np.bool_]  # (rows, labels), positive without review
    folds: NDArray[np.int64]  # (rows,)
    metrics: list[dict[str, float]]  # per fold

    def held_out(self, examples: Examples) -> OutOfFoldTable:
        """To keep with a model; examples: those that were cross-validated."""
        return OutOfFoldTable(
            labels=examples.labels,
            example_ids=examples.ids,
            groups=examples.groups,
            targets=examples.targets,
            decisions=csr_matrix(self.decisions),
            probabilities=self.probabilities,
            inputs_sha256=examples.inputs_fingerprint(),
        )

    def evaluate(self, examples: Examples, *, bootstrap: int = 1000, seed: int = 0) -> Evaluation:
        """All figures over all folds; examples: those that were cross-validated."""
        return evaluate(
            examples.targets,
            self.probabilities,
            self.decisions,
            examples.groups,
            examples.labels,
            bootstrap=bootstrap,
            seed=seed,
        )


def train_model(
    examples: Examples,
    *,
    task: str,
    classifier: str,
    settings: BaseModel | None = None,
    calibration: CalibrationSettings = CalibrationSettings(),
    context_copies: bool = True,
    checkpoints: Path | None = None,
) -> TrainedModel:
    """Fit the classifier, then calibration and thresholds on what it held in; auxiliary examples are learnt from too.

    settings: the classifier's own, None for its defaults for the task. context_copies: learn plan sentences in foreign
    contexts too. checkpoints: the folder that a classifier which keeps checkpoints goes on from, None to keep none.
    Raises UnknownClassifierError, UnknownTaskError and FoldError.
    """
    examples = examples.with_auxiliary()
    learnt = with_context_copies(examples) if context_copies else examples
    kind = classifier_class(classifier)
    chosen = kind.default_settings(task_named(task).unit) if settings is None else settings
    untrained = kind(examples.labels, chosen)
    if isinstance(untrained, KeepsCheckpoints):
        untrained.checkpoints = checkpoints
    fitted = untrained.fit(replace(learnt, descriptions=_descriptions(learnt, task)))
    if fitted.out_of_fold is not None:
        fitted.out_of_fold = fitted.out_of_fold.first(len(examples))
    model = calibrated_model(
        fitted, examples, task=task, classifier=classifier, settings=chosen, calibration=calibration
    )
    model.settings["context_copies"] = len(learnt) - len(examples)
    return model


def cross_validate(
    examples: Examples,
    *,
    task: str,
    classifier: str,
    settings: BaseModel | None = None,
    calibration: CalibrationSettings = CalibrationSettings(),
    folds: int = 10,
    grouped: bool = True,
    seed: int = 0,
    on_fold: Callable[[int, dict[str, float]], None] | None = None,
    checkpoints: Path | None = None,
) -> CrossValidation:
    """Train on all folds but one and predict that one, in turn; nothing of a fold reaches what predicts it.

    grouped False splits rows at random, whatever their groups: the optimistic figure to print beside the grouped one.
    on_fold: called after each fold with its number and figures. checkpoints: as for train_model, of all folds. Folds
    of much text are worked on by one process a core; the result is the same. Raises FoldError under two groups.
    """
    if not grouped:
        further = examples.auxiliary and replace(
            examples.auxiliary, groups=len(examples) + examples.auxiliary.groups
        )
        examples = replace(examples, groups=np.arange(len(examples)), auxiliary=further)
    fold_of = assign_folds(examples.targets, examples.groups, folds, seed=seed)
    parallel = sum(map(len, examples.texts)) > _WORTH_PROCESSES
    learn = partial(
        train_model,
        task=task,
        classifier=classifier,
        settings=settings,
        calibration=calibration,
        checkpoints=checkpoints,
    )
    predictions = Parallel(
        n_jobs=-1 if parallel else 1,
        return_as="generator",
        pre_dispatch="n_jobs",
        initializer=_end_with,
        initargs=(os.getpid(),),
    )(delayed(_predict_fold)(*examples.split(fold_of == fold), learn) for fold in range(fold_of.max() + 1))
    return in_folds(examples, fold_of, predictions, on_fold)


def in_folds(
    examples: Examples,
    fold_of: NDArray[np.int64],
    predictions: Iterable[tuple[NDArray[np.float32], Calibration]],
    on_fold: Callable[[int, dict[str, float]], None] | None,
) -> CrossValidation:
    """Probabilities of each fold in turn, with what decides on them, scored and put together."""
    shape = examples.targets.shape
    probabilities = np.zeros(shape, np.float32)
    decisions, accepted = np.zeros(shape, bool), np.zeros(shape, bool)
    metrics = []
    for fold, (found, calibration) in enumerate(predictions):
        test = np.flatnonzero(fold_of == fold)
        probabilities[test] = found
        decisions[test], accepted[test] = calibration.positive(found), calibration.accepted(found)
        scores = evaluate(
            examples.targets[test],
            found,
            decisions[test],
            examples.groups[test],
            examples.labels,
            bootstrap=0,
        )
        metrics.append(scores.values())
        if on_fold:
            on_fold(fold, metrics[-1])
    return CrossValidation(probabilities, decisions, accepted, fold_of, metrics)


def calibrated_model(
    fitted: TextClassifier,
    examples: Examples,
    *,
    task: str,
    classifier: str,
    settings: BaseModel,
    calibration: CalibrationSettings,
) -> TrainedModel:
    """A fitted classifier with calibration and thresholds fitted on what it held in of these examples."""
    out_of_fold = fitted.out_of_fold
    if out_of_fold is None:
        raise RuntimeError(f"{classifier} kept no out-of-fold predictions to calibrate on")
    return TrainedModel(
        task=task,
        classifier_name=classifier,
        classifier=fitted,
        calibration=Calibration.fit(
            examples.targets.tocsr()[out_of_fold.rows], out_of_fold.probabilities, calibration
        ),
        descriptions=[text and text.partition("\n")[0] for text in _descriptions(examples, task)],
        training_positives=examples.targets.getnnz(axis=0).tolist(),
        code_system=_code_systems(examples.labels) if task_named(task).labels_are_codes else None,
        settings={
            "classifier": settings.model_dump(mode="json"),
            "calibration": calibration.model_dump(mode="json"),
        },
        fingerprint=examples.fingerprint(),
    )


def _descriptions(examples: Examples, task: str) -> list[str | None]:
    """What each label is called, a name a line, the site's own names first."""
    own = examples.label_texts()
    if not task_named(task).labels_are_codes:
        return [text or None for text in own]
    return [
        "\n".join(dict.fromkeys([*text.splitlines(), describe(label) or ""])).strip() or None
        for label, text in zip(examples.labels, own, strict=True)
    ]


def _end_with(parent: int) -> None:
    """Called first in a process that works on folds: without a parent it would go on, beside one that took over."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _predict_fold(
    train: Examples, test: Examples, learn: Callable[[Examples], TrainedModel]
) -> tuple[NDArray[np.float32], Calibration]:
    """Probabilities (test, labels) of a model of the other folds, and its thresholds."""
    model = learn(train)
    found = model.predict_proba(test.texts, contexts=test.contexts)
    return found, replace(model.calibration, dependence=None)


def _code_systems(codes: Sequence[str]) -> str:
    """The systems the codes are of, with the releases that described them."""
    systems = sorted({system for code in codes if (system := code_system(code))})
    return ", ".join(f"{system} ({RELEASE[system]})" for system in systems)
