"""Validation of notes, the same for all formats: a raw note becomes a row of NOTES_SCHEMA or a dead letter."""

from __future__ import annotations

import contextlib
import datetime
import json
import sqlite3
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from rubricator.nlp.code_spelling import bare_code
from rubricator.nlp.hidden_text import hides_text
from rubricator.nlp.icd import normal_codes
from rubricator.nlp.null_words import is_missing, is_missing_id
from rubricator.nlp.readers.code_cells import (
    CHANGED_NUMBER,
    NOT_UNDERSTOOD,
    CellError,
    Codes,
    NumbersError,
    read_codes,
)
from rubricator.nlp.readers.files import (
    ColumnError,
    DeadLetter,
    NoteFormatError,
    Notices,
    RawNote,
    is_unicode,
)
from rubricator.nlp.readers.tables import CODES_AS_NUMBERS

NOTES_SCHEMA = pa.schema(
    [
        pa.field("note_id", pa.string(), nullable=False),
        pa.field("patient_id", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("written_on", pa.date32()),
        pa.field("note_type", pa.string()),
        pa.field("codes", pa.list_(pa.string())),  # in their normal spelling (icd.normal_code)
        pa.field(  # text[start:end] is evidence for the code
            "evidence",
            pa.list_(pa.struct([("code", pa.string()), ("start", pa.int32()), ("end", pa.int32())])),
        ),
        pa.field("composed", pa.bool_()),  # the text is in no file: the reader composed it
        pa.field("codes_as_written", pa.list_(pa.string())),  # beside `codes`; null where they are the same
    ]
)
WORD_LEFT_OUT = (
    "notes where a word beside codes was taken for a description (write labels of your own as a list with quotes, "
    'such as ["I10", "Fever"])'
)
LONGEST_ID = 512
MOST_CHANGED = (
    0.01  # share of code cells that are changed numbers, over which the whole column must have been numbers
)
FEWEST_CELLS = 3  # that cannot be understood, before a column is refused

Marked = list[tuple[str, int, int]]  # code, start, end


@hides_text()
class ValidNote(NamedTuple):
    """A row of NOTES_SCHEMA."""

    note_id: str
    patient_id: str
    text: str
    written_on: datetime.date | None
    note_type: str | None
    codes: list[str] | None
    evidence: Marked | None
    composed: bool
    codes_as_written: list[str] | None


def validated(path: Path, raw: RawNote, seen: SeenIds) -> ValidNote | DeadLetter:
    """The note as a row, or as a dead letter with the reason.

    path: for messages. raw: its date is a date or None. seen: what is known of the notes so far; a second note with the
    same id is a dead letter.
    """
    note_id = None if is_missing_id(raw.note_id) else _identifier(raw.note_id)
    patient = None if is_missing(raw.patient_id) else raw.patient_id

    def dead(reason: str) -> DeadLetter:
        return DeadLetter(str(path), raw.row, note_id, reason)

    if note_id is None:
        return dead(f"the note id is missing, or not a string or integer of up to {LONGEST_ID} characters")
    text = raw.text
    if text is None or text == "":
        return dead("the text is empty")
    if not isinstance(text, str):
        return dead(f"the text is not a string but {type(text).__name__}")
    if not is_unicode(text):
        return dead("the text is invalid UTF-8")
    if text.isspace():
        return dead("the text is empty")
    patient_id = note_id if patient is None or patient == "" else _identifier(patient)
    if patient_id is None:
        return dead(f"the patient id is not a string or integer of up to {LONGEST_ID} characters")
    codes, marked = None, None
    if seen.codes is not None:
        try:
            codes = seen.codes.read(path, raw)
        except CellError as error:
            if seen.codes.strict:
                return dead(str(error))
            seen.codes.pass_over("codes", error)
        try:
            marked = _evidence(raw.evidence, len(text), codes)
        except CellError as error:
            if seen.codes.strict:
                return dead(str(error))
            seen.codes.pass_over("evidence", error)
    if not seen.add(note_id):
        return dead("an earlier note has the same note id")
    written_on = raw.written_on if isinstance(raw.written_on, datetime.date) else None
    note_type = _note_type(raw.note_type)
    normal, written = (codes.normal, codes.written) if codes else (None, None)
    spelt = written if written != normal else None
    return ValidNote(note_id, patient_id, text, written_on, note_type, normal, marked, raw.composed, spelt)


def _identifier(value: object) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and 0 < len(value) <= LONGEST_ID and not value.isspace() and is_unicode(value):
        return value
    return None


def _note_type(value: object) -> str | None:
    return value.strip() or None if isinstance(value, str) and is_unicode(value) else None


def _evidence(value: object, length: int, codes: Codes | None) -> Marked | None:
    """The evidence spans of a text of this length, without empty ones. Raises CellError where they cannot be used.

    codes: of the note. The codes of the spans are spelt like these.
    """
    if isinstance(value, str) and value:
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(value)
    if value is None or value == "":
        return None
    spans = []
    for each in value if isinstance(value, list) else [None]:
        code, parts = _marked(each) if isinstance(each, dict) else (None, [])
        if not isinstance(code, str) or not is_unicode(code) or not all(map(_is_span, parts)):
            raise CellError(
                "the evidence is not a list of objects with code, and start and end or spans [[start, end], …]"
            )
        if not all(0 <= start <= end <= length for start, end in parts):
            raise CellError("a span of the evidence is outside the text")
        spans += [(bare_code(code).code, start, end) for start, end in parts if start < end]
    of_note = dict(zip(codes.written, codes.normal, strict=True)) if codes else {}
    normal = normal_codes([code for code, _, _ in spans])
    return [
        (of_note.get(code, spelt), start, end)
        for (code, start, end), spelt in zip(spans, normal, strict=True)
    ]


def _marked(value: dict[str, Any]) -> tuple[object, list[Any]]:
    parts = value.get("spans", [[value.get("start", value.get("begin")), value.get("end")]])
    return value.get("code"), parts if isinstance(parts, list) else [parts]


def _is_span(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(isinstance(place, int) and not isinstance(place, bool) for place in value)
    )


def note_batch(rows: list[ValidNote]) -> pa.RecordBatch:
    """The rows as a batch of NOTES_SCHEMA."""
    columns = [
        pa.array(column, field.type)
        for column, field in zip(zip(*rows, strict=True), NOTES_SCHEMA, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=NOTES_SCHEMA)


class CodeCells:
    """Reads the codes of all notes of a source, and judges them as a whole.

    notices: of the source; they are added to. column: of the codes, as the user named it; None where it was guessed.
    strict: False keeps a note whose cell cannot be used, without codes, and makes notices of all errors.
    """

    def __init__(self, notices: Notices, column: str | None = None, *, strict: bool = True) -> None:
        self._notices = notices
        self.strict = strict
        self._column = column
        self._cells = 0
        self._unusable: dict[
            str, tuple[str, int]
        ] = {}  # by reason: the first file and row, and how many cells

    def read(self, path: Path, raw: RawNote) -> Codes | None:
        """The codes of a note. Raises CellError."""
        try:
            codes = read_codes(raw.codes)
        except CellError as error:
            self._cells += 1
            reason = _NUMBERS if isinstance(error, NumbersError) else str(error)
            first, count = self._unusable.get(reason, (f"{path}, row {raw.row}", 0))
            self._unusable[reason] = first, count + 1
            raise
        if codes is not None:
            self._cells += 1
            if codes.words_left_out:
                self._notices.add(WORD_LEFT_OUT)
        return codes

    def pass_over(self, what: str, error: CellError) -> None:
        """Say that the codes or the evidence of a note were not read."""
        reason = f"they are numbers; {CODES_AS_NUMBERS}" if isinstance(error, NumbersError) else str(error)
        self._notices.add(f"notes whose {what} are not read: {reason}")

    def judge(self) -> None:
        """Raises NoteFormatError where codes are numbers, and ColumnError where most cells hold no codes."""
        if not self.strict:
            return
        first, count = self._unusable.get(_NUMBERS, ("", 0))
        if count:
            raise NoteFormatError(f"{first}: codes are numbers{_in_others(count)}; {CODES_AS_NUMBERS}")
        first, count = self._unusable.get(CHANGED_NUMBER, ("", 0))
        if count > MOST_CHANGED * self._cells:
            raise NoteFormatError(f"{first}: {CHANGED_NUMBER}{_in_others(count)}")
        first, count = self._unusable.get(NOT_UNDERSTOOD, ("", 0))
        if count >= FEWEST_CELLS and 2 * count > self._cells:
            named = f" {self._column!r}" if self._column else ""
            raise ColumnError(
                f"{first}: the column of codes{named} holds other text in {count:,} of {self._cells:,} notes; name the "
                "column of codes (codes_column), and write codes alone, separated by ; (E11.9;I10)",
                "codes_column",
            )


_NUMBERS = "numbers"


def _in_others(count: int) -> str:
    return f" (and in {count - 1:,} more rows)" if count > 1 else ""


class SeenIds:
    """The note ids seen so far, in a temporary SQLite table, which is deleted at the end; and how codes were read.

    codes: None where codes are not read. At the end, what `CodeCells.judge` raises is raised.
    """

    def __init__(self, codes: CodeCells | None = None) -> None:
        self.codes = codes

    def __enter__(self) -> SeenIds:
        self._table = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        for line in (
            "journal_mode = OFF",
            "synchronous = OFF",
            "cache_size = -65536",
        ):  # no rollback is needed; 64 MB
            self._table.execute(f"PRAGMA {line}")
        self._table.execute("CREATE TABLE seen (note_id TEXT PRIMARY KEY) WITHOUT ROWID")
        self._table.execute("BEGIN")
        return self

    def __exit__(self, failure: object, *_: object) -> None:
        self._table.close()
        if failure is None and self.codes is not None:
            self.codes.judge()

    def add(self, note_id: str) -> bool:
        """Adds a note id. False if it was there before."""
        return self._table.execute("INSERT OR IGNORE INTO seen VALUES (?)", (note_id,)).rowcount == 1
