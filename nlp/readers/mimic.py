"""Notes of MIMIC-III (NOTEEVENTS) and MIMIC-IV (note/discharge) with the billed codes of their stays.

Tables and columns as in https://mimic.mit.edu/docs: NOTEEVENTS, DIAGNOSES_ICD, PROCEDURES_ICD; discharge,
diagnoses_icd, procedures_icd. Each may be .csv, .csv.gz or .csv.zst, in any folder under the source.

- Every note is read; its category is the note type. Rows marked as errors (ISERROR = 1) are dead letters.
- Codes belong to a stay, and the discharge summary describes the whole stay: only discharge summaries get codes. The
  codes of all other notes are null, so that they are used for sections but not to learn codes. Addenda of discharge
  summaries, which CAML appends to the summary, are separate notes here; mimic_splits.py joins them.
- Codes are in the order of SEQ_NUM, diagnoses before procedures, with the dot that MIMIC leaves out.
"""

from __future__ import annotations

import contextlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rubricator.nlp.readers.files import (
    DeadLetter,
    NoteFormatError,
    Notices,
    RawNote,
    ReadPosition,
    is_unicode,
    listed,
    plain_name,
)
from rubricator.nlp.readers.tables import csv_rows

LAST = 1 << 15  # sorts procedures after diagnoses; LAST - 1 stands for a missing SEQ_NUM
_DISCHARGE = {"discharge summary", "ds", "ad"}  # with their addenda


@dataclass(frozen=True, kw_only=True)
class Release:
    """The notes table of a release of MIMIC and its columns, in lower case. code: a column of the code tables."""

    name: str
    notes_table: str
    note_id: str
    written_on: str
    note_type: str
    code: str


RELEASES = (
    Release(
        name="MIMIC-III",
        notes_table="noteevents",
        note_id="row_id",
        written_on="chartdate",
        note_type="category",
        code="icd9_code",
    ),
    Release(
        name="MIMIC-IV",
        notes_table="discharge",
        note_id="note_id",
        written_on="charttime",
        note_type="note_type",
        code="icd_code",
    ),
)


def find_mimic(files: list[Path]) -> MimicFiles | None:
    """The MIMIC tables among the files; None where there are none.

    Raises NoteFormatError where a table is there twice, or tables of both releases are there.
    """
    tables: dict[str, list[Path]] = {}
    for path in files:
        plain = plain_name(path)
        if plain.suffix.lower() == ".csv":
            tables.setdefault(plain.stem.lower(), []).append(path)
    releases = [r for r in RELEASES if r.notes_table in tables and _is_mimic(tables[r.notes_table][0])]
    if not releases:
        return None
    if len(releases) > 1:
        raise NoteFormatError(f"{files[0].parent}: holds MIMIC-III and MIMIC-IV; read one at a time")
    names = ("diagnoses_icd", "procedures_icd", releases[0].notes_table)
    for name in names:
        if len(tables.get(name, [])) > 1:
            raise NoteFormatError(
                f"{tables[name][0]}: the table is there twice, also as {tables[name][1]}; keep one"
            )
    return MimicFiles(releases[0], [tables[name][0] for name in names if name in tables])


def _is_mimic(path: Path) -> bool:
    header = None
    with contextlib.suppress(OSError, ValueError):  # a broken file is reported when it is read
        header = next(csv_rows(path), None)
    return isinstance(header, list) and "hadm_id" in (name.lower() for name in header)


