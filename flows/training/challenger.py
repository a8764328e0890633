"""One training, from labelled examples to a registered challenger with all its figures."""

import json
import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from pydantic import BaseModel

from rubricator.flows.figures import CountedNotes
from rubricator.flows.progress import Progress
from rubricator.flows.settings import classifier_settings
from rubricator.flows.training.checkpoints import checkpoint_folder
from rubricator.models.classifier import check_classifier
from rubricator.models.ensemble.classifier import EnsembleSettings, Member
from rubricator.models.ensemble.training import cross_validate_ensemble, require_win, train_ensemble
from rubricator.models.registry import registry
from rubricator.models.registry.registry import ResolvedModel
from rubricator.models.registry.store_errors import store_errors
from rubricator.models.scores.evaluation import Evaluation
from rubricator.models.scores.out_of_fold import changed_rows
from rubricator.models.trained_model import TrainedModel
from rubricator.models.training import CrossValidation, cross_validate, train_model
from rubricator.nlp.builders.annotations import note_ids_in
from rubricator.nlp.builders.code_labels import respelt
from rubricator.nlp.builders.label_source import LabelSource
from rubricator.nlp.builders.notes import without_patients
from rubricator.nlp.code_table import read_code_table
from rubricator.nlp.examples import ExampleError, Examples, note_ids
from rubricator.nlp.lexicon.lexicon import Lexicon
from rubricator.nlp.tasks import TASKS, Task, task_named
from rubricator.nlp.weak_labels import WeakLabelSettings

if TYPE_CHECKING:
    from rubricator.flows.train import TrainSettings

_LOG = logging.getLogger(__name__)
GROUPED = "by group"
FEWEST_NOTES = 4  # with fewer, nothing can be learnt or measured
COMPARED = 200  # examples that a member of an ensemble has to predict as it did when it was registered
DIGEST_LENGTH = 36  # MLflow keeps no more of a data set's digest; the whole sha256 is a parameter


class TooLittleError(ExampleError):
    """There is next to nothing to learn, so the model would mean nothing."""


@dataclass(frozen=True, kw_only=True)
class Fitting:
    """How the models of a training are cross-validated and fitted. members: of an ensemble."""

    validate: Callable[..., CrossValidation]
    fit: Callable[..., TrainedModel]
    members: Sequence[Member] = ()

    def splits(
        self, examples: Examples, seed: int
    ) -> dict[str, tuple[Examples, Callable[..., CrossValidation]]]:
        """What is cross-validated: by group, and beside it other ways to split that literature reports."""
        found = {GROUPED: (examples, self.validate)}
        if not self.members:  # their predictions are held out by group, and of all examples
            found["random split"] = (examples, partial(self.validate, grouped=False))
            if len(examples.labels) == 1:
                found["1-1 sample by group"] = (one_to_one(examples, seed), self.validate)
        return found


