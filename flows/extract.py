"""Extract: notes in; sections and labelled sentences out, with a report on the headings of the site."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rubricator.flows.home import open_home
from rubricator.flows.inputs import check_notes, check_out
from rubricator.flows.jobs.files import write_text
from rubricator.flows.parameters.flat import checked_by
from rubricator.flows.parameters.options import (
    Home,
    JobSettings,
    LexiconFiles,
    Notes,
    Out,
    Positive,
    StepSettings,
    Without,
)
from rubricator.nlp.readers.tables import NoteSettings

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from rubricator.flows.heading_report import HeadingReport
    from rubricator.flows.jobs.extract_step import ExtractStep
    from rubricator.flows.jobs.result import JobResult
    from rubricator.nlp.lexicon.lexicon import Lexicon

HEADINGS_SHOWN = 30


class ExtractSettings(StepSettings):
    """What sections are found with, and which sentences are positive."""

    positive: Positive = None
    lexicon: LexiconFiles = ()


def _check(
    notes: str | None = None, out: str | None = None, settings: ExtractSettings = ExtractSettings()
) -> None:
    check_notes(notes)
    check_out(out, "extract")
    _step(settings)


@checked_by(_check)
def extract(
    notes: Notes = None,
    *,
    out: Out,
    settings: ExtractSettings = ExtractSettings(),
    columns: Annotated[NoteSettings, Without(("evidence_column",))] = NoteSettings(),
    job: JobSettings = JobSettings(),
    home: Home = None,
) -> "Extracted":
    """Find the sections and sentences of all notes that the folder `out` does not hold yet.

    Offsets point into the note as given; of a FHIR Composition, into its text in `out`/composed_notes.
    Raises NoteFormatError, LexiconError, LabelError, JobError (with its kinds) and SafeError.
    """
    open_home(home)
    from rubricator.flows.heading_report import report_headings
    from rubricator.flows.jobs.notes_job import run_on_notes
    from rubricator.flows.jobs.result import check_dead_letters

    step, lexicon = _step(settings)
    done, _ = run_on_notes(step, notes, columns, Path(out), job)
    report = report_headings(done.out, lexicon)
    write_text(done.out / "report.json", json.dumps(asdict(report), indent=1, ensure_ascii=False) + "\n")
    extracted = Extracted(done, report, settings.lexicon)
    check_dead_letters(done, job.max_dead_letters, extracted)
    return extracted


def _step(settings: ExtractSettings) -> "tuple[ExtractStep, Lexicon]":
    """The work on a shard. A fault of the lexicon or the categories shows here, not in a worker."""
    from rubricator.flows.jobs.extract_step import ExtractStep
    from rubricator.nlp.lexicon.lexicon import Lexicon
    from rubricator.nlp.weak_labels import WeakLabelSettings

    files = [Path(file).absolute() for file in settings.lexicon]
    lexicon = Lexicon.load(*files)
    labels = WeakLabelSettings.model_validate({"positive": settings.positive})
    step = ExtractStep(positive=tuple(sorted(labels.positives(lexicon))), lexicon=tuple(map(str, files)))
    step.prepare()
    return step, lexicon


@dataclass(frozen=True)
class Extracted:
    """What one run did, and the report on all notes of the folder. lexicon: the user's files."""

    job: "JobResult"
    report: "HeadingReport"
    lexicon: tuple[str, ...] = ()

    @property
    def notes(self) -> int:
        """How many notes this run did."""
        return self.job.notes

    def to_json(self) -> dict[str, Any]:
        """Every count, as JSON types."""
        return {"job": self.job.to_json(), "report": asdict(self.report), "lexicon": list(self.lexicon)}

    def __rich__(self) -> "Group":
        from rich.columns import Columns
        from rich.console import Group
        from rich.text import Text

        tables = [self._categories(), self._labels(), *self._rejected(), *self._unknown()]
        advice = []
        if self.report.unknown_headings:
            where = (
                f"{' or '.join(self.lexicon)}, and run again into another folder"
                if self.lexicon
                else "a TOML file and give it as a lexicon"
            )
            # no caption of the table, which would break a path in pieces
            advice.append(Text(f"Unknown headings: name their categories in {where}"))
        return Group(
            *map(Text, self.job.notices), Columns(tables), *advice, str(replace(self.job, notices=()))
        )

    def _categories(self) -> "Table":
        report = self.report
        title = f"Sections in {report.notes:,} notes, {report.notes_without_headings:,} without headings"
        rows = [(name, count, report.notes_with[name]) for name, count in report.sections.items()]
        return _table(title, ("category", "sections", "notes"), rows)

    def _labels(self) -> "Table":
        return _table("Sentences", ("label", "sentences"), list(self.report.sentences.items()))

    def _rejected(self) -> "list[Table]":
        rows = list(self.report.rejected.items())
        return [_table("Headings not taken", ("reason", "times"), rows)] if rows else []

    def _unknown(self) -> "list[Table]":
        found = self.report.unknown_headings[:HEADINGS_SHOWN]
        rows = [(each.heading, each.sections, each.patients) for each in found]
        title = "Most frequent unknown headings"
        return [_table(title, ("heading", "sections", "patients"), rows)] if rows else []


def _table(title: str, columns: tuple[str, ...], rows: "list[tuple[Any, ...]]") -> "Table":
    """A name and counts in each row."""
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left")
    for name, *counts in rows:
        table.add_row(name, *(f"{count:,}" for count in counts))
    return table
