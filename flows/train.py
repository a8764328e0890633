"""Train: labelled examples, cross-validation, final fit, and one registered challenger with all its figures."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rubricator.flows.figures import CountedNotes, check_report, counts_line, figures_table
from rubricator.flows.home import open_home
from rubricator.flows.jobs.shards import locked, write_text
from rubricator.flows.progress import Progress
from rubricator.flows.settings import classifier_settings
from rubricator.nlp.lexicon.lexicon import Lexicon
from rubricator.nlp.readers.notes import NoteSettings
from rubricator.nlp.tasks import LabelSource, task_named
from rubricator.nlp.weak_labels import WeakLabelSettings

if TYPE_CHECKING:
    from rich.console import RenderableType

    from rubricator.models.ensemble.classifier import Member
    from rubricator.models.registry.registry import ResolvedModel
    from rubricator.models.scores.evaluation import Evaluation
    from rubricator.models.trained_model import TrainedModel
    from rubricator.models.training import CrossValidation
    from rubricator.nlp.examples import Examples

COMPARED = 200  # examples that a member of an ensemble has to predict as it did when it was registered
DIGEST_LENGTH = 36  # MLflow keeps no more of a data set's digest; the whole sha256 is a parameter


@dataclass(frozen=True)
class Trained:
    """What a training run came to. evaluation: of the folds by group; beside: micro-F1 of other ways to split.

    failed_notes: each with the name of the exception.
    """

    name: str
    version: str
    run_id: str
    counts: dict[str, int]
    dead_letters: dict[str, int]
    evaluation: "Evaluation"
    beside: dict[str, float]
    failed_notes: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Every figure, as JSON types."""
        return {
            "model": self.name,
            "version": self.version,
            "run_id": self.run_id,
            "counts": self.counts,
            "dead_letters": self.dead_letters,
            "failed_notes": self.failed_notes,
            "beside": self.beside,
            **self.evaluation.to_json(),
        }

    def __rich__(self) -> "RenderableType":
        from rich.console import Group

        table = figures_table(f"{self.name} version {self.version}", {"by group": self.evaluation})
        beside = ", ".join(f"{value:.3f} ({split})" for split, value in self.beside.items())
        return Group(
            counts_line(self.counts, self.dead_letters, self.failed_notes),
            table,
            f"micro-F1 beside it: {beside}",
        )


