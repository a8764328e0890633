"""Notes of documents: DocumentReference, DiagnosticReport and Composition; which stand, their text, date and codes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rubricator.nlp.readers.fhir.attachments import (
    Attached,
    attached_file,
    binary_name,
    digest,
    read_attachment,
)
from rubricator.nlp.readers.fhir.compositions import composed_text, display
from rubricator.nlp.readers.fhir.index import ExportIndex
from rubricator.nlp.readers.fhir.references import contained, identifiers, listed, reference_key
from rubricator.nlp.readers.fhir.resources import Found, Resource, version_of
from rubricator.nlp.readers.files import Notices, RawNote

WITHDRAWN = {"entered-in-error": "entered in error", "cancelled": "cancelled"}
UNFINISHED = {"registered", "partial", "preliminary"}
_DAY = re.compile(r"\d{4}-\d\d-\d\d")


class Documents:
    """Reads documents of a file with an index of their export. notices: what is decided."""

    def __init__(self, path: Path, index: ExportIndex, notices: Notices) -> None:
        self._folder = path.parent
        self._index = index
        self._notices = notices

    def remember(self, resource: Resource, name: str, names: Mapping[str, str]) -> None:
        """Put what other documents need to know of a document into the index. name: "Type/id"."""
        kind = resource["resourceType"]
        if _status(resource) in WITHDRAWN:
            return
        if kind == "DocumentReference":
            for content in listed(resource.get("content")):
                if content_key := digest(content.get("attachment") or {}):
                    self._index.add_attached(content_key)
        for relation in listed(resource.get("relatesTo")):
            code = relation.get("code")
            if isinstance(code, dict):  # R5
                code = next((coding.get("code") for coding in listed(code.get("coding"))), None)
            target = relation.get("target") or relation.get("targetReference")
            if target is None and relation.get("targetIdentifier"):
                target = {"identifier": relation["targetIdentifier"]}
            if code == "replaces" and (key := reference_key(target, kind, resource, names)) != name:
                self._index.add_replaced(key, name)

    def note(self, found: Found, resource: Resource, name: str) -> RawNote | str | None:
        """The note, the reason why it cannot be used, or None where another resource has it."""
        kind, names = resource["resourceType"], found.names
        standing = self._index.standing(name, version_of(resource))
        if standing == "earlier":
            self._notices.add(f"earlier versions of a {kind}, of which the latest is read")
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
        self._count_status(_status(resource))
        context = _context(resource)
        encounters = [reference_key(each, "Encounter", resource, names) for each in _encounters(context)]
        return RawNote(
            found.row,
            name,
            _patient(resource, names),
            text,
            self._written_on(resource, context, creation),
            display(resource.get("code" if kind == "DiagnosticReport" else "type") or {}),
            self._index.codes(encounters) or None,
            composed=kind == "Composition",
        )

    def _withdrawn(self, resource: Resource, name: str) -> str:
        """Why the document does not stand; "" where it does."""
        status = _status(resource)
        if status in WITHDRAWN:
            return f"marked as {WITHDRAWN[status]}"
        if self._index.is_replaced([name, *identifiers(resource, resource["resourceType"])], name):
            return "replaced by another document of the export"
        return ""

    def _count_status(self, status: str | None) -> None:
        """Count a document that is read although its status says that it may not stand."""
        if status in ("superseded", "deprecated"):
            self._notices.add(
                f"documents read although marked as {status}, as no document of the export replaces them"
            )
        elif status in UNFINISHED:
            self._notices.add(f"documents read although marked as {status}")

    def _attached(self, resource: Resource, names: Mapping[str, str]) -> Attached | str | None:
        """The text of a DocumentReference or DiagnosticReport, or the reason why there is none."""
        if resource["resourceType"] == "DocumentReference":
            attachments = [content["attachment"] for content in resource["content"]]
        else:
            attachments = listed(resource.get("presentedForm"))
            if not attachments:
                self._notices.add("DiagnosticReport resources without a text (presentedForm)")
                return None
            if any((key := digest(each)) and self._index.is_attached(key) for each in attachments):
                self._notices.add(
                    "DiagnosticReport resources not read, as a DocumentReference has the same text"
                )
                return None

        def binary(url: str) -> Resource | None:
            if url.startswith("#"):
                return contained(resource, url)
            name = names.get(url) or binary_name(url)
            return self._index.binary(name) if name else attached_file(self._folder, url)

        attached = read_attachment(attachments, binary)
        if isinstance(attached, Attached):
            if attached.twice:
                self._notices.add("attachments decoded twice, as they were encoded in base64 twice")
            if attached.others:
                self._notices.add(
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
            self._notices.add("documents without a date, as they have a year or month only")
        return full


def _status(resource: Resource) -> str | None:
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
    key = reference_key(next(iter(listed(resource.get("subject"))), None), "Patient", resource, names)
    return key.removeprefix("Patient/").removeprefix("Patient?") or None
