"""Files as sites have them: encodings, names, JSON in other layouts, tables in .txt, one row per code, sizes."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from rubricator.nlp import read_notes as read_anything
from rubricator.nlp.readers import files, json_objects, tables
from rubricator.nlp.readers.encodings import guessed_encoding
from rubricator.nlp.readers.notes import DeadLetter, NoteFormatError, NoteReader, NoteSettings

CANARY = "canary-7f3a"
GERMAN = f"Größe 180 cm, Schädel unauffällig, Müdigkeit für Tage; {CANARY}"


def read(source: str | Path, **settings: Any) -> tuple[dict[str, Any], list[DeadLetter], list[str]]:
    """The notes by id, the dead letters and the notices."""
    letters: list[DeadLetter] = []
    reader = NoteReader(source, NoteSettings(**settings), on_dead_letter=letters.append)
    notes = {row["note_id"]: row for batch in reader for row in batch.to_pylist()}
    assert CANARY not in str(letters) + str(reader.notices)
    return notes, letters, reader.notices


def refusal(source: str | Path | None, **settings: Any) -> str:
    with pytest.raises(NoteFormatError) as caught:
        list(NoteReader(source, NoteSettings(**settings), on_dead_letter=print))
    assert caught.value.__context__ is None
    assert CANARY not in str(caught.value)
    return str(caught.value)


ENCODINGS = ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252", "mac_roman", "cp850"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("suffix", [".txt", ".csv", ".jsonl", ".csv.gz"])
def test_a_file_in_another_encoding_is_read_when_it_is_named(
    tmp_path: Path, encoding: str, suffix: str
) -> None:
    path = tmp_path / f"n{suffix}"
    row = {"id": "n", "text": GERMAN}
    text = GERMAN if suffix == ".txt" else json.dumps(row, ensure_ascii=False) if "json" in suffix else f'id,text\nn,"{GERMAN}"\n'  # fmt: skip
    data = text.encode(encoding)
    path.write_bytes(gzip.compress(data) if suffix.endswith("gz") else data)
    notes, letters, _ = read(path, encoding=encoding)
    assert letters == []
    assert notes["n"]["text"] == GERMAN


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_encoding_is_guessed_in_the_message(tmp_path: Path, encoding: str) -> None:
    data = GERMAN.encode(encoding)
    assert guessed_encoding(data) == encoding
    (tmp_path / "a.txt").write_bytes(data)
    (tmp_path / "b.txt").write_text("PLAN: rest")
    notes, [letter], _ = read(tmp_path)  # one such file does not stop the folder
    assert list(notes) == ["b"]
    assert f"(--encoding {encoding})" in letter.reason


def test_what_is_not_valid_in_the_encoding_is_a_dead_letter(tmp_path: Path) -> None:
    path = tmp_path / "n.csv"
    path.write_bytes(b"id,text\n1,caf\xe9\n2,\x81\x9d\n3,fine\n")
    notes, letters, _ = read(path, encoding="cp1252")
    assert notes["1"]["text"] == "café"
    assert [(letter.row, letter.note_id, letter.reason) for letter in letters] == [
        (2, "2", "the text is invalid UTF-8 (read as cp1252)")
    ]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_table_in_utf16_is_refused(tmp_path: Path, encoding: str, suffix: str) -> None:
    text = f"id,text\n1,{GERMAN}\n" if suffix == ".csv" else json.dumps({"id": 1, "text": CANARY})
    (tmp_path / f"a{suffix}").write_bytes(text.encode(encoding))
    assert f"give its encoding (--encoding {encoding})" in refusal(tmp_path / f"a{suffix}")


def test_a_file_name_in_latin_1_is_read(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9.txt"
    for path, data in ((name, b"PLAN: rest"), (os.fsencode(tmp_path) + b"/d\xe9.txt", b"\xff")):
        with open(path, "wb") as file:  # noqa: PTH123 (a name in bytes)
            file.write(data)
    notes, [letter], _ = read(tmp_path)
    assert list(notes) == [r"caf\xe9"]
    assert (letter.note_id, letter.file.encode()) == (r"d\xe9", os.fsencode(tmp_path) + rb"/d\xe9.txt")
    broken = tmp_path / os.fsdecode(b"n\xe9.parquet")
    broken.touch()
    assert r"n\xe9.parquet" in refusal(broken)


@pytest.mark.parametrize(
    "header", ["NOTE_ID|PERSON_ID|NOTE_TEXT", "id\ttext\tdate", '"note_id","note_text","x"']
)
def test_a_table_in_a_txt_file_is_read_as_a_table(tmp_path: Path, header: str) -> None:
    mark = next(sign for sign in "|\t," if sign in header)
    rows = [mark.join(("5", "77", "Cough")), mark.join(("6", "78", "Fever"))]
    (tmp_path / "NOTE.txt").write_text("\n".join([header, *rows]) + "\n")
    assert list(read(tmp_path)[0]) == ["5", "6"]
    (tmp_path / "a.txt").write_text(f"PLAN: rest\n{CANARY}")
    notes, [letter], _ = read(tmp_path)
    assert list(notes) == ["a"]
    assert (letter.note_id, "it is a table" in letter.reason) == ("NOTE", True)


@pytest.mark.parametrize(
    "text",
    [
        "Test|Value|Unit\nNa|140|mmol\nK|4|mmol\n",
        "Note: cough, fever\nPlan: rest, fluids",
        "PATIENT ID | DATE | NOTE\nwas seen today",
        "ID, text",
        "Patient,\nthank you",
    ],
)
def test_a_note_with_a_table_is_a_note(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.txt").write_text(text)
    assert read(tmp_path)[0]["a"]["text"] == text


def test_a_table_in_a_txt_file_with_unusual_columns_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "n.txt"
    path.write_text("note_id|visit|befund\n1|2|Husten\n2|2|Schnupfen\n")
    assert "no column looks like the text" in refusal(path)
    assert read(path, text_column="befund")[0]["1"]["text"] == "Husten"


def test_rtf_beside_text_is_read_and_other_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.rtf").write_bytes(rb"{\rtf1 {\b PLAN:} Rest.}")
    assert list(read(tmp_path)[0]) == ["a"]
    (tmp_path / "b.txt").write_text("Cough")
    (tmp_path / "c.pdf").touch()
    (tmp_path / "d.pdf").touch()
    (tmp_path / "meta.json").write_text("{}")
    notes, _, notices = read(tmp_path)
    assert list(notes) == ["a", "b"]
    assert notices == ["files that are not read (2 .pdf, 1 .json): 3"]


TWO = [{"id": "1", "text": 'a {b} [c] "d" \\'}, {"id": "2", "text": "é"}]
LAYOUTS = {
    "array": json.dumps(TWO),
    "pretty array": json.dumps(TWO, indent=1),
    "pretty objects": "\n".join(json.dumps(each, indent=2, ensure_ascii=False) for each in TWO),
    "lines": "\n".join(map(json.dumps, TWO)),
    "one line": " ".join(map(json.dumps, TWO)).replace("} {", "}\n{"),
    "with a mark": "\ufeff" + json.dumps(TWO, indent=1),
}


@pytest.mark.parametrize("chunk", [1, 7, 1 << 16])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
def test_json_in_any_layout(
    tmp_path: Path, layout: str, suffix: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_objects, "CHUNK", chunk)
    path = tmp_path / f"n{suffix}"
    path.write_text(LAYOUTS[layout], encoding="utf-8")
    notes, letters, _ = read(path)
    assert ([row["text"] for row in notes.values()], letters) == ([each["text"] for each in TWO], [])


@pytest.mark.parametrize(
    ("text", "reasons"),
    [
        ('[{"id": "1", "text": "a"}, 5, {"id": "2", "text": "b"}]', [(2, "not a JSON object")]),
        ('[{"id": "1", "text": "a"}, {"id" "x"}, {"id": "2", "text": "b"}]', [(2, "not valid JSON")]),
        ('[{"id": "1", "text": "a"}, {"id": "2", "text": "b", "x": ' + "[" * 100_000 + "]" * 100_000 + "}]", [(2, "not valid JSON")]),
    ],
)  # fmt: skip
def test_a_damaged_element_of_an_array_spoils_itself_only(
    tmp_path: Path, text: str, reasons: list[tuple[int, str]]
) -> None:
    (tmp_path / "n.json").write_text(text)
    notes, letters, _ = read(tmp_path / "n.json")
    assert [(letter.row, letter.reason) for letter in letters] == reasons
    assert "1" in notes


@pytest.mark.parametrize(
    "end", ['{"id": "3", "te', '{"id": "3", "text": "c"}', '{"id": "3", "text": "c"},\n']
)
def test_an_array_that_is_cut_off_is_an_error(tmp_path: Path, end: str) -> None:
    (tmp_path / "n.json").write_text('[{"id": "1", "text": "a"}, {"id": "2", "text": "b"}, ' + end)
    with pytest.raises(NoteFormatError, match=r"n\.json: ends in the middle of its JSON"):
        read(tmp_path / "n.json")


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "frame"])
def test_one_row_per_code_is_joined(tmp_path: Path, form: str) -> None:
    rows = [("1", "Cough", "J18.9"), ("1", "Cough", "I10"), ("1", "Cough", "I10"), ("2", "Fever", "E11.9")]
    frame = pl.DataFrame(rows, schema=["id", "text", "codes"], orient="row")
    path = tmp_path / f"n.{form}"
    if form == "frame":
        with pytest.warns(UserWarning, match="rows that were joined"):
            notes = read_anything(frame).to_pylist()
    else:
        {"csv": frame.write_csv, "jsonl": frame.write_ndjson, "parquet": frame.write_parquet}[form](path)
        found, letters, [notice] = read(path)
        assert letters == []
        assert notice.startswith("rows that were joined to the one before")
        assert notice.endswith(": 2")
        notes = list(found.values())
    assert [note["codes"] for note in notes] == [["J18.9", "I10"], ["E11.9"]]


def test_rows_of_a_note_that_are_apart_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "n.csv"
    path.write_text(f"id,text,codes\n1,{CANARY},J18.9\n2,Fever,E11.9\n1,{CANARY},I10\n")
    assert "row 3: the note '1' was there before, with other codes" in refusal(path)
    assert "sort the table by the note id" in refusal(path)
    path.write_text(f"id,text,codes\n1,{CANARY},J18.9\n2,Fever,E11.9\n1,{CANARY},J18.9\n1,other,I10\n")
    notes, letters, _ = read(path)  # the same again, and another note of the same id
    assert notes["1"]["codes"] == ["J18.9"]
    assert {letter.reason for letter in letters} == {"an earlier note has the same note id"}


def test_a_note_with_a_code_that_cannot_be_used_is_not_used_with_the_others(tmp_path: Path) -> None:
    path = tmp_path / "n.jsonl"
    rows: list[dict[str, Any]] = [
        {"id": "1", "text": "Cough", "codes": ["J18.9"]},
        {"id": "1", "text": "Cough", "codes": [{}]},
        {"id": "2", "text": "Fever", "codes": ["I10"]},
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    notes, [letter], _ = read(path)
    assert (list(notes), letter.row, letter.note_id) == (["2"], 2, "1")
    assert "one of its rows, one per code, cannot be used" in letter.reason


@pytest.mark.parametrize("content", ["", "id,text\n"])
def test_a_file_without_notes_is_said(tmp_path: Path, content: str) -> None:
    (tmp_path / "n.csv").write_text(content)
    assert read(tmp_path) == ({}, [], ["files without notes (empty, or only a header): 1"])


def test_a_first_line_for_excel_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "n.csv").write_text("sep=;\r\nid;text\r\n1;Cough, cold\r\n")
    assert read(tmp_path)[0]["1"]["text"] == "Cough, cold"


def test_what_is_too_long_is_a_dead_letter_or_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rubricator.nlp.readers.long_format.LONGEST_NOTE", 50)
    monkeypatch.setattr("rubricator.nlp.readers.text_files._LONGEST", 200)
    for module in (files, json_objects):
        monkeypatch.setattr(module, "LONGEST_LINE", 1000)
    monkeypatch.setattr(files, "MOST_SKIPPED", 5000)
    monkeypatch.setattr(tables, "FIELD_LIMIT", 1000)
    long = {"csv": "id,text\n1,{}\n2,b\n", "jsonl": '{{"id": "1", "text": "{}"}}\n{{"id": "2", "text": "b"}}\n',
            "json": '[{{"id": "1", "text": "{}"}}, {{"id": "2", "text": "b"}}]'}  # fmt: skip
    for suffix, content in long.items():
        for length in (100, 2000):
            path = tmp_path / f"n.{suffix}"
            path.write_text(content.format("x" * length))
            if (suffix, length) == ("csv", 2000):
                assert "a line has more than 1,000 characters" in refusal(path)
                continue
            notes, [letter], _ = read(path)
            assert (list(notes), "more than" in letter.reason) == (["2"], True)
    (tmp_path / "n.jsonl").write_text("x" * 6000)
    assert "a line has more than 5,000 bytes" in refusal(tmp_path / "n.jsonl")
    (tmp_path / "n.txt").write_text("x" * 201)
    assert "more than 200 bytes" in read(tmp_path / "n.txt")[1][0].reason


@pytest.mark.parametrize("suffix", [".csv.gz", ".jsonl.zst", ".parquet.gz", ".xlsx.zst", ".txt.zst"])
def test_zeros_that_unpack_to_gigabytes_end_soon(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"n{suffix}"
    codec = pa.Codec({"gz": "gzip", "zst": "zstd"}[suffix.rpartition(".")[2]])
    path.write_bytes(codec.compress(bytes(1 << 24), asbytes=True) * 100)  # members of 16 MB
    if ".txt" in suffix:
        assert "the file has more than" in read(path)[1][0].reason
    else:
        assert str(path) in refusal(path)


@pytest.mark.parametrize("suffix", [".csv.gz", ".jsonl.gz", ".json.gz"])
def test_a_small_file_of_blanks_ends_soon(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"n{suffix}"
    path.write_bytes(
        gzip.compress(b"id,text\n" if "csv" in suffix else b" ") + gzip.compress(b"\n" * 2_000_000)
    )
    assert "more than 1,000,000 blank lines" in refusal(path)
    monkeypatch.setattr(files, "MOST_UNPACKED", 1000)
    assert "more than 200 times its size when unpacked" in refusal(path)


def test_frames_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    twice = pd.DataFrame([["1", "2", CANARY]], columns=["id", "id", "text"])
    with pytest.raises(NoteFormatError, match="columns are there more than once: id"):
        read_anything(twice)
    with pytest.raises(NoteFormatError, match="2 columns could be the text"):
        read_anything(pa.table([["1"], [CANARY], [CANARY]], names=["id", "text", "text"]))
    empty = pd.DataFrame({"note_id": [], "text": []})
    assert read_anything(empty, columns=None).num_rows == 0
    indexed = pd.DataFrame({"text": ["a", "b"]}, index=pd.Index(["x", "y"], name="note_id"))
    assert read_anything(indexed)["note_id"].to_pylist() == ["x", "y"]


@pytest.mark.parametrize(
    ("content", "ids"),
    [
        (b"id,text\n1,Cough\n", ["1"]),
        (gzip.compress(b'{"id": "1", "text": "Cough"}\n', mtime=0), ["1"]),
        (b'[{"id": "1", "text": "Cough"}]', ["1"]),
        (b"PLAN: rest\n", ["standard-input"]),
    ],
)
def test_notes_from_standard_input(tmp_path: Path, content: bytes, ids: list[str]) -> None:
    code = (
        "from rubricator.nlp.readers.notes import NoteReader\n"
        "reader = NoteReader('-', on_dead_letter=print)\n"
        "for _ in range(2): print([i for batch in reader for i in batch['note_id'].to_pylist()])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=content,
        capture_output=True,
        check=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        timeout=60,
    )
    assert done.stdout.decode() == f"{ids}\n" * 2
    assert list(tmp_path.iterdir()) == []


def test_settings_that_do_not_fit_the_notes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "n.csv").write_text("id,text\n1,a\n")
    assert "sheet is for Excel files" in refusal(tmp_path / "n.csv", sheet="2")
    assert "no notes are given" in refusal(None)
    assert "give one of them" in refusal(tmp_path / "n.csv", notes_sql=("sqlite://", "select 1"))


@pytest.mark.parametrize("place", range(3))
def test_a_note_of_which_a_row_cannot_be_used_is_one_dead_letter(tmp_path: Path, place: int) -> None:
    codes = ["I10", "E11.9", "J18.9"]
    codes[place] = "He has a cough and a fever today"
    rows = "".join(f"1,Cough,{code}\n" for code in codes)
    (tmp_path / "n.csv").write_text(f"id,text,codes\n{rows}2,Fever,I10\n3,Ache,I10\n4,Pain,I10\n")
    notes, letters, _ = read(tmp_path / "n.csv")
    assert sorted(notes) == ["2", "3", "4"]
    assert [letter.note_id for letter in letters] == ["1"]
