"""Check: one command before any other. What the notes are, and what they can be used for."""

import json
import shutil
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from rubricator.flows.home import open_home
from rubricator.flows.parameters.options import (
    Home,
    JobSettings,
    LexiconFiles,
    Notes,
    PathName,
    StepSettings,
    Without,
)
from rubricator.nlp.readers.standard_input import STANDARD_INPUT
from rubricator.nlp.readers.tables import NoteSettings

if TYPE_CHECKING:
    from rich.console import Group

    from rubricator.flows.check.findings import Findings
    from rubricator.flows.check.readiness import Readiness
    from rubricator.flows.jobs.result import JobResult
    from rubricator.nlp.readers.notes import NoteReader

SAMPLE = 10_000  # notes
FOLDER = "check-"  # in the home, while a check runs


class CheckSettings(StepSettings):
    """What is looked at, and where it is written."""

    lexicon: LexiconFiles = ()
    sample: int = Field(
        default=SAMPLE, ge=1, description="Look for headings and sentences in about so many notes, by chance."
    )
    headings: bool = Field(default=False, description="Show unknown headings, which are text of notes.")
    out: Annotated[PathName | None, Field(description="HTML file: the findings as one offline page.")] = None
    stub: Annotated[
        PathName | None, Field(description="TOML file: a lexicon of the unknown headings, to fill in.")
    ] = None


@dataclass(frozen=True, kw_only=True)
class Source:
    """What was read. columns: field, column, and why it was chosen."""

    notes_from: str
    format: str
    encoding: str
    files: int
    bytes: int
    columns: list[tuple[str, str, str]]
    dead_letters: dict[str, int]
    notices: list[str]


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What was found. written: files that were asked for."""

    source: Source
    findings: "Findings"
    readiness: "list[Readiness]"
    shows_headings: bool
    seconds: float
    written: list[Path] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Every count, as JSON types. Headings only where they are shown."""
        found = asdict(self.findings)
        if found["headings"] and not self.shows_headings:
            found["headings"]["unknown"] = len(found["headings"]["unknown"])
        tasks = [asdict(each) | {"is_ready": each.is_ready} for each in self.readiness]
        return {"source": asdict(self.source), "tasks": tasks, "seconds": self.seconds, **found}

    def __rich__(self) -> "Group":
        from rich.console import Group

        from rubricator.flows.check.page import found_parts, readiness_lines
        from rubricator.flows.report.report import on_terminal

        tables = [on_terminal(table) for part in found_parts(self) for table in part.tables]
        lines = [*readiness_lines(self.readiness), *(f"written: {path}" for path in self.written)]
        return Group(*tables, f"{self.findings.notes:,} notes checked in {self.seconds:.1f} s", *lines)


def check(
    notes: Notes = None,
    *,
    settings: CheckSettings = CheckSettings(),
    columns: Annotated[NoteSettings, Without(("evidence_column",))] = NoteSettings(),
    job: JobSettings = JobSettings(),
    home: Home = None,
) -> Checked:
    """Look at notes before anything else: what they are, their codes and headings, and what can be trained on them.

    Nothing but the files of `settings` is kept. Raises NoteFormatError, LexiconError, ReportError, JobError (with its
    kinds, such as DeadLettersError) and SafeError.
    """
    opened = open_home(home)
    from rubricator.flows.check.findings import findings_of
    from rubricator.flows.check.readiness import readiness_of
    from rubricator.flows.check.step import CheckStep
    from rubricator.flows.figures import check_report
    from rubricator.flows.jobs.notes_job import run_on_notes
    from rubricator.flows.jobs.result import check_dead_letters
    from rubricator.nlp.readers.notes import source_name

    check_report(settings.out, notes=notes, suffix=".html", argument="out")
    check_report(settings.stub, suffix=None, argument="stub")
    started = time.monotonic()
    files = tuple(str(Path(file).absolute()) for file in settings.lexicon)
    step = CheckStep(lexicon=files, share=_share(notes, columns, settings.sample))
    step.prepare()  # a fault of the lexicon shows here, not in a worker
    _tidy(opened.path)
    with tempfile.TemporaryDirectory(prefix=FOLDER, dir=opened.path) as folder:
        done, reader = run_on_notes(step, notes, columns, Path(folder), job, codes=True, strict=False)
        findings, dead_letters = findings_of(Path(folder)), _reasons(Path(folder))
    checked = Checked(
        source=_source(source_name(notes, columns), reader, columns, done, dead_letters),
        findings=findings,
        readiness=readiness_of(findings),
        shows_headings=settings.headings,
        seconds=time.monotonic() - started,
    )
    checked = replace(checked, written=_written(checked, settings, files))
    reasons = ", ".join(f"{count:,} ({reason})" for reason, count in dead_letters.items())
    check_dead_letters(done, job.max_dead_letters, checked, see=reasons)
    return checked


