"""Notes from tables and text files: what is read, what is refused, and that no error ever shows a note's text."""

import csv
import datetime
import gzip
import json
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rubricator.nlp.readers.notes import (
    NOTES_SCHEMA,
    DeadLetter,
    NoteFormatError,
    NoteReader,
    NoteSettings,
    read_notes,
)

CANARY = "canary-7f3a"  # stands in every note text of this file

NOTES = [
    {
        "note_id": "a",
        "patient_id": "p1",
        "text": f"PLAN:\r\n1. Stop — “metformin”\t{CANARY}\n",
        "written_on": "2031-05-06",
        "note_type": "ReadPosition note",
        "codes": ["E11.9", "003.1"],
    },
    {"note_id": "b", "patient_id": "p1", "text": f'He said "hi", {CANARY}; né\x00\x0b 😀', "codes": []},
    {"note_id": "c", "patient_id": "p2", "text": f" {CANARY} ", "written_on": "soon"},
]
EXPECTED = [
    NOTES[0]
    | {
        "written_on": datetime.date(2031, 5, 6),
        "evidence": None,
        "composed": False,
        "codes_as_written": None,
    },
    NOTES[1]
    | {"written_on": None, "note_type": None, "evidence": None, "composed": False, "codes_as_written": None},
    NOTES[2]
    | {
        "written_on": None,
        "note_type": None,
        "codes": None,
        "evidence": None,
        "composed": False,
        "codes_as_written": None,
    },
]


def compress(path: Path) -> Path:
    """Compresses a file by its suffix, in place."""
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(path.read_bytes()))
    elif path.suffix == ".zst":
        path.write_bytes(pa.Codec("zstd").compress(path.read_bytes(), asbytes=True))
    return path


def write_json_lines(path: Path, notes: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(note, ensure_ascii=False) + "\n" for note in notes), encoding="utf-8")
    return compress(path)


