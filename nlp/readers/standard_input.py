"""Notes from standard input. They are kept in a temporary file, because notes may be read more than once."""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
import weakref
from pathlib import Path

from rubricator.nlp.readers.files import NoteFormatError, open_raw
from rubricator.nlp.readers.text_files import table_delimiter

STANDARD_INPUT = "-"
_NAME = "standard-input"


class StandardInput:
    """What was given on standard input, as a file at `path`, whose suffix is that of its format.

    The notes are in a file without a name, and `path` is a link to it: nothing is left of them when this object is
    gone, nor if the process is killed. Raises NoteFormatError where standard input is a terminal.
    """

    def __init__(self) -> None:
        if sys.stdin is None or sys.stdin.isatty():
            raise NoteFormatError("standard input (-) is a terminal; pipe notes into the command")
        spool = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as this object)
        shutil.copyfileobj(sys.stdin.buffer, spool, 1 << 20)
        spool.flush()
        folder = tempfile.TemporaryDirectory(prefix="rubricator-")
        plain = Path(folder.name, _NAME)
        plain.symlink_to(f"/proc/{os.getpid()}/fd/{spool.fileno()}")
        codec = _codec(plain)
        compressed = plain.rename(plain.with_suffix(codec)) if codec else plain
        with open_raw(compressed) as stream:
            suffix = _suffix(stream)
        self.path = compressed.rename(Path(folder.name, f"{_NAME}{suffix}{codec}"))
        weakref.finalize(self, _remove, spool, folder)


def _remove(spool: io.IOBase, folder: tempfile.TemporaryDirectory[str]) -> None:
    spool.close()
    folder.cleanup()


def _codec(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(4)
    return ".gz" if start[:2] == b"\x1f\x8b" else ".zst" if start == b"\x28\xb5\x2f\xfd" else ""


def _suffix(stream: io.BufferedReader) -> str:
    """The suffix of the format, by the first bytes. What is neither a table nor JSON is the text of one note."""
    start = stream.peek(1 << 16)
    if start[:4] == b"PAR1":
        return ".parquet"
    if start[:4] == b"PK\x03\x04":
        return ".xlsx"
    text = start.decode("utf-16" if start[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8", "replace").lstrip(
        "\ufeff"
    )
    if text.lstrip()[:2].rstrip() in ("{", "[", '{"', "[{", "{}", "[]"):
        return ".jsonl"
    return ".csv" if table_delimiter(text) else ".txt"