def train(
    task: str,
    notes: str,
    *,
    model: str = "svm",
    setting: Sequence[str] = (),
    name: str | None = None,
    folds: int = 10,
    positive: Sequence[str] | None = None,
    lexicon: Sequence[str] = (),
    exclude: str | None = None,
    top_labels: int | None = None,
    code_table: str | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
    report: str | None = None,
    id_column: str | None = None,
    patient_column: str | None = None,
    text_column: str | None = None,
    codes_column: str | None = None,
    evidence_column: str | None = None,
    home: str | None = None,
) -> Trained:
    """Train a classifier on notes and register it with the alias `challenger`.

    task: "plan" (sentences, labelled by the headed section they stand under) or "codes" (notes with their codes).
    setting: KEY=VALUE in place of the classifier's own defaults for the task (`classifier_settings`).
    positive: section categories that make a sentence positive. exclude: JSON lines file of note_ids to leave out, with
    their near duplicates. top_labels: only the N most frequent codes. code_table: file of codes and their names
    (`read_code_table`), all of which may be predicted. bootstrap: resamples of each interval.
    report: JSON file for every figure. evidence_column: of marked spans (`NoteSettings`), for classifiers that learn
    from them. Raises NoteFormatError, ExampleError, FoldError, SettingError, ReportError, RegistryError
    and, for an ensemble that is not better than its best member (`require_win`), EnsembleError.
    """
    learnt = task_named(task)
    opened = open_home(home)
    check_report(report)
    from rubricator.models.ensemble.classifier import EnsembleSettings
    from rubricator.models.ensemble.training import cross_validate_ensemble, require_win, train_ensemble
    from rubricator.models.registry.registry import check_name
    from rubricator.models.training import cross_validate, train_model
    from rubricator.nlp.builders.annotations import note_ids_in
    from rubricator.nlp.code_table import read_code_table

    chosen_settings = classifier_settings(model, task, setting)
    registered_name = name or learnt.model_name
    check_name(registered_name)
    opened.init_mlflow()  # a server that is not there is an error now, not after hours of training
    settings = WeakLabelSettings() if positive is None else WeakLabelSettings(positive=frozenset(positive))
    columns = NoteSettings(
        id_column=id_column,
        patient_column=patient_column,
        text_column=text_column,
        codes_column=codes_column,
        evidence_column=evidence_column,
    )
    with Progress(f"train {task}") as progress:
        read = CountedNotes(notes, columns, progress)
        source = LabelSource(
            weak_labels=settings,
            lexicon=Lexicon.load(*map(Path, lexicon)),
            exclude=frozenset(note_ids_in(Path(exclude)) if exclude else ()),
            top_labels=top_labels,
            label_names=read_code_table(Path(code_table)) if code_table else None,
            progress=read.compared,
            failed=read.failed,
        )
        examples = learnt.examples(read, source)
        checkpoints = checkpoint_folder(
            opened.path / "checkpoints", task, model, examples.fingerprint(), repr(chosen_settings)
        )
        members: list[Member] = []
        if isinstance(chosen_settings, EnsembleSettings):
            members = _members(chosen_settings.members, examples)
            validate: Callable[..., CrossValidation] = partial(cross_validate_ensemble, members)
            fit: Callable[..., TrainedModel] = partial(train_ensemble, members, settings=chosen_settings)
        else:
            how: dict[str, Any] = {
                "classifier": model,
                "settings": chosen_settings,
                "checkpoints": checkpoints,
            }
            validate, fit = partial(cross_validate, **how), partial(train_model, **how)
        splits = {"by group": (examples, validate)}
        if not members:  # their predictions are held out by group, and of all examples
            splits["random split"] = (examples, partial(validate, grouped=False))
            if len(examples.labels) == 1:
                splits["1-1 sample by group"] = (one_to_one(examples, seed), validate)
        done = 0

        def on_fold(_number: int, _figures: dict[str, float]) -> None:
            nonlocal done
            done += 1
            progress.show(done / (folds * len(splits) + 1), f"{done} folds of {folds * len(splits)}")

        held_out, evaluations = {}, {}
        with resumable(checkpoints):
            with progress.watching(lambda: networks_in_training(checkpoints)):
                for split, (chosen, validated) in splits.items():
                    held_out[split] = validated(chosen, task=task, folds=folds, seed=seed, on_fold=on_fold)
                    evaluations[split] = held_out[split].evaluate(
                        chosen, bootstrap=bootstrap if split == "by group" else 0, seed=seed
                    )
                fitted = fit(examples, task=task)
            evaluation = evaluations.pop("by group")
            beside = {split: scores.values()["micro_f1"] for split, scores in evaluations.items()}
            if isinstance(chosen_settings, EnsembleSettings):
                best, score = require_win(members, examples, held_out["by group"], chosen_settings, seed=seed)
                beside[f"best member {best}"] = score
            if learnt.unit == "sentence":
                fitted.settings["weak_labels"] = settings.model_dump(mode="json")
            parameters = {
                "task": task,
                "classifier": model,
                "folds": folds,
                "seed": seed,
                "top_labels": top_labels,
                "code_table": code_table,
                "notes": notes,
                "settings": json.dumps(fitted.settings, sort_keys=True),
                **examples.counts,
            }
            registered = _log(
                fitted, registered_name, examples, held_out["by group"], evaluation, beside, parameters
            )
    trained = Trained(
        name=registered.name,
        version=registered.version,
        run_id=registered.run_id or "",
        counts=examples.counts,
        dead_letters=dict(read.dead_letters),
        failed_notes=read.failed_notes,
        evaluation=evaluation,
        beside=beside,
    )
    if report:
        write_text(Path(report), json.dumps(trained.to_json(), indent=1))
    return trained


