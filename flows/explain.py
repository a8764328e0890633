"""Explain: one note as a page, with what models found in it and why."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from rubricator.flows.home import open_home
from rubricator.flows.predict import PredictStep
from rubricator.flows.report.report import ReportData, mark_note, write_report
from rubricator.flows.run import is_interrupt
from rubricator.models.registry import registry
from rubricator.nlp.errors import RubricatorError
from rubricator.nlp.lexicon.lexicon import Lexicon
from rubricator.nlp.readers.notes import NoteReader, NoteSettings
from rubricator.nlp.sections.finder import SectionFinder

T = TypeVar("T")
R = TypeVar("R")


class NoSuchNoteError(RubricatorError):
    """A note id that is not among the notes."""


class NoteFailedError(RubricatorError):
    """The work on the note raised; names the note and the exception, whose message may quote the note."""


def explain(
    notes: str,
    *,
    note_id: str,
    model: Sequence[str],
    out: str,
    lexicon: Sequence[str] = (),
    id_column: str | None = None,
    patient_column: str | None = None,
    text_column: str | None = None,
    codes_column: str | None = None,
    home: str | None = None,
) -> str:
    """Write one note as an HTML page, its sections, predictions and their evidence marked; returns what was done.

    model: one or several, as for `predict`. Raises NoSuchNoteError, NoteFailedError, RegistryError, NoteFormatError.
    """
    open_home(home).init_mlflow()
    columns = NoteSettings(
        id_column=id_column, patient_column=patient_column, text_column=text_column, codes_column=codes_column
    )
    note = _find(NoteReader(notes, columns, on_dead_letter=lambda _: None), note_id, notes)
    files = tuple(str(Path(file).absolute()) for file in lexicon)
    by_unit = {}
    for name in model:
        resolved = registry.resolve(name)
        step = PredictStep(model=resolved, top_k=None, min_probability=None, lexicon=files)
        predictor = step.predictor()
        rows, _ = _worked_on(note_id, predictor.predict, note)
        by_unit[predictor.task.unit] = (resolved, rows.to_pylist())
    row = note.to_pylist()[0]
    sections = _worked_on(note_id, SectionFinder(Lexicon.load(*map(Path, files))).find, row["text"])
    marked = mark_note(
        note_id=note_id,
        text=row["text"],
        about=", ".join(str(value) for value in (row["note_type"], row["written_on"]) if value),
        sections=[section._asdict() for section in sections],
        sentences=by_unit["sentence"][1] if "sentence" in by_unit else (),
        codes=by_unit["note"][1] if "note" in by_unit else None,
        known_codes=row["codes"],
    )
    names = " and ".join(f"{resolved.name} version {resolved.version}" for resolved, _ in by_unit.values())
    write_report(
        Path(out), ReportData(title=f"Note {note_id}", subtitle=f"as read by {names}", notes=[marked])
    )
    found = ", ".join(f"{len(rows)} from {resolved.name}" for resolved, rows in by_unit.values())
    return f"{len(sections)} sections, predictions: {found}. The page holds the note's text: {Path(out).resolve()}"


def _worked_on(note_id: str, work: Callable[[T], R], note: T) -> R:
    """What the work makes of the note. Raises NoteFailedError for what it raises, but our own errors."""
    try:
        return work(note)
    except BaseException as error:
        if isinstance(error, RubricatorError) or is_interrupt(error):
            raise
        reason = type(error).__name__
    raise NoteFailedError(  # outside the except block: so it has no context
        f"note {note_id!r} cannot be worked on: {reason}. `rubricator extract` and `predict` go on without such a note"
    )


def _find(reader: NoteReader, note_id: str, notes: str) -> pa.Table:
    for batch in reader:
        found = pa.Table.from_batches([batch]).filter(pc.equal(batch["note_id"], note_id))
        if found.num_rows:
            return found
    raise NoSuchNoteError(f"{notes} has no note {note_id!r}")
