"""What all readers of notes share: their errors, the raw notes that they yield, and how they open files."""

from __future__ import annotations

import codecs
import contextlib
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
from typing import IO, Any, NamedTuple, Protocol

from rubricator.nlp.errors import RubricatorError
from rubricator.nlp.hidden_text import hides_text
from rubricator.nlp.readers.encodings import Transcoded, wide_encoding

CODECS = {".gz": "gzip", ".zst": "zstd"}
LONGEST_NOTE = 20_000_000  # characters; a longer text is no note, and costs its worker gigabytes
LONGEST_LINE = 1 << 27  # bytes of a line or of a JSON object; a longer one is not read into memory
MOST_TIMES, MOST_UNPACKED = 200, 1 << 30  # a compressed file may grow so many times, or to so many bytes
MOST_BLANK = 1_000_000  # lines in a row
MOST_SKIPPED = 1 << 30  # bytes of a line that are skipped in search of its end
COLUMN_WORD = re.compile(  # a word that names of columns have; one at least is in the header of a table of notes
    r"accession|adm|admission|admit|author|begin|body|category|chart|class|codes?|content|date|datetime|department|"
    r"dept|description|diagnos[ei]s|doc|document|dx|encounter|end|episode|event|evidence|file|final|free|full|hadm|"
    r"header|icd|ids?|idx|index|key|kind|labels?|location|medical|mrn|name|narrative|notes?|nr|num|number|observation|"
    r"order|page|pat|patient|person|pid|procedure|provider|record|remark|report|row|section|sequence|seq|service|site|"
    r"source|span|spans|specialty|stamp|start|status|stay|subject|table|tag|text|time|timestamp|title|transcription|"
    r"type|uid|unit|uuid|value|version|visit|words|written|"
    r"(?:case|doc|document|enc|note|pat|patient|person|report|row|stay|subject|visit)(?:id|no|nr|num|text|date)"
)


class NoteFormatError(RubricatorError):
    """A source of notes cannot be read as a whole. The message never quotes the file's content.

    argument: the field of `NoteSettings` that mends it, or "".
    """

    def __init__(self, message: str, argument: str = "") -> None:
        super().__init__(shown(message))
        self.argument = argument


class ColumnError(NoteFormatError):
    """A column is missing, or several could be meant. argument: the field of `NoteSettings` that names the column."""


@dataclass(frozen=True)
class DeadLetter:
    """A note that was left out. `row` counts from 1: data rows in CSV and parquet, lines in JSON lines and FHIR."""

    file: str
    row: int | None
    note_id: str | None
    reason: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "file", shown(self.file))


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
    """What a reader has to say that is no error, by kind, with its count. A kind never quotes a note."""

    def add(self, kind: str, count: int = 1) -> None:
        self[kind] += count

    def lines(self) -> list[str]:
        """Such as "codes left out, of http://snomed.info/sct: 12", for the report of a command."""
        return [f"{kind}: {count:,}" for kind, count in self.items()]


class NoteSource(Protocol):
    """Notes in one format. `read` is called for each of `files` in order. A code table yields dead letters only.

    notices: since the reading of the first file began; complete once all files are read.
    """

    name: str
    files: list[Path]

    @property
    def notices(self) -> Notices: ...

    def read(self, path: Path, progress: ReadPosition) -> Iterator[RawNote | DeadLetter]: ...


def plain_name(path: Path) -> Path:
    """The path without .gz or .zst."""
    return path.with_suffix("") if path.suffix.lower() in CODECS else path


def shown(path: str | Path) -> str:
    r"""A path, or a text with paths, as valid Unicode: bytes of a file name that are not UTF-8 become \xNN."""
    text = str(path)
    if is_unicode(text):
        return text
    with contextlib.suppress(UnicodeEncodeError):
        return os.fsencode(text).decode("utf-8", "backslashreplace")
    return text.encode("utf-8", "backslashreplace").decode()


def files_under(folder: Path) -> list[Path]:
    """All files under a folder, sorted. Names that begin with "." or "_" are left out: hidden files, Spark's _SUCCESS.

    Links to folders are followed last, so that each real folder is read once and under its own path.
    """
    found: list[str] = []
    seen: set[str] = set()
    starts = [str(folder)]
    for start in starts:  # the loop appends the links that it finds
        pending = [start]
        while pending:
            place = pending.pop()
            real = os.path.realpath(place)
            if real in seen:
                continue
            seen.add(real)
            for entry in _entries(place):
                if entry.name[0] in "._":
                    continue
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                elif entry.is_file():
                    found.append(entry.path)
                elif entry.is_dir():
                    starts.append(entry.path)
    return sorted(map(Path, found))


def _entries(folder: str) -> list[os.DirEntry[str]]:
    problem = None
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []
    except OSError as error:
        problem = error.strerror
    raise NoteFormatError(f"{folder}: the folder cannot be read ({problem})")


