"""Tables of notes: their settings, the choice of columns, CSV, TSV and JSON."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from rubricator.nlp.readers.dates import is_date_format
from rubricator.nlp.readers.encodings import GUESSED_FROM, guessed_encoding, is_encoding
from rubricator.nlp.readers.files import (
    ColumnError,
    DeadLetter,
    NoteFormatError,
    Notices,
    RawNote,
    ReadPosition,
    check_blank,
    is_unicode,
    listed,
    open_bytes,
    open_raw,
    plain_name,
)
from rubricator.nlp.readers.json_objects import json_rows

FIELD_LIMIT = 1 << 26  # characters of one CSV field or line; in a longer one a quote was never closed
ROWS_FOR_COLUMNS = 1000  # JSON objects that are read before the columns are chosen
CHARACTERS_FOR_COLUMNS = 64_000_000  # of these objects at most, so that long notes do not fill the memory
NO_NOTES = "files without notes (empty, or only a header)"

# Usual column names, normalised by `plain_column`, in order of preference.
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


def _encoding(name: str) -> str:
    if not is_encoding(name):
        raise ValueError(f"{name!r} is no text encoding that Python knows; give one such as cp1252 or utf-16")
    return name


def _date_format(form: str) -> str:
    if not is_date_format(form):
        raise ValueError(
            f"{form!r} does not give day, month and year; write it as for strptime, such as %d/%m/%Y"
        )
    return form


def _without_password(url_and_query: tuple[str, str]) -> tuple[str, str]:
    url, query = url_and_query
    if re.search(r"://[^/@:]*:[^@]+@|[?&;][^=]*(?:pass|pwd|secret|token)[^=]*=", url, re.IGNORECASE):
        raise ValueError(
            "the URL holds a password, which would be kept with the job: put the URL into an environment variable, and "
            "give '$' and its name in quotes"
        )
    if not url or not query.strip():
        raise ValueError("a URL and a query are expected")
    return url_and_query


class NoteSettings(BaseModel):
    """How notes are read. A column that is None is guessed by the usual names, except `evidence_column`.

    evidence_column: the evidence spans of the codes. A value is a list of objects, or a string with such a list as
    JSON. An object has `code`, and either `start` (or `begin`) and `end`, or, for a mention of several parts, `spans`
    ([[start, end], …]). Offsets are half-open string offsets into the text. Other keys are ignored.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        title="How notes are read (columns are guessed where not given)",
        hide_input_in_errors=True,  # a URL has a password
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
    date_format: Annotated[str, AfterValidator(_date_format)] | None = Field(
        default=None, description="How dates are written, as for strptime: %d/%m/%Y."
    )
    encoding: Annotated[str, AfterValidator(_encoding)] | None = Field(
        default=None, description="Encoding of text files, CSV and JSON, such as cp1252; by default UTF-8."
    )
    sheet: Column = Field(default=None, description="Sheet of Excel files: its name or number; by default 1.")
    notes_sql: Annotated[tuple[str, str], AfterValidator(_without_password)] | None = Field(
        default=None,
        description="A database in place of NOTES: its SQLAlchemy URL, or '$NAME' of the environment variable that "
        "holds it (as it must where there is a password), and the query.",
    )

    def given(self) -> set[str]:
        """The settings that are not left to their defaults."""
        return {name for name, value in self if value is not None}


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

    def in_order(self) -> tuple[str | None, ...]:
        """In the order of the fields of `RawNote`."""
        return (
            self.note_id, self.patient_id, self.text, self.written_on, self.note_type, self.codes, self.evidence
        )  # fmt: skip


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
        matches = sorted((usual.index(plain_column(n)), n) for n in self.names if plain_column(n) in usual)
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


def is_id_name(name: str) -> bool:
    """Whether a column of this name is taken for the note ids."""
    return plain_column(name) in ID_NAMES