def write_csv(path: Path, notes: list[dict[str, Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        columns = ["note_id", "patient_id", "text", "written_on", "note_type", "codes"]
        writer = csv.DictWriter(file, columns, delimiter="\t" if ".tsv" in path.name else ",")
        writer.writeheader()
        writer.writerows(
            note | ({"codes": json.dumps(note["codes"])} if "codes" in note else {}) for note in notes
        )
    return compress(path)


def write_parquet(path: Path, notes: list[dict[str, Any]]) -> Path:
    rows = [{"codes": None, "written_on": None, "note_type": None} | note for note in notes]
    schema = pa.schema([(f.name, pa.string() if f.name == "written_on" else f.type) for f in NOTES_SCHEMA])
    pq.write_table(pa.Table.from_pylist(rows, schema), path)
    return compress(path)


def read(source: str | Path, **columns: str) -> tuple[list[dict[str, Any]], list[DeadLetter]]:
    letters: list[DeadLetter] = []
    table = read_notes(source, NoteSettings(**columns), on_dead_letter=letters.append)
    assert table.schema == NOTES_SCHEMA
    assert CANARY not in str(letters)
    return table.to_pylist(), letters


def refusal(source: str | Path, **columns: str) -> str:
    """The message of the NoteFormatError; nothing else may be attached to it."""
    with pytest.raises(NoteFormatError) as caught:
        read(source, **columns)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert CANARY not in str(caught.value)
    return str(caught.value)


FORMATS: dict[str, Callable[[Path, list[dict[str, Any]]], Path]] = {
    ".jsonl": write_json_lines,
    ".ndjson": write_json_lines,
    ".csv": write_csv,
    ".tsv": write_csv,
    ".parquet": write_parquet,
}


@pytest.mark.parametrize("codec", ["", ".gz", ".zst"])
@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_gives_the_same_notes_untouched(tmp_path: Path, suffix: str, codec: str) -> None:
    path = FORMATS[suffix](tmp_path / f"notes{suffix}{codec}", NOTES)
    assert read(path) == (EXPECTED, [])


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_a_folder_and_a_glob_give_all_their_files(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "2031").mkdir()
    (tmp_path / "_temporary").mkdir()
    for name, note in zip(("2031/x", "y", "z"), NOTES, strict=True):
        FORMATS[suffix](tmp_path / f"{name}{suffix}", [note])
    FORMATS[suffix](tmp_path / f"_temporary/x{suffix}", NOTES)
    FORMATS[suffix](tmp_path / f".y{suffix}", NOTES)
    (tmp_path / "_SUCCESS").touch()
    (tmp_path / "manifest.json").write_text("{}")
    assert read(tmp_path) == (EXPECTED, [])
    assert [note["note_id"] for note in read(f"{tmp_path}/*{suffix}")[0]] == ["b", "c"]
    assert read(f"{tmp_path}/**/[xyz]{suffix}")[0][0]["note_id"] == "a"


def test_linked_folders_are_read_each_real_folder_once(tmp_path: Path) -> None:
    notes, elsewhere = tmp_path / "notes", tmp_path / "elsewhere"
    for folder in (notes / "z", notes / ".snapshot", elsewhere / "deep"):
        folder.mkdir(parents=True)
        (folder / "n.txt").write_text("x")
    for link, target in {
        notes / "a": notes / "z",  # what is there without the link keeps its name
        notes / "b": elsewhere,
        notes / "latest": notes / ".snapshot",
        notes / "c": elsewhere / "deep",
        elsewhere / "loop": notes,
        notes / "nowhere": tmp_path / "nowhere",
    }.items():
        link.symlink_to(target)
    (tmp_path / "link").symlink_to(notes)
    for source in (notes, tmp_path / "link"):
        assert [note["note_id"] for note in read(source)[0]] == ["b/deep/n", "latest/n", "z/n"]


def test_a_text_folder_names_notes_by_their_path(tmp_path: Path) -> None:
    (tmp_path / "ward 3").mkdir()
    (tmp_path / "ward 3" / "n.1.txt").write_bytes(b"\xef\xbb\xbfPlan:\r\nrest")
    (tmp_path / "n2.txt.gz").write_bytes(gzip.compress("né".encode()))
    (tmp_path / "n3.txt").write_bytes(b"n\xe9e " + CANARY.encode())
    (tmp_path / "n4.txt").touch()
    notes, letters = read(tmp_path)
    assert [(note["note_id"], note["patient_id"], note["text"]) for note in notes] == [
        ("n2", "n2", "né"),
        ("ward 3/n.1", "ward 3/n.1", "Plan:\r\nrest"),
    ]
    assert letters == [
        DeadLetter(
            str(tmp_path / "n3.txt"),
            None,
            "n3",
            "the text is invalid UTF-8; it looks like cp1252: give its encoding (--encoding cp1252)",
        ),
        DeadLetter(str(tmp_path / "n4.txt"), None, "n4", "the text is empty"),
    ]
    assert [note["note_id"] for note in read(f"{tmp_path}/ward*/*.txt")[0]] == ["ward 3/n.1"]


def test_notes_that_cannot_be_used_are_dead_letters_and_the_rest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    lines = [
        b'{"note_id": "a", "text": "' + CANARY.encode() + b'"}',
        b'{"note_id": "b", "text": "' + CANARY.encode() + b'" oops',
        b'["' + CANARY.encode() + b'"]',
        b"",
        b'{"note_id": "c", "text": "' + CANARY.encode() + b'\xff"}',
        b'{"note_id": "d", "text": "' + CANARY.encode() + b'\\ud800"}',
        b'{"note_id": "e", "text": " \\n\\t"}',
        b'{"note_id": "f"}',
        b'{"note_id": "g", "text": ["' + CANARY.encode() + b'"]}',
        b'{"note_id": "a", "text": "' + CANARY.encode() + b' again"}',
        b'{"text": "' + CANARY.encode() + b'"}',
        b'{"note_id": 1.5, "text": "' + CANARY.encode() + b'"}',
        b'{"note_id": "' + CANARY.encode() * 50 + b'", "text": "x"}',
        b'{"note_id": "h", "text": "x", "codes": [{"text": "' + CANARY.encode() + b'"}]}',
        b'{"note_id": 7, "text": "ok"}',
        b'{"note_id": "' + b"[" * 100_000,
    ]
    path.write_bytes(b"\n".join(lines))
    notes, letters = read(path)
    assert [note["note_id"] for note in notes] == ["a", "7"]
    assert {letter.file for letter in letters} == {str(path)}
    no_id = "the note id is missing, or not a string or integer of up to 512 characters"
    assert [(letter.row, letter.note_id, letter.reason) for letter in letters] == [
        (2, None, "not valid JSON"),
        (3, None, "not a JSON object"),
        (5, None, "invalid UTF-8"),
        (6, "d", "the text is invalid UTF-8"),
        (7, "e", "the text is empty"),
        (8, "f", "the text is empty"),
        (9, "g", "the text is not a string but list"),
        (10, "a", "an earlier note has the same note id"),
        (11, None, no_id),
        (12, None, no_id),
        (13, None, no_id),
        (14, "h", "the codes are not a list of strings"),
        (16, None, "not valid JSON"),
    ]


def test_broken_csv_rows_are_dead_letters(tmp_path: Path) -> None:
    path = tmp_path / "notes.csv"
    text = CANARY.encode()
    rows = [
        b"note_id,text,codes",
        b"a," + text + b",I10",
        b"b," + text + b",I10,extra",
        b"",
        b"d," + text + b"\xff,I10",
        b'e,"line one\r\nline two","I10; E11.9"',
        b'g,x,"[cough, ""I11""]"',
    ]
    path.write_bytes(b"\r\n".join(rows))
    notes, letters = read(path)
    assert [(note["note_id"], note["codes"]) for note in notes] == [("a", ["I10"]), ("e", ["I10", "E11.9"])]
    assert notes[1]["text"] == "line one\r\nline two"
    assert [(letter.row, letter.note_id, letter.reason) for letter in letters] == [
        (2, None, "4 fields, but the header has 3"),
        (3, "d", "the text is invalid UTF-8"),
        (5, "g", "the codes are not a list of strings"),
    ]


@pytest.mark.parametrize(
    "row",
    [
        f'2,"HPI: bad "quote here\n{CANARY},was seen with cough\nPLAN: rest."',
        f'2,"{CANARY} is never closed\n3,{CANARY}',
    ],
)
def test_nothing_is_read_after_a_broken_quote(tmp_path: Path, row: str) -> None:
    """The line after it may be in the middle of a note, whose text would become note ids."""
    path = tmp_path / "notes.csv"
    path.write_text(f'id,text\n1,"line one\nline two"\n{row}\n4,{CANARY}\n')
    assert refusal(path) == (
        f"{path}, row 2 (line 4): a quote is in the wrong place or never closed, so nothing from there on can be read "
        'safely; write quotes inside a quoted cell twice (""), or give JSON lines or parquet'
    )


def test_parquet_bytes_that_are_not_utf8_are_dead_letters(tmp_path: Path) -> None:
    texts = pa.array([b"fine", CANARY.encode() + b"\xff"], pa.binary())
    broken = pa.StringArray.from_buffers(2, texts.buffers()[1], texts.buffers()[2])
    pq.write_table(pa.table({"note_id": [1, 2], "text": broken}), tmp_path / "n.parquet")
    notes, letters = read(tmp_path / "n.parquet")
    assert [note["note_id"] for note in notes] == ["1"]
    assert letters == [DeadLetter(str(tmp_path / "n.parquet"), 2, "2", "the text is invalid UTF-8")]


@pytest.mark.parametrize(
    "codes", ["E11.9; 003.1", "E11.9|003.1", "E11.9,003.1", "E11.9 003.1", "E11.9\n003.1 E11.9"]
)
@pytest.mark.parametrize("listed", [False, True])
def test_codes_in_one_field(tmp_path: Path, codes: str, listed: bool) -> None:
    path = tmp_path / "n.csv"
    pl.DataFrame({"id": ["1"], "text": ["x"], "ICD-10 codes": [codes]}).write_csv(path)
    if listed:
        path = write_json_lines(tmp_path / "n.jsonl", [{"id": "1", "text": "x", "ICD-10 codes": codes}])
    assert read(path)[0][0]["codes"] == ["E11.9", "003.1"]


@pytest.mark.parametrize(
    ("field", "codes"),
    [
        ('["003.1", "I10"]', ["003.1", "I10"]),
        ("['003.1', 'I10']", ["003.1", "I10"]),  # a Python list, as pandas writes it
        ("['003.1' 'I10']", ["003.1", "I10"]),  # a numpy array
        ("[]", []),
        ("", None),
    ],
)
def test_lists_of_codes_in_a_csv_field(tmp_path: Path, field: str, codes: list[str] | None) -> None:
    pl.DataFrame({"id": ["1"], "text": ["x"], "codes": [field]}).write_csv(tmp_path / "n.csv")
    assert read(tmp_path / "n.csv")[0][0]["codes"] == codes


NULLS = ["NULL", "NaN", "nan", "None", "<NA>", r"\N"]  # as databases and pandas write them


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_the_word_for_null_is_no_code_no_patient_and_no_id(tmp_path: Path, suffix: str) -> None:
    nulls = [*NULLS, " NULL "]
    rows = [{"note_id": f"n{i}", "patient_id": n, "text": "x", "codes": n} for i, n in enumerate(nulls)]
    rows += [{"note_id": null, "patient_id": "p", "text": CANARY, "codes": "I10"} for null in nulls]
    rows += [{"note_id": "last", "patient_id": "Nil Null", "text": "NULL", "codes": "I10;NULL"}]
    path = tmp_path / f"notes{suffix}"
    if suffix == ".jsonl":
        write_json_lines(path, rows)
    else:
        pl.DataFrame(rows).write_csv(path, separator="\t" if suffix == ".tsv" else ",")
    notes, letters = read(path, codes_column="codes")
    found = [(note["note_id"], note["patient_id"], note["text"], note["codes"]) for note in notes]
    assert found[:-1] == [(f"n{i}", f"n{i}", "x", None) for i in range(len(nulls))]
    assert found[-1] == ("last", "Nil Null", "NULL", ["I10"])
    assert [letter.note_id for letter in letters] == [None] * len(nulls)
    assert {letter.reason.partition(",")[0] for letter in letters} == {"the note id is missing"}


def test_lists_with_nothing_but_nulls_say_nothing_of_codes(tmp_path: Path) -> None:
    lists = [["NULL"], ["nan", "None"], ["I10", "NULL"], [""], []]
    rows = [{"id": row, "text": "x", "codes": codes} for row, codes in enumerate(lists)]
    notes, _ = read(write_json_lines(tmp_path / "n.jsonl", rows))
    assert [note["codes"] for note in notes] == [None, None, ["I10"], [], []]


def test_codes_that_became_numbers_are_refused(tmp_path: Path) -> None:
    why = "write codes as strings: as numbers, 003.1 and 3.10 are both 3.1"
    for number, codes in enumerate(([3.1], [250], 3.1, "[3.1, 250.0]")):
        path = write_json_lines(tmp_path / f"{number}.jsonl", [{"id": "1", "text": CANARY, "codes": codes}])
        assert refusal(path) == f"{path}, row 1: codes are numbers; {why}"
    for number, column in enumerate(([[3.1]], [3.1], [[250]])):
        parquet = tmp_path / f"{number}.parquet"
        pq.write_table(pa.table({"id": ["1"], "text": [CANARY], "codes": column}), parquet)
        assert refusal(parquet).endswith(why)


MARKED: list[tuple[object, list[tuple[str, int, int]] | None]] = [
    ([{"code": "J45", "start": 0, "end": 6}], [("J45", 0, 6)]),
    ([{"code": "J45", "begin": 0, "end": 6, "covered_text": "Asthma"}], [("J45", 0, 6)]),
    # a mention in two parts; what marks no character says nothing
    (
        [{"type": "diagnosis", "code": "R05", "mention": "cough", "spans": [[8, 11], [11, 11], [11, 13]]}],
        [("R05", 8, 11), ("R05", 11, 13)],
    ),
    ([], []),
    (None, None),
]


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_evidence_is_read_from_the_column_that_is_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"notes{suffix}"
    rows = [
        {"id": f"n{row}", "text": "Asthma, cough.", "why": found} for row, (found, _) in enumerate(MARKED)
    ]
    if suffix == ".jsonl":
        write_json_lines(path, rows)
    else:  # in tables as JSON
        table = pl.DataFrame([row | {"why": row["why"] and json.dumps(row["why"])} for row in rows[:3]])
        table.write_csv(path) if suffix == ".csv" else table.write_parquet(path)
    found, letters = read(path, evidence_column="why")
    assert not letters
    for row, (_, expected) in zip(found, MARKED, strict=False):
        spans = row["evidence"] and [(span["code"], span["start"], span["end"]) for span in row["evidence"]]
        assert spans == expected
    assert read(path)[0][0]["evidence"] is None
    assert "columns are id, text, why" in refusal(path, evidence_column="reasons")


def test_evidence_comes_back_from_a_note_table(tmp_path: Path) -> None:
    span = {"code": "J45", "start": 0, "end": 6}
    table = pa.Table.from_pylist(
        [{"note_id": "n", "patient_id": "p", "text": "Asthma.", "evidence": [span]}], NOTES_SCHEMA
    )
    pq.write_table(table, tmp_path / "notes.parquet")
    assert read(tmp_path / "notes.parquet", evidence_column="evidence")[0][0]["evidence"] == [span]


@pytest.mark.parametrize(
    ("evidence", "reason"),
    [
        ([{"code": "J45", "start": 8, "end": 15}], "outside the text"),
        ([{"code": "J45", "spans": [[-1, 3]]}], "outside the text"),
        ([{"code": "J45", "start": 5, "end": 2}], "outside the text"),
        ([{"code": 45, "start": 0, "end": 6}], "not a list of objects"),
        ([{"code": "J45", "start": 0}], "not a list of objects"),
        ([{"code": "J45", "spans": [[0, "6"]]}], "not a list of objects"),
        ([{"code": "J45", "spans": 3}], "not a list of objects"),
        (CANARY, "not a list of objects"),
        ({"code": "J45"}, "not a list of objects"),
    ],
)
def test_evidence_that_cannot_be_used_is_a_dead_letter(tmp_path: Path, evidence: object, reason: str) -> None:
    path = write_json_lines(
        tmp_path / "notes.jsonl", [{"id": "n", "text": "Asthma, cough.", "why": evidence}]
    )
    found, [letter] = read(path, evidence_column="why")
    assert not found
    assert reason in letter.reason


def test_columns_are_guessed_from_the_usual_names(tmp_path: Path) -> None:
    for names in (
        ("ROW_ID", "SUBJECT_ID", "TEXT", "ICD9_CODES", "CHARTDATE", "CATEGORY"),
        ("documentId", "mrn", "noteText", "diagnosisCodes", "noteDate", "noteType"),
        ("id", "person_id", "report_en_text", "labels", "date", "type"),
    ):
        values = ["1", "2", "x", "I10", "2031-01-02 03:04:05", "ECG"]
        pl.DataFrame([[value] for value in values], schema=list(names)).write_csv(tmp_path / "n.csv")
        [note] = read(tmp_path / "n.csv")[0]
        date = datetime.date(2031, 1, 2)
        assert list(note.values()) == ["1", "2", "x", date, "ECG", ["I10"], None, False, None]


def test_columns_can_be_named(tmp_path: Path) -> None:
    note = {
        "id": "x",
        "key": 7,
        "who": "w",
        "text_es": "hola",
        "text_en": "hello",
        "dx": ["I10"],
        "proc": ["0DTJ4ZZ"],
    }
    path = write_json_lines(tmp_path / "n.jsonl", [note])
    assert "2 columns could be the text: text_es, text_en; name the right one (text_column)" in refusal(path)
    named = read(path, id_column="key", patient_column="who", text_column="TEXT_EN", codes_column="proc")[0][
        0
    ]
    assert named == {
        "note_id": "7",
        "patient_id": "w",
        "text": "hello",
        "written_on": None,
        "note_type": None,
        "codes": ["0DTJ4ZZ"],
        "evidence": None,
        "composed": False,
        "codes_as_written": None,
    }


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_a_missing_column_is_an_error_that_lists_the_columns(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"n{suffix}"
    frame = pl.DataFrame({"key": ["1"], "body_md": [CANARY], "n": [3]})
    {".jsonl": frame.write_ndjson, ".csv": frame.write_csv, ".parquet": frame.write_parquet}[suffix](path)
    found = "columns are key, body_md, n"
    assert (
        refusal(path)
        == f"{path}: no column looks like the note id; name it (`id_column` of NoteSettings); {found}"
    )
    assert "no column looks like the text; name it (`text_column` of NoteSettings)" in refusal(
        path, id_column="key"
    )
    wrong = refusal(path, id_column="key", text_column="body_md", patient_column="mrn")
    assert wrong == f"{path}: column 'mrn' (patient_column) is missing; {found}"
    with pytest.raises(ValueError, match="extra"):
        NoteSettings(colour_column="x")  # type: ignore[call-arg]


def test_a_table_without_header_does_not_show_its_first_note(tmp_path: Path) -> None:
    lines = (
        f'n17,"The patient {CANARY} came in walking."',
        f"17,{CANARY}",
        f'n17,"{CANARY}\nb"',
        "John Smith,Cough and fever",
        "smith,cough,fever",
        "Smith;Cough",
        "SMITH|COUGH",
        "n1,SMITH,Patient with cough",
        "smith,thyroid",
    )
    for first in lines:
        (tmp_path / "n.csv").write_text(f"{first}\n")
        assert "does the file have a header line?" in refusal(tmp_path / "n.csv"), first


def test_of_a_header_no_cell_is_shown_that_may_be_a_name(tmp_path: Path) -> None:
    (tmp_path / "n.csv").write_text("PATNR,docNumber,Visit date,John Smith,admit_time\n")
    assert "columns are PATNR, docNumber, Visit date, admit_time and 1 more" in refusal(tmp_path / "n.csv")


def test_fields_that_the_first_lines_leave_out_are_found_later(tmp_path: Path) -> None:
    notes: list[dict[str, Any]] = [{"id": i, "text": "x"} for i in range(1500)]
    notes.append({"id": "last", "text": "x", "codes": ["I10"], "note_text": "y", "mrn": "p"})
    last = read(write_json_lines(tmp_path / "n.jsonl", notes))[0][-1]
    assert (last["text"], last["codes"], last["patient_id"]) == ("x", ["I10"], "p")


def test_ids_are_strings_whatever_they_were(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"id": [12, 13], "mrn": ["007", None], "text": ["x", "y"]}), tmp_path / "n.parquet"
    )
    notes, _ = read(tmp_path / "n.parquet")
    assert [(note["note_id"], note["patient_id"]) for note in notes] == [("12", "007"), ("13", "13")]
    pq.write_table(pa.table({"id": [12.0, None], "text": ["x", "y"]}), tmp_path / "n.parquet")
    assert "the id column 'id' is double; write it as string or integer" in refusal(tmp_path / "n.parquet")


def test_parquet_of_other_writers(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "note_id": ["1"],
            "text": ["né"],
            "note_type": pl.Series(["ECG"], dtype=pl.Categorical),
            "codes": [["I10"]],
            "charttime": [datetime.datetime(2031, 1, 2, 3)],
            "vector": [[0.1, 0.2]],
        }
    )
    frame.write_parquet(tmp_path / "polars.parquet")
    table = pa.table({"note_id": ["2"], "text": pa.array(["x"]).dictionary_encode(), "codes": [None]})
    pq.write_table(table, tmp_path / "arrow.parquet")
    two, one = read(tmp_path)[0]
    assert (one["text"], one["note_type"], one["codes"]) == ("né", "ECG", ["I10"])
    assert one["written_on"] == datetime.date(2031, 1, 2)
    assert (two["text"], two["codes"]) == ("x", None)


def test_a_decompressed_copy_has_no_name_that_a_killed_job_could_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    path = write_parquet(tmp_path / "n.parquet.gz", NOTES)
    for _ in NoteReader(path, on_dead_letter=print, batch_size=1):
        assert list((tmp_path / "scratch").iterdir()) == []


def test_semicolons_may_separate_a_csv(tmp_path: Path) -> None:
    (tmp_path / "n.csv").write_text("note_id;text;codes\n1;a, b;I10,E11.9\n")
    [note] = read(tmp_path)[0]
    assert (note["text"], note["codes"]) == ("a, b", ["I10", "E11.9"])


def test_a_duplicate_id_in_another_file_is_a_dead_letter(tmp_path: Path) -> None:
    for name in ("x", "y"):
        write_json_lines(tmp_path / f"{name}.jsonl", [{"id": "1", "text": f"{CANARY} {name}"}])
    notes, letters = read(tmp_path)
    assert [note["text"] for note in notes] == [f"{CANARY} x"]
    reason = "an earlier note has the same note id"
    assert letters == [DeadLetter(str(tmp_path / "y.jsonl"), 1, "1", reason)]


@pytest.mark.parametrize(
    "suffix", [".jsonl.gz", ".jsonl.zst", ".csv.gz", ".csv.zst", ".parquet", ".parquet.gz"]
)
@pytest.mark.parametrize("damage", ["truncated", "garbled", "not compressed"])
def test_a_damaged_file_is_an_error_that_names_it(tmp_path: Path, suffix: str, damage: str) -> None:
    notes = [{"note_id": str(i), "text": f"{CANARY} {i * 7919}", "patient_id": "p"} for i in range(20_000)]
    path = FORMATS[f".{suffix.split('.')[1]}"](tmp_path / f"n{suffix}", notes)
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        content = content[: len(content) * 2 // 3]
    elif damage == "garbled":
        content[len(content) // 2 :] = bytes(reversed(content[len(content) // 2 :]))
    else:
        content = bytearray(f'{{"note_id": "1", "text": "{CANARY}"}}\n'.encode() * 100)
    path.write_bytes(content)
    assert f"{path}: cannot be read as" in refusal(path)


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    wide = tmp_path / "n.csv"
    wide.write_text(f"id,text\n1,{CANARY}\n", encoding="utf-16")
    assert "is UTF-16; convert it to UTF-8" in refusal(wide)
    latin = tmp_path / "latin.csv"
    latin.write_bytes(f"id,text,patiënt\n1,{CANARY},2\n".encode("latin-1"))
    assert "its first line is not a CSV header in UTF-8; it looks like cp1252" in refusal(latin)
    (tmp_path / "n.ods").touch()
    assert "found 1 .ods; save spreadsheets as .xlsx or CSV" in refusal(tmp_path / "n.ods")


def test_sources_without_notes_are_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "nowhere") == f"{tmp_path / 'nowhere'}: no such file, folder or match"
    assert "found no file" in refusal(tmp_path)
    (tmp_path / "a.docx").touch()
    assert "nothing to read; notes are .parquet .csv" in refusal(tmp_path)
    assert "found 1 .docx" in refusal(tmp_path)
    (tmp_path / "a.csv").touch()
    (tmp_path / "b.txt").touch()
    assert "mixes formats (1 CSV, 1 text); choose with a glob" in refusal(tmp_path)
    locked = write_json_lines(tmp_path / "c.jsonl", NOTES)
    assert "column options are for tables only" in refusal(tmp_path / "b.txt", text_column="text")
    reader = NoteReader(locked, on_dead_letter=print)
    locked.unlink()
    with pytest.raises(NoteFormatError, match="No such file"):
        list(reader)


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".csv", ".csv.zst"])
def test_an_empty_file_holds_no_notes(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"n{suffix}").touch()
    assert read(tmp_path) == ([], [])