@contextmanager
def open_bytes(
    path: Path, progress: ReadPosition | None = None, encoding: str | None = None
) -> Iterator[io.BufferedReader]:
    """The decompressed bytes of a file as UTF-8, after a byte order mark.

    encoding: that of the file; by default UTF-8. What is not valid in it comes out as bytes that are not valid UTF-8.
    Raises NoteFormatError on UTF-16 or UTF-32 where it is not the encoding.
    """
    with open_raw(path, progress) as stream:
        if encoding is not None and _name(encoding) not in ("utf-8", "utf-8-sig"):
            yield io.BufferedReader(Transcoded(stream, encoding), 1 << 20)
            return
        wide = wide_encoding(stream.peek(1 << 12))
        if wide is not None:
            raise NoteFormatError(
                f"{path}: is {wide.upper()}; convert it to UTF-8 (iconv -f {wide.upper()} -t UTF-8), or give its "
                f"encoding (--encoding {wide})",
                "encoding",
            )
        if stream.peek(3).startswith(codecs.BOM_UTF8):
            stream.read(3)
        yield stream


@contextmanager
def open_raw(path: Path, progress: ReadPosition | None = None) -> Iterator[io.BufferedReader]:
    """The decompressed bytes of a file."""
    import pyarrow as pa

    with path.open("rb", buffering=0) as file:
        if progress is not None:
            progress.position = file.tell
        codec = CODECS.get(path.suffix.lower())
        size = path.stat().st_size
        # an empty file is not valid gzip, but a valid export without notes
        compressed = codec is not None and size > 0
        raw = _Unpacked(pa.CompressedInputStream(file, codec), path, size) if compressed else file
        yield io.BufferedReader(raw, 1 << 20)


class _Unpacked(io.RawIOBase):
    """A decompressed stream. Raises NoteFormatError where it grows as no table of notes does."""

    def __init__(self, stream: Any, path: Path, size: int) -> None:
        self._stream, self._path = stream, path
        self._left = max(MOST_UNPACKED, MOST_TIMES * size)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count: int = self._stream.readinto(buffer)
        self._left -= count
        if self._left < 0:
            raise NoteFormatError(
                f"{self._path}: has more than {MOST_TIMES} times its size when unpacked; it holds no notes"
            )
        return count


def _name(encoding: str) -> str:
    return encoding.lower().replace("_", "-")


@contextmanager
def open_seekable(path: Path, magic: bytes) -> Iterator[Path | IO[bytes]]:
    """The decompressed bytes, for formats that need random access: the file itself, or a temporary copy of it.

    magic: the first bytes of the format. Raises NoteFormatError where a compressed file does not begin with them, or
    its copy would fill more than half of the disk.
    """
    if path.suffix.lower() not in CODECS:
        yield path
        return
    with tempfile.TemporaryFile() as copy, open_raw(path) as stream:
        if not stream.peek(len(magic)).startswith(magic):
            raise NoteFormatError(f"{path}: is not what its name says (is it complete?)")
        room = shutil.disk_usage(tempfile.gettempdir()).free // 2
        while chunk := stream.read(1 << 20):
            room -= len(chunk)
            if room < 0:
                raise NoteFormatError(
                    f"{path}: is too large when decompressed for a copy in {tempfile.gettempdir()}"
                )
            copy.write(chunk)
        copy.seek(0)
        yield copy


def lines_of(stream: io.BufferedReader, path: Path) -> Iterator[bytes | None]:
    """The lines of a stream; None for one of more than LONGEST_LINE bytes, which is skipped.

    Raises NoteFormatError where no line ends within MOST_SKIPPED bytes, and where MOST_BLANK lines are blank.
    """
    blank = 0
    while line := stream.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
            _skip_line(stream, path)
            yield None
        else:
            blank = blank + 1 if line.isspace() else 0
            check_blank(blank, path)
            yield line


def _skip_line(stream: io.BufferedReader, path: Path) -> None:
    skipped = LONGEST_LINE
    while (line := stream.readline(1 << 20)) and not line.endswith(b"\n"):
        skipped += len(line)
        if skipped > MOST_SKIPPED:
            raise NoteFormatError(f"{path}: a line has more than {MOST_SKIPPED:,} bytes; is it a text file?")


def check_blank(lines: int, path: Path) -> None:
    """Raises NoteFormatError where too many lines in a row are blank, which a small compressed file can hold."""
    if lines > MOST_BLANK:
        raise NoteFormatError(f"{path}: has more than {MOST_BLANK:,} blank lines in a row; it holds no notes")


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
    """Column names for an error message. The first line of a table without a header is not shown: it may be a note.

    A name is shown where it is written like one (`admit_time`, `PATNR`, `docId`), or has a word that columns have.
    None is shown where no name has such a word.
    """
    if not names:
        return "none"
    is_header = all(re.fullmatch(r"(?!\d)\w[\w .:/#()-]{0,39}", name) for name in names)
    if not is_header or not any(map(_has_column_word, names)):
        return "not shown, as they do not look like column names (does the file have a header line?)"
    identifier = re.compile(r"[a-z][a-z0-9]*(?:[A-Z_.-][A-Za-z0-9]*)*|[A-Z][A-Z0-9]*(?:[_.-][A-Z0-9]*)*")
    known = [name for name in names if identifier.fullmatch(name) or _has_column_word(name)]
    others = f" and {len(names) - len(known)} more" if len(known) < len(names) else ""
    return ", ".join(known) + others


def _has_column_word(name: str) -> bool:
    """Whether half of its words, or more where blanks are between them, are words of columns."""
    words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())
    known = sum(COLUMN_WORD.fullmatch(word) is not None for word in words)
    return 0 < len(words) <= 4 and (2 * known > len(words) if " " in name else 2 * known >= len(words))
