"""Notes of a FHIR R4 bulk export: ndjson files with one resource type each (https://hl7.org/fhir/uv/bulkdata).

- DocumentReference: the text is one inline attachment (base64), decoded. Of several attachments it is the one whose
  content type comes first in READABLE: plain text, HTML, RTF, C-CDA. Offsets point into the decoded attachment,
  without its byte order mark. The charset is that of the content type, else UTF-16 where a byte order mark says so,
  else UTF-8. Where the bytes are not valid UTF-8, it is the charset that the document itself names.
- Composition: the text is composed from the sections, in their order (`RawNote.composed`). Each section gives its
  title in a <title> element, its narrative (XHTML) unchanged, then its inner sections. A line of dashes separates the
  outer sections, so that the sections found in the text end there too. A section without words is left out.
- `note_id` is "DocumentReference/<id>" or "Composition/<id>", because ids are unique only within a resource type.
  `patient_id` is the id in the reference to the subject.
- Codes: the ICD codings of the Conditions and Procedures of the note's encounter. These are linked by their own
  `encounter` or by `Encounter.diagnosis`, and ordered by its rank. Those that are refuted or entered in error are left
  out, and so are problem list items that `Encounter.diagnosis` does not name. Codes are null for a note without an
  encounter, or whose encounter has none.
"""

from __future__ import annotations

import base64
import codecs
import contextlib
import html
import itertools
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rubricator.nlp.readers.files import DeadLetter, NoteFormatError, RawNote, ReadPosition
from rubricator.nlp.readers.json_objects import json_rows

CODES = ("Encounter", "Condition", "Procedure")  # read in this order, then the notes
NOTES = ("DocumentReference", "Composition")
READABLE = (  # content types of attachments, in order of preference
    "text/plain",
    "text/html",
    "application/xhtml+xml",
    "text/rtf",
    "application/rtf",
    "application/x-rtf",
    "application/hl7-cda+xml",
    "application/cda+xml",
    "text/cda+xml",
    "application/xml",
    "text/xml",
)
ICD_SYSTEMS = {
    "http://hl7.org/fhir/sid/icd-10-cm",
    "http://hl7.org/fhir/sid/icd-10",
    "http://hl7.org/fhir/sid/icd-9-cm",
    "http://www.cms.gov/Medicare/Coding/ICD10",  # ICD-10-PCS
    "http://www.icd10data.com/icd10pcs",
    "http://terminology.hl7.org/CodeSystem/icd9cm",
    "urn:oid:2.16.840.1.113883.6.90",  # ICD-10-CM
    "urn:oid:2.16.840.1.113883.6.4",  # ICD-10-PCS
    "urn:oid:2.16.840.1.113883.6.103",  # ICD-9-CM diagnoses
    "urn:oid:2.16.840.1.113883.6.104",  # ICD-9-CM procedures
}
OTHER_CATEGORIES = {"problem-list-item", "health-concern"}
INVALID_STATUSES = {"refuted", "entered-in-error"}
UNRANKED = 1 << 15

Resource = dict[str, Any]


def find_fhir(files: list[Path]) -> FhirExport | None:
    """The FHIR export in these JSON lines files; None where their first lines are not FHIR resources.

    Raises NoteFormatError where the export has no notes, or other JSON lines files are among its files.
    """
    kinds: dict[str | None, list[Path]] = {}
    for path in files:
        if path.stat().st_size == 0:
            continue
        kind = _resource_type(path)
        if kind is None and not kinds:
            return None
        kinds.setdefault(kind, []).append(path)
    if not kinds:
        return None
    if None in kinds:
        raise NoteFormatError(f"{kinds[None][0]}: is not FHIR, but other files here are; separate them")
    if not kinds.keys() & set(NOTES):
        found = ", ".join(sorted(filter(None, kinds)))
        raise NoteFormatError(f"{files[0].parent}: has neither {' nor '.join(NOTES)}, only {found}")
    return FhirExport({path: kind for kind in (*CODES, *NOTES) for path in kinds.get(kind, [])})


