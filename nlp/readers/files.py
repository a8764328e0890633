"""What all readers of notes share: their errors, the raw notes that they yield, and how they open files."""

from __future__ import annotations

import io
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple, Protocol

from rubricator.nlp.errors import RubricatorError
from rubricator.nlp.hidden_text import hides_text

CODECS = {".gz": "gzip", ".zst": "zstd"}


class NoteFormatError(RubricatorError):
    """A source of notes cannot be read as a whole. The message never quotes the file's content."""


class ColumnError(NoteFormatError):
    """A column is missing, or several could be meant. argument: the field of `NoteSettings` that names the column."""

    def __init__(self, message: str, argument: str = "") -> None:
        super().__init__(message)
        self.argument = argument


@dataclass(frozen=True)
class DeadLetter:
    """A note that was left out. `row` counts from 1: data rows in CSV and parquet, lines in JSON lines and FHIR."""

    file: str
    row: int | None
    note_id: str | None
    reason: str


@hides_text()
class RawNote(NamedTuple):
    """A note as it is in the file, before validation. composed: the reader composed the text from parts."""

    row: int | None
    note_id: object
    patient_id: object
    text: object
    written_on: object
    note_type: object
    codes: object
    evidence: object = None
    composed: bool = False


@dataclass
class ReadPosition:
    """How many bytes of the current file are read. A reader sets `position` when it opens a file."""

    position: Callable[[], float] = float


class Notices(Counter[str]):
    """What a reader decided or left out, by kind, with its count. A kind never quotes a note."""

    def add(self, kind: str, count: int = 1) -> None:
        self[kind] += count

    def lines(self) -> list[str]:
        """Such as "codes left out, of http://snomed.info/sct: 12", for the report of a command."""
        return [f"{kind}: {count:,}" for kind, count in self.items()]


class NoteSource(Protocol):
    """Notes in one format. `read` is called for each of `files` in order. A code table yields dead letters only.

    A source may have `notices`: a list of what it decided and left out, once all files are read.
    """

    name: str
    files: list[Path]

    def read(self, path: Path, progress: ReadPosition) -> Iterator[RawNote | DeadLetter]: ...


def plain_name(path: Path) -> Path:
    """The path without .gz or .zst."""
    return path.with_suffix("") if path.suffix.lower() in CODECS else path


def files_under(folder: Path) -> list[Path]:
    """All files under a folder, sorted. Names that begin with "." or "_" are left out: hidden files, Spark's _SUCCESS.

    Links to folders are followed last, so that each real folder is read once and under its own path.
    """
    found: list[Path] = []
    seen: set[str] = set()
    starts = [folder]
    for start in starts:  # the loop appends the links that it finds
        for place, folders, names in os.walk(start):
            folders[:] = sorted(name for name in folders if name[0] not in "._")
            real = os.path.realpath(place)
            if real in seen:
                folders.clear()
                continue
            seen.add(real)
            starts += [link for name in folders if (link := Path(place, name)).is_symlink()]
            found += [Path(place, name) for name in names if name[0] not in "._"]
    return sorted(path for path in found if path.is_file())


@contextmanager
def open_bytes(path: Path, progress: ReadPosition | None = None) -> Iterator[io.BufferedReader]:
    """The decompressed bytes of a file, after a UTF-8 byte order mark. Raises NoteFormatError on UTF-16."""
    import pyarrow as pa

    with path.open("rb", buffering=0) as file:
        if progress is not None:
            progress.position = file.tell
        codec = CODECS.get(path.suffix.lower())
        # an empty file is not valid gzip, but a valid export without notes
        compressed = codec is not None and path.stat().st_size > 0
        raw = pa.CompressedInputStream(file, codec) if compressed else file
        stream = io.BufferedReader(raw, 1 << 20)
        start = stream.peek(3)[:3]
        if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise NoteFormatError(f"{path}: is UTF-16; convert it to UTF-8 (iconv -f UTF-16 -t UTF-8)")
        if start == b"\xef\xbb\xbf":
            stream.read(3)
        yield stream


@contextmanager
def open_seekable(path: Path) -> Iterator[Path | IO[bytes]]:
    """The decompressed bytes, for formats that need random access: the file itself, or a temporary copy of it."""
    if path.suffix.lower() not in CODECS:
        yield path
        return
    with tempfile.TemporaryFile() as copy:
        with open_bytes(path) as stream:
            shutil.copyfileobj(stream, copy, 1 << 20)
        copy.seek(0)
        yield copy


def is_unicode(value: str) -> bool:
    """Whether the string has no lone surrogates, which come from bytes that are not UTF-8 or a broken JSON escape."""
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def listed(names: list[str]) -> str:
    """Column names for an error message, hidden where they could be note text, as in a table without a header."""
    names_only = re.compile(r"(?!\d)\w[\w .:/#()-]{0,39}")
    if any(not names_only.fullmatch(name) or len(name.split()) > 3 for name in names):
        return "not shown, as they do not look like column names (does the file have a header line?)"
    return ", ".join(names) or "none"
