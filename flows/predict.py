"""Predict: apply a registered model to notes, and write labels with probability, decision and evidence."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from rubricator.flows.home import open_home
from rubricator.flows.jobs.result import JobResult, check_dead_letters
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
    from rubricator.flows.jobs.engines import choose_engine
    from rubricator.flows.jobs.job import read_manifest, run_job
    from rubricator.flows.jobs.predict_step import PredictStep
    from rubricator.models.registry import registry
    from rubricator.nlp.readers.notes import NoteReader, source_name

    step = PredictStep(
        model=registry.resolve(model),
        top_k=settings.top_k,
        min_probability=settings.min_probability,
        lexicon=tuple(str(Path(file).absolute()) for file in settings.lexicon),
    )
    done = run_job(
        step,
        lambda on_dead_letter: NoteReader(notes, columns, on_dead_letter=on_dead_letter, codes=False),
        Path(out),
        engine=choose_engine(job.engine, job.workers),
        source=source_name(notes, columns),
        shard_size=job.shard_size,
    )
    others = {
        made["model_version"]: made["notes"]
        for made in read_manifest(done.out)["made_by"]
        if made["model_version"] != step.model.version
    }
    predicted = Predicted(
        **vars(done), model=f"{step.model.name}/{step.model.version}", by_other_versions=others
    )
    check_dead_letters(done, job.max_dead_letters, predicted)
    return predicted


@dataclass(frozen=True, kw_only=True)
class Predicted(JobResult):
    """The result of one run. model: NAME/VERSION. by_other_versions: how many notes each other version did before."""

    model: str
    by_other_versions: dict[str, int]

    def __str__(self) -> str:
        others = (
            f"; version {by} did {count:,} notes before" for by, count in self.by_other_versions.items()
        )
        return f"{self.model}: {super().__str__()}{''.join(others)}"