def _tidy(home: Path) -> None:
    """Remove the folders of checks that were killed: they hold notes."""
    from rubricator.flows.jobs.files import locked
    from rubricator.flows.jobs.ledger import JobError

    for folder in home.glob(f"{FOLDER}*"):
        with suppress(JobError), locked(folder):  # one that runs holds its lock
            shutil.rmtree(folder, ignore_errors=True)


def _share(notes: str | None, columns: NoteSettings, sample: int) -> float:
    """The share of the notes that makes a sample of about this size, by the notes of the first batch.

    Standard input and a database are not read twice: all their notes are in the sample.
    """
    from rubricator.nlp.readers.notes import NoteReader

    if notes in (None, STANDARD_INPUT):
        return 1.0
    reader = NoteReader(notes, columns, on_dead_letter=lambda _: None, strict=False)
    first = next(iter(reader), None)
    fraction = reader.fraction_read
    return min(1.0, sample * fraction / first.num_rows) if first is not None and fraction else 1.0


def _reasons(folder: Path) -> dict[str, int]:
    """How many notes were not usable, by reason."""
    letters = (folder / "dead_letters.jsonl").read_text(encoding="utf-8").splitlines()
    return dict(Counter(json.loads(letter)["reason"] for letter in letters).most_common())


def _source(
    notes: str, reader: "NoteReader", columns: NoteSettings, done: "JobResult", dead_letters: dict[str, int]
) -> Source:
    return Source(
        notes_from=notes,
        format=reader.format,
        encoding=columns.encoding or "UTF-8",
        files=len(reader.files),
        bytes=sum(path.stat().st_size for path in reader.files),
        columns=[(field, column, _why(field, columns)) for field, column in reader.columns.items()],
        dead_letters=dead_letters,
        notices=list(done.notices),
    )


def _why(field: str, columns: NoteSettings) -> str:
    """Why a column was chosen."""
    option = {"note_id": "id_column", "patient_id": "patient_column"}.get(field, f"{field}_column")
    given = getattr(columns, option, None)
    return f"named (--{option.replace('_', '-')})" if given else "by its name"


def _written(checked: Checked, settings: CheckSettings, lexicon: tuple[str, ...]) -> list[Path]:
    """Write the files that were asked for."""
    from rubricator.flows.check.page import check_page
    from rubricator.flows.check.stub import lexicon_stub
    from rubricator.flows.jobs.files import write_text
    from rubricator.flows.report.report import write_report
    from rubricator.nlp.lexicon.lexicon import Lexicon

    written = []
    if settings.out:
        written.append(Path(settings.out).absolute())
        write_report(written[-1], check_page(checked))
    if settings.stub:
        written.append(Path(settings.stub).absolute())
        found = checked.findings.headings
        categories = sorted(Lexicon.load(*map(Path, lexicon)).categories)
        stub = lexicon_stub(found.unknown if found else [], categories=categories, file=settings.stub)
        write_text(written[-1], stub)
    return written
