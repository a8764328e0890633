"""Notes of a FHIR export: bulk data (https://hl7.org/fhir/uv/bulkdata), Bundles, resources in JSON files. R4, as far as
they go also STU3 and R5.

- DocumentReference and DiagnosticReport: the text is one attachment (base64), decoded. Of several attachments it is
  the first of the type that comes first in `attachments.READABLE`: plain text, HTML, RTF, C-CDA; FHIR says that all
  hold the same document. Where it has no readable text, the next one is read. Offsets point into the decoded
  attachment, without its byte order mark. The charset is that of the content type, else UTF-16 where a byte order mark
  says so, else UTF-8. Where the bytes are not valid UTF-8, it is the charset that the document itself names. Base64 may
  be wrapped or URL-safe. Where its padding is missing, `size` or `hash` must confirm that it is complete. Text that was
  encoded twice is decoded twice. An attachment by URL is read where the export has the Binary or
  the file.
- A DiagnosticReport whose attachment a DocumentReference has too is not read a second time.
- Composition: the text is composed from the sections, in their order (`RawNote.composed`). Each section gives its
  title in a <title> element, its narrative (XHTML) unchanged, then its inner sections. A line of dashes separates the
  outer sections, so that the sections found in the text end there too. A section without words is left out.
- `note_id` is "DocumentReference/<id>", "Composition/<id>" or "DiagnosticReport/<id>", because ids are unique only
  within a resource type. `patient_id` is the id in the reference to the subject.
- `written_on` is `date`, else the context's period, else the creation of the attachment; a year or month alone is null.
- Left out are documents entered in error, cancelled, deleted on the server, or replaced by another document of the
  export (`relatesTo` `replaces`). A document that is only marked as superseded is read, because the notes of some
  servers all are but the last; so is a preliminary one. Of several versions of an id the latest is read, by
  `meta.lastUpdated` and `meta.versionId`, wherever it stands.
- Codes: the ICD codings of the Conditions and Procedures of the note's encounter. These are linked by their own
  `encounter` or by `Encounter.diagnosis`, and ordered by its rank. References may be relative, absolute, versioned,
  contained, by a full URL of a Bundle, or by identifier. Left out are Conditions that are refuted, differential or
  entered in error; Procedures that are prepared, not done, on hold or entered in error; and problem list items that
  `Encounter.diagnosis` does not name. Codes are null for a note without an encounter, or whose encounter has none.
- Code systems (`codes.icd_system`): ICD-9-CM, ICD-10 and its modifications, by URL, OID or name. Of one Condition with
  codes in several versions those of ICD-10 are taken. A dot that was left out is put in.
- `notices`: every code system, status, type and file that was left out, with its count.
"""

from rubricator.nlp.readers.fhir.export import find_fhir

__all__ = ["find_fhir"]
