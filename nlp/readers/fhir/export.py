"""An export as a source of notes: first everything that notes need to know of each other, then the notes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from rubricator.nlp.readers.fhir.attachments import Attached, binary_name, digest, read_attachment
from rubricator.nlp.readers.fhir.codes import remember_codes
from rubricator.nlp.readers.fhir.compositions import composed_text, display
from rubricator.nlp.readers.fhir.index import ExportIndex
from rubricator.nlp.readers.fhir.references import contained, identifiers, listed, reference_key
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
)
from rubricator.nlp.readers.tables import NoteSettings, choose_columns

WITHDRAWN = {"entered-in-error": "entered in error", "cancelled": "cancelled"}
UNFINISHED = {"registered", "partial", "preliminary"}
FILES_BEFORE_GIVING_UP = 20  # a folder of tables is not searched for FHIR to its end
_ID = re.compile(r"[!-.0-~]{1,128}")  # wider than the standard, which many servers do not keep
_DAY = re.compile(r"\d{4}-\d\d-\d\d")


def find_fhir(files: list[Path]) -> FhirExport | None:
    """The FHIR export in these JSON files; None where they are not FHIR.

    Files without FHIR, such as a log, are left out and named. Raises NoteFormatError where the export has no notes, or
    where a table of notes is among its files.
    """
    kinds: dict[Path, str | None] = {}
    for path in files:
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
    unread = {path: kind or "not FHIR" for path, kind in kinds.items() if path not in read}
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

    def __init__(self, kinds: dict[Path, str], unread: dict[Path, str]) -> None:
        """kinds: the files in the order of reading, with the type of their first resource. unread: the other files."""
        self.files = list(kinds)
        self._kinds = kinds
        self._unread = unread
        self._with_notes: set[Path] = set()
        self._index: ExportIndex | None = None
        self._of_notes, self._of_codes, self._of_files = Notices(), Notices(), Notices()

    @property
    def notices(self) -> list[str]:
        """What was decided and left out since reading began: of notes, of codes, of files."""
        return [*self._of_notes.lines(), *self._of_codes.lines(), *self._of_files.lines()]

    def read(self, path: Path, progress: ReadPosition) -> Iterator[RawNote | DeadLetter]:
        if path == self.files[0] or self._index is None:
            yield from self._read_all_but_notes(progress)
        if path in self._with_notes:
            for found in read_resources(path, progress):
                resource = found.resource if isinstance(found, Found) else None
                if (
                    isinstance(found, Found)
                    and isinstance(resource, dict)
                    and resource["resourceType"] in NOTES
                ):
                    yield from self._note_or_letter(path, found, resource)
        if path == self.files[-1] and self._index is not None:
            self._index.close()
            self._index = None

    def _read_all_but_notes(self, progress: ReadPosition) -> Iterator[DeadLetter]:
        """Fill the index. Gives the dead letters of rows that are no notes."""
        self._index = index = ExportIndex()
        self._with_notes = set()
        for notices in (self._of_notes, self._of_codes, self._of_files):
            notices.clear()
        done = 0
        for path in self.files:
            position = ReadPosition()
            if not _may_hold_notes(path, self._kinds[path]):  # its bytes are read only here
                progress.position = partial(_sum_of_bytes, done, position)
            with _naming_errors(path, self.name):
                for found in read_resources(path, position):
                    if isinstance(found, Unread):
                        self._of_files.add(f"{found.kind} resources not read")
                    elif isinstance(found, Deleted):
                        index.is_latest(
                            reference_key({"reference": found.name}, "", {}, {}), found.version, deleted=True
                        )
                    elif letter := self._remember(path, found):
                        yield letter
            position.position = float  # the file is closed
            if not _may_hold_notes(path, self._kinds[path]):
                done += path.stat().st_size
        if lost := index.without_encounter():
            self._of_codes.add("codes left out, of no encounter", lost)
        kinds = Counter(self._unread.values())
        for kind, count in kinds.items():
            names = ", ".join(sorted(path.name for path, each in self._unread.items() if each == kind)[:3])
            more = " and others" if count > 3 else ""
            self._of_files.add(f"files not read, {kind} ({names}{more})", count)

    def _remember(self, path: Path, found: Found) -> DeadLetter | None:
        """Put what notes need to know of a resource into the index."""
        resource = found.resource
        if isinstance(resource, str):
            return DeadLetter(str(path), found.row, None, resource)
        kind = resource["resourceType"]
        name = _name(resource)
        if kind in NOTES:
            self._with_notes.add(path)
        assert self._index is not None
        try:
            if name and not self._index.is_latest(name, version_of(resource)):
                return None
            if kind in CODED:
                place = name or f"{kind}/#{path}#{found.row}"
                remember_codes(resource, place, found.names, self._index, self._of_codes)
            elif kind == "Binary" and name:
                self._index.add_binary(name, resource, path, found.offset)
            elif kind in NOTES and name:
                self._remember_note(resource, name, found.names)
        except Exception:  # it must not stop the job, and its message can quote the resource
            if kind not in NOTES:  # a note is read again
                return DeadLetter(str(path), found.row, name, f"not a valid {kind}")
        return None

    def _remember_note(self, resource: Resource, name: str, names: Mapping[str, str]) -> None:
        assert self._index is not None
        kind = resource["resourceType"]
        if kind == "DocumentReference":
            for content in listed(resource.get("content")):
                if content_key := digest(content.get("attachment") or {}):
                    self._index.add_attached(content_key)
        if _status(resource) in WITHDRAWN:
            return
        for relation in listed(resource.get("relatesTo")):
            code = relation.get("code")
            if isinstance(code, dict):  # R5
                code = next((coding.get("code") for coding in listed(code.get("coding"))), None)
            target = relation.get("target") or relation.get("targetReference")
            if target is None and relation.get("targetIdentifier"):
                target = {"identifier": relation["targetIdentifier"]}
            if code == "replaces" and (key := reference_key(target, kind, resource, names)) != name:
                self._index.add_replaced(key, name)

    def _note_or_letter(self, path: Path, found: Found, resource: Resource) -> Iterator[RawNote | DeadLetter]:
        name, kind = _name(resource), resource["resourceType"]
        try:
            note = (
                self._note(found, resource, name)
                if name
                else "its id is missing, or not in the form of an id"
            )
        except Exception:  # of any decoder: it must not stop the job, and its message can quote the note
            note = f"not a valid {kind}"
        if isinstance(note, str):
            yield DeadLetter(str(path), found.row, name, note)
        elif note is not None:
            yield note

    def _note(self, found: Found, resource: Resource, name: str) -> RawNote | str | None:
        """The note, the reason why it cannot be used, or None where another resource has it."""
        assert self._index is not None
        kind, names = resource["resourceType"], found.names
        standing = self._index.standing(name, version_of(resource))
        if standing == "earlier":
            self._of_notes.add(f"earlier versions of a {kind}, of which the latest is read")
            return None
        if standing == "deleted":
            return "deleted on the server"
        if why := self._withdrawn(resource, name):
            return why
        creation: Any = None
        if kind == "Composition":
            text = composed_text(resource.get("section", []))
        else:
            attached = self._attached(resource, names)
            if not isinstance(attached, Attached):
                return attached
            text, creation = attached.text, attached.creation
        context = _context(resource)
        encounters = [reference_key(each, "Encounter", resource, names) for each in _encounters(context)]
        return RawNote(
            found.row,
            name,
            _patient(resource, names),
            text,
            self._written_on(resource, context, creation),
            display(
                resource.get("type") or (resource.get("code") if kind == "DiagnosticReport" else None) or {}
            ),
            self._index.codes(encounters) or None,
            composed=kind == "Composition",
        )

    def _withdrawn(self, resource: Resource, name: str) -> str:
        """Why the document does not stand; "" where it does."""
        assert self._index is not None
        status = _status(resource)
        if status in WITHDRAWN:
            return f"marked as {WITHDRAWN[status]}"
        if self._index.is_replaced([name, *identifiers(resource, resource["resourceType"])], name):
            return "replaced by another document of the export"
        if status in ("superseded", "deprecated"):
            self._of_notes.add(
                f"documents read although marked as {status}, as no document of the export replaces them"
            )
        elif status in UNFINISHED:
            self._of_notes.add(f"documents read although marked as {status}")
        return ""

    def _attached(self, resource: Resource, names: Mapping[str, str]) -> Attached | str | None:
        """The text of a DocumentReference or DiagnosticReport, or the reason why there is none."""
        assert self._index is not None
        index = self._index
        if resource["resourceType"] == "DocumentReference":
            attachments = [content["attachment"] for content in resource["content"]]
        else:
            attachments = listed(resource.get("presentedForm"))
            if not attachments:
                self._of_notes.add("DiagnosticReport resources without a text (presentedForm)")
                return None
            if any((key := digest(each)) and index.is_attached(key) for each in attachments):
                self._of_notes.add(
                    "DiagnosticReport resources not read, as a DocumentReference has the same text"
                )
                return None

        def binary(url: str) -> Resource | None:
            if url.startswith("#"):
                return contained(resource, url)
            name = names.get(url) or binary_name(url)
            return index.binary(name) if name else None

        attached = read_attachment(attachments, binary)
        if isinstance(attached, Attached):
            if attached.twice:
                self._of_notes.add("attachments decoded twice, as they were encoded in base64 twice")
            if attached.others:
                self._of_notes.add(
                    "documents with several attachments of one type, of which the first is read"
                )
        return attached

    def _written_on(self, resource: Resource, context: Resource, creation: Any) -> Any:
        """The first full date. A year or a month alone is no day: no day is made up."""
        period = context.get("period") or resource.get("period") or resource.get("effectivePeriod") or {}
        given = [
            *(resource.get(field) for field in ("date", "effectiveDateTime", "indexed")),
            *(period.get(end) for end in ("start", "end")),
            *(creation, resource.get("issued"), resource.get("created")),
        ]
        dates = [date for date in given if isinstance(date, str)]
        full = next(filter(_DAY.match, dates), None)
        if dates and full is None:
            self._of_notes.add("documents without a date, as they have a year or month only")
        return full


def _name(resource: Resource) -> str | None:
    """ "Type/id"; None where the id is not in the form of one."""
    given = resource.get("id")
    key = str(given) if isinstance(given, str | int) else ""
    return f"{resource['resourceType']}/{key}" if _ID.fullmatch(key) else None


def _status(resource: Resource) -> Any:
    """The status that decides: of `status` and `docStatus`, that which is not as usual."""
    given = [each for each in (resource.get("status"), resource.get("docStatus")) if isinstance(each, str)]
    decisive = (*WITHDRAWN, "superseded", "deprecated", *sorted(UNFINISHED))
    return next((status for status in decisive if status in given), None)


def _context(resource: Resource) -> Resource:
    """Where the encounter and the period are: `context` of a DocumentReference, else the resource itself."""
    context = resource.get("context")
    return (
        context if resource["resourceType"] == "DocumentReference" and isinstance(context, dict) else resource
    )


def _encounters(context: Resource) -> list[Any]:
    """The references to encounters. In R5 `context` of a DocumentReference is a list of references."""
    return [
        *listed(context.get("encounter")),
        *(context["context"] if isinstance(context.get("context"), list) else ()),
    ]


def _patient(resource: Resource, names: Mapping[str, str]) -> str | None:
    key = reference_key(resource.get("subject"), "Patient", resource, names)
    return key.removeprefix("Patient/").removeprefix("Patient?") or None


def _sum_of_bytes(done: int, position: ReadPosition) -> float:
    return done + position.position()


@contextmanager
def _naming_errors(path: Path, what: str) -> Iterator[None]:
    """Replaces errors of decoders by one that names the file, because their messages can quote note text."""
    failure = None
    try:
        yield
    except NoteFormatError:
        raise
    except (OSError, ValueError, EOFError) as error:
        failure = f"{path}: cannot be read as {what} ({type(error).__name__}: is it complete?)"
    if failure is not None:  # outside the except block, so that the new error does not hold the old one
        raise NoteFormatError(failure)