@dataclass(frozen=True, kw_only=True)
class Validated:
    """What cross-validation found. beside: micro-F1 of other ways to split, and of the best member of an ensemble."""

    held_out: CrossValidation
    evaluation: Evaluation
    beside: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Training:
    """A training whose settings are checked, before any note is read. name: that it is registered as."""

    task: Task
    name: str
    settings: "TrainSettings"
    classifier: BaseModel
    weak_labels: WeakLabelSettings

    @classmethod
    def of(cls, task: str, settings: "TrainSettings") -> Self:
        """Raises UnknownTaskError, UnknownClassifierError, SettingError and RegistryError."""
        learnt = task_named(task)
        name = settings.name or learnt.model_name
        check_classifier(settings.model)
        chosen = classifier_settings(settings.model, task, settings.setting)
        registry.check_name(name)
        for option in sorted({each for task in TASKS.values() for each in task.options} - {*learnt.options}):
            if getattr(settings, option) != type(settings).model_fields[option].default:
                _LOG.warning("%s is not for the task %s: it is passed over", option, learnt.name)
        return cls(
            task=learnt,
            name=name,
            settings=settings,
            classifier=chosen,
            weak_labels=WeakLabelSettings.model_validate({"positive": settings.positive}),
        )

    @cached_property
    def lexicon(self) -> Lexicon:
        """The headings of the product with those of the user's files."""
        return Lexicon.load(*map(Path, self.settings.lexicon))

    def examples(self, notes: CountedNotes) -> Examples:
        """The labelled examples of the notes. Raises TooLittleError."""
        settings = self.settings
        source = LabelSource(
            weak_labels=self.weak_labels,
            lexicon=self.lexicon,
            exclude=frozenset(note_ids_in(Path(settings.exclude)) if settings.exclude else ()),
            top_labels=settings.top_labels,
            label_names=read_code_table(Path(settings.code_table)) if settings.code_table else None,
            icd_version=settings.icd_version,
            keep_names=settings.keep_names,
            progress=notes.compared,
            failed=notes.failed,
        )
        examples = self.task.examples(notes, source)
        if warning := without_patients(examples.counts):
            examples = replace(examples, notices=[warning, *examples.notices])
        self._check(examples)
        return examples

    def _check(self, examples: Examples) -> None:
        """Logs what is to be known of the examples. Raises TooLittleError, unless the settings force the training."""
        for notice in examples.notices:
            _LOG.warning("%s", notice)
        notes = len(note_ids(examples.ids, of_sentences=self.task.unit == "sentence"))
        if self.settings.force:
            return
        if notes < FEWEST_NOTES:
            raise TooLittleError(
                f"{notes} notes with labels are too few to learn from or to measure on; {FEWEST_NOTES} are the fewest"
            )
        if not changed_rows(examples.targets, examples.targets[[0] * len(examples)]).any():
            raise TooLittleError(
                f"all {len(examples):,} examples have the same labels, so there is nothing to tell apart; add notes "
                "without them, or with others"
            )

    def checkpoints(self, folder: Path, examples: Examples) -> Path:
        """The folder of the checkpoints of this training on these examples."""
        return checkpoint_folder(
            folder, self.task.name, self.settings.model, examples.fingerprint(), repr(self.classifier)
        )

    def fitting(self, examples: Examples, checkpoints: Path) -> Fitting:
        """How its models are made. Raises RegistryError for members that are not there."""
        if isinstance(self.classifier, EnsembleSettings):
            members = _members(self.classifier.members, examples)
            return Fitting(
                validate=partial(cross_validate_ensemble, members),
                fit=partial(train_ensemble, members, settings=self.classifier),
                members=members,
            )
        how: dict[str, Any] = {
            "classifier": self.settings.model,
            "settings": self.classifier,
            "checkpoints": checkpoints,
        }
        return Fitting(validate=partial(cross_validate, **how), fit=partial(train_model, **how))

    def validated(self, fitting: Fitting, examples: Examples, progress: Progress) -> Validated:
        """Cross-validate in every way there is. Raises FoldError, and EnsembleError (`require_win`)."""
        folds, seed = self.settings.folds, self.settings.seed
        splits = fitting.splits(examples, seed)
        done = 0

        def on_fold(_number: int, _figures: dict[str, float]) -> None:
            nonlocal done
            done += 1
            _LOG.info("fold %d of %d is done", done, folds * len(splits))
            progress.show(done / (folds * len(splits) + 1), f"{done} folds of {folds * len(splits)}")

        held_out, evaluations = {}, {}
        for split, (chosen, validate) in splits.items():
            held_out[split] = validate(chosen, task=self.task.name, folds=folds, seed=seed, on_fold=on_fold)
            bootstrap = self.settings.bootstrap if split == GROUPED else 0
            evaluations[split] = held_out[split].evaluate(chosen, bootstrap=bootstrap, seed=seed)
        evaluation = evaluations.pop(GROUPED)
        beside = {split: scores.values()["micro_f1"] for split, scores in evaluations.items()}
        if isinstance(self.classifier, EnsembleSettings):
            best, score = require_win(
                fitting.members, examples, held_out[GROUPED], self.classifier, seed=seed
            )
            beside[f"best member {best}"] = score
        return Validated(held_out=held_out[GROUPED], evaluation=evaluation, beside=beside)

    def fitted(self, fitting: Fitting, examples: Examples) -> TrainedModel:
        """The model of all examples."""
        _LOG.info("fit on all %d examples, %d labels", len(examples), len(examples.labels))
        model = fitting.fit(examples, task=self.task.name)
        if self.task.unit == "sentence":
            chosen = self.weak_labels.chosen_by(self.lexicon)
            model.settings["weak_labels"] = chosen.model_dump(mode="json")
        return model

    def parameters(self, model: TrainedModel, examples: Examples, notes: str) -> dict[str, Any]:
        """What the MLflow run says of it. notes: as the user named them."""
        settings = self.settings
        return {
            "task": self.task.name,
            "classifier": settings.model,
            "folds": settings.folds,
            "seed": settings.seed,
            "top_labels": settings.top_labels,
            "keep_names": settings.keep_names,
            "code_table": settings.code_table,
            "icd_version": settings.icd_version,
            "code_system": model.code_system,
            "notes": notes,
            "settings": json.dumps(model.settings, sort_keys=True),
            **examples.counts,
        }