def _resource_type(path: Path) -> str | None:
    """The type of the first resource; where the first lines are broken, the type in the file's name."""
    with contextlib.suppress(OSError, ValueError):
        for _, row in itertools.islice(json_rows(path), 10):
            if isinstance(row, dict):
                kind = row.get("resourceType")
                return kind if isinstance(kind, str) and kind.isalpha() else None
    return next((kind for kind in (*CODES, *NOTES) if kind in path.name), None)


class FhirExport:
    """Reads encounters and codes into memory, then the notes."""

    name = "FHIR R4 bulk export"

    def __init__(self, kinds: dict[Path, str]) -> None:
        self.files = list(kinds)
        self.notices: Counter[str] = Counter()
        self._kinds = kinds
        self._ranks: dict[str, tuple[str, int]] = {}  # Condition/id → its encounter and its rank there
        self._codes: dict[str, list[tuple[int, str]]] = {}  # encounter → rank and code

    def read(self, path: Path, progress: ReadPosition) -> Iterator[RawNote | DeadLetter]:
        if path == self.files[0]:
            self._ranks, self._codes = {}, {}
        for number, resource in json_rows(path, progress):
            if isinstance(resource, str):
                yield DeadLetter(str(path), number, None, resource)
                continue
            kind, key = resource.get("resourceType"), str(resource.get("id"))
            name = f"{self._kinds[path]}/{key}" if re.fullmatch(r"[\w.-]{1,64}", key) else None
            try:
                if kind != self._kinds[path]:
                    item: RawNote | str | None = f"not a {self._kinds[path]}, unlike the file's first line"
                elif kind in NOTES:
                    item = self._note(number, resource)
                else:
                    item = None
                    self._remember(resource)
            except Exception:  # of any decoder: it must not stop the job, and its message can quote the note
                item = f"not a valid {self._kinds[path]}"
            if isinstance(item, str):
                yield DeadLetter(str(path), number, name if "id" in resource else None, item)
            elif item is not None:
                yield item

    def _remember(self, resource: Resource) -> None:
        name = f"{resource['resourceType']}/{resource.get('id')}"
        if resource["resourceType"] == "Encounter":
            for diagnosis in resource.get("diagnosis", []):
                rank = diagnosis.get("rank", UNRANKED)
                self._ranks[_reference(diagnosis.get("condition"))] = (name, rank)
            return
        if INVALID_STATUSES & {*_codings(resource.get("verificationStatus")), resource.get("status")}:
            return
        encounter, rank = self._ranks.get(name, ("", UNRANKED))
        encounter = _reference(resource.get("encounter")) or encounter
        categories = {code for category in _listed(resource.get("category")) for code in _codings(category)}
        if encounter and not (name not in self._ranks and categories and categories <= OTHER_CATEGORIES):
            codes = self._codes.setdefault(encounter, [])
            for coding in resource.get("code", {}).get("coding", []):
                if coding.get("system") in ICD_SYSTEMS and coding.get("code"):
                    codes.append((rank, sys.intern(coding["code"])))

    def _note(self, number: int, resource: Resource) -> RawNote | str:
        kind = resource["resourceType"]
        if "entered-in-error" in (resource.get("status"), resource.get("docStatus")):
            return "marked as entered in error"
        if resource.get("status") == "superseded":
            return "superseded by another document"
        if kind == "Composition":
            text: str | None = _composed_text(resource.get("section", []))
        else:
            text = _attached_text(resource["content"])
            if text is None:
                return _why_unread(resource["content"])
        context = resource.get("context", {}) if kind == "DocumentReference" else resource
        encounters = map(_reference, _listed(context.get("encounter")))
        ranked = [item for encounter in encounters for item in self._codes.get(encounter, [])]
        return RawNote(
            number,
            f"{kind}/{resource['id']}",
            _reference(resource.get("subject")).removeprefix("Patient/") or None,
            text,
            resource.get("date") or context.get("period", {}).get("start"),
            _display(resource.get("type", {})),
            [code for _, code in sorted(ranked, key=lambda item: item[0])] or None,
            composed=kind == "Composition",
        )