class MimicFiles:
    """Reads the code tables into memory (about 400 bytes a stay), then the notes.

    icd: keep only codes of this version, "9" or "10". It needs tables with the version (MIMIC-IV).
    """

    def __init__(self, release: Release, files: list[Path], *, icd: str | None = None) -> None:
        self.name = release.name
        self.files = files
        self.notices = Notices()
        self.release = release
        self._icd = icd
        self._codes: dict[str, int] = {}  # code → its number
        self._stays: dict[str, array[int]] = {}  # the codes of a stay: order << 32 | number of the code

    def read(self, path: Path, progress: ReadPosition) -> Iterator[RawNote | DeadLetter]:
        if path == self.files[0]:
            self._codes, self._stays = {}, {}
        if path == self.files[-1]:
            return self._notes(path, progress)
        return self._code_table(path, progress)

    def billed(self) -> dict[str, list[str]]:
        """The codes of each stay in their order, with repetitions. Needs the code tables to be read before."""
        names = list(self._codes)
        return {
            stay: [names[place & 0xFFFFFFFF] for place in sorted(places)]
            for stay, places in self._stays.items()
        }

    def discharge_notes(self, progress: ReadPosition) -> Iterator[tuple[str, str, str] | None]:
        """Stay, patient and text of each discharge summary and addendum; None for a row that cannot be used."""
        fields = ["hadm_id", "subject_id", self.release.note_type, "text"]
        for _, row in _table(self.files[-1], progress, fields, ["iserror"]):
            if isinstance(row, str):
                yield None
                continue
            stay, patient, note_type, text, is_error = row
            if note_type.strip().lower() in _DISCHARGE and stay.strip():
                usable = is_error.strip() != "1" and text.strip() and is_unicode(text)
                yield (stay.strip(), patient, text) if usable else None

    def _notes(self, path: Path, progress: ReadPosition) -> Iterator[RawNote | DeadLetter]:
        names = list(self._codes)
        release = self.release
        fields = [release.note_id, "subject_id", "hadm_id", release.written_on, release.note_type, "text"]
        optional = ["description", "iserror"]
        for number, row in _table(path, progress, fields, optional):
            if isinstance(row, str):
                yield DeadLetter(str(path), number, None, row)
                continue
            note_id, patient_id, stay, written_on, note_type, text, description, is_error = row
            if is_error.strip() == "1":
                known = note_id if note_id.isdigit() else None
                yield DeadLetter(str(path), number, known, "marked as an error (ISERROR = 1)")
                continue
            places = self._stays.get(stay.strip()) if _is_discharge_summary(note_type, description) else None
            codes = None if places is None else [names[place & 0xFFFFFFFF] for place in sorted(places)]
            yield RawNote(number, note_id, patient_id, text, written_on, note_type, codes)

    def _code_table(self, path: Path, progress: ReadPosition) -> Iterator[DeadLetter]:
        procedures = plain_name(path).stem.lower() == "procedures_icd"
        fields = ["hadm_id", "seq_num", self.release.code]
        for number, row in _table(path, progress, fields, ["icd_version"]):
            if isinstance(row, str):
                yield DeadLetter(str(path), number, None, row)
                continue
            stay, place, code, version = (value.strip() for value in row)
            if not code or not stay:  # some stays of MIMIC-III were billed without codes
                continue
            if self._icd and version and version != self._icd:
                continue
            code = _dotted(code, ten=version == "10", procedure=procedures)
            order = (LAST if procedures else 0) + (min(int(place), LAST - 1) if place.isdigit() else LAST - 1)
            places = self._stays.setdefault(stay, array("q"))
            places.append(order << 32 | self._codes.setdefault(code, len(self._codes)))


def _table(
    path: Path, progress: ReadPosition, needed: list[str], optional: list[str]
) -> Iterator[tuple[int, list[str] | str]]:
    """Row number and the named fields of each row; "" for optional fields that the table lacks.

    For a broken row, the reason instead of the fields. Raises NoteFormatError where a needed column is missing.
    """
    rows = csv_rows(path, progress)
    header = next(rows, None)
    names = [name.lower() for name in header] if isinstance(header, list) else []
    if missing := [name for name in needed if name not in names]:
        raise NoteFormatError(f"{path}: no column {', '.join(missing)}; columns are {listed(names)}")
    places = [names.index(name) if name in names else None for name in needed + optional]
    for number, row in enumerate(rows, 1):
        if isinstance(row, str):
            yield number, row
        else:
            yield number, ["" if place is None else row[place] for place in places]


def _is_discharge_summary(note_type: str, description: str) -> bool:
    if note_type == "DS":  # MIMIC-IV; its addenda are AD
        return True
    return note_type.strip().lower() == "discharge summary" and description.strip().lower() != "addendum"


def _dotted(code: str, *, ten: bool, procedure: bool) -> str:
    if ten and procedure:
        return code
    place = 2 if procedure else 4 if code[0] == "E" and not ten else 3
    return code if len(code) <= place or "." in code else f"{code[:place]}.{code[place:]}"
