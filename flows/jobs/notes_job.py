"""A job on the notes that a user names: what `extract`, `predict` and `check` share."""

from collections.abc import Callable
from pathlib import Path

from rubricator.flows.jobs.engines import choose_engine
from rubricator.flows.jobs.job import run_job
from rubricator.flows.jobs.result import JobResult
from rubricator.flows.jobs.step import Step
from rubricator.flows.parameters.options import JobSettings
from rubricator.nlp.readers.files import DeadLetter
from rubricator.nlp.readers.notes import NoteReader, source_name
from rubricator.nlp.readers.tables import NoteSettings


def run_on_notes(
    step: Step,
    notes: str | None,
    columns: NoteSettings,
    out: Path,
    job: JobSettings,
    *,
    codes: bool = False,
    strict: bool = True,
) -> tuple[JobResult, NoteReader]:
    """Do the step on every note that `out` does not hold yet; the reader says what it read.

    codes, strict: as for `NoteReader`. Raises NoteFormatError, and as `run_job`.
    """
    readers: list[NoteReader] = []

    def read(on_dead_letter: Callable[[DeadLetter], None]) -> NoteReader:
        readers.append(NoteReader(notes, columns, on_dead_letter=on_dead_letter, codes=codes, strict=strict))
        return readers[0]

    done = run_job(
        step,
        read,
        out,
        engine=choose_engine(job.engine, job.workers),
        source=source_name(notes, columns),
        shard_size=job.shard_size,
    )
    return done, readers[0]