def _attached_text(contents: list[Resource]) -> str | None:
    """The text of the attachment that comes first in READABLE; None where no attachment can be read."""
    attachments: dict[str, Resource] = {}
    for content in contents:
        if content["attachment"].get("data"):
            attachments.setdefault(_content_type(content["attachment"]), content["attachment"])
    for kind in READABLE:
        if kind in attachments:
            text = _decoded(attachments[kind])
            if not _is_embedded_file(text):
                return text if kind == "text/plain" or _has_words(text) else ""
    return None


def _content_type(attachment: Resource) -> str:
    kind: str = attachment.get("contentType", "")
    return kind.partition(";")[0].strip().lower()


def _why_unread(contents: list[Resource]) -> str:
    """Why no attachment can be read, and what to do."""
    found = dict.fromkeys(_described(content["attachment"]) for content in contents)
    what = ", ".join(found) or "there is none"
    return f"no attachment can be read ({what}): put plain text, HTML, RTF or C-CDA into attachment.data"


def _described(attachment: Resource) -> str:
    kind = _content_type(attachment)
    named = kind if _MEDIA_TYPE.fullmatch(kind) else "of no known type"  # it could hold note text
    if not attachment.get("data"):
        return f"{named} by url only" if attachment.get("url") else f"{named} without data"
    return f"{named} around a file" if kind in READABLE else named


_MEDIA_TYPE = re.compile(r"(?:application|audio|image|message|model|multipart|text|video)/[a-z0-9.+-]{1,80}")


def _decoded(attachment: Resource) -> str:
    """The text of an attachment. Raises ValueError or LookupError where its base64 or its charset is wrong."""
    raw = base64.b64decode("".join(attachment["data"].split()), validate=True)
    if charset := re.search(r"charset\s*=\s*[\"']?([\w.:-]+)", attachment["contentType"], re.IGNORECASE):
        text = raw.decode(charset[1])
    elif raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = raw.decode("utf-16")
    else:
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            text = raw.decode(_own_charset(raw[:2048]))
    return text.removeprefix("\ufeff")


def _own_charset(head: bytes) -> str:
    """The charset that an RTF, XML or HTML document names at its start; else cp1252 for RTF, UTF-8 for others."""
    if head.lstrip().startswith(b"{\\rtf"):
        page = re.search(rb"\\ansicpg(\d{1,5})", head)
        return f"cp{page[1].decode()}" if page else "cp1252"
    named = re.search(rb"(?:encoding|charset)\s*=\s*[\"']?([\w.:-]+)", head, re.IGNORECASE)
    return named[1].decode() if named else "utf-8"


def _is_embedded_file(text: str) -> bool:
    """Whether the text is a C-CDA whose body is a file in base64, mostly a PDF, instead of XML."""
    body = text.find("nonXMLBody")
    return body >= 0 and 'representation="B64"' in text[body : body + 500]


def _composed_text(sections: list[Resource]) -> str:
    return "\n\n-----\n\n".join(filter(None, map(_section_text, sections)))


def _section_text(section: Resource) -> str:
    title = section.get("title") or _display(section.get("code", {})) or ""
    title = html.escape(" ".join(title.split()).rstrip(": "), quote=False)
    narrative = section.get("text", {}).get("div", "")
    inner = map(_section_text, section.get("section", []))
    text = "\n\n".join(filter(None, (narrative if _has_words(narrative) else "", *inner)))
    return f"<title>{title}</title>\n{text}" if title and text else text


def _has_words(markup: str) -> bool:
    return bool(re.sub(r"<[^<>]*>", "", markup).strip())


def _reference(reference: Resource | None) -> str:
    """ "Patient/1" from "https://server/fhir/Patient/1/_history/2"; "" where there is none."""
    value: str = (reference or {}).get("reference", "")
    relative = re.search(r"(?:^|/)([A-Z][A-Za-z]+/[A-Za-z0-9.-]+)(?:/_history/[^/]+)?$", value)
    return relative[1] if relative else value


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _codings(concept: Resource | None) -> set[str]:
    return {coding.get("code", "") for coding in (concept or {}).get("coding", [])}


def _display(concept: Resource) -> str | None:
    displays = (coding.get("display") for coding in concept.get("coding", []))
    return concept.get("text") or next(filter(None, displays), None)
