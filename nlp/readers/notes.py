"""Notes from files: a stream of validated batches, the same for every supported format.

    reader = NoteReader("notes/*.jsonl.gz", on_dead_letter=print)
    for batch in reader: ...                            # pyarrow record batches of NOTES_SCHEMA

Sources: parquet, CSV, TSV, JSON, Excel (each also .gz and .zst), folders of .txt and .rtf, FHIR R4 bulk exports,
MIMIC-III, MIMIC-IV, standard input, and the rows of a database query. A note that cannot be used becomes a dead
letter, and reading goes on. A source that cannot be used raises NoteFormatError. Neither quotes note text.
"""

from __future__ import annotations

import contextlib
import csv
import glob
import itertools
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa

from rubricator.nlp.readers.arrow_tables import parquet_notes
from rubricator.nlp.readers.database import DatabaseNotes
from rubricator.nlp.readers.excel import excel_notes
from rubricator.nlp.readers.fhir import find_fhir
from rubricator.nlp.readers.fhir.export import FhirExport
from rubricator.nlp.readers.files import (
    DeadLetter,
    NoteFormatError,
    NoteSource,
    Notices,
    RawNote,
    ReadPosition,
    files_under,
    plain_name,
    shown,
)
from rubricator.nlp.readers.long_format import SeenNotes, valid_notes
from rubricator.nlp.readers.mimic import MimicFiles, find_mimic
from rubricator.nlp.readers.standard_input import STANDARD_INPUT, StandardInput
from rubricator.nlp.readers.tables import NoteSettings, TableFiles, TableReader, csv_notes, json_notes
from rubricator.nlp.readers.text_files import TextFiles, is_table
from rubricator.nlp.readers.validation import NOTES_SCHEMA, CodeCells, ValidNote, note_batch

__all__ = ["NOTES_SCHEMA", "DeadLetter", "NoteFormatError", "NoteReader", "NoteSettings", "read_notes"]

TABLES = {
    ".parquet": "parquet",
    ".csv": "CSV",
    ".tsv": "CSV",
    ".jsonl": "JSON lines",
    ".ndjson": "JSON lines",
    ".txt": "text",
}
BESIDE = {
    ".json": "JSON lines",
    ".xlsx": "Excel",
    ".rtf": "text",
}  # notes only where no file of another kind is
READERS: dict[str, TableReader] = {
    "parquet": parquet_notes, "CSV": csv_notes, "JSON lines": json_notes, "Excel": excel_notes
}  # fmt: skip
OTHER_EXCEL = {".xls", ".xlsb", ".xlsm", ".ods"}
BATCH_CHARACTERS = (
    32_000_000  # a batch with more ends, even if it has few notes: 2,000 notes of 1 MB need too much memory
)


