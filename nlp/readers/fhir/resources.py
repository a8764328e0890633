"""The resources in a file: one a line (ndjson), in Bundles, or in a JSON document such as a pretty-printed one."""

from __future__ import annotations

import datetime
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from rubricator.nlp.hidden_text import hides_text
from rubricator.nlp.readers.files import CODECS, NoteFormatError, ReadPosition, open_bytes

NOTES = ("DocumentReference", "Composition", "DiagnosticReport")
CODED = ("Encounter", "Condition", "Procedure")
READ = (*CODED, "Binary", *NOTES)  # the types that hold something of notes
LONGEST_DOCUMENT = 1 << 29  # bytes of a JSON document, which is parsed as a whole
HEAD = 1 << 16
ROWS_FOR_TYPE = 10

Resource = dict[str, Any]
Version = tuple[float, int]  # seconds of meta.lastUpdated, and meta.versionId where it is a number

_TYPE = re.compile(rb'"resourceType"\s*:\s*"([A-Za-z]{2,40})"')
_READ = re.compile(rb'"resourceType"\s*:\s*"(?:' + "|".join((*READ, "Bundle")).encode() + rb')"')
_OPENS = re.compile(
    rb'[\[{]\s*(?:"\w+"\s*:\s*(?:"[^"]*"\s*,|[\[{]|[\w.-]+\s*,))?'
)  # a line of a longer value


@hides_text()
class Found(NamedTuple):
    """A resource in a file. resource: or the reason why the row has none.

    names: of a Bundle, "Type/id" by full URL. offset: where the line starts; None where it cannot be sought.
    """

    row: int
    resource: Resource | str
    names: Mapping[str, str] = MappingProxyType({})
    offset: int | None = None


@hides_text()
class Unread(NamedTuple):
    """A resource of a type that is not read."""

    kind: str


@hides_text()
class Deleted(NamedTuple):
    """What an entry of a Bundle with the method DELETE says. name: "Type/id"."""

    name: str
    version: Version


def resource_type(path: Path) -> str | None:
    """The type of the first resource; where the first lines are broken, the type in the file's name; else None."""
    is_other = False
    with suppress(OSError, ValueError), open_bytes(path) as stream:
        head = stream.peek(HEAD)[:HEAD]
        if _is_document(head):
            found = _TYPE.search(head)
            return found[1].decode() if found else None
        for line in itertools.islice(filter(bytes.strip, stream), ROWS_FOR_TYPE):
            row = _parsed(line)
            for value in row if isinstance(row, list) else [row]:
                kind = value.get("resourceType") if isinstance(value, dict) else None
                if isinstance(kind, str) and kind.isalpha():
                    return kind
                is_other |= isinstance(value, dict)
    return None if is_other else next((kind for kind in READ if kind in path.name), None)


def first_row(path: Path) -> Resource:
    """The first JSON object of a file; empty where there is none."""
    with suppress(OSError, ValueError), open_bytes(path) as stream:
        for line in itertools.islice(filter(bytes.strip, stream), ROWS_FOR_TYPE):
            if isinstance(row := _parsed(line), dict):
                return row
    return {}


def read_resources(path: Path, progress: ReadPosition | None = None) -> Iterator[Found | Unread | Deleted]:
    """The resources of a file in order. Rows count lines from 1; the entries of a Bundle have the row of the Bundle.

    Lines of types that are not read are not parsed. Raises NoteFormatError for a document over LONGEST_DOCUMENT.
    """
    with open_bytes(path, progress) as stream:
        if _is_document(stream.peek(HEAD)[:HEAD]):
            yield from _document_resources(path, stream)
            return
        offset = None if path.suffix.lower() in CODECS else stream.tell()
        for row, line in enumerate(stream, 1):
            start = offset
            offset = None if offset is None else offset + len(line)
            if not line.strip():
                continue
            if not _READ.search(line) and (unread := _TYPE.search(line)):
                yield Unread(unread[1].decode())
            else:
                yield from _resources(row, _parsed(line), offset=start)


