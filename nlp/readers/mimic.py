"""Notes of MIMIC-III (NOTEEVENTS) and MIMIC-IV (note/discharge) with the billed codes of their stays.

Tables and columns as in https://mimic.mit.edu/docs: NOTEEVENTS, DIAGNOSES_ICD, PROCEDURES_ICD; discharge,
diagnoses_icd, procedures_icd. Each may be .csv, .csv.gz or .csv.zst, in any folder under the source.

- Every note is read; its category is the note type. Rows marked as errors (ISERROR = 1) are dead letters.
- Codes belong to a stay, and the discharge summary describes the whole stay: only discharge summaries get codes. The
  codes of all other notes are null, so that they are used for sections but not to learn codes. Addenda of discharge
  summaries, which CAML appends to the summary, are separate notes here; mimic_splits.py joins them.
- Codes are in the order of SEQ_NUM, diagnoses before procedures, in their normal spelling (MIMIC leaves out the dot).
- Numbers may be as pandas writes them where a cell of the column is empty: HADM_ID 100.0, ISERROR 1.0. Codes that lost
  their leading zeros are an error.
"""

from __future__ import annotations

import contextlib
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rubricator.nlp.code_spelling import ICD_9, ICD_10
from rubricator.nlp.icd import normal_code
from rubricator.nlp.null_words import is_missing
from rubricator.nlp.readers.code_cells import SystemCode, is_changed_number
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

