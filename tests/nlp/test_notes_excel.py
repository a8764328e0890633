"""Notes from Excel files."""

import datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from rubricator.nlp.readers.notes import DeadLetter, NoteFormatError, NoteReader, NoteSettings

CANARY = "canary-7f3a"
HEADER = ["note_id", "person_id", "note_date", "note_text", "icd"]


def write(path: Path, rows: list[list[Any]], *, others: tuple[str, ...] = ()) -> Path:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    for name in others:
        book.create_sheet(name).append(["other", "sheet"])
    book.save(path)
    return path


def read(path: Path, **settings: Any) -> tuple[list[dict[str, Any]], list[DeadLetter], list[str]]:
    letters: list[DeadLetter] = []
    reader = NoteReader(path, NoteSettings(**settings), on_dead_letter=letters.append)
    rows = [row for batch in reader for row in batch.to_pylist()]
    return rows, letters, reader.notices


def refusal(path: Path, **settings: Any) -> str:
    with pytest.raises(NoteFormatError) as caught:
        read(path, **settings)
    assert CANARY not in str(caught.value)
    assert caught.value.__context__ is None
    return str(caught.value)


def test_a_sheet_of_notes(tmp_path: Path) -> None:
    day = datetime.date(2020, 3, 4)
    rows: list[list[Any]] = [
        HEADER,
        [1, 77, day, "Cough\nand cold", "J18.9; I10"],
        ["b", "p2", datetime.datetime(2020, 3, 4, 10, 15), "Fever", None],
        [None] * 5,
        [3, 77.0, "2020-03-04", "Ache", "250.00"],
        [4, None, 43894, "x" * 32767, None],
        [5, 77, "03/04/2020", None, None],
    ]
    notes, letters, notices = read(write(tmp_path / "n.xlsx", rows, others=("Second",)))
    assert [(n["note_id"], n["patient_id"], n["written_on"], n["codes"]) for n in notes] == [
        ("1", "77", day, ["J18.9", "I10"]),
        ("b", "p2", day, None),
        ("3", "77", day, ["250.00"]),
        ("4", "4", day, None),
    ]
    assert notes[0]["text"] == "Cough\nand cold"
    assert [(letter.row, letter.note_id, letter.reason) for letter in letters] == [
        (7, "5", "the text is empty")
    ]
    assert "cells of 32,767 characters, where Excel cuts a text: 1" in notices
    assert any("either way round" in notice for notice in notices)


def test_the_sheet_is_chosen_by_name_or_number(tmp_path: Path) -> None:
    path = tmp_path / "n.xlsx"
    book = openpyxl.Workbook()
    book.active.append(["about", "this"])
    sheet = book.create_sheet("Notes 2020")
    sheet.append(HEADER)
    sheet.append([1, 2, None, "Cough", None])
    book.save(path)
    for name in ("2", "Notes 2020"):
        assert [note["note_id"] for note in read(path, sheet=name)[0]] == ["1"]
    for name in ("3", "0", "Notes"):
        assert f"has no sheet '{name}', but 2" in refusal(path, sheet=name)


def test_codes_that_excel_changed_are_refused(tmp_path: Path) -> None:
    rows: list[list[Any]] = [
        HEADER,
        [1, 1, None, CANARY, "E11.9"],
        [2, 1, None, CANARY, 250.0],
        [3, 1, None, CANARY, datetime.date(2024, 3, 1)],
        [4, 1, None, CANARY, 4019],
    ]
    told = refusal(write(tmp_path / "n.xlsx", rows))
    assert "Excel changed cells of the codes column 'icd': 1 dates and 2 numbers, the first in row 3" in told


def test_a_header_below_the_first_row_is_named(tmp_path: Path) -> None:
    rows = [["Export of 2020", None, None, None, None], [None] * 5, HEADER, [1, 1, None, CANARY, "I10"]]
    assert "stand in row 3, not in the first; delete the rows above" in refusal(
        write(tmp_path / "n.xlsx", rows)
    )
    assert "no column looks like" in refusal(write(tmp_path / "m.xlsx", [["a", "b"], [1, CANARY]]))


def test_a_sheet_without_rows_is_said(tmp_path: Path) -> None:
    for name, rows in (("a", []), ("b", [HEADER])):
        assert read(write(tmp_path / f"{name}.xlsx", rows)) == (
            [],
            [],
            ["files without notes (empty, or only a header): 1"],
        )


def test_damaged_and_huge_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = write(tmp_path / "n.xlsx", [HEADER, [1, 1, None, CANARY, "I10"]])
    data = whole.read_bytes()
    for damaged in (b"", b"PK", data[: len(data) // 2], b"\xd0\xcf\x11\xe0" + bytes(2000)):
        (tmp_path / "m.xlsx").write_bytes(damaged)
        assert "cannot be read as Excel" in refusal(tmp_path / "m.xlsx")
    monkeypatch.setattr("rubricator.nlp.readers.excel.LARGEST", 3000)
    assert "when unpacked; save it as CSV or in parts" in refusal(whole)