def test_a_byte_order_mark_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "n.csv").write_text("id,text\n1,x\n", encoding="utf-8-sig")
    (tmp_path / "n.jsonl").write_text('{"id": "1", "text": "x"}\n', encoding="utf-8-sig")
    assert read(tmp_path / "n.csv") == read(tmp_path / "n.jsonl")


def test_batches_are_bounded_and_progress_goes_from_none_to_all(tmp_path: Path) -> None:
    notes = [{"note_id": str(i), "text": "x" * 3000} for i in range(5000)]
    for suffix in (".jsonl.gz", ".parquet", ".csv"):
        rows = [note | {"patient_id": "p"} for note in notes]
        path = FORMATS[f".{suffix.split('.')[1]}"](tmp_path / f"n{suffix}", rows)
        reader = NoteReader(path, on_dead_letter=print, batch_size=1000)
        assert reader.files == [path]
        for _ in range(2):  # a reader may be read again
            fractions = []
            for batch in reader:
                assert batch.num_rows == 1000
                fractions.append(reader.fraction_read)
            assert fractions == sorted(fractions)
            assert 0 < fractions[0] <= 1
            assert reader.fraction_read == 1


def test_concatenated_gzip_members_are_all_read(tmp_path: Path) -> None:
    lines = [gzip.compress(json.dumps({"id": i, "text": "x"}).encode() + b"\n") for i in range(3)]
    (tmp_path / "n.jsonl.gz").write_bytes(b"".join(lines))
    assert [note["note_id"] for note in read(tmp_path)[0]] == ["0", "1", "2"]