def _is_document(head: bytes) -> bool:
    """Whether the first line is only the start of a JSON value."""
    first = head.lstrip().partition(b"\n")[0].strip()
    return b"\n" in head.strip() and bool(_OPENS.fullmatch(first))


def _document_resources(path: Path, stream: BufferedReader) -> Iterator[Found | Unread | Deleted]:
    content = stream.read(LONGEST_DOCUMENT + 1)
    if len(content) > LONGEST_DOCUMENT:
        raise NoteFormatError(
            f"{path}: is a JSON document of more than {LONGEST_DOCUMENT >> 20} MB; "
            "write one resource a line (jq -c '.entry[].resource')"
        )
    try:
        text = content.decode()
    except UnicodeDecodeError:
        yield Found(1, "invalid UTF-8")
        return
    decoder, row, at = json.JSONDecoder(), 1, 0
    while match := re.compile(r"\s*(?=\S)").match(text, at):
        row += text.count("\n", at, match.end())
        at = match.end()
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            yield Found(row, "not valid JSON from here to the end of the file")
            return
        yield from _resources(row, value)
        row += text.count("\n", at, end)
        at = end


def _parsed(line: bytes) -> Any:
    """The value of a line, or, as a string, why it has none."""
    try:
        value = json.loads(line.decode())
    except UnicodeDecodeError:
        return "invalid UTF-8"
    except (ValueError, RecursionError):
        return "not valid JSON"
    return "not a JSON object" if isinstance(value, str) else value


def _resources(
    row: int, value: Any, *, names: Mapping[str, str] = MappingProxyType({}), offset: int | None = None
) -> Iterator[Found | Unread | Deleted]:
    """The resources of a JSON value: itself, those of a list, those of a Bundle."""
    if isinstance(value, list):
        for each in value:
            yield from _resources(row, each, names=names)
    elif not isinstance(value, dict):
        yield Found(row, value if isinstance(value, str) else "not a JSON object")
    elif not isinstance(kind := value.get("resourceType"), str):
        yield Found(row, "not a FHIR resource: it has no resourceType")
    elif kind == "Bundle":
        yield from _entries(row, value)
    elif kind in READ:
        yield Found(row, value, names, offset)
    else:
        yield Unread(kind if kind.isalpha() and len(kind) <= 40 else "resources of no known type")


def _entries(row: int, bundle: Resource) -> Iterator[Found | Unread | Deleted]:
    entries = bundle.get("entry", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        yield Found(row, "not a valid Bundle")
        return
    names: dict[str, str] = {}
    for entry in entries:
        resource, url = entry.get("resource"), entry.get("fullUrl")
        if isinstance(resource, dict) and isinstance(url, str):
            resource.setdefault("id", re.split(r"[/:]", url)[-1])
            names[url] = f"{resource.get('resourceType')}/{resource['id']}"
    for entry in entries:
        request = entry.get("request")
        if "resource" in entry:
            yield from _resources(row, entry["resource"], names=names)
        elif isinstance(request, dict) and request.get("method") == "DELETE":
            yield Deleted(str(request.get("url")), _deleted_at(bundle))


def _deleted_at(bundle: Resource) -> Version:
    when = version_of(bundle)
    if when == (0.0, 0):
        when = version_of({"meta": {"lastUpdated": bundle.get("timestamp")}})
    return when if when > (0.0, 0) else (float("inf"), 0)


def version_of(resource: Resource) -> Version:
    """A key by which the later of two versions is larger; (0, 0) where the resource does not say."""
    meta = resource.get("meta")
    if not isinstance(meta, dict):
        return 0.0, 0
    updated, number = 0.0, str(meta.get("versionId", ""))
    with suppress(TypeError, ValueError, OverflowError):
        at = datetime.datetime.fromisoformat(meta["lastUpdated"]) if "lastUpdated" in meta else None
        updated = (
            (at if at is None or at.tzinfo else at.replace(tzinfo=datetime.UTC)).timestamp() if at else 0.0
        )
    return updated, int(number) if re.fullmatch(r"[0-9]{1,15}", number) else 0
