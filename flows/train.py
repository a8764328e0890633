"""Train: labelled examples, cross-validation, final fit, and one registered challenger with all its figures."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from rubricator.flows.figures import CountedNotes, check_report, counts_line, figures_table, noted
from rubricator.flows.home import open_home
from rubricator.flows.inputs import check_files, check_notes
from rubricator.flows.jobs.files import write_text
from rubricator.flows.parameters.flat import checked_by, removed
from rubricator.flows.parameters.options import (
    Bootstrap,
    Home,
    LexiconFiles,
    MaxDeadLetters,
    Metavar,
    Name,
    Notes,
    OneOf,
    OnlyFor,
    PathName,
    Positive,
    Report,
    StepSettings,
)
from rubricator.flows.progress import Progress
from rubricator.flows.training.checkpoints import networks_in_training, resumable
from rubricator.nlp.readers.tables import NoteSettings
from rubricator.nlp.tasks import TASKS

if TYPE_CHECKING:
    from rich.console import RenderableType

    from rubricator.models.scores.evaluation import Evaluation


class TrainSettings(StepSettings):
    """The training examples, the classifier, and how it is measured."""

    model: Name = Field(
        default="svm",
        description="svm, cnn, transformer, ensemble, stacked (plan) or mentions (codes); the baselines majority or "
        "keywords (plan).",
    )
    setting: Annotated[tuple[Name, ...], Metavar("KEY=VALUE")] = Field(
        default=(),
        description="A setting of the classifier, such as encoder=minilm; may be given several times. "
        "`rubricator settings` lists them.",
    )
    name: Name | None = Field(
        default=None,
        description="Registry name. By default "
        + ", ".join(f"{task.model_name} for {task.name}" for task in TASKS.values())
        + ".",
    )
    folds: int = Field(default=10, ge=2, description="Folds of the cross-validation, by patient.")
    exclude: PathName | None = Field(
        default=None,
        description="JSON lines file with a note_id in each line: leave out these notes and their near duplicates.",
    )
    keep_names: bool = Field(
        default=False,
        description="Learn words that look like names of persons and hospitals too; by default no model has them.",
    )
    bootstrap: Bootstrap = 1000
    seed: int = Field(default=0, description="Random seed of the folds and of the bootstrap.")
    report: Report = None
    max_dead_letters: MaxDeadLetters = "50%"
    positive: Annotated[Positive, OnlyFor("positive")] = None
    lexicon: Annotated[LexiconFiles, OnlyFor("lexicon")] = ()
    top_labels: Annotated[int | None, OnlyFor("top_labels")] = Field(
        default=None, ge=1, description="Only the N most frequent codes."
    )
    code_table: Annotated[PathName | None, OnlyFor("code_table")] = Field(
        default=None,
        description="Your codes with their names, as CSV, TSV or JSON lines: all of them may be predicted.",
    )
    icd_version: Annotated[Literal[9, 10] | None, OnlyFor("icd_version")] = Field(
        default=None, description="Version of ICD of the codes to learn; by default that of most notes."
    )
    force: bool = Field(
        default=False,
        description="Register even if there is next to nothing to learn: one label set, a few notes.",
    )


@dataclass(frozen=True)
class Trained:
    """The result of a training run.

    evaluation: of the cross-validation by group. beside: micro-F1 of other ways to split, by way. failed_notes: the
    name of the exception that a note raised, by note_id. notices: what is to be known of what was read and of the
    labels. code_system: of the labels, with its release; None where they are no codes.
    """

    name: str
    version: str
    run_id: str
    counts: dict[str, int]
    dead_letters: dict[str, int]
    evaluation: "Evaluation"
    beside: dict[str, float]
    failed_notes: dict[str, str] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    code_system: str | None = None

    @property
    def notes(self) -> int | None:
        """How many notes it was trained on."""
        return self.counts.get("notes")

    def to_json(self) -> dict[str, Any]:
        """Every figure, as JSON types."""
        return {
            "model": self.name,
            "version": self.version,
            "run_id": self.run_id,
            "counts": self.counts,
            "dead_letters": self.dead_letters,
            "failed_notes": self.failed_notes,
            "notices": self.notices,
            "code_system": self.code_system,
            "beside": self.beside,
            **self.evaluation.to_json(),
        }

    def __rich__(self) -> "RenderableType":
        from rich.console import Group

        table = figures_table(f"{self.name} version {self.version}", {"by group": self.evaluation})
        beside = ", ".join(f"{value:.3f} ({split})" for split, value in self.beside.items())
        return Group(
            *noted(self.notices),
            counts_line(self.counts, self.dead_letters, self.failed_notes),
            table,
            f"micro-F1 of other splits: {beside}",
            f"registered as a challenger; `rubricator promote {self.name} --version {self.version}` makes it the "
            "champion if it is not worse than the present one",
        )


def _check(
    task: str, notes: str | None = None, settings: TrainSettings = TrainSettings(), home: str | None = None
) -> None:
    from rubricator.flows.training.challenger import Training

    check_report(settings.report, notes=notes)
    check_notes(notes)
    check_files(exclude=settings.exclude, code_table=settings.code_table)
    open_home(home).init_mlflow()  # the members of an ensemble are in the registry
    _ = Training.of(task, settings).lexicon


@checked_by(_check)
@removed(
    "denoise",
    harmless="none",
    because="because it lowered F1 on the annotated notes (0.845 without it; 0.826 and 0.833 with it)",
)
def train(
    task: Annotated[
        str,
        OneOf(tuple(TASKS)),
        Field(description="; ".join(f"{task.name}: {task.summary}" for task in TASKS.values()) + "."),
    ],
    notes: Notes = None,
    *,
    settings: TrainSettings = TrainSettings(),
    columns: NoteSettings = NoteSettings(),
    home: Home = None,
) -> Trained:
    """Train and cross-validate a classifier, and register it with the alias `challenger`.

    A training that was killed goes on from its last checkpoint, if its classifier keeps checkpoints. Raises
    NoteFormatError, DeadLettersError, ExampleError, FoldError, SettingError, ReportError and RegistryError;
    JobIsRunningError where another process runs the same training; EnsembleError for an ensemble that is not better
    than its best member.
    """
    opened = open_home(home)
    check_report(settings.report, notes=notes)
    from rubricator.flows.training.challenger import Training, log_challenger
    from rubricator.nlp.readers.notes import source_name

    training = Training.of(task, settings)
    opened.init_mlflow()  # a server that is not there is an error now, not after hours of training
    with Progress(f"train {task}") as progress:
        read = CountedNotes(
            notes,
            columns,
            progress,
            codes=training.task.labels_are_codes,
            max_dead_letters=settings.max_dead_letters,
        )
        examples = training.examples(read)
        checkpoints = training.checkpoints(opened.path / "checkpoints", examples)
        fitting = training.fitting(examples, checkpoints)
        with resumable(checkpoints):
            with progress.watching(lambda: networks_in_training(checkpoints)):
                found = training.validated(fitting, examples, progress)
                model = training.fitted(fitting, examples)
            parameters = training.parameters(model, examples, source_name(notes, columns))
            registered = log_challenger(model, training.name, examples, found, parameters)
    trained = Trained(
        name=registered.name,
        version=registered.version,
        run_id=registered.run_id or "",
        counts=examples.counts,
        dead_letters=dict(read.dead_letters),
        failed_notes=read.failed_notes,
        notices=[*read.notices, *examples.notices],
        code_system=model.code_system,
        evaluation=found.evaluation,
        beside=found.beside,
    )
    if settings.report:
        write_text(Path(settings.report), json.dumps(trained.to_json(), indent=1))
    return trained