class NoteReader:
    """Reads `source` as validated batches of NOTES_SCHEMA. It can be iterated several times.

    source: a file, folder or glob; "-" is standard input; None where `settings.notes_sql` names a database.

    - Text is not changed: line ends and control characters stay. Only a byte order mark at the start of a file is
      removed. A FHIR Composition has no text of its own: its text is composed from its sections, and `composed` is
      true.
    - `patient_id` is the note id where there is no patient id. A date that can be read in two ways, or in none, is
      null, and counted in `notices`. Rows of one note that follow each other, one for each code, are joined. Codes are
      null where they are not given, and an empty list where the note is known to have none. Evidence is null where no
      column is named for it. Words such as NULL, NA, - and unknown are missing patients, codes, dates (null_words.py).
    - Codes have one spelling, also in the evidence: upper case, with the dot, without prefix and marks (`normal_code`).
      `codes_as_written` has them as they are written. How cells are read is in code_cells.py.
    - Memory does not grow with the number of notes. The ids seen so far, which find duplicates, are in a temporary
      SQLite table on disk; a set would take 100 bytes a note. Only the codes of MIMIC are held in memory, which grow
      with the number of admissions.

    A note that cannot be used goes to `on_dead_letter`. Raises NoteFormatError when it is made, where the source has
    nothing readable or mixes formats; and when it is iterated, where a file is broken or lacks a column. At the end it
    raises NoteFormatError where codes are numbers, and ColumnError where most cells of the codes column hold no codes.

    codes: False leaves out codes and evidence: they are null, and a cell that cannot be used loses no note. strict:
    False makes notices of what is wrong with codes, in place of errors and dead letters.
    """

    def __init__(
        self,
        source: str | Path | None,
        settings: NoteSettings | None = NoteSettings(),
        *,
        on_dead_letter: Callable[[DeadLetter], None],
        batch_size: int = 2000,
        codes: bool = True,
        strict: bool = True,
    ) -> None:
        self._settings = settings or NoteSettings()
        self._input = StandardInput() if str(source) == STANDARD_INPUT else None
        found, self._passed_over = _detect(self._input.path if self._input else source, self._settings)
        self._source = found.without_codes() if isinstance(found, MimicFiles) and not codes else found
        self._codes, self._strict = codes, strict
        self._on_dead_letter = on_dead_letter
        self._batch_size = batch_size
        self._sizes = list(map(_size, self._source.files))
        self._files_done = 0
        self._progress = ReadPosition()
        self.files = self._source.files
        self.format = self._source.name

    @property
    def fraction_read(self) -> float:
        """Share of the source that has been read, from 0 to 1, for progress bars."""
        done = sum(self._sizes[: self._files_done]) + self._progress.position()
        total = sum(self._sizes)
        return min(1.0, done / total) if total else float(self._files_done == len(self._sizes))

    @property
    def columns(self) -> dict[str, str]:
        """The column of each field of a note, in the table that was read last; empty where the source is no table."""
        chosen = getattr(self._source, "columns", None)
        return {field: column for field, column in vars(chosen).items() if column} if chosen else {}

    @property
    def notices(self) -> list[str]:
        """What is to be known of what was read and is no error: files passed over, dates left empty. No note text."""
        return [*self._passed_over.lines(), *self._source.notices.lines()]

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        self._files_done = 0
        self._source.notices.clear()
        rows: list[ValidNote] = []
        characters = 0
        column = self._settings.codes_column
        codes = CodeCells(self._source.notices, column, strict=self._strict) if self._codes else None
        with SeenNotes(codes) as seen:
            for note in valid_notes(self._items(), self._source, seen, self._settings.date_format):
                if isinstance(note, DeadLetter):
                    self._on_dead_letter(note)
                    continue
                rows.append(note)
                characters += len(note.text)
                if len(rows) >= self._batch_size or characters >= BATCH_CHARACTERS:
                    yield note_batch(rows)
                    rows, characters = [], 0
        if rows:
            yield note_batch(rows)

    def _items(self) -> Iterator[tuple[Path, RawNote | DeadLetter]]:
        """What is in the files, in order, each with its file."""
        for path in self.files:
            self._progress.position = float
            for item in _guarded(path, self._source, self._progress):
                yield path, item
            self._progress.position = float
            self._files_done += 1


def read_notes(
    source: str | Path | None,
    settings: NoteSettings = NoteSettings(),
    *,
    on_dead_letter: Callable[[DeadLetter], None],
) -> pa.Table:
    """All notes of a source as one table of NOTES_SCHEMA. Warns of the reader's notices. Raises as NoteReader does."""
    reader = NoteReader(source, settings, on_dead_letter=on_dead_letter)
    table = pa.Table.from_batches(reader, NOTES_SCHEMA)
    warn_of(reader.notices)
    return table


def warn_of(notices: list[str]) -> None:
    """One warning with all notices of a reader, on the line that called the function that reads."""
    if notices:
        warnings.warn(f"the reader says: {'; '.join(notices)}", stacklevel=3)


def source_name(source: str | Path | None, settings: NoteSettings) -> str:
    """The source as the user named it, for records of jobs."""
    return shown(source) if source is not None else " ".join(settings.notes_sql or ())


def _detect(source: str | Path | None, settings: NoteSettings) -> tuple[NoteSource, Notices]:
    """The source by what was given, and the files that are passed over, by kind."""
    if settings.notes_sql is not None:
        if source is not None:
            raise NoteFormatError("notes and notes_sql are both given; give one of them", "notes_sql")
        _check_settings(settings, "the database", {"sheet", "encoding"}, "files")
        return DatabaseNotes(*settings.notes_sql, settings), Notices()
    if source is None:
        raise NoteFormatError(
            "no notes are given: a file, a folder, a glob, or a database (notes_sql)", "notes_sql"
        )
    files, root = _files(Path(source).expanduser())
    found = _known(_kinds(files), files, source, root, settings)
    if found is None:
        raise NoteFormatError(
            f"{source}: nothing to read; notes are {' '.join(TABLES | BESIDE)} (each also .gz, "
            f".zst); found {_suffixes(files)}{_excel_hint(files)}"
        )
    passed_over = Notices()
    unread = set(files).difference(found.files)
    if unread and not isinstance(found, FhirExport):  # which names them itself
        passed_over.add(f"files that are not read ({_suffixes(sorted(unread))})", len(unread))
    return found, passed_over


