"""Train a model, and cross-validate the whole training, on examples of any task."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NotRequired, TypedDict, Unpack

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from pydantic import BaseModel
from scipy.sparse import csr_matrix

from rubricator.models.checkpoints import KeepsCheckpoints
from rubricator.models.classifier import TextClassifier, classifier_class
from rubricator.models.context_copies import with_context_copies
from rubricator.models.decisions.calibration import Calibration, CalibrationSettings
from rubricator.models.label_warnings import SITE_LABELS, label_warnings
from rubricator.models.processes import end_with_parent
from rubricator.models.scores.evaluation import Evaluation, evaluate
from rubricator.models.scores.out_of_fold import OutOfFoldTable
from rubricator.models.trained_model import TrainedModel
from rubricator.nlp.examples import Examples
from rubricator.nlp.folds import assign_folds
from rubricator.nlp.icd import RELEASE, code_system, code_warnings, describe
from rubricator.nlp.tasks import task_named

OnFold = Callable[[int, dict[str, float]], None]  # called with the number of a fold and its figures
_WORTH_PROCESSES = 300_000  # characters of text; with fewer, starting processes takes longer than all folds


class Training(TypedDict):
    """The arguments of `train_model` besides the examples."""

    task: str
    classifier: str
    settings: NotRequired[BaseModel | None]
    calibration: NotRequired[CalibrationSettings]
    context_copies: NotRequired[bool]
    checkpoints: NotRequired[Path | None]


@dataclass(frozen=True)
class CrossValidation:
    """Out-of-fold predictions: the model, its calibration and its thresholds were fitted without the row's fold."""

    probabilities: NDArray[np.float32]  # (rows, labels), calibrated
    decisions: NDArray[np.bool_]  # (rows, labels), positive: accepted or to be reviewed
    accepted: NDArray[np.bool_]  # (rows, labels), accepted without review
    folds: NDArray[np.int64]  # (rows,)
    metrics: list[dict[str, float]]  # per fold

    def held_out(self, examples: Examples) -> OutOfFoldTable:
        """The table that is kept with a model. examples: those that were cross-validated."""
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
        """All figures over all folds together. examples: those that were cross-validated."""
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
    """Fit the classifier, then calibration and thresholds on its out-of-fold predictions.

    Auxiliary examples are used for training too.

    settings: of the classifier, None for its defaults for the task. context_copies: whether to train also on copies of
    sentences in other contexts (context_copies.py). checkpoints: folder for a classifier that keeps checkpoints, None
    to keep none. Raises UnknownClassifierError, UnknownTaskError and FoldError.
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
    model.settings["names_left_out"] = len(examples.person_names)
    return model


def cross_validate(
    examples: Examples,
    *,
    folds: int = 10,
    grouped: bool = True,
    seed: int = 0,
    on_fold: OnFold | None = None,
    **training: Unpack[Training],
) -> CrossValidation:
    """Train on all folds but one and predict that one, in turn. Nothing of a fold reaches the model that predicts it.

    One thing is found over all notes, without their labels: which words look like names.

    grouped: False splits rows at random and ignores their groups. Such figures are too optimistic; they serve only as
    a comparison. on_fold: called after each fold. training: as for train_model; all folds share the checkpoints folder.

    With much text the folds are trained in parallel, one process per core; the result is the same. Raises FoldError
    where there are fewer than two groups, and what train_model raises.
    """
    if not grouped:
        auxiliary = examples.auxiliary and replace(
            examples.auxiliary, groups=len(examples) + examples.auxiliary.groups
        )
        examples = replace(examples, groups=np.arange(len(examples)), auxiliary=auxiliary)
    fold_of = assign_folds(examples.targets, examples.groups, folds, seed=seed)
    parallel = sum(map(len, examples.texts)) > _WORTH_PROCESSES
    learn = partial(train_model, **training)
    predictions = Parallel(
        n_jobs=-1 if parallel else 1,
        return_as="generator",
        pre_dispatch="n_jobs",
        initializer=end_with_parent,
    )(delayed(_predict_fold)(*examples.split(fold_of == fold), learn) for fold in range(fold_of.max() + 1))
    return in_folds(examples, fold_of, predictions, on_fold)


def in_folds(
    examples: Examples,
    fold_of: NDArray[np.int64],
    predictions: Iterable[tuple[NDArray[np.float32], Calibration]],
    on_fold: OnFold | None,
) -> CrossValidation:
    """Score the predictions of each fold, and put them together.

    fold_of: (rows,). predictions: for each fold in turn, its probabilities and the calibration with its thresholds.
    """
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
    """Fit calibration and thresholds on the classifier's out-of-fold predictions for these examples.

    A label with a warning is never accepted without review.
    """
    out_of_fold = fitted.out_of_fold
    if out_of_fold is None:
        raise RuntimeError(f"{classifier} has no out-of-fold predictions to calibrate on; fit it first")
    thresholds = Calibration.fit(
        examples.targets.tocsr()[out_of_fold.rows], out_of_fold.probabilities, calibration
    )
    system, known = None, []
    if task_named(task).labels_are_codes:
        system = _code_systems(examples.labels)
        known = [label for label in examples.labels if label in examples.site_labels and code_warnings(label)]
        warned = [bool(label_warnings(label, code_system=system, known=known)) for label in examples.labels]
        thresholds = replace(thresholds, accept=np.where(warned, np.inf, thresholds.accept))
    return TrainedModel(
        task=task,
        classifier_name=classifier,
        classifier=fitted,
        calibration=thresholds,
        descriptions=[text and text.partition("\n")[0] for text in _descriptions(examples, task)],
        training_positives=examples.targets.getnnz(axis=0).tolist(),
        code_system=system,
        settings={
            "classifier": settings.model_dump(mode="json"),
            "calibration": calibration.model_dump(mode="json"),
            **({SITE_LABELS: known} if known else {}),
        },
        fingerprint=examples.fingerprint(),
    )


def _descriptions(examples: Examples, task: str) -> list[str | None]:
    """The names of each label, one per line, the site's own names first; None where there is none."""
    own = examples.label_texts()
    if not task_named(task).labels_are_codes:
        return [text or None for text in own]
    return [
        "\n".join(dict.fromkeys([*text.splitlines(), describe(label) or ""])).strip() or None
        for label, text in zip(examples.labels, own, strict=True)
    ]


def _predict_fold(
    train: Examples, test: Examples, learn: Callable[[Examples], TrainedModel]
) -> tuple[NDArray[np.float32], Calibration]:
    """Probabilities (test rows, labels) by a model that is trained on the other folds, and its thresholds."""
    model = learn(train)
    found = model.predict_proba(test.texts, contexts=test.contexts)
    return found, replace(model.calibration, dependence=None)


def _code_systems(codes: Sequence[str]) -> str:
    """The code systems of the codes, each with the release that its descriptions come from."""
    systems = sorted({system for code in codes if (system := code_system(code))})
    return ", ".join(f"{system} ({RELEASE[system]})" for system in systems)
