"""What the demo runs, in this order: sections, training and promotion of each classifier, predictions."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rubricator.flows.demo.classifiers import FOLDS, TASKS, DemoClassifier
from rubricator.flows.demo.steps import Steps
from rubricator.flows.demo.synthetic import SyntheticCorpus

if TYPE_CHECKING:
    from rubricator.flows.extract import Extracted
    from rubricator.flows.jobs.result import JobResult
    from rubricator.flows.train import Trained


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A classifier that was trained for a task."""

    classifier: DemoClassifier
    settings: tuple[str, ...]
    trained: "Trained"
    seconds: float  # of cross-validation and the last fit
    size: int  # bytes of the registered model
    is_accepted: bool  # by the gate
    reason: str


@dataclass(frozen=True, kw_only=True)
class Results:
    """The results of the steps; by task, if a step runs for each task. champions: the version that predicts."""

    extracted: "Extracted"
    candidates: Mapping[str, list[Candidate]]
    champions: Mapping[str, str]
    predicted: Mapping[str, "JobResult"]


def model_name(task: str) -> str:
    """The registry name of a model of the demo. It says that this is no model of real notes."""
    return f"synthetic-{task}"


def run_pipeline(
    steps: Steps, corpus: SyntheticCorpus, folder: Path, classifiers: tuple[DemoClassifier, ...], seed: int
) -> Results:
    """Run all steps. What they write goes into the folder, except models, which go into the registry."""
    from rubricator.flows.extract import extract
    from rubricator.flows.predict import predict

    extracted = steps.step("Find sections and sentences", extract, corpus.notes, out=folder / "extracted")
    candidates = {
        task: [_candidate(steps, task, corpus.notes, classifier, seed) for classifier in classifiers]
        for task in TASKS
    }
    champions = {task: _champion(task, found[0].trained.version) for task, found in candidates.items()}
    predicted = {
        task: steps.step(
            f"Predict {TASKS[task]} of unseen notes by the champion",
            predict,
            corpus.new_notes,
            model=f"{model_name(task)}/{version}",
            out=folder / task,
        )
        for task, version in champions.items()
    }
    return Results(extracted=extracted, candidates=candidates, champions=champions, predicted=predicted)


def _candidate(steps: Steps, task: str, notes: Path, classifier: DemoClassifier, seed: int) -> Candidate:
    """Train, register, and promote if the gate accepts it."""
    from rubricator.flows.promote import PromotionRefusedError, promote
    from rubricator.flows.train import train

    name, settings = model_name(task), classifier.settings(task)
    options = {"setting": settings} | ({"seed": seed} if seed else {})
    trained = steps.step(
        f"Train the {classifier.title} on {TASKS[task]}",
        train,
        task,
        notes,
        model=classifier.name,
        name=name,
        folds=FOLDS,
        **options,
    )
    seconds = steps.done[-1].seconds
    try:
        what = f"Promote {name} version {trained.version}, if the gate accepts it"
        reason, is_accepted = steps.step(what, promote, name, version=int(trained.version)).reason, True
    except PromotionRefusedError as refused:
        reason, is_accepted = refused.promotion.reason if refused.promotion else str(refused), False
    steps.say(f"  {'accepted' if is_accepted else 'refused'}: {reason}")
    return Candidate(
        classifier=classifier,
        settings=settings,
        trained=trained,
        seconds=seconds,
        size=_size(f"{name}/{trained.version}"),
        is_accepted=is_accepted,
        reason=reason,
    )


def _champion(task: str, otherwise: str) -> str:
    """The version of the champion, maybe of an earlier demo; `otherwise` if there is no champion."""
    from rubricator.models.registry import registry

    champion = registry.champion_of(model_name(task))
    return champion.version if champion else otherwise


def _size(model: str) -> int:
    """Bytes of the files of a registered model."""
    from rubricator.models.registry import registry

    return _bytes(registry.resolve(model).source)


def _bytes(uri: str) -> int:
    from mlflow.artifacts import list_artifacts

    files = list_artifacts(artifact_uri=uri)
    return sum(
        _bytes(f"{uri.rstrip('/')}/{Path(file.path).name}") if file.is_dir else file.file_size or 0
        for file in files
    )