def _kinds(files: list[Path]) -> dict[str, list[Path]]:
    """The files that can be notes, by their format."""
    kinds: dict[str, list[Path]] = {}
    for suffixes in (TABLES, BESIDE):
        alone = not kinds
        for path in files:
            kind = suffixes.get(plain_name(path).suffix.lower())
            if kind and (suffixes is TABLES or alone or kinds.keys() == {kind} == {"text"}):
                kinds.setdefault(kind, []).append(path)
    if "text" in kinds:
        kinds["text"].sort()  # .txt and .rtf
    return kinds


def _known(
    kinds: dict[str, list[Path]], files: list[Path], source: str | Path, root: Path, settings: NoteSettings
) -> NoteSource | None:
    """The format of files; None where none can be notes. kinds: those that can, by their format.

    MIMIC is known by a header, FHIR by a first line, a table by its own.
    """
    if not kinds:
        return None
    found: NoteSource | None = None
    if settings.encoding is None:
        found = find_mimic(kinds.get("CSV", [])) or find_fhir(files)
    if found is not None:
        _check_settings(settings, f"{source}: is {found.name}", settings.given(), "tables only")
        return found
    if len(kinds) > 1:
        what = ", ".join(f"{len(paths)} {kind}" for kind, paths in kinds.items())
        raise NoteFormatError(
            f"{source}: mixes formats ({what}); choose with a glob such as '{root}/**/*.txt'"
        )
    [(kind, paths)] = kinds.items()
    if kind != "Excel":
        _check_settings(settings, f"{source}: is {kind}", {"sheet"}, "Excel files")
    if kind in ("Excel", "parquet"):
        _check_settings(settings, f"{source}: is {kind}", {"encoding"}, "text, CSV and JSON")
    if kind != "text":
        return TableFiles(kind, paths, settings, READERS[kind])
    if all(is_table(path, settings) for path in paths):  # ends at the first note
        return TableFiles("CSV", paths, settings, csv_notes)
    _check_settings(settings, f"{source}: is text", settings.given() - {"encoding"}, "tables only")
    return TextFiles(paths, root, settings)


def _check_settings(settings: NoteSettings, what: str, unfit: set[str], only_for: str) -> None:
    """Raises NoteFormatError where a setting is given that does not fit the source."""
    for name in sorted(settings.given() & unfit):
        kind = "column options are" if name.endswith("_column") else f"{name} is"
        raise NoteFormatError(f"{what}; {kind} for {only_for}", name)


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):  # said when the file is read; a database is no file
        return path.stat().st_size
    return 0


def _suffixes(files: list[Path]) -> str:
    """The most frequent suffixes, with counts."""
    counts = Counter(shown(plain_name(path).suffix) or "no suffix" for path in files)
    return ", ".join(f"{count:,} {suffix}" for suffix, count in counts.most_common(5)) or "no file"


def _excel_hint(files: list[Path]) -> str:
    is_excel = any(plain_name(path).suffix.lower() in OTHER_EXCEL for path in files)
    return "; save spreadsheets as .xlsx or CSV" if is_excel else ""


def _files(source: Path) -> tuple[list[Path], Path]:
    """Every file of the source in order, and the folder to which the ids of .txt notes are relative."""
    if source.is_file():
        return [source], source.parent
    if source.is_dir():
        return files_under(source), source
    matches = matching(str(source))
    if not matches:
        raise NoteFormatError(f"{source}: no such file, folder or match")
    parts = itertools.takewhile(lambda part: not glob.has_magic(part), source.parts)
    return sorted(
        {path for match in matches for path in ([match] if match.is_file() else files_under(match))}
    ), Path(*parts)


def matching(pattern: str) -> list[Path]:
    """The files and folders that a glob matches, or the one that it names, in order. Raises nothing."""
    return [Path(match) for match in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207 (absolute globs)


def _guarded(path: Path, source: NoteSource, progress: ReadPosition) -> Iterator[RawNote | DeadLetter]:
    """The raw notes of a file. Errors of decoders are replaced, because their messages can quote note text."""
    items = source.read(path, progress)
    while True:
        failure = None
        try:
            item = next(items)
        except StopIteration:
            return
        except NoteFormatError:
            raise
        except (OSError, ValueError, EOFError, MemoryError, csv.Error, pa.ArrowException) as error:
            why = (
                error.strerror
                if isinstance(error, OSError) and error.strerror and error.errno
                else "is it complete?"
            )
            failure = f"{path}: cannot be read as {source.name} ({type(error).__name__}: {why})"
        if failure is not None:  # outside the except block, so that the new error does not hold the old one
            raise NoteFormatError(failure)
        yield item
