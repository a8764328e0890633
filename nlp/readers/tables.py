"""Notes in tables and text files: parquet, CSV, TSV, JSON lines, .txt. Also chooses the columns."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from rubricator.nlp.readers.files import (
    ColumnError,
    DeadLetter,
    NoteFormatError,
    RawNote,
    ReadPosition,
    is_unicode,
    listed,
    open_bytes,
    open_seekable,
    plain_name,
)

if TYPE_CHECKING:
    import pyarrow as pa

FIELD_LIMIT = 1 << 28  # characters of one CSV field; in a longer one a quote was never closed
ROWS_FOR_COLUMNS = 1000  # JSON lines that are read before the columns are chosen

# Usual column names, normalised by `_plain`, in order of preference.
# fmt: off
ID_NAMES = (
    "noteid", "documentid", "docid", "reportid", "noteuid", "rowid", "id", "uid", "uuid",
)
PATIENT_NAMES = (
    "patientid", "subjectid", "personid", "mrn", "patientmrn", "patid", "patientnum", "patient",
    "subject", "pid",
)
TEXT_NAMES = (
    "text", "notetext", "reporttext", "documenttext", "fulltext", "freetext", "rawtext", "note",
    "clinicalnote", "report", "body", "notebody", "content", "notecontent", "narrative",
    "transcription",
)
CODES_NAMES = (
    "codes", "icdcodes", "icdcode", "icd", "icds", "icd10", "icd10codes", "icd10code",
    "icd10cm", "icd10cmcodes", "icd9", "icd9codes", "icd9code", "icd9cm", "icd9cmcodes",
    "diagnosiscodes", "diagnosescodes", "diagnosiscode", "dxcodes", "billedcodes",
    "billingcodes", "labels",
)
DATE_NAMES = (
    "writtenon", "notedate", "chartdate", "charttime", "documentdate", "servicedate", "date",
    "datetime", "timestamp",
)
TYPE_NAMES = (
    "notetype", "notecategory", "category", "documenttype", "doctype", "reporttype", "type",
)
# fmt: on
CODES_AS_NUMBERS = "write codes as strings: as numbers, 003.1 and 3.10 are both 3.1"


Column = Annotated[str, Field(min_length=1)] | None


class NoteSettings(BaseModel):
    """Columns of a note table. A column that is None is guessed by the usual names, except `evidence_column`.

    evidence_column: the evidence spans of the codes. A value is a list of objects, or a string with such a list as
    JSON. An object has `code`, and either `start` (or `begin`) and `end`, or, for a mention of several parts, `spans`
    ([[start, end], …]). Offsets are half-open string offsets into the text. Other keys are ignored.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", title="Columns of the notes (guessed where not given)"
    )

    id_column: Column = Field(default=None, description="Note ids.")
    patient_column: Column = Field(default=None, description="Patient ids.")
    text_column: Column = Field(default=None, description="Note text.")
    codes_column: Column = Field(default=None, description="Codes of the note.")
    evidence_column: Column = Field(
        default=None,
        description="Evidence spans of the codes (never guessed): list of objects with code, and start and end or "
        "spans.",
    )


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The column of each field of a note; None where the table has none."""

    note_id: str
    text: str
    patient_id: str | None
    codes: str | None
    written_on: str | None
    note_type: str | None
    evidence: str | None


def choose_columns(path: Path, found: Iterable[str], settings: NoteSettings) -> Columns:
    """The column of each field: as the settings say, else by the usual names.

    Raises ColumnError, which lists the columns, where the id, the text or a column of the settings is missing, or where
    several columns could be meant.
    """
    names = list(found)
    choose = _ColumnChooser(path, names)
    return Columns(
        note_id=choose.needed("note id", settings.id_column, ID_NAMES, "id_column"),
        text=choose.needed("text", settings.text_column, TEXT_NAMES, "text_column", one=True),
        patient_id=choose.optional("patient id", settings.patient_column, PATIENT_NAMES, "patient_column"),
        codes=choose.optional("codes", settings.codes_column, CODES_NAMES, "codes_column", one=True),
        written_on=choose.optional("date", None, DATE_NAMES, ""),
        note_type=choose.optional("note type", None, TYPE_NAMES, ""),
        evidence=choose.optional("evidence", settings.evidence_column, (), "evidence_column"),
    )


class _ColumnChooser:
    def __init__(self, path: Path, names: list[str]) -> None:
        self.path = path
        self.names = names

    def needed(
        self, what: str, wanted: str | None, usual: tuple[str, ...], argument: str, *, one: bool = False
    ) -> str:
        column = self.optional(what, wanted, usual, argument, one=one)
        if column is None:
            raise ColumnError(
                f"{self.path}: no column looks like the {what}; name it (`{argument}` of NoteSettings); "
                f"columns are {listed(self.names)}",
                argument,
            )
        return column

    def optional(
        self, what: str, wanted: str | None, usual: tuple[str, ...], argument: str, *, one: bool = False
    ) -> str | None:
        if wanted is not None:
            same = [n for n in self.names if n == wanted] or [
                n for n in self.names if n.lower() == wanted.lower()
            ]
            if len(same) != 1:
                problem = "is missing" if not same else "is there more than once"
                raise ColumnError(
                    f"{self.path}: column {wanted!r} ({argument}) {problem}; columns are {listed(self.names)}",
                    argument,
                )
            return same[0]
        matches = sorted((usual.index(_plain(n)), n) for n in self.names if _plain(n) in usual)
        if not matches and what == "text":  # text_en, es_text
            matches = [(1, n) for n in self.names if re.search(r"(?:^|[\W_])text(?:[\W_]|$)", n.lower())]
        if not matches:
            return None
        rivals = [n for rank, n in matches if rank == matches[0][0] or (one and matches[0][0] > 0)]
        if len(rivals) > 1:
            raise ColumnError(
                f"{self.path}: {len(rivals)} columns could be the {what}: {listed(rivals)}"
                + (f"; name the right one ({argument})" if argument else "; keep only one of them"),
                argument,
            )
        return rivals[0]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


class TableFiles:
    """Parquet, CSV, TSV or JSON lines files, each with an id column and a text column."""

    def __init__(self, name: str, files: list[Path], settings: NoteSettings) -> None:
        self.name = name
        self.files = files
        self._settings = settings
        self._read = {"parquet": _parquet_notes, "CSV": _csv_notes, "JSON lines": _json_lines_notes}[name]

    def read(self, path: Path, progress: ReadPosition) -> Iterator[RawNote | DeadLetter]:
        return self._read(path, self._settings, progress)


class TextFiles:
    """One note per .txt file. The note id is the path under `root` without the suffix."""

    name = "text"

    def __init__(self, files: list[Path], root: Path) -> None:
        self.files = files
        self._root = root

    def read(self, path: Path, progress: ReadPosition) -> Iterator[RawNote | DeadLetter]:
        with open_bytes(path, progress) as stream:
            text = stream.read().decode("utf-8", "surrogateescape")
        note_id = plain_name(path).with_suffix("").relative_to(self._root).as_posix()
        yield RawNote(None, note_id, None, text, None, None, None)


def csv_rows(path: Path, progress: ReadPosition | None = None) -> Iterator[list[str] | str]:
    """The header, then each data row as a list of strings; for a row of another length, the reason as a string.

    Bytes that are not UTF-8 become lone surrogates. Line ends inside quotes are kept as they are.
    Raises NoteFormatError at a quote in the wrong place, because the next line may be in the middle of a note.
    """
    csv.field_size_limit(FIELD_LIMIT)
    with open_bytes(path, progress) as stream:
        first = stream.peek(1 << 16).partition(b"\n")[0].decode("utf-8", "replace")
        delimiter = "\t" if plain_name(path).suffix.lower() == ".tsv" else max(",;\t|", key=first.count)
        text = io.TextIOWrapper(stream, "utf-8", "surrogateescape", newline="")
        rows = csv.reader(text, delimiter=delimiter, strict=True)
        header = None
        number = 0
        while True:
            line, broken = rows.line_num + 1, False
            try:
                row = next(rows)
            except StopIteration:
                return
            except csv.Error:
                broken = True
            if header is None:
                if broken or not all(map(is_unicode, row)):
                    raise NoteFormatError(f"{path}: its first line is not a CSV header in UTF-8")
                header = row
                yield header
            elif broken:
                raise NoteFormatError(
                    f"{path}, row {number + 1} (line {line}): a quote is in the wrong place or never closed, so "
                    'nothing from there on can be read safely; write quotes inside a quoted cell twice (""), or '
                    "give JSON lines or parquet"
                )
            elif row:
                number += 1
                same = len(row) == len(header)
                yield row if same else f"{len(row)} fields, but the header has {len(header)}"


def json_rows(path: Path, progress: ReadPosition | None = None) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """The number of each line that is not blank, and its JSON object, or the reason why it has none.

    Raises NoteFormatError where the file is one JSON array.
    """
    with open_bytes(path, progress) as stream:
        if stream.peek(1 << 10).lstrip()[:1] == b"[":
            raise NoteFormatError(
                f"{path}: is one JSON array; write JSON lines, one object a line (jq -c '.[]')"
            )
        for number, line in enumerate(stream, 1):
            if not line.isspace():
                yield number, _json_object(line)


def _json_object(line: bytes) -> dict[str, Any] | str:
    try:
        value = json.loads(line.decode())
    except UnicodeDecodeError:
        return "invalid UTF-8"
    except (ValueError, RecursionError):
        return "not valid JSON"
    return value if isinstance(value, dict) else "not a JSON object"


def _csv_notes(path: Path, settings: NoteSettings, progress: ReadPosition) -> Iterator[RawNote | DeadLetter]:
    rows = csv_rows(path, progress)
    header = next(rows, None)
    if not isinstance(header, list):
        return
    columns = choose_columns(path, header, settings)
    place = {name: index for index, name in enumerate(header)}
    note_id, text = place[columns.note_id], place[columns.text]
    patient, codes, written, kind, evidence = (
        None if name is None else place[name]
        for name in (
            columns.patient_id,
            columns.codes,
            columns.written_on,
            columns.note_type,
            columns.evidence,
        )
    )
    for number, row in enumerate(rows, 1):
        if isinstance(row, str):
            yield DeadLetter(str(path), number, None, row)
        else:
            yield RawNote(
                number,
                row[note_id],
                None if patient is None else row[patient],
                row[text],
                None if written is None else row[written],
                None if kind is None else row[kind],
                None if codes is None else row[codes],
                None if evidence is None else row[evidence],
            )


def _json_lines_notes(
    path: Path, settings: NoteSettings, progress: ReadPosition
) -> Iterator[RawNote | DeadLetter]:
    rows = json_rows(path, progress)
    head = list(itertools.islice(rows, ROWS_FOR_COLUMNS))
    known = {name: None for _, row in head if isinstance(row, dict) for name in row}
    columns = choose_columns(path, known, settings) if known else None
    for number, row in itertools.chain(head, rows):
        if isinstance(row, str):
            yield DeadLetter(str(path), number, None, row)
            continue
        if columns is None or not row.keys() <= known.keys():  # a field that earlier rows did not have
            known.update(dict.fromkeys(row))
            columns = choose_columns(path, known, _fixed(settings, columns))
        yield RawNote(
            number,
            row.get(columns.note_id),
            row.get(columns.patient_id) if columns.patient_id else None,
            row.get(columns.text),
            row.get(columns.written_on) if columns.written_on else None,
            row.get(columns.note_type) if columns.note_type else None,
            row.get(columns.codes) if columns.codes else None,
            row.get(columns.evidence) if columns.evidence else None,
        )


def _fixed(settings: NoteSettings, columns: Columns | None) -> NoteSettings:
    """The settings with the columns chosen so far, so that a column found later cannot make them ambiguous."""
    if columns is None:
        return settings
    return NoteSettings(
        id_column=columns.note_id,
        text_column=columns.text,
        patient_column=columns.patient_id,
        codes_column=columns.codes,
        evidence_column=columns.evidence,
    )


def _parquet_notes(
    path: Path, settings: NoteSettings, progress: ReadPosition
) -> Iterator[RawNote | DeadLetter]:
    import pyarrow.parquet as pq

    size = path.stat().st_size
    # buffered: a column chunk is read page by page, so that a huge row group does not fill the memory
    with open_seekable(path) as plain, pq.ParquetFile(plain, buffer_size=1 << 20, pre_buffer=False) as file:
        fields = _fields(path, file.schema_arrow, settings)
        number, total = 0, max(1, file.metadata.num_rows)
        progress.position = lambda: size * number / total
        for batch in file.iter_batches(500, columns=list(filter(None, dict.fromkeys(fields)))):
            for row in _rows(batch, fields):
                number += 1
                yield RawNote(number, *row)


def frame_notes(frame: pa.Table, settings: NoteSettings, path: Path) -> Iterator[RawNote]:
    """The notes of a table in memory. Row numbers are the note ids where there is no id column. path: for errors."""
    names = set(frame.column_names)
    if settings.id_column is None and not any(_plain(name) in ID_NAMES for name in names):
        ids = next(
            name for name in (f"note_id{'_' * at}" for at in range(len(names) + 1)) if name not in names
        )
        frame = frame.append_column(ids, [list(map(str, range(frame.num_rows)))])
        settings = settings.model_copy(update={"id_column": ids})
    fields = _fields(path, frame.schema, settings)
    number = 0
    for batch in frame.to_batches(500):
        for row in _rows(batch, fields):
            number += 1
            yield RawNote(number, *row)


def _fields(path: Path, schema: pa.Schema, settings: NoteSettings) -> list[str | None]:
    """The columns in the order of the fields of RawNote."""
    columns = choose_columns(path, schema.names, settings)
    _check_types(path, schema, columns)
    return [
        columns.note_id,
        columns.patient_id,
        columns.text,
        columns.written_on,
        columns.note_type,
        columns.codes,
        columns.evidence,
    ]


def _rows(batch: pa.RecordBatch, fields: Sequence[str | None]) -> Iterator[tuple[Any, ...]]:
    absent = [None] * batch.num_rows
    yield from zip(*(_values(batch.column(name)) if name else absent for name in fields), strict=True)


def _values(column: Any) -> list[object]:
    """A column as Python values. Bytes that are not UTF-8 become lone surrogates instead of raising."""
    import pyarrow as pa

    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not _is_text(kind):
        values: list[object] = column.to_pylist()
        return values
    return [
        None if v is None else v.decode("utf-8", "surrogateescape")
        for v in column.cast(kind).cast(pa.large_binary()).to_pylist()
    ]


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    checks: list[Callable[[Any], bool]] = [
        pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view,
        pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view,
    ]  # fmt: skip
    return any(check(kind) for check in checks)


def _check_types(path: Path, schema: Any, columns: Columns) -> None:
    """Raises NoteFormatError for a column whose type has lost information, such as codes that became numbers."""
    import pyarrow as pa

    def kind(name: str) -> Any:
        kind = schema.field(name).type
        return kind.value_type if pa.types.is_dictionary(kind) else kind

    if not _is_text(kind(columns.text)):
        raise NoteFormatError(f"{path}: the text column {columns.text!r} is {kind(columns.text)}, not string")
    for name in filter(None, (columns.note_id, columns.patient_id)):
        if not (_is_text(kind(name)) or pa.types.is_integer(kind(name)) or pa.types.is_null(kind(name))):
            raise NoteFormatError(
                f"{path}: the id column {name!r} is {kind(name)}; write it as string or integer"
            )
    if columns.codes:
        codes = kind(columns.codes)
        inner = codes.value_type if pa.types.is_list(codes) or pa.types.is_large_list(codes) else codes
        if pa.types.is_dictionary(inner):
            inner = inner.value_type
        if not (_is_text(inner) or pa.types.is_null(inner)):
            raise NoteFormatError(
                f"{path}: the codes column {columns.codes!r} is {codes}; {CODES_AS_NUMBERS}"
            )