CODE_TABLES = ("diagnoses_icd", "procedures_icd")
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

    Raises NoteFormatError where a table is there twice, where tables of both releases are there, and where there are
    tables of codes but none of notes.
    """
    tables: dict[str, list[Path]] = {}
    for path in files:
        plain = plain_name(path)
        if plain.suffix.lower() == ".csv":
            tables.setdefault(plain.stem.lower(), []).append(path)
    releases = [r for r in RELEASES if r.notes_table in tables and _is_mimic(tables[r.notes_table][0])]
    if not releases:
        _check_notes(tables)
        return None
    if len(releases) > 1:
        raise NoteFormatError(f"{files[0].parent}: holds MIMIC-III and MIMIC-IV; read one at a time")
    names = (*CODE_TABLES, releases[0].notes_table)
    for name in names:
        if len(tables.get(name, [])) > 1:
            raise NoteFormatError(
                f"{tables[name][0]}: the table is there twice, also as {tables[name][1]}; keep one"
            )
    return MimicFiles(releases[0], [tables[name][0] for name in names if name in tables])


def _check_notes(tables: dict[str, list[Path]]) -> None:
    """Raises NoteFormatError where there are tables of codes, but none of notes."""
    codes = [path for name in CODE_TABLES for path in tables.get(name, []) if _is_mimic(path)]
    if codes and not any(release.notes_table in tables for release in RELEASES):
        raise NoteFormatError(
            f"{codes[0]}: is a table of codes of MIMIC, but the notes are not there: discharge.csv.gz (MIMIC-IV-Note, "
            "a download of its own) or NOTEEVENTS.csv.gz (MIMIC-III); put them into the same folder"
        )


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
        self._lost: list[str] = []  # rows whose code is no text
        self._codes: dict[str, int] = {}  # code → its number
        self._stays: dict[str, array[int]] = {}  # the codes of a stay: order << 32 | number of the code

    def without_codes(self) -> MimicFiles:
        """The notes alone."""
        return MimicFiles(self.release, self.files[-1:], icd=self._icd)

    def read(self, path: Path, progress: ReadPosition) -> Iterator[RawNote | DeadLetter]:
        if path == self.files[0]:
            self._codes, self._stays, self._lost = {}, {}, []
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
                usable = not _is_one(is_error) and text.strip() and is_unicode(text)
                yield (whole_number(stay), whole_number(patient), text) if usable else None

    def _notes(self, path: Path, progress: ReadPosition) -> Iterator[RawNote | DeadLetter]:
        names = list(self._codes)
        release = self.release
        fields = [release.note_id, "subject_id", "hadm_id", release.written_on, release.note_type, "text"]
        optional = ["description", "iserror"]
        stays, coded = 0, 0
        for number, row in _table(path, progress, fields, optional):
            if isinstance(row, str):
                yield DeadLetter(str(path), number, None, row)
                continue
            note_id, patient_id, stay, written_on, note_type, text, description, is_error = row
            if _is_one(is_error):
                named = note_id if note_id.isdigit() else None
                yield DeadLetter(str(path), number, named, "marked as an error (ISERROR = 1)")
                continue
            codes = None
            if _is_discharge_summary(note_type, description) and stay.strip():
                places = self._stays.get(whole_number(stay))
                stays, coded = stays + 1, coded + (places is not None)
                if places is not None:
                    codes = [names[place & 0xFFFFFFFF] for place in sorted(places)]
            known = None if codes is None else [SystemCode(code, _spelt_as(code)) for code in codes]
            yield RawNote(number, note_id, whole_number(patient_id), text, written_on, note_type, known)
        if self._stays and stays and not coded:
            self.notices.add(
                "discharge summaries, none of which is of a stay of the tables of codes (are they of one "
                "release?)",
                stays,
            )

    def _code_table(self, path: Path, progress: ReadPosition) -> Iterator[DeadLetter]:
        procedures = plain_name(path).stem.lower() == "procedures_icd"
        fields = ["hadm_id", "seq_num", self.release.code]
        for number, row in _table(path, progress, fields, ["icd_version"]):
            if isinstance(row, str):
                yield DeadLetter(str(path), number, None, row)
                continue
            stay, place, code, version = (value.strip() for value in row)
            version = _version(version, self.release)
            if is_missing(code) or not code or not stay:  # some stays of MIMIC-III were billed without codes
                continue
            if self._icd and version and version != self._icd:
                continue
            if _has_lost_digits(code, procedures=procedures, ten=version == "10"):
                self._lost.append(f"{path}, row {number}")
                continue
            code = normal_code(code, tuple(systems[procedures] for systems in _SYSTEMS[version]))
            place = whole_number(place)
            order = (LAST if procedures else 0) + (min(int(place), LAST - 1) if place.isdigit() else LAST - 1)
            places = self._stays.setdefault(whole_number(stay), array("q"))
            places.append(order << 32 | self._codes.setdefault(code, len(self._codes)))
        if self._lost:
            raise NoteFormatError(
                f"{self._lost[0]}: the code has lost digits, as it was read as a number (5 for 00.5, 4019.0). "
                f"There are {len(self._lost):,} such rows; take the table of PhysioNet, or read it as text (dtype=str)"
            )


def whole_number(value: str) -> str:
    """A number of a table without leading zeros and as an integer: 100 for 100.0, 1.0E2 and 0000100."""
    text = value.strip()
    if text.isdecimal():
        return text.lstrip("0") or "0"
    if _FLOAT.fullmatch(text) and float(text).is_integer():
        return str(int(float(text)))
    return text


_FLOAT = re.compile(r"\d{1,15}(?:\.\d{0,15}(?:[eE]\+?\d{1,2})?|[eE]\+?\d{1,2})")


def _version(value: str, release: Release) -> str:
    """ "9" or "10"; "" where a table of MIMIC-IV does not say."""
    named = re.search(r"(?<!\d)(?:9|10)(?!\d)", whole_number(value))
    return named[0] if named else "9" if release.code == "icd9_code" else ""


_SYSTEMS = {"9": (ICD_9,), "10": (ICD_10,), "": (ICD_10, ICD_9)}  # each: of diagnoses, of procedures


def _is_one(value: str) -> bool:
    return value.strip().lower() == "true" or whole_number(value) == "1"


def _has_lost_digits(code: str, *, procedures: bool, ten: bool) -> bool:
    """Whether a code of ICD-9-CM is too short, or a number with a decimal that no code has."""
    if ten or not code[0].isdigit():
        return False
    whole, dot, decimals = code.partition(".")
    if dot:
        return len(whole) != (2 if procedures else 3) or not decimals or is_changed_number(code)
    return code.isdigit() and len(code) < (2 if procedures else 3)


def _spelt_as(code: str) -> tuple[str, ...]:
    """The version of a code in its normal spelling, by the place of its dot: what `normal_code` needs to keep it."""
    nine = (code[0].isdigit() and len(code) < 7) or re.fullmatch(r"E\d{3}(?:\.\d)?", code)
    return ICD_9 if nine else ICD_10


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
