"""Notes from files: one validated note table from every supported format, streaming.

    reader = NoteReader("notes/*.jsonl.gz", on_dead_letter=print)
    for batch in reader: ...                            # pyarrow record batches of NOTES_SCHEMA

Sources: parquet, CSV, TSV, JSON lines (each also .gz and .zst), folders of .txt, FHIR R4 bulk exports,
MIMIC-III, MIMIC-IV. A note that cannot be used is a dead letter and the rest goes on; a source that cannot be
used is a NoteFormatError. Neither ever quotes note text.
"""

from __future__ import annotations

import contextlib
import csv
import datetime
import glob
import itertools
import json
import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from rubricator.nlp.hidden_text import hides_text
from rubricator.nlp.readers.fhir import find_fhir
from rubricator.nlp.readers.files import (
    DeadLetter,
    NoteFormatError,
    NoteSource,
    Progress,
    RawNote,
    files_under,
    is_unicode,
    plain_name,
)
from rubricator.nlp.readers.mimic import find_mimic
from rubricator.nlp.readers.tables import CODES_AS_NUMBERS, NoteSettings, TableFiles, TextFiles

__all__ = ["NOTES_SCHEMA", "DeadLetter", "NoteFormatError", "NoteReader", "NoteSettings", "read_notes"]

