"""Evaluate: a registered model on notes that it was not trained on."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from rubricator.flows.figures import (
    CountedNotes,
    buckets_table,
    check_report,
    counts_line,
    figures_table,
    noted,
)
from rubricator.flows.home import open_home
from rubricator.flows.jobs.files import write_text
from rubricator.flows.parameters.options import (
    Bootstrap,
    Home,
    LexiconFiles,
    Model,
    Notes,
    PathName,
    Report,
    StepSettings,
    Without,
)
from rubricator.flows.progress import Progress
from rubricator.nlp.builders.label_source import LabelSource
from rubricator.nlp.errors import RubricatorError
from rubricator.nlp.readers.tables import NoteSettings
from rubricator.nlp.tasks import task_named

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.console import RenderableType

    from rubricator.models.registry.registry import ResolvedModel
    from rubricator.models.scores.evaluation import Evaluation
    from rubricator.models.trained_model import TrainedModel
    from rubricator.nlp.examples import Examples

PORTION = 500  # texts that are predicted at once


@dataclass(frozen=True)
class Evaluated:
    """Every figure, of all examples and of each stratum of the annotations.

    failed_notes: the name of the exception that a note raised, by note_id. notices: what is to be known of what was
    read. trained_on: how many of the notes have the ids of notes that the model was trained on; None where it is not
    known, as for a model in a folder.
    """

    model: str
    counts: dict[str, int]
    dead_letters: dict[str, int]
    evaluation: "Evaluation"
    strata: dict[str, "Evaluation"]
    failed_notes: dict[str, str] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    trained_on: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Every figure, as JSON types."""
        return {
            "model": self.model,
            "counts": self.counts,
            "dead_letters": self.dead_letters,
            "failed_notes": self.failed_notes,
            "notices": self.notices,
            "trained_on": self.trained_on,
            **self.evaluation.to_json(),
            "strata": {name: scores.to_json() for name, scores in self.strata.items()},
        }

    def __rich__(self) -> "RenderableType":
        from rich.console import Group

        tables = [figures_table(self.model, {"all": self.evaluation, **self.strata})]
        if self.evaluation.counts["labels"] > 1:
            tables.append(buckets_table(self.evaluation))
        read = counts_line(self.counts, self.dead_letters, self.failed_notes)
        return Group(*noted(self.notices), read, *tables)


class EvaluateSettings(StepSettings):
    """What a model is scored on, and how intervals are drawn."""

    annotations: PathName | None = Field(
        default=None,
        description="JSON lines of note_id and units [[start, end, 0 or 1], …]: score these units.",
    )
    lexicon: LexiconFiles = ()
    bootstrap: Bootstrap = 1000
    report: Report = None


class NoUnitsError(RubricatorError):
    """Annotated units cannot score the model: it labels whole notes, or has several labels."""


def evaluate(
    model: Model,
    notes: Notes = None,
    *,
    settings: EvaluateSettings = EvaluateSettings(),
    columns: Annotated[NoteSettings, Without(("evidence_column",))] = NoteSettings(),
    home: Home = None,
) -> Evaluated:
    """Score a model, at the thresholds it was registered with.

    A model of sentences is scored on the gold units of `annotations`. Without annotations it is scored on the headed
    sections of the notes. Sentences of the categories that were positive in its training are positive. Sentences of
    every other known category are negative. Sections that mix both are left out. A model of codes is scored on the
    codes of the notes: a code that it does not know counts as missed.
    Raises NoteFormatError, ExampleError, NoUnitsError, ReportError, RegistryError.
    """
    opened = open_home(home)
    check_report(settings.report, notes=notes)
    opened.init_mlflow()
    from rubricator.models.registry.registry import load, resolve
    from rubricator.models.scores.of_model import score_model

    resolved = resolve(model)
    trained = load(resolved)
    if settings.annotations:
        _check_units(model, trained)
    with Progress(f"evaluate {model}") as progress:
        read = CountedNotes(notes, columns, progress, codes=task_named(trained.task).labels_are_codes)
        examples = _examples(trained, read, settings)
        probabilities = _predicted(trained, examples, progress)
    seen = _trained_on(resolved, examples)
    evaluated = Evaluated(
        model=model,
        counts=examples.counts,
        dead_letters=dict(read.dead_letters),
        failed_notes=read.failed_notes,
        notices=[*read.notices, *examples.notices, *([_said_of_seen(seen, examples)] if seen else [])],
        trained_on=seen,
        evaluation=score_model(trained, examples, probabilities, bootstrap=settings.bootstrap),
        strata={
            stratum: score_model(
                trained, examples.take(rows), probabilities[rows], bootstrap=settings.bootstrap
            )
            for stratum, rows in _strata(examples).items()
        },
    )
    if settings.report:
        write_text(Path(settings.report), json.dumps(evaluated.to_json(), indent=1))
    return evaluated


