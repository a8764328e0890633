"""Notes from files: one validated note table from every supported format, streaming.

    reader = NoteReader("notes/*.jsonl.gz", on_dead_letter=print)
    for batch in reader: ...                            # pyarrow record batches of NOTES_SCHEMA

Sources: parquet, CSV, TSV, JSON lines (each also .gz and .zst), folders of .txt, FHIR R4 bulk exports,
MIMIC-III, MIMIC-IV. A note that cannot be used is a dead letter and the rest goes on; a source that cannot be
used is a NoteFormatError. Neither ever quotes note text.
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
from rubricator.nlp.readers.mimic import find_mimic
from rubricator.nlp.readers.tables import NoteSettings, TableFiles, TextFiles
from rubricator.nlp.readers.validation import NOTES_SCHEMA, SeenIds, ValidNote, note_batch, validated

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
    32_000_000  # a batch ends here even if it has few notes: 2,000 notes of 1 MB are too many at once
)


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
        settings: NoteSettings = NoteSettings(),
        *,
        on_dead_letter: Callable[[DeadLetter], None],
        batch_size: int = 2000,
    ) -> None:
        self._source = _detect(source, settings)
        self._on_dead_letter = on_dead_letter
        self._batch_size = batch_size
        self._sizes = [path.stat().st_size for path in self._source.files]
        self._files_done = 0
        self._progress = ReadPosition()
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
        with SeenIds() as seen:
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


def _guarded(path: Path, source: NoteSource, progress: ReadPosition) -> Iterator[RawNote | DeadLetter]:
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
