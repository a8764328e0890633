"""An export as a source of notes: first everything that notes need to know of each other, then the notes."""

from __future__ import annotations

import errno
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from rubricator.nlp.readers.fhir.codes import remember_codes
from rubricator.nlp.readers.fhir.documents import Documents
from rubricator.nlp.readers.fhir.index import ExportIndex
from rubricator.nlp.readers.fhir.references import reference_key
from rubricator.nlp.readers.fhir.resources import (
    CODED,
    NOTES,
    READ,
    Deleted,
    Found,
    Resource,
    Unread,
    first_row,
    read_resources,
    resource_type,
    version_of,
)
from rubricator.nlp.readers.files import (
    ColumnError,
    DeadLetter,
    NoteFormatError,
    Notices,
    RawNote,
    ReadPosition,
    plain_name,
)
from rubricator.nlp.readers.tables import NoteSettings, choose_columns

SUFFIXES = {".json", ".jsonl", ".ndjson"}
FILES_BEFORE_GIVING_UP = 20  # a folder of tables is not searched for FHIR to its end
_ID = re.compile(r"[!-.0-~]{1,128}")  # wider than the standard, which many servers do not keep


def find_fhir(files: list[Path]) -> FhirExport | None:
    """The FHIR export in these files; None where its JSON files are not FHIR.

    Other files, such as a log, are left out and named. Raises NoteFormatError where the export has no notes, or
    where a table of notes is among its files.
    """
    kinds: dict[Path, str | None] = {}
    for path in files:
        if plain_name(path).suffix.lower() not in SUFFIXES:
            continue
        if path.stat().st_size:
            kinds[path] = resource_type(path)
        if len(kinds) >= FILES_BEFORE_GIVING_UP and not any(kinds.values()):
            return None
    if not any(kinds.values()):
        return None
    others = [path for path, kind in kinds.items() if kind is None]
    if table := next(filter(_is_table_of_notes, others), None):
        raise NoteFormatError(f"{table}: is not FHIR, but other files here are; separate them")
    read = {
        path: kind
        for path, kind in kinds.items()
        if kind and (kind in (*READ, "Bundle") or kind not in path.name)
    }
    if not any(_may_hold_notes(path, kind) for path, kind in read.items()):
        found = ", ".join(sorted(set(filter(None, kinds.values()))))
        raise NoteFormatError(f"{files[0].parent}: has neither {' nor '.join(NOTES)}, only {found}")
    unread = {path: kinds.get(path) for path in files if path not in read and path.stat().st_size}
    order = {kind: place for place, kind in enumerate(READ)}
    return FhirExport(dict(sorted(read.items(), key=lambda item: order.get(item[1], len(order)))), unread)


def _may_hold_notes(path: Path, kind: str) -> bool:
    """False of a file that is named for another type: a bulk export has one type a file."""
    return kind in NOTES or kind == "Bundle" or kind not in path.name


def _is_table_of_notes(path: Path) -> bool:
    with suppress(ColumnError):
        return bool(choose_columns(path, first_row(path), NoteSettings()))
    return False