@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda text: text.strip()))
def test_any_text_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.mktemp("notes")
    note = {"note_id": "1", "patient_id": "p", "text": text}
    for suffix, write in FORMATS.items():
        assert read(write(folder / f"n{suffix}", [note]))[0][0]["text"] == text


@pytest.mark.slow
def test_memory_does_not_grow_with_the_notes(tmp_path: Path) -> None:
    """200 MB of notes, in one row group where the format has them, are read within 150 MB over the imports."""
    line = json.dumps({"note_id": "%d", "text": "Plan: rest and fluids. " * 200}) + "\n"
    with (tmp_path / "n.jsonl").open("w") as file:
        file.writelines(line.replace("%d", str(i), 1) for i in range(44_000))
    texts = [f"Plan: {i} rest and fluids. " * 180 for i in range(44_000)]
    pq.write_table(
        pa.table({"note_id": list(range(44_000)), "text": texts}),
        tmp_path / "n.parquet",
        row_group_size=44_000,
    )
    probe = textwrap.dedent("""
        import resource, sys
        from rubricator.nlp.readers.notes import NoteReader
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        notes = sum(batch.num_rows for batch in NoteReader(sys.argv[1], on_dead_letter=print))
        print(notes, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
    """)
    for name in ("n.jsonl", "n.parquet"):
        assert (tmp_path / name).stat().st_size > 1_000_000
        output = subprocess.check_output([sys.executable, "-c", probe, str(tmp_path / name)], text=True)
        notes, megabytes = map(int, output.split())
        assert notes == 44_000
        assert megabytes < 150, f"{name}: {megabytes} MB"