def plain_column(name: str) -> str:
    """A column name as it stands in the lists of usual names."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


TableReader: TypeAlias = Callable[[Path, "TableFiles", ReadPosition], Iterator[RawNote | DeadLetter]]


class TableFiles:
    """Files of a kind of table, each with an id column and a text column. read_file: reads one of them."""

    def __init__(self, name: str, files: list[Path], settings: NoteSettings, read_file: TableReader) -> None:
        self.name = name
        self.files = files
        self.settings = settings
        self.notices = Notices()
        self.columns: Columns | None = None  # of the file that is read
        self._read_file = read_file

    def read(self, path: Path, progress: ReadPosition) -> Iterator[RawNote | DeadLetter]:
        first = None
        for item in self._read_file(path, self, progress):
            first = first or item
            yield item
        if first is None:
            self.notices[NO_NOTES] += 1

    def choose(self, path: Path, names: Iterable[str], settings: NoteSettings | None = None) -> Columns:
        """The columns of a file. Raises as `choose_columns`."""
        self.columns = choose_columns(path, names, settings or self.settings)
        return self.columns


def csv_rows(
    path: Path, progress: ReadPosition | None = None, encoding: str | None = None
) -> Iterator[list[str] | str]:
    """The header, then each data row as a list of strings; for a row of another length, the reason as a string.

    Bytes that are not UTF-8 become lone surrogates. Line ends inside quotes are kept as they are.
    Raises NoteFormatError at a quote in the wrong place, because the next line may be in the middle of a note.
    """
    csv.field_size_limit(FIELD_LIMIT)
    with open_bytes(path, progress, encoding) as stream:
        text = io.TextIOWrapper(stream, "utf-8", "surrogateescape", newline="")
        rows = csv.reader(_lines(text, path), delimiter=_delimiter(path, stream), strict=True)
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
                    guess, argument = encoding_hint(path, encoding)
                    raise NoteFormatError(
                        f"{path}: its first line is not a CSV header in UTF-8{guess}", argument
                    )
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


def _delimiter(path: Path, stream: io.BufferedReader) -> str:
    """The delimiter of a CSV file. A first line such as `sep=;`, which is for Excel, is passed over."""
    first = stream.peek(1 << 16).partition(b"\n")[0].decode("utf-8", "replace")
    if match := re.fullmatch(r"sep=(.)\r?", first):
        stream.readline()
        return match[1]
    return "\t" if plain_name(path).suffix.lower() == ".tsv" else max(",;\t|", key=first.count)


def _lines(text: io.TextIOWrapper, path: Path) -> Iterator[str]:
    """The lines of a file. Raises NoteFormatError at one of FIELD_LIMIT characters, and at a million blank ones."""
    blank = 0
    while line := text.readline(FIELD_LIMIT):
        if len(line) == FIELD_LIMIT:
            raise NoteFormatError(
                f"{path}: a line has more than {FIELD_LIMIT:,} characters; is it a CSV file?"
            )
        if len(line) <= 2:
            blank = blank + 1 if line.isspace() else 0
            check_blank(blank, path)
        else:
            blank = 0
        yield line


def encoding_hint(path: Path, encoding: str | None, sample: bytes = b"") -> tuple[str, str]:
    """The end of a message about bytes that are not valid in the encoding, and the setting that mends it.

    sample: bytes that were not valid, where they may be far from the start of the file.
    """
    if encoding is not None:
        return f" (read as {encoding})", "encoding"
    with open_raw(path) as stream:
        guess = guessed_encoding(stream.read(GUESSED_FROM)) or guessed_encoding(sample)
    if guess is None:
        return "", "encoding"
    return f"; it looks like {guess}: give its encoding (--encoding {guess})", "encoding"


def csv_notes(path: Path, table: TableFiles, progress: ReadPosition) -> Iterator[RawNote | DeadLetter]:
    """The notes of a CSV or TSV file."""
    encoding = table.settings.encoding
    rows = csv_rows(path, progress, encoding)
    header = next(rows, None)
    if not isinstance(header, list):
        return
    columns = table.choose(path, header)
    places = [None if name is None else header.index(name) for name in columns.in_order()]
    hint = None
    for number, row in enumerate(rows, 1):
        if isinstance(row, str):
            yield DeadLetter(str(path), number, None, row)
            continue
        values: list[Any] = [None if place is None else row[place] for place in places]
        note = RawNote(number, *values)
        if not is_unicode(str(note.text)):
            if hint is None:
                hint, _ = encoding_hint(path, encoding, str(note.text).encode("utf-8", "surrogateescape"))
            known = str(note.note_id) if is_unicode(str(note.note_id)) else None
            yield DeadLetter(str(path), number, known, f"the text is invalid UTF-8{hint}")
            continue
        yield note


def json_notes(path: Path, table: TableFiles, progress: ReadPosition) -> Iterator[RawNote | DeadLetter]:
    """The notes of a file of JSON objects."""
    rows = json_rows(path, progress, table.settings.encoding)
    head = list(_head(rows))
    known = {name: None for _, row in head if isinstance(row, dict) for name in row}
    columns = table.choose(path, known) if known else None
    for number, row in itertools.chain(head, rows):
        if isinstance(row, str):
            yield DeadLetter(str(path), number, None, row)
            continue
        if columns is None or not row.keys() <= known.keys():  # a field that earlier rows did not have
            known.update(dict.fromkeys(row))
            columns = table.choose(path, known, _fixed(table.settings, columns))
        values: list[Any] = [None if name is None else row.get(name) for name in columns.in_order()]
        yield RawNote(number, *values)


def _head(rows: Iterator[tuple[int, dict[str, Any] | str]]) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """The first rows, from which the columns are chosen."""
    characters = 0
    for number, row in itertools.islice(rows, ROWS_FOR_COLUMNS):
        yield number, row
        if isinstance(row, dict):
            characters += sum(len(value) for value in row.values() if isinstance(value, str))
        if characters > CHARACTERS_FOR_COLUMNS:
            return


def _fixed(settings: NoteSettings, columns: Columns | None) -> NoteSettings:
    """The settings with the columns chosen so far, so that a column found later cannot make them ambiguous."""
    if columns is None:
        return settings
    return settings.model_copy(
        update={
            "id_column": columns.note_id,
            "text_column": columns.text,
            "patient_column": columns.patient_id,
            "codes_column": columns.codes,
            "evidence_column": columns.evidence,
        }
    )