NOTES_SCHEMA = pa.schema(
    [
        pa.field("note_id", pa.string(), nullable=False),
        pa.field("patient_id", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("written_on", pa.date32()),
        pa.field("note_type", pa.string()),
        pa.field("codes", pa.list_(pa.string())),
        pa.field(  # text[start:end] is why this code was given
            "evidence",
            pa.list_(pa.struct([("code", pa.string()), ("start", pa.int32()), ("end", pa.int32())])),
        ),
        pa.field("composed", pa.bool_()),  # the text stands in no file: its reader put it together
    ]
)
TABLES = {
    ".parquet": "parquet",
    ".csv": "CSV",
    ".tsv": "CSV",
    ".jsonl": "JSON lines",
    ".ndjson": "JSON lines",
    ".txt": "text",
}
BATCH_CHARACTERS = (
    32_000_000  # a batch ends here even if it has few notes: 2,000 notes of 1 MB are too many at once
)
LONGEST_ID = 512
NULLS = {"NULL", "NaN", "nan", "None", "<NA>", r"\N"}  # as databases and pandas write what is missing

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


class NoteReader:
    """Reads `source` (file, folder or glob) as validated batches of NOTES_SCHEMA; may be iterated again.

    - Text is untouched: line ends and control characters stay; only a byte order mark at a file's start goes.
      A FHIR Composition has no text of its own: one is put together, and `composed` is true.
    - `patient_id` is the note id where there is none. A date that is not ISO 8601 is null. Codes are null
      where the note says nothing of them, an empty list where it says that there are none. Evidence is null
      where no column of it is named. Words for null (NULLS) are no id, no patient and no code.
    - Memory does not grow with the number of notes: the ids seen so far, which find duplicates, live in a
      temporary SQLite table on disk (exact, private, gone at the end; a set would take 100 bytes a note).
      Only the code tables of MIMIC and FHIR are held in memory: they grow with the admissions.

    Raises NoteFormatError: here where the source has nothing readable or mixes formats, on iteration where a
    file is broken or lacks a column. A note that cannot be used goes to `on_dead_letter`.
    """

    def __init__(
        self,
        source: str | Path,
        settings: NoteSettings = NoteSettings(),  # noqa: B008 (frozen)
        *,
        on_dead_letter: Callable[[DeadLetter], None],
        batch_size: int = 2000,
    ) -> None:
        self._source = _detect(source, settings)
        self._on_dead_letter = on_dead_letter
        self._batch_size = batch_size
        self._sizes = [path.stat().st_size for path in self._source.files]
        self._files_done = 0
        self._progress = Progress()
        self.files = self._source.files

    @property
    def fraction_read(self) -> float:
        """Share of the source that is read, from 0 to 1, for progress bars."""
        done = sum(self._sizes[: self._files_done]) + self._progress.position()
        total = sum(self._sizes)
        return min(1.0, done / total) if total else float(self._files_done == len(self._sizes))

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        self._files_done = 0
        rows: list[ValidNote] = []
        characters = 0
        with _SeenIds() as seen:
            for path in self.files:
                self._progress.position = float
                for item in _guarded(path, self._source, self._progress):
                    note = item if isinstance(item, DeadLetter) else _validated(path, item, seen)
                    if isinstance(note, DeadLetter):
                        self._on_dead_letter(note)
                        continue
                    rows.append(note)
                    characters += len(note.text)
                    if len(rows) >= self._batch_size or characters >= BATCH_CHARACTERS:
                        yield _batch(rows)
                        rows, characters = [], 0
                self._progress.position = float
                self._files_done += 1
        if rows:
            yield _batch(rows)


def read_notes(
    source: str | Path,
    settings: NoteSettings = NoteSettings(),  # noqa: B008 (frozen)
    *,
    on_dead_letter: Callable[[DeadLetter], None],
) -> pa.Table:
    """All notes of a source as one table of NOTES_SCHEMA. Raises as NoteReader does."""
    return pa.Table.from_batches(NoteReader(source, settings, on_dead_letter=on_dead_letter), NOTES_SCHEMA)


def _detect(source: str | Path, settings: NoteSettings) -> NoteSource:
    """The format of a source, from the names of its files; a header or a first line tells MIMIC and FHIR."""
    files, root = _files(Path(source).expanduser())
    kinds: dict[str, list[Path]] = {}
    for path in files:
        if kind := TABLES.get(plain_name(path).suffix.lower()):
            kinds.setdefault(kind, []).append(path)
    found: NoteSource | None = find_mimic(kinds.get("CSV", [])) or find_fhir(kinds.get("JSON lines", []))
    if found is None:
        if not kinds:
            suffixes = Counter(plain_name(path).suffix or "no suffix" for path in files)
            what = ", ".join(f"{count} {suffix}" for suffix, count in suffixes.most_common(5)) or "no file"
            raise NoteFormatError(
                f"{source}: nothing to read; notes are {' '.join(TABLES)} (each also .gz, .zst); found {what}"
            )
        if len(kinds) > 1:
            what = ", ".join(f"{len(paths)} {kind}" for kind, paths in kinds.items())
            raise NoteFormatError(
                f"{source}: mixes formats ({what}); choose with a glob such as '{root}/**/*.txt'"
            )
        [(kind, paths)] = kinds.items()
        if kind != "text":
            return TableFiles(kind, paths, settings)
        found = TextFiles(paths, root)
    if settings != NoteSettings():
        raise NoteFormatError(f"{source}: is {found.name}; column options are for tables only")
    return found


def _files(source: Path) -> tuple[list[Path], Path]:
    """Every file of the source in order, and the folder that .txt ids are relative to."""
    if source.is_file():
        return [source], source.parent
    if source.is_dir():
        return files_under(source), source
    matches = [Path(match) for match in sorted(glob.glob(str(source), recursive=True))]  # noqa: PTH207 (absolute globs)
    if not matches:
        raise NoteFormatError(f"{source}: no such file, folder or match")
    parts = itertools.takewhile(lambda part: not glob.has_magic(part), source.parts)
    return sorted(
        {path for match in matches for path in ([match] if match.is_file() else files_under(match))}
    ), Path(*parts)


def _guarded(path: Path, source: NoteSource, progress: Progress) -> Iterator[RawNote | DeadLetter]:
    """The raw notes of a file; what a decoder raises is replaced, for it can hold note text."""
    items = source.read(path, progress)
    while True:
        failure = None
        try:
            item = next(items)
        except StopIteration:
            return
        except NoteFormatError:
            raise
        except (OSError, ValueError, EOFError, csv.Error, pa.ArrowException) as error:
            why = (
                error.strerror
                if isinstance(error, OSError) and error.strerror and error.errno
                else "is it complete?"
            )
            failure = f"{path}: cannot be read as {source.name} ({type(error).__name__}: {why})"
        if failure is not None:  # outside the except block, so that no context is kept
            raise NoteFormatError(failure)
        yield item


def _validated(path: Path, raw: RawNote, seen: _SeenIds) -> ValidNote | DeadLetter:
    note_id = _identifier(raw.note_id)
    patient = None if _is_null(raw.patient_id) else raw.patient_id

    def dead(reason: str) -> DeadLetter:
        return DeadLetter(str(path), raw.row, note_id, reason)

    if note_id is None:
        return dead(f"the note id is missing, or is no string or integer of up to {LONGEST_ID} characters")
    text = raw.text
    if text is None or text == "":
        return dead("the text is empty")
    if not isinstance(text, str):
        return dead(f"the text is no string but {type(text).__name__}")
    if not is_unicode(text):
        return dead("the text is invalid UTF-8")
    if text.isspace():
        return dead("the text is empty")
    patient_id = note_id if patient is None or patient == "" else _identifier(patient)
    if patient_id is None:
        return dead(f"the patient id is no string or integer of up to {LONGEST_ID} characters")
    codes = _codes(raw.codes)
    if isinstance(codes, _NotStrings):
        raise NoteFormatError(f"{path}, row {raw.row}: codes are numbers; {CODES_AS_NUMBERS}")
    if isinstance(codes, str):
        return dead(codes)
    evidence = _evidence(raw.evidence, len(text))
    if isinstance(evidence, str):
        return dead(evidence)
    if not seen.add(note_id):
        return dead("the note id stands for an earlier note already")
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
    """Codes that came as numbers."""


def _codes(value: object) -> list[str] | str | _NotStrings | None:
    """The codes of a note in order, each once; a string is why there are none."""
    if value is None:
        return None
    if isinstance(value, str):
        value = _split_codes(value)
        if not isinstance(value, list):
            return value
    if not isinstance(value, list):
        return _NotStrings() if isinstance(value, int | float) else "the codes are no list of strings"
    if any(isinstance(code, int | float) for code in value):
        return _NotStrings()
    codes = [code.strip() for code in value if isinstance(code, str)]
    if len(codes) < len(value) or not all(map(is_unicode, codes)):
        return "the codes are no list of strings"
    given = [code for code in dict.fromkeys(codes) if code and code not in NULLS]
    return None if not given and not NULLS.isdisjoint(codes) else given


def _split_codes(value: str) -> list[str] | str | _NotStrings | None:
    """Codes in one string: separated by ; | , or white space, or a list as JSON, Python or numpy print it."""
    value = value.strip()
    if not value:
        return None
    if value[0] == "[" and value[-1] == "]":
        quoted = re.findall(r"\"([^\"]*)\"|'([^']*)'", value)
        rest = re.sub(r"\"[^\"]*\"|'[^']*'", "", value[1:-1])
        if rest.strip(" ,\n"):
            return _NotStrings() if re.fullmatch(r"[\d.,\s]+", rest) else "the codes are no list of strings"
        return [double or single for double, single in quoted]
    return re.split(r"[;|,\s]+", value)


def _evidence(value: object, length: int) -> Marked | str | None:
    """What was marked in a text of this length, without empty spans; a string is why it cannot be used."""
    if isinstance(value, str) and value:
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(value)
    if value is None or value == "":
        return None
    spans = []
    for each in value if isinstance(value, list) else [None]:
        code, parts = _marked(each) if isinstance(each, dict) else (None, [])
        if not isinstance(code, str) or not is_unicode(code) or not all(map(_is_span, parts)):
            return (
                "the evidence is no list of objects with code and start and end, or spans [[start, end], …]"
            )
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


def _batch(rows: list[ValidNote]) -> pa.RecordBatch:
    columns = [
        pa.array(column, field.type)
        for column, field in zip(zip(*rows, strict=True), NOTES_SCHEMA, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=NOTES_SCHEMA)


class _SeenIds:
    """The note ids of a run, in a temporary SQLite file, which is private and gone at the end."""

    def __enter__(self) -> _SeenIds:
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
        """False if it was there."""
        return self._table.execute("INSERT OR IGNORE INTO seen VALUES (?)", (note_id,)).rowcount == 1
