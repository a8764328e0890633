"""Validation of notes, the same for all formats: a raw note becomes a row of NOTES_SCHEMA or a dead letter."""

from __future__ import annotations

import contextlib
import datetime
import json
import re
import sqlite3
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from rubricator.nlp.hidden_text import hides_text
from rubricator.nlp.readers.files import DeadLetter, NoteFormatError, RawNote, is_unicode
from rubricator.nlp.readers.tables import CODES_AS_NUMBERS

NOTES_SCHEMA = pa.schema(
    [
        pa.field("note_id", pa.string(), nullable=False),
        pa.field("patient_id", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("written_on", pa.date32()),
        pa.field("note_type", pa.string()),
        pa.field("codes", pa.list_(pa.string())),
        pa.field(  # text[start:end] is evidence for the code
            "evidence",
            pa.list_(pa.struct([("code", pa.string()), ("start", pa.int32()), ("end", pa.int32())])),
        ),
        pa.field("composed", pa.bool_()),  # the text is in no file: the reader composed it
    ]
)
LONGEST_ID = 512
NULLS = {"NULL", "NaN", "nan", "None", "<NA>", r"\N"}  # how databases and pandas write missing values

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


def validated(path: Path, raw: RawNote, seen: SeenIds) -> ValidNote | DeadLetter:
    """The note as a row, or as a dead letter with the reason. Raises NoteFormatError where codes are numbers.

    path: for messages. seen: the note ids so far; a second note with the same id is a dead letter.
    """
    note_id = _identifier(raw.note_id)
    patient = None if _is_null(raw.patient_id) else raw.patient_id

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
    codes = _codes(raw.codes)
    if isinstance(codes, _NotStrings):
        raise NoteFormatError(f"{path}, row {raw.row}: codes are numbers; {CODES_AS_NUMBERS}")
    if isinstance(codes, str):
        return dead(codes)
    evidence = _evidence(raw.evidence, len(text))
    if isinstance(evidence, str):
        return dead(evidence)
    if not seen.add(note_id):
        return dead("an earlier note has the same note id")
    written_on, note_type = _date(raw.written_on), _note_type(raw.note_type)
    return ValidNote(note_id, patient_id, text, written_on, note_type, codes, evidence, raw.composed)


def _is_null(value: object) -> bool:
    return isinstance(value, str) and value.strip() in NULLS


def _identifier(value: object) -> str | None:
    if _is_null(value):
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and 0 < len(value) <= LONGEST_ID and not value.isspace() and is_unicode(value):
        return value
    return None


def _date(value: object) -> datetime.date | None:
    if isinstance(value, datetime.datetime):
        return value.date()
    if isinstance(value, datetime.date):
        return value
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            return datetime.date.fromisoformat(value[:10])
    return None


def _note_type(value: object) -> str | None:
    return value.strip() or None if isinstance(value, str) and is_unicode(value) else None


class _NotStrings:
    """Stands for codes that are numbers."""


def _codes(value: object) -> list[str] | str | _NotStrings | None:
    """The codes of a note in order, without repetitions; None where missing; a string: why they cannot be used."""
    if value is None:
        return None
    if isinstance(value, str):
        value = _split_codes(value)
        if not isinstance(value, list):
            return value
    if not isinstance(value, list):
        return _NotStrings() if isinstance(value, int | float) else "the codes are not a list of strings"
    if any(isinstance(code, int | float) for code in value):
        return _NotStrings()
    codes = [code.strip() for code in value if isinstance(code, str)]
    if len(codes) < len(value) or not all(map(is_unicode, codes)):
        return "the codes are not a list of strings"
    given = [code for code in dict.fromkeys(codes) if code and code not in NULLS]
    return None if not given and not NULLS.isdisjoint(codes) else given


def _split_codes(value: str) -> list[str] | str | _NotStrings | None:
    """Codes in one string: separated by ; | , or white space, or written as a list of JSON, Python or numpy."""
    value = value.strip()
    if not value:
        return None
    if value[0] == "[" and value[-1] == "]":
        quoted = re.findall(r"\"([^\"]*)\"|'([^']*)'", value)
        rest = re.sub(r"\"[^\"]*\"|'[^']*'", "", value[1:-1])
        if rest.strip(" ,\n"):
            return (
                _NotStrings() if re.fullmatch(r"[\d.,\s]+", rest) else "the codes are not a list of strings"
            )
        return [double or single for double, single in quoted]
    return re.split(r"[;|,\s]+", value)


def _evidence(value: object, length: int) -> Marked | str | None:
    """The evidence spans of a text of this length, without empty ones; a string: why they cannot be used."""
    if isinstance(value, str) and value:
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(value)
    if value is None or value == "":
        return None
    spans = []
    for each in value if isinstance(value, list) else [None]:
        code, parts = _marked(each) if isinstance(each, dict) else (None, [])
        if not isinstance(code, str) or not is_unicode(code) or not all(map(_is_span, parts)):
            return "the evidence is not a list of objects with code, and start and end or spans [[start, end], …]"
        if not all(0 <= start <= end <= length for start, end in parts):
            return "a span of the evidence is outside the text"
        spans += [(code.strip(), start, end) for start, end in parts if start < end]
    return spans


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


class SeenIds:
    """The note ids seen so far, in a temporary SQLite table, which is deleted at the end."""

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

    def __exit__(self, *_: object) -> None:
        self._table.close()

    def add(self, note_id: str) -> bool:
        """Adds a note id. False if it was there before."""
        return self._table.execute("INSERT OR IGNORE INTO seen VALUES (?)", (note_id,)).rowcount == 1
