"""Explain: one note as a page, with what models found in it and why."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import Field

from rubricator.flows.figures import check_report
from rubricator.flows.home import open_home
from rubricator.flows.parameters.options import (
    Home,
    LexiconFiles,
    Name,
    Notes,
    PathName,
    StepSettings,
    Without,
)
from rubricator.flows.run import is_interrupt
from rubricator.nlp.errors import RubricatorError
from rubricator.nlp.readers.tables import NoteSettings

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.text import Text

    from rubricator.flows.report.report import MarkedNote

T = TypeVar("T")
R = TypeVar("R")


class NoSuchNoteError(RubricatorError):
    """A note id that is not among the notes."""


class NoteFailedError(RubricatorError):
    """The work on the note raised; names the note and the exception, whose message may quote the note."""


class ExplainSettings(StepSettings):
    """What sections are found with."""

    lexicon: LexiconFiles = ()


@dataclass(frozen=True)
class Explained:
    """What the page shows. predictions: how many rows, by the model as it was named."""

    page: Path
    sections: int
    predictions: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        """The page and the counts, as JSON types."""
        return {"page": str(self.page), "sections": self.sections, "predictions": self.predictions}

    def __str__(self) -> str:
        found = ", ".join(f"{count} from {model}" for model, count in self.predictions.items())
        return f"{self.sections} sections, predictions: {found}. The page holds the note's text: {self.page}"

    def __rich__(self) -> "Text":
        from rich.text import Text

        return Text(str(self))


@dataclass(frozen=True)
class _Found:
    """What a model found in the note.

    named: as the user named the model. unit: a sentence or the note. rows: of PREDICTIONS_SCHEMA.
    """

    named: str
    model: str
    version: str
    unit: str
    labels_are_codes: bool
    rows: list[dict[str, Any]]


def explain(
    notes: Notes = None,
    *,
    note_id: Annotated[Name, Field(description="The note to show.")],
    model: Annotated[
        tuple[Name, ...],
        Field(
            min_length=1,
            description="As for `rubricator predict`; may be given several times.",
        ),
    ],
    out: Annotated[PathName, Field(description="HTML file; it holds the note's text.")],
    settings: ExplainSettings = ExplainSettings(),
    columns: Annotated[NoteSettings, Without(("evidence_column",))] = NoteSettings(),
    home: Home = None,
) -> Explained:
    """Write one note as an HTML page, with its sections, predictions and their evidence marked.

    The folder of the page is made where it is missing. Raises NoSuchNoteError, NoteFailedError, ReportError,
    RegistryError, NoteFormatError.
    """
    opened = open_home(home)
    check_report(out, notes=notes, suffix=".html", argument="out")
    opened.init_mlflow()
    from rubricator.flows.report.report import ReportData, write_report

    note = _find(notes, columns, note_id)
    note_id = note["note_id"][0].as_py()
    files = tuple(str(Path(file).absolute()) for file in settings.lexicon)
    found = [_predicted(note, note_id, name, files) for name in dict.fromkeys(model)]
    sections = _sections(note, note_id, files)
    names = " and ".join(f"{each.model} version {each.version}" for each in found)
    marked = _marked(note, note_id, sections, found)
    write_report(
        Path(out), ReportData(title=f"Note {note_id}", subtitle=f"as read by {names}", notes=[marked])
    )
    return Explained(Path(out).resolve(), len(sections), {each.named: len(each.rows) for each in found})


def _predicted(note: "pa.Table", note_id: str, model: str, lexicon: tuple[str, ...]) -> _Found:
    """What the model finds in the note."""
    from rubricator.flows.jobs.predict_step import PredictStep
    from rubricator.models.registry import registry

    resolved = registry.resolve(model)
    step = PredictStep(model=resolved, top_k=None, min_probability=None, lexicon=lexicon)
    predictor = step.predictor()
    rows, _ = _worked_on(note_id, predictor.predict, note)
    task = predictor.task
    return _Found(
        named=model,
        model=resolved.name,
        version=resolved.version,
        unit=task.unit,
        labels_are_codes=task.labels_are_codes,
        rows=rows.to_pylist(),
    )


def _sections(note: "pa.Table", note_id: str, lexicon: tuple[str, ...]) -> list[dict[str, Any]]:
    from rubricator.nlp.lexicon.lexicon import Lexicon
    from rubricator.nlp.sections.finder import SectionFinder

    finder = SectionFinder(Lexicon.load(*map(Path, lexicon)))
    found = _worked_on(note_id, finder.find, note["text"][0].as_py())
    return [section._asdict() for section in found]


def _marked(
    note: "pa.Table", note_id: str, sections: list[dict[str, Any]], found: Sequence[_Found]
) -> "MarkedNote":
    """The note as the report shows it."""
    from rubricator.flows.report.report import mark_note

    [row] = note.to_pylist()
    rows: dict[str, list[dict[str, Any]]] = {}
    for each in found:
        rows.setdefault(each.unit, []).extend(each.rows)
    are_codes = any(each.labels_are_codes for each in found)
    return mark_note(
        note_id=note_id,
        text=row["text"],
        about=", ".join(str(value) for value in (row["note_type"], row["written_on"]) if value),
        sections=sections,
        sentences=rows.get("sentence", ()),
        codes=rows.get("note"),
        known_codes=row["codes"] if are_codes else None,
    )


def _worked_on(note_id: str, work: Callable[[T], R], note: T) -> R:
    """What the work makes of the note. Raises NoteFailedError for what it raises, but our own errors."""
    try:
        return work(note)
    except BaseException as error:
        if isinstance(error, RubricatorError) or is_interrupt(error):
            raise
        reason = type(error).__name__
    raise NoteFailedError(  # outside the except block: so it has no context
        f"note {note_id!r} cannot be worked on: {reason}"
    )


def _find(notes: str | None, columns: NoteSettings, note_id: str) -> "pa.Table":
    """The note of this id, as a table of one row. The type before an id of FHIR may be left out."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from rubricator.nlp.readers.fhir.resources import NOTES as FHIR_NOTES
    from rubricator.nlp.readers.notes import NoteReader, source_name

    names = [note_id, *(f"{kind}/{note_id}" for kind in FHIR_NOTES)]
    unusable: dict[str | None, str] = {}
    reader = NoteReader(
        notes, columns, on_dead_letter=lambda dead: unusable.update({dead.note_id: dead.reason}), codes=False
    )
    for batch in reader:
        for name in names:
            found = pa.Table.from_batches([batch]).filter(pc.equal(batch["note_id"], name))
            if found.num_rows:
                return found
    if reason := next((unusable[name] for name in names if name in unusable), None):
        raise NoSuchNoteError(f"{source_name(notes, columns)}: the note {note_id!r} cannot be used: {reason}")
    raise NoSuchNoteError(f"{source_name(notes, columns)} has no note {note_id!r}")
