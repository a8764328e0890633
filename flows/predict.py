"""Predict: apply a registered model to notes, and write labels with probability, decision and evidence."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from rubricator.flows.home import open_home
from rubricator.flows.inputs import check_notes, check_out
from rubricator.flows.jobs.result import JobResult, check_dead_letters
from rubricator.flows.parameters.flat import checked_by
from rubricator.flows.parameters.options import (
    Home,
    JobSettings,
    LexiconFiles,
    Model,
    Notes,
    Out,
    StepSettings,
    Without,
)
from rubricator.nlp.readers.tables import NoteSettings

if TYPE_CHECKING:
    from rubricator.flows.jobs.predict_step import PredictStep


class PredictSettings(StepSettings):
    """Which predictions are written, and with which lexicon sections are found."""

    top_k: int | None = Field(default=None, ge=1, description="Keep the N best labels of a unit.")
    min_probability: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Leave out rows with a lower probability; 0 keeps all. By default rejected ones are left out.",
    )
    lexicon: LexiconFiles = ()


def _check(
    notes: str | None = None,
    model: str | None = None,
    out: str | None = None,
    settings: PredictSettings = PredictSettings(),
    home: str | None = None,
) -> None:
    from rubricator.nlp.lexicon.lexicon import Lexicon

    check_notes(notes)
    check_out(out, "predict")
    Lexicon.load(*map(Path, settings.lexicon))
    if model is not None:
        open_home(home).init_mlflow()
        _step(model, settings)


@checked_by(_check)
def predict(
    notes: Notes = None,
    *,
    model: Model,
    out: Out,
    settings: PredictSettings = PredictSettings(),
    columns: Annotated[NoteSettings, Without(("evidence_column",))] = NoteSettings(),
    job: JobSettings = JobSettings(),
    home: Home = None,
) -> "Predicted":
    """Apply a model to all notes that the folder `out` does not hold yet.

    An alias such as champion is looked up once, at the start. Offsets are those of `extract`. Another version of the
    same model may go on in the same folder. Raises RegistryError, NoteFormatError, LexiconError, JobError (also its
    subclasses) and SafeError.
    """
    open_home(home).init_mlflow()
    from rubricator.flows.jobs.job import read_manifest
    from rubricator.flows.jobs.notes_job import run_on_notes

    step = _step(model, settings)
    done, _ = run_on_notes(step, notes, columns, Path(out), job)
    manifest = read_manifest(done.out)
    predicted = Predicted(
        **vars(done),
        model=f"{step.model.name}/{step.model.version}",
        by_other_versions={
            made["model_version"]: made["notes"]
            for made in manifest["made_by"]
            if made["model_version"] != step.model.version
        },
        decisions={name: manifest["figures"].get(f"rows/{name}", 0) for name in ("accept", "review")},
    )
    check_dead_letters(done, job.max_dead_letters, predicted)
    return predicted


def _step(model: str, settings: PredictSettings) -> "PredictStep":
    """The work on a shard, by the version that the model's name means now."""
    from rubricator.flows.jobs.predict_step import PredictStep
    from rubricator.models.registry import registry

    return PredictStep(
        model=registry.resolve(model),
        top_k=settings.top_k,
        min_probability=settings.min_probability,
        lexicon=tuple(str(Path(file).absolute()) for file in settings.lexicon),
    )


@dataclass(frozen=True, kw_only=True)
class Predicted(JobResult):
    """The result of one run. model: NAME/VERSION. by_other_versions: how many notes each other version did before.

    decisions: how many rows of the folder, of all runs, have each decision.
    """

    model: str
    by_other_versions: dict[str, int]
    decisions: dict[str, int]

    def __str__(self) -> str:
        others = (
            f"; version {by} did {count:,} notes before" for by, count in self.by_other_versions.items()
        )
        counts = ", ".join(f"{count:,} {decision}" for decision, count in self.decisions.items())
        rows = f"\nrows in {self.out / 'predictions'}: {counts}"
        return f"{self.model}: {super().__str__()}{''.join(others)}{rows}"
