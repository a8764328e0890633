"""Notes of Excel files (.xlsx). Cells keep the types that Excel gave them, so that spoilt codes are seen."""

from __future__ import annotations

import datetime
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rubricator.nlp.readers.files import DeadLetter, NoteFormatError, RawNote, ReadPosition, open_seekable
from rubricator.nlp.readers.tables import Columns, TableFiles, choose_columns

LARGEST = 400_000_000  # bytes of XML in a file; the sheet is held in memory
HEADER_WITHIN = 20  # rows in which a header is looked for, for the error message
LONGEST_CELL = 32_767  # characters: Excel cuts a longer text
Row = list[Any]


def excel_notes(path: Path, table: TableFiles, progress: ReadPosition) -> Iterator[RawNote | DeadLetter]:
    """The notes of one sheet.

    Raises NoteFormatError where the sheet is not there, its first row is no header, or Excel turned codes into dates
    or numbers.
    """
    rows = _rows(path, table.settings.sheet)
    size = path.stat().st_size
    if not rows:
        return
    header = [str(name).strip() if isinstance(name, str | float) else "" for name in rows[0]]
    _check_header(path, rows, table)
    columns = table.choose(path, [name for name in header if name])
    places = [None if name is None else header.index(name) for name in columns.in_order()]
    _check_codes(path, rows, columns, header)
    for number, row in enumerate(rows[1:], 2):
        progress.position = lambda done=number: size * done / len(rows)  # type: ignore[misc]
        values = [None if place is None else row[place] for place in places]
        if all(value == "" for value in row):
            continue
        note_id, patient, text, written, kind, codes, evidence = values
        if isinstance(text, str) and len(text) >= LONGEST_CELL:
            table.notices[f"cells of {LONGEST_CELL:,} characters, where Excel cuts a text"] += 1
        yield RawNote(
            number,
            _whole(note_id),
            _whole(patient),
            text,
            _date(written),
            kind,
            codes or None,
            evidence or None,
        )


def _rows(path: Path, sheet: str | None) -> list[Row]:
    """The rows of the sheet up to the last that is not empty."""
    import python_calamine

    _check_size(path)
    problem = ""
    with open_seekable(path, b"PK") as plain:
        try:
            book = python_calamine.load_workbook(plain)
            names = book.sheet_names
            at = 0 if sheet is None else names.index(sheet) if sheet in names else _number(sheet) - 1
            if 0 <= at < len(names):
                return list(book.get_sheet_by_index(at).iter_rows())
            problem = f"has no sheet {sheet!r}, but {len(names)}: give a number (sheet), 1 for the first"
        except python_calamine.PasswordError:
            problem = "is protected by a password; save it without one"
        except (python_calamine.CalamineError, OSError, ValueError) as error:
            problem = f"cannot be read as Excel ({type(error).__name__}: is it complete?)"
    raise NoteFormatError(f"{path}: {problem}", "sheet" if "sheet" in problem else "")


def _number(sheet: str) -> int:
    return int(sheet) if sheet.isdecimal() and len(sheet) < 5 else 0


def _check_size(path: Path) -> None:
    """Raises NoteFormatError for a file that is damaged, or so large when unpacked that it would fill the memory."""
    problem = ""
    try:
        with open_seekable(path, b"PK") as plain, zipfile.ZipFile(plain) as parts:
            if _is_too_large(parts):
                problem = (
                    f"has more than {LARGEST // 1_000_000:,} MB when unpacked; save it as CSV or in parts"
                )
    except NoteFormatError:
        raise
    except Exception:  # zipfile lets through those of every codec
        problem = "cannot be read as Excel (is it complete?)"
    if problem:
        raise NoteFormatError(f"{path}: {problem}")


def _is_too_large(parts: zipfile.ZipFile) -> bool:
    """Whether the parts hold more than LARGEST bytes, whatever they say of their sizes."""
    size = 0
    for name in parts.namelist():
        with parts.open(name) as part:
            while chunk := part.read(1 << 20):
                size += len(chunk)
                if size > LARGEST:
                    return True
    return False


def _check_header(path: Path, rows: list[Row], table: TableFiles) -> None:
    """Raises NoteFormatError where not the first row but a later one has the names of columns."""

    def is_header(row: Row) -> bool:
        names = [value for value in row if isinstance(value, str) and value]
        try:
            choose_columns(path, names, table.settings)
        except NoteFormatError:
            return False
        return True

    if is_header(rows[0]):
        return
    for number, row in enumerate(rows[1:HEADER_WITHIN], 2):
        if is_header(row):
            raise NoteFormatError(
                f"{path}: the names of the columns stand in row {number}, not in the first; delete the rows above"
            )


def _check_codes(path: Path, rows: list[Row], columns: Columns, header: list[str]) -> None:
    """Raises NoteFormatError where Excel turned codes into dates or numbers: 3-1 is the first of March."""
    if columns.codes is None:
        return
    place = header.index(columns.codes)
    cells = [(number, row[place]) for number, row in enumerate(rows[1:], 2)]
    dates = [
        number
        for number, cell in cells
        if isinstance(cell, datetime.date | datetime.time | datetime.timedelta)
    ]
    numbers = [number for number, cell in cells if isinstance(cell, int | float)]
    if dates or numbers:
        counts = [f"{len(each):,} {what}" for each, what in ((dates, "dates"), (numbers, "numbers")) if each]
        raise NoteFormatError(
            f"{path}: Excel changed cells of the codes column {columns.codes!r}: {' and '.join(counts)}, the first in "
            f"row {min(dates + numbers)}. What they were cannot be known: make the column Text, fill it again, or "
            "export the codes as CSV, JSON or parquet from where they come"
        )


def _whole(value: object) -> object:
    """An id that Excel holds as a number, as an integer; an empty cell as None."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return int(value)
    return None if value == "" else value


def _date(value: object) -> object:
    """A number in a column of dates is a serial date of Excel: days since 30 December 1899."""
    if isinstance(value, float) and 1 <= value < 2_958_466 and not 19_000_101 <= value <= 22_991_231:
        return datetime.date(1899, 12, 30) + datetime.timedelta(days=int(value))
    return _whole(value)