def one_to_one(examples: "Examples", seed: int) -> "Examples":
    """All positives of the first label and as many negatives, drawn at random."""
    positive = examples.targets.toarray()[:, 0] > 0
    drawn = np.random.default_rng(seed).choice(
        np.flatnonzero(~positive), min(positive.sum(), (~positive).sum()), replace=False
    )
    return replace(examples, auxiliary=None).take(np.sort(np.concatenate([np.flatnonzero(positive), drawn])))


def _members(names: Sequence[str], examples: "Examples") -> list[Member]:
    """The registered models of these names, each looked up once."""
    found = [registry.resolve(name) for name in names]
    few = examples.texts[:COMPARED]
    return [_member(resolved, few, examples.labels) for resolved in found]


def _member(resolved: ResolvedModel, texts: Sequence[str], labels: Sequence[str]) -> Member:
    """A registered model as a member, with its labels spelt like these. texts: as for `load_by_this_source`."""
    model = registry.load_by_this_source(resolved, texts)
    held_out = registry.out_of_fold_of(resolved)
    model.classifier.labels = respelt(model.labels, labels)
    held_out = replace(held_out, labels=respelt(held_out.labels, labels))
    return Member(f"{resolved.name}/{resolved.version}", model, held_out)


@store_errors()
def log_challenger(
    model: TrainedModel, name: str, examples: Examples, found: Validated, parameters: dict[str, Any]
) -> ResolvedModel:
    """One MLflow run: parameters, figures, a child run per fold, plots, card, model. No note text."""
    import mlflow
    from mlflow.data.meta_dataset import MetaDataset
    from mlflow.data.sources import LocalArtifactDatasetSource  # type: ignore[attr-defined]

    from rubricator.models.registry.model_card import model_card
    from rubricator.models.scores.plots import write_plots

    model.card = model_card(
        model, name=name, counts=examples.counts, notices=examples.notices, evaluation=found.evaluation
    )
    with mlflow.start_run(run_name=f"train {name}") as run, tempfile.TemporaryDirectory() as scratch:
        mlflow.log_params({**parameters, "data_sha256": model.fingerprint})
        source = LocalArtifactDatasetSource(parameters["notes"])
        data = MetaDataset(source, name=name, digest=model.fingerprint[:DIGEST_LENGTH])  # type: ignore[abstract]
        mlflow.log_input(data, context="training")
        mlflow.log_metrics(found.evaluation.values())
        mlflow.log_metrics({f"micro_f1 {split}": score for split, score in found.beside.items()})
        for number, figures in enumerate(found.held_out.metrics):
            with mlflow.start_run(run_name=f"fold {number}", parent_run_id=run.info.run_id, nested=True):
                mlflow.log_metrics(figures)
        mlflow.log_dict(found.evaluation.to_json(), "evaluation.json")
        mlflow.log_text(model.card, "model_card.md")
        for plot in write_plots(
            Path(scratch), examples.targets, found.held_out.probabilities, found.held_out.decisions
        ):
            mlflow.log_artifact(str(plot), "plots")
        return registry.log_and_register(
            model,
            name=name,
            held_out=found.held_out.held_out(examples),
            description=f"{parameters['classifier']} for {parameters['task']}, {len(examples):,} examples",
        )