def one_to_one(examples: "Examples", seed: int) -> "Examples":
    """All positives of the first label and as many negatives, drawn at random."""
    import numpy as np

    positive = examples.targets.toarray()[:, 0] > 0
    drawn = np.random.default_rng(seed).choice(
        np.flatnonzero(~positive), min(positive.sum(), (~positive).sum()), replace=False
    )
    return replace(examples, auxiliary=None).take(np.sort(np.concatenate([np.flatnonzero(positive), drawn])))


@contextmanager
def resumable(folder: Path) -> Iterator[None]:
    """The folder for the checkpoints of one training, until the body has ended well.

    Raises JobIsRunningError where another process is at the same training.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder, what="process trains the same on the same data, in", instead=""):
        yield
        shutil.rmtree(folder)


def checkpoint_folder(checkpoints: Path, *training: str) -> Path:
    """The folder of this training."""
    return checkpoints / hashlib.sha256("\n".join(training).encode()).hexdigest()[:16]


def networks_in_training(checkpoints: Path) -> str:
    """How far they are, in words; nothing where there is none."""
    from rubricator.models.classifier import training_steps

    steps = [f"step {done:,} of at most {most:,}" for done, most in training_steps(checkpoints)]
    return f"network in training: {', '.join(steps)}" if steps else ""


def _members(names: Sequence[str], examples: "Examples") -> "list[Member]":
    """The registered models of these names, each looked up once."""
    from rubricator.models.ensemble.classifier import Member
    from rubricator.models.registry import registry

    found = [registry.resolve(name) for name in names]
    few = examples.texts[:COMPARED]
    return [
        Member(
            f"{resolved.name}/{resolved.version}",
            registry.load_by_this_source(resolved, few),
            registry.out_of_fold_of(resolved),
        )
        for resolved in found
    ]


def _log(
    model: "TrainedModel",
    name: str,
    examples: "Examples",
    held_out: "CrossValidation",
    evaluation: "Evaluation",
    beside: dict[str, float],
    parameters: dict[str, Any],
) -> "ResolvedModel":
    """One MLflow run: parameters, figures, a child run per fold, plots, card, model. No note text."""
    import mlflow
    from mlflow.data.meta_dataset import MetaDataset
    from mlflow.data.sources import LocalArtifactDatasetSource  # type: ignore[attr-defined]

    from rubricator.models.registry.model_card import model_card
    from rubricator.models.registry.registry import log_and_register
    from rubricator.models.scores.plots import write_plots

    model.card = model_card(model, name=name, counts=examples.counts, evaluation=evaluation)
    with mlflow.start_run(run_name=f"train {name}") as run, tempfile.TemporaryDirectory() as scratch:
        mlflow.log_params({**parameters, "data_sha256": model.fingerprint})
        source = LocalArtifactDatasetSource(parameters["notes"])
        data = MetaDataset(source, name=name, digest=model.fingerprint[:DIGEST_LENGTH])  # type: ignore[abstract]
        mlflow.log_input(data, context="training")
        mlflow.log_metrics(evaluation.values())
        mlflow.log_metrics({f"micro_f1 {split}": score for split, score in beside.items()})
        for number, figures in enumerate(held_out.metrics):
            with mlflow.start_run(run_name=f"fold {number}", parent_run_id=run.info.run_id, nested=True):
                mlflow.log_metrics(figures)
        mlflow.log_dict(evaluation.to_json(), "evaluation.json")
        mlflow.log_text(model.card, "model_card.md")
        for plot in write_plots(Path(scratch), examples.targets, held_out.probabilities, held_out.decisions):
            mlflow.log_artifact(str(plot), "plots")
        return log_and_register(
            model,
            name=name,
            held_out=held_out.held_out(examples),
            description=f"{parameters['classifier']} for {parameters['task']}, {len(examples):,} examples",
        )