def _check_units(model: str, trained: "TrainedModel") -> None:
    """Raises NoUnitsError where annotated units cannot score the model."""
    if task_named(trained.task).unit == "note":
        raise NoUnitsError(
            f"{model} gives labels to whole notes, and annotated units are for models of sentences: leave them out, "
            "and it is scored on the labels of the notes"
        )
    if len(trained.labels) > 1:
        raise NoUnitsError(
            f"{model} has {len(trained.labels)} labels, and annotated units are for models of one label: leave them "
            "out, and it is scored on the labels of its task"
        )


def _examples(trained: "TrainedModel", notes: CountedNotes, settings: EvaluateSettings) -> "Examples":
    """What the model is scored on: the annotated units, or the examples of its task."""
    from rubricator.nlp.builders.annotations import annotated_examples
    from rubricator.nlp.lexicon.lexicon import Lexicon
    from rubricator.nlp.weak_labels import WeakLabelSettings

    headings = Lexicon.load(*map(Path, settings.lexicon))
    if settings.annotations:
        units = Path(settings.annotations)
        return annotated_examples(
            notes, units, lexicon=headings, label=trained.labels[0], failed=notes.failed
        )
    source = LabelSource(
        weak_labels=WeakLabelSettings.model_validate(trained.settings.get("weak_labels", {})),
        lexicon=headings,
        scored_labels=trained.labels,
        progress=notes.compared,
        failed=notes.failed,
    )
    task = task_named(trained.task)
    return task.examples(notes, task.scored_on(source))


def _trained_on(model: "ResolvedModel", examples: "Examples") -> int | None:
    """How many notes have ids of notes that the model was trained on, by its out-of-fold table; None: not known."""
    from rubricator.models.registry.errors import RegistryError
    from rubricator.models.registry.registry import out_of_fold_of
    from rubricator.nlp.examples import note_ids

    if model.run_id is None:
        return None
    try:
        known = note_ids(out_of_fold_of(model).example_ids, of_sentences=examples.contexts is not None)
    except RegistryError:
        return None
    return len(note_ids(examples.ids, of_sentences=examples.contexts is not None) & known)


def _said_of_seen(seen: int, examples: "Examples") -> str:
    from rubricator.nlp.examples import note_ids

    count = len(note_ids(examples.ids, of_sentences=examples.contexts is not None))
    return (
        f"{seen:,} of these {count:,} notes have the ids of notes that the model was trained on: if they are the same "
        "notes, the figures are too good; score it on others, or take the figures of its cross-validation"
    )


def _strata(examples: "Examples") -> dict[str, list[int]]:
    """The rows of each stratum, by its name."""
    names = examples.strata or []
    return {
        stratum: [row for row, name in enumerate(names) if name == stratum] for stratum in sorted(set(names))
    }


def _predicted(trained: "TrainedModel", examples: "Examples", progress: Progress) -> "NDArray[np.float32]":
    """The probabilities of all examples, portion by portion."""
    import numpy as np

    count = len(examples)
    portions = []
    for start in range(0, count, PORTION):
        some = examples.take(range(start, min(start + PORTION, count)))
        portions.append(trained.predict_proba(some.texts, contexts=some.contexts))
        done = start + len(some)
        progress.show(done / count, f"{done:,} of {count:,} predicted")
    return np.concatenate(portions)
