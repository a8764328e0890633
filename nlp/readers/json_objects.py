"""JSON objects of a file one by one: JSON lines, an array, or objects over several lines. Memory is bounded."""

from __future__ import annotations

import io
import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rubricator.nlp.readers.files import LONGEST_LINE, NoteFormatError, ReadPosition, lines_of, open_bytes

NOT_JSON, NOT_AN_OBJECT = "not valid JSON", "not a JSON object"
TOO_LONG = f"a JSON object of more than {LONGEST_LINE:,} bytes"
CHUNK = 1 << 16  # bytes
_MARKS = re.compile(rb'["\\{}\[\]]')


def json_rows(
    path: Path, progress: ReadPosition | None = None, encoding: str | None = None
) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """The number of each JSON object and the object, or the reason why it cannot be read.

    The objects may stand one a line (numbers are those of the lines), in one array, or after each other over several
    lines as pretty printers write them (numbers count the objects).
    Raises NoteFormatError on UTF-16 where it is not the encoding, and where a line does not end.
    """
    with open_bytes(path, progress, encoding) as stream:
        start = stream.peek(1 << 16)
        if start.lstrip()[:1] == b"[" or _is_pretty(start):
            yield from enumerate(_objects(stream, path), 1)
            return
        for number, line in enumerate(lines_of(stream, path), 1):
            if line is None:
                yield number, TOO_LONG
            elif not line.isspace():
                yield number, _json_object(line)


def _is_pretty(start: bytes) -> bool:
    """Whether the first object goes over several lines: its first line is open, and the second begins no object."""
    lines = filter(None, map(bytes.strip, itertools.islice(io.BytesIO(start), 50)))
    first, second = next(lines, b""), next(lines, b"")
    return (
        first[:1] == b"{"
        and first[-1:] in b"{[,:"
        and second[:1] in (b'"', b"{", b"}", b"[")
        and isinstance(_json_object(first), str)
        and isinstance(_json_object(second), str)
    )


def _objects(stream: io.BufferedReader, path: Path) -> Iterator[dict[str, Any] | str]:
    """The outermost objects, and for anything else between them the reason why it is none.

    Raises NoteFormatError where the file ends inside of an object or an array: what follows is lost.
    """
    is_array = stream.peek(1 << 16).lstrip()[:1] == b"["
    scanner = _Scanner()
    while chunk := stream.read(CHUNK):
        yield from scanner.feed(chunk)
    if scanner.depth or (is_array and scanner.last != b"]"):
        raise NoteFormatError(f"{path}: ends in the middle of its JSON: it is not complete; export it again")


class _Scanner:
    """Finds the outermost objects in chunks of a file, by the braces that are not in strings."""

    def __init__(self) -> None:
        self.depth = 0  # of braces and brackets, of an open object
        self._parts: list[bytes] = []  # of the object that is open
        self._size = 0
        self._in_string = self._escaped = False
        self._junk = False  # something else stands since the last object
        self.last = b""  # the last character that is not blank, where no object is open

    def feed(self, chunk: bytes) -> Iterator[dict[str, Any] | str]:
        start = at = 0
        if self._escaped:
            at, self._escaped = 1, False
        while match := _MARKS.search(chunk, at):
            at = match.end()
            mark = match[0]
            if self._in_string:
                if mark == b"\\":
                    self._escaped = at == len(chunk)
                    at += 1
                elif mark == b'"':
                    self._in_string = False
            elif mark == b'"':
                self._in_string = True
            elif self.depth == 0 and mark == b"{":
                yield from self._between(chunk[start : at - 1])
                start, self.depth = at - 1, 1
            elif self.depth and mark in b"{[":
                self.depth += 1
            elif self.depth and mark in b"}]":
                self.depth -= 1
                if self.depth == 0:
                    yield self._whole(chunk[start:at])
                    start = at
        if self.depth:
            self._keep(chunk[start:])
        else:
            yield from self._between(chunk[start:])

    def _between(self, data: bytes) -> Iterator[str]:
        """What stands outside of objects. Each run of it is said once."""
        self.last = data.strip()[-1:] or self.last
        is_junk = bool(data.strip(b" \t\r\n,[]"))
        if is_junk and not self._junk:
            yield NOT_AN_OBJECT
        self._junk = is_junk

    def _keep(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > LONGEST_LINE:
            self._parts = []
        else:
            self._parts.append(part)

    def _whole(self, end: bytes) -> dict[str, Any] | str:
        self._keep(end)
        data, is_long = b"".join(self._parts), self._size > LONGEST_LINE
        self._parts, self._size, self._junk = [], 0, False
        return TOO_LONG if is_long else _json_object(data)


def _json_object(data: bytes) -> dict[str, Any] | str:
    try:
        value = json.loads(data.decode())
    except UnicodeDecodeError:
        return "invalid UTF-8"
    except (ValueError, RecursionError):
        return NOT_JSON
    return value if isinstance(value, dict) else NOT_AN_OBJECT
