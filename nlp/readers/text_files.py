"""Notes that are files of their own: .txt and .rtf. Also tells a table in a .txt file from a note."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from rubricator.nlp.readers.files import (
    LONGEST_NOTE,
    DeadLetter,
    NoteFormatError,
    Notices,
    RawNote,
    ReadPosition,
    is_unicode,
    open_bytes,
    plain_name,
    shown,
)
from rubricator.nlp.readers.tables import (
    ID_NAMES,
    PATIENT_NAMES,
    TEXT_NAMES,
    NoteSettings,
    encoding_hint,
    plain_column,
)

_START = 1 << 16  # bytes in which a table shows
_LONGEST = 4 * LONGEST_NOTE  # bytes


class TextFiles:
    """One note per file. The note id is the path under `root` without the suffix."""

    name = "text"

    def __init__(self, files: list[Path], root: Path, settings: NoteSettings) -> None:
        self.files = files
        self.notices = Notices()
        self._root = root
        self._encoding = settings.encoding

    def read(self, path: Path, progress: ReadPosition) -> Iterator[RawNote | DeadLetter]:
        note_id = shown(plain_name(path).with_suffix("").relative_to(self._root).as_posix())
        try:
            with open_bytes(path, progress, self._encoding) as stream:
                data = stream.read(_LONGEST + 1)
        except NoteFormatError as error:  # in another encoding: the other files are read
            yield DeadLetter(str(path), None, note_id, str(error).removeprefix(f"{shown(path)}: "))
            return
        text = data[:_LONGEST].decode("utf-8", "surrogateescape")
        if reason := self._unusable(path, data, text):
            yield DeadLetter(str(path), None, note_id, reason)
        else:
            yield RawNote(None, note_id, None, text, None, None, None)

    def _unusable(self, path: Path, data: bytes, text: str) -> str:
        if len(data) > _LONGEST:
            return f"the file has more than {_LONGEST:,} bytes"
        if not is_unicode(text):
            return f"the text is invalid UTF-8{encoding_hint(path, self._encoding)[0]}"
        if delimiter := table_delimiter(text):
            return f"it is a table with columns between {delimiter!r}, not a note; give it alone, or name it .csv"
        return ""


def is_table(path: Path, settings: NoteSettings) -> bool:
    """Whether a .txt file is a table with a header: databases export NOTE.txt like this. Raises nothing."""
    try:
        with open_bytes(path, encoding=settings.encoding) as stream:
            start = stream.read(_START).decode("utf-8", "replace")
    except (OSError, ValueError, NoteFormatError):
        return False
    return table_delimiter(start) is not None


def table_delimiter(text: str) -> str | None:
    """What separates the columns of a table with a header; None for a note.

    Its first line has the names of a column of ids and one of text, and the second has a delimiter. Where only one of
    these is there, the first three lines must have the same number, three or more, of columns.
    """
    lines = [line for line in text[:_START].lstrip("\ufeff").splitlines()[:10] if line.strip()][:3]
    if len(lines) < 2:
        return None
    delimiter = max("|\t;,", key=lines[0].count)
    names = [name.strip().strip('"') for name in lines[0].split(delimiter)]
    if len(names) < 2 or not all(re.fullmatch(r"[A-Za-z_][\w.-]*(?: [\w.-]+){0,2}", name) for name in names):
        return None
    plain = {plain_column(name) for name in names}
    has_ids = not plain.isdisjoint((*ID_NAMES, *PATIENT_NAMES))
    has_text = not plain.isdisjoint(TEXT_NAMES)
    if has_ids and has_text and delimiter in lines[1]:
        return delimiter
    same = len(names) >= 3 and len({line.count(delimiter) for line in lines}) == 1 and len(lines) == 3
    return delimiter if same and (has_ids or has_text) else None