class FhirExport:
    """Reads all files into an index, then the files with notes again, for the notes."""

    name = "FHIR R4 bulk export"

    def __init__(self, kinds: dict[Path, str], unread: dict[Path, str | None]) -> None:
        """kinds: the files in the order of reading, with the type of their first resource. unread: other files."""
        self.files = list(kinds)
        self._kinds = kinds
        self._unread = unread
        self._with_notes: set[Path] = set()
        self._index: ExportIndex | None = None
        self.notices = Notices()  # of notes, and once all files are read of codes and files too
        self._of_codes, self._of_files = Notices(), Notices()

    def read(self, path: Path, progress: ReadPosition) -> Iterator[RawNote | DeadLetter]:
        if path == self.files[0] or self._index is None:
            yield from self._read_all_but_notes(progress)
        if path in self._with_notes and self._index is not None:
            documents = Documents(path, self._index, self.notices)
            for found in read_resources(path, progress):
                if isinstance(found, Found) and (item := _note(path, found, documents)):
                    yield item
        if path == self.files[-1] and self._index is not None:
            self._index.close()
            self._index = None
            self.notices.update(self._of_codes + self._of_files)

    def _read_all_but_notes(self, progress: ReadPosition) -> Iterator[DeadLetter]:
        """Fill the index. Gives the dead letters of rows that are no notes."""
        self._index = index = ExportIndex()
        self._with_notes = set()
        for notices in (self.notices, self._of_codes, self._of_files):
            notices.clear()
        done = 0
        for path in self.files:
            position, read_once = ReadPosition(), not _may_hold_notes(path, self._kinds[path])
            if read_once:
                progress.position = partial(_sum_of_bytes, done, position)
            with _naming_errors(path, self.name):
                for found in read_resources(path, position):
                    if isinstance(found, Unread):
                        self._of_files.add(f"{found.kind} resources not read")
                    elif isinstance(found, Deleted):
                        name = reference_key({"reference": found.name}, "", {}, {})
                        index.is_latest(name, found.version, deleted=True)
                    elif letter := self._remember(path, found, index):
                        yield letter
            position.position = float  # the file is closed
            done += path.stat().st_size if read_once else 0
        if lost := index.without_encounter():
            self._of_codes.add("codes left out, of no encounter", lost)
        for kind, count in Counter(self._unread.values()).items():
            names = ", ".join(sorted(path.name for path, each in self._unread.items() if each == kind)[:3])
            more = " and others" if count > 3 else ""
            what = f"files not read, {kind}" if kind else "files that are not FHIR"
            self._of_files.add(f"{what} ({names}{more})", count)

    def _remember(self, path: Path, found: Found, index: ExportIndex) -> DeadLetter | None:
        """Put what notes need to know of a resource into the index."""
        resource = found.resource
        if isinstance(resource, str):
            return DeadLetter(str(path), found.row, None, resource)
        kind, name = resource["resourceType"], _name(resource)
        if kind in NOTES:
            self._with_notes.add(path)
        try:
            if name and not index.is_latest(name, version_of(resource)):
                return None
            if kind in CODED:
                place = name or f"{kind}/#{path}#{found.row}"
                remember_codes(resource, place, found.names, index, self._of_codes)
            elif kind == "Binary" and name:
                index.add_binary(name, resource, path, found.offset)
            elif kind in NOTES and name:
                Documents(path, index, self.notices).remember(resource, name, found.names)
        except (OSError, sqlite3.OperationalError):  # of the temporary files
            raise
        except Exception:  # it must not stop the job, and its message can quote the resource
            if kind not in NOTES:  # a note is read again
                return DeadLetter(str(path), found.row, name, f"not a valid {kind}")
        return None


def _note(path: Path, found: Found, documents: Documents) -> RawNote | DeadLetter | None:
    resource = found.resource
    if isinstance(resource, str) or resource["resourceType"] not in NOTES:
        return None
    name = _name(resource)
    note: RawNote | str | None = "its id is missing, or not in the form of an id"
    if name:
        try:
            with _naming_errors(path, FhirExport.name, (OSError, sqlite3.OperationalError)):
                note = documents.note(found, resource, name)
        except NoteFormatError:
            raise
        except Exception:  # of any decoder: it must not stop the job, and its message can quote the note
            note = f"not a valid {resource['resourceType']}"
    return DeadLetter(str(path), found.row, name, note) if isinstance(note, str) else note


def _name(resource: Resource) -> str | None:
    """ "Type/id"; None where the id is not in the form of one."""
    given = resource.get("id")
    key = str(given) if isinstance(given, str | int) else ""
    return f"{resource['resourceType']}/{key}" if _ID.fullmatch(key) else None


def _sum_of_bytes(done: int, position: ReadPosition) -> float:
    return done + position.position()


@contextmanager
def _naming_errors(
    path: Path,
    what: str,
    kinds: tuple[type[Exception], ...] = (OSError, sqlite3.OperationalError, ValueError, EOFError),
) -> Iterator[None]:
    """Replaces errors of these kinds by one that names the file, because their messages can quote note text."""
    failure = None
    try:
        yield
    except NoteFormatError:
        raise
    except kinds as error:
        why = "is it complete?"
        if isinstance(error, sqlite3.OperationalError) or getattr(error, "errno", None) == errno.ENOSPC:
            why = "is there room for temporary files? TMPDIR names their folder"
        failure = f"{path}: cannot be read as {what} ({type(error).__name__}: {why})"
    if failure is not None:  # outside the except block, so that the new error does not hold the old one
        raise NoteFormatError(failure)
