"""Notes from files: a stream of validated batches, the same for every supported format.

    reader = NoteReader("notes/*.jsonl.gz", on_dead_letter=print)
    for batch in reader: ...                            # pyarrow record batches of NOTES_SCHEMA

Sources: parquet, CSV, TSV, JSON lines (each also .gz and .zst), folders of .txt, FHIR R4 bulk exports, MIMIC-III,
MIMIC-IV. A note that cannot be used becomes a dead letter, and reading goes on. A source that cannot be used raises
NoteFormatError. Neither quotes note text.
"""

from __future__ import annotations

import csv
import glob
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa

from rubricator.nlp.readers.fhir import find_fhir
from rubricator.nlp.readers.files import (
    DeadLetter,
    NoteFormatError,
    NoteSource,
    RawNote,
    ReadPosition,
    files_under,
    plain_name,
)
from rubricator.nlp.readers.mimic import MimicFiles, find_mimic
from rubricator.nlp.readers.tables import NoteSettings, TableFiles, TextFiles
from rubricator.nlp.readers.validation import (
    NOTES_SCHEMA,
    CodeCells,
    SeenIds,
    ValidNote,
    note_batch,
    validated,
)

__all__ = ["NOTES_SCHEMA", "DeadLetter", "NoteFormatError", "NoteReader", "NoteSettings", "read_notes"]

TABLES = {
    ".parquet": "parquet",
    ".csv": "CSV",
    ".tsv": "CSV",
    ".jsonl": "JSON lines",
    ".ndjson": "JSON lines",
    ".txt": "text",
}
BATCH_CHARACTERS = (
    32_000_000  # a batch with more ends, even if it has few notes: 2,000 notes of 1 MB need too much memory
)


class NoteReader:
    """Reads `source` (file, folder or glob) as validated batches of NOTES_SCHEMA. It can be iterated several times.

    - Text is not changed: line ends and control characters stay. Only a byte order mark at the start of a file is
      removed. A FHIR Composition has no text of its own: its text is composed from its sections, and `composed` is
      true.
    - `patient_id` is the note id where there is no patient id. A date that is not ISO 8601 is null. Codes are null
      where they are not given, and an empty list where the note is known to have none. Evidence is null where no
      column is named for it. Words such as NULL, NA, - and unknown are missing patients and codes (null_words.py).
    - Codes have one spelling, also in the evidence: upper case, with the dot, without prefix and marks (`normal_code`).
      `codes_as_written` has them as they are written. How cells are read is in code_cells.py.
    - Memory does not grow with the number of notes. The ids seen so far, which find duplicates, are in a temporary
      SQLite table on disk; a set would take 100 bytes a note. Only the codes of MIMIC and FHIR are held in memory,
      which grow with the number of admissions.

    A note that cannot be used goes to `on_dead_letter`. Raises NoteFormatError when it is made, where the source has
    nothing readable or mixes formats; and when it is iterated, where a file is broken or lacks a column. At the end it
    raises NoteFormatError where codes are numbers, and ColumnError where most cells of the codes column hold no codes.

    codes: False leaves out codes and evidence: they are null, and a cell that cannot be used loses no note.
    """

    def __init__(
        self,
        source: str | Path,
        settings: NoteSettings = NoteSettings(),
        *,
        on_dead_letter: Callable[[DeadLetter], None],
        batch_size: int = 2000,
        codes: bool = True,
    ) -> None:
        found = _detect(source, settings)
        self._source = found.without_codes() if isinstance(found, MimicFiles) and not codes else found
        self._codes, self._codes_column = codes, settings.codes_column
        self._on_dead_letter = on_dead_letter
        self._batch_size = batch_size
        self._sizes = [path.stat().st_size for path in self._source.files]
        self._files_done = 0
        self._progress = ReadPosition()
        self.files = self._source.files

    @property
    def fraction_read(self) -> float:
        """Share of the source that has been read, from 0 to 1, for progress bars."""
        done = sum(self._sizes[: self._files_done]) + self._progress.position()
        total = sum(self._sizes)
        return min(1.0, done / total) if total else float(self._files_done == len(self._sizes))

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        self._files_done = 0
        rows: list[ValidNote] = []
        characters = 0
        with SeenIds(CodeCells(self._codes_column) if self._codes else None) as seen:
            for path in self.files:
                self._progress.position = float
                for item in _guarded(path, self._source, self._progress):
                    note = item if isinstance(item, DeadLetter) else validated(path, item, seen)
                    if isinstance(note, DeadLetter):
                        self._on_dead_letter(note)
                        continue
                    rows.append(note)
                    characters += len(note.text)
                    if len(rows) >= self._batch_size or characters >= BATCH_CHARACTERS:
                        yield note_batch(rows)
                        rows, characters = [], 0
                self._progress.position = float
                self._files_done += 1
        if rows:
            yield note_batch(rows)


def read_notes(
    source: str | Path,
    settings: NoteSettings = NoteSettings(),
    *,
    on_dead_letter: Callable[[DeadLetter], None],
) -> pa.Table:
    """All notes of a source as one table of NOTES_SCHEMA. Raises as NoteReader does."""
    return pa.Table.from_batches(NoteReader(source, settings, on_dead_letter=on_dead_letter), NOTES_SCHEMA)


def _detect(source: str | Path, settings: NoteSettings) -> NoteSource:
    """The format of a source, by the names of its files. MIMIC is known by a header, FHIR by a first line."""
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
        except (OSError, ValueError, EOFError, csv.Error, pa.ArrowException) as error:
            why = (
                error.strerror
                if isinstance(error, OSError) and error.strerror and error.errno
                else "is it complete?"
            )
            failure = f"{path}: cannot be read as {source.name} ({type(error).__name__}: {why})"
        if failure is not None:  # outside the except block, so that the new error does not hold the old one
            raise NoteFormatError(failure)
        yield item
