"""MIMIC-III and MIMIC-IV, in small tables of the documented shape with made-up rows."""

import gzip
from pathlib import Path
from typing import Any

import pytest

from rubricator.nlp.readers.notes import DeadLetter, NoteFormatError, NoteReader, NoteSettings, read_notes

NOTEEVENTS = """"ROW_ID","SUBJECT_ID","HADM_ID","CHARTDATE","CHARTTIME","STORETIME","CATEGORY","DESCRIPTION","CGID","ISERROR","TEXT"
174,22532,167853,"2151-08-04",,,"Discharge summary","Report",,,"Admission Date: [**2151-7-16**]

He said ""rest"".
Discharge Plan: rest
"
175,22532,167853,"2151-08-05",,,"Discharge summary","Addendum",,,"Addendum: none"
176,22532,167853,"2151-07-20","2151-07-20 10:00:00","2151-07-20 11:00:00","Physician ","Physician Resident ReadPosition Note",15000,,"PLAN: rest"
177,22532,167853,"2151-07-20","2151-07-20 10:00:00","2151-07-20 11:00:00","Nursing","Nursing ReadPosition Note",15000,"1","written on the wrong chart"
178,13702,,"2118-06-07",,,"Echo","Report",,,"Normal"
179,13702,107527,"2118-06-14",,,"Discharge summary","Report",,,"Discharged home"
180,13703,107528,"2118-06-14",,,"Discharge summary","Report",,,"Nothing was billed"
"""
DIAGNOSES_3 = """"ROW_ID","SUBJECT_ID","HADM_ID","SEQ_NUM","ICD9_CODE"
1297,13702,107527,1,"486"
1298,22532,167853,2,"25000"
1299,22532,167853,10,"E8798"
1300,22532,167853,1,"0031"
1301,22532,167853,3,"V5861"
1302,13703,107528,,
1303,22532,167853,4,"25000"
"""
PROCEDURES_3 = """"ROW_ID","SUBJECT_ID","HADM_ID","SEQ_NUM","ICD9_CODE"
944,22532,167853,2,"9604"
945,22532,167853,1,"0331"
"""
DISCHARGE = """note_id,subject_id,hadm_id,note_type,note_seq,charttime,storetime,text
10000032-DS-21,10000032,22595853,DS,21,2180-05-07 00:00:00,2180-05-09 15:26:00," \nName:  ___

Discharge Instructions: rest"
10000032-AD-22,10000032,22595853,AD,22,2180-05-08 00:00:00,2180-05-09 15:26:00,"an addendum"
10000117-DS-5,10000117,22927623,DS,5,2181-11-15 00:00:00,2181-11-16 15:26:00,"a second stay"
"""
DIAGNOSES_4 = """subject_id,hadm_id,seq_num,icd_code,icd_version
10000032,22595853,2,78959  ,9
10000032,22595853,1,5723,9
10000117,22927623,1,R1310,10
10000117,22927623,2,I10,10
"""
PROCEDURES_4 = """subject_id,hadm_id,seq_num,chartdate,icd_code,icd_version
10000032,22595853,1,2180-05-07,5491,9
10000117,22927623,1,2181-11-15,0DB68ZX,10
"""


def read(folder: Path) -> tuple[dict[str, dict[str, Any]], list[DeadLetter]]:
    letters: list[DeadLetter] = []
    notes = read_notes(folder, on_dead_letter=letters.append).to_pylist()
    return {note["note_id"]: note for note in notes}, letters


def write(folder: Path, tables: dict[str, str]) -> None:
    for name, content in tables.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content.encode()
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


@pytest.mark.parametrize(
    "names", [("NOTEEVENTS.csv.gz", "DIAGNOSES_ICD.csv.gz"), ("noteevents.csv", "diagnoses_icd.csv")]
)
def test_mimic_iii(tmp_path: Path, names: tuple[str, str]) -> None:
    procedures = names[1].replace("DIAGNOSES", "PROCEDURES").replace("diagnoses", "procedures")
    write(tmp_path, {names[0]: NOTEEVENTS, names[1]: DIAGNOSES_3, procedures: PROCEDURES_3})
    write(
        tmp_path,
        {"PATIENTS.csv": "ROW_ID,SUBJECT_ID\n1,2\n", "LICENSE.txt": "a licence", "SHA256SUMS.txt": "0"},
    )
    notes, letters = read(tmp_path)
    assert [(key, note["patient_id"], note["note_type"]) for key, note in notes.items()] == [
        ("174", "22532", "Discharge summary"),
        ("175", "22532", "Discharge summary"),
        ("176", "22532", "Physician"),
        ("178", "13702", "Echo"),
        ("179", "13702", "Discharge summary"),
        ("180", "13703", "Discharge summary"),
    ]
    summary = notes["174"]
    assert summary["text"] == 'Admission Date: [**2151-7-16**]\n\nHe said "rest".\nDischarge Plan: rest\n'
    assert str(summary["written_on"]) == "2151-08-04"
    assert summary["codes"] == ["003.1", "250.00", "V58.61", "E879.8", "03.31", "96.04"]
    assert notes["179"]["codes"] == ["486"]
    assert [notes[key]["codes"] for key in ("175", "176", "178", "180")] == [None] * 4
    assert letters == [DeadLetter(str(tmp_path / names[0]), 4, "177", "marked as an error (ISERROR = 1)")]


@pytest.mark.parametrize("folders", [("note/", "hosp/"), ("", "")])
def test_mimic_iv(tmp_path: Path, folders: tuple[str, str]) -> None:
    write(tmp_path, {
        f"{folders[0]}discharge.csv.gz": DISCHARGE,
        f"{folders[0]}radiology.csv.gz": DISCHARGE,
        f"{folders[1]}diagnoses_icd.csv.gz": DIAGNOSES_4,
        f"{folders[1]}procedures_icd.csv.gz": PROCEDURES_4,
    })  # fmt: skip
    notes, letters = read(tmp_path)
    assert letters == []
    assert [(key, note["patient_id"], note["note_type"], note["codes"]) for key, note in notes.items()] == [
        ("10000032-DS-21", "10000032", "DS", ["572.3", "789.59", "54.91"]),
        ("10000032-AD-22", "10000032", "AD", None),
        ("10000117-DS-5", "10000117", "DS", ["R13.10", "I10", "0DB68ZX"]),
    ]
    assert str(notes["10000032-DS-21"]["written_on"]) == "2180-05-07"
    assert notes["10000032-DS-21"]["text"] == " \nName:  ___\n\nDischarge Instructions: rest"


def test_the_code_tables_are_read_first_and_again_on_a_second_reading(tmp_path: Path) -> None:
    write(tmp_path, {"NOTEEVENTS.csv": NOTEEVENTS, "DIAGNOSES_ICD.csv": DIAGNOSES_3 + "broken,row\n"})
    letters: list[DeadLetter] = []
    reader = NoteReader(tmp_path, on_dead_letter=letters.append)
    assert [path.name for path in reader.files] == ["DIAGNOSES_ICD.csv", "NOTEEVENTS.csv"]
    first, second = list(reader), list(reader)
    assert first == second
    broken = DeadLetter(str(tmp_path / "DIAGNOSES_ICD.csv"), 8, None, "2 fields, but the header has 5")
    assert [letter for letter in letters if letter.row == 8] == [broken, broken]
    assert reader.fraction_read == 1


def test_notes_without_code_tables_have_no_codes(tmp_path: Path) -> None:
    write(tmp_path, {"NOTEEVENTS.csv": NOTEEVENTS})
    notes, letters = read(tmp_path)
    assert {note["codes"] for note in notes.values()} == {None}
    assert len(letters) == 1
    assert read(tmp_path / "NOTEEVENTS.csv")[0] == notes


def test_tables_that_are_not_as_documented_are_refused(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"NOTEEVENTS.csv": NOTEEVENTS.replace("ISERROR", "E"), "DIAGNOSES_ICD.csv": "HADM_ID,CODE\n1,2\n"},
    )
    with pytest.raises(NoteFormatError, match="no column seq_num, icd9_code; columns are hadm_id, code"):
        read(tmp_path)
    write(tmp_path, {"DIAGNOSES_ICD.csv.gz": DIAGNOSES_3})
    with pytest.raises(NoteFormatError, match="is there twice"):
        read(tmp_path)
    with pytest.raises(NoteFormatError, match="column options are for tables only"):
        NoteReader(tmp_path / "NOTEEVENTS.csv", NoteSettings(text_column="TEXT"), on_dead_letter=print)
    write(tmp_path, {"iv/discharge.csv": DISCHARGE})
    with pytest.raises(NoteFormatError, match="holds MIMIC-III and MIMIC-IV"):
        read(tmp_path)


def test_a_discharge_table_of_another_hospital_is_an_ordinary_table(tmp_path: Path) -> None:
    write(tmp_path, {"discharge.csv": "note_id,text,codes\n1,x,I10\n"})
    assert read(tmp_path)[0]["1"]["codes"] == ["I10"]


@pytest.mark.parametrize("stay", ["100.0", "1.0E2", "0000100", " 100 "])
def test_tables_that_pandas_wrote_are_read_as_the_originals(tmp_path: Path, stay: str) -> None:
    header = "ROW_ID,SUBJECT_ID,HADM_ID,CHARTDATE,CATEGORY,DESCRIPTION,ISERROR,TEXT\n"
    write(tmp_path, {
        "NOTEEVENTS.csv": f"{header}1,10,{stay},2150-01-02,Discharge summary,Report,,Home.\n"
        "2,10,,2150-01-02,Nursing,Report,1.0,wrong chart\n",
        "DIAGNOSES_ICD.csv": "HADM_ID,SEQ_NUM,ICD9_CODE\n100,2.0,4019\n100.0,1.0,038.9\n100,3.0,v5861\n100,4.0,E882\n",
    })  # fmt: skip
    notes, letters = read(tmp_path)
    assert notes["1"]["codes"] == ["038.9", "401.9", "V58.61", "E882"]
    assert [letter.reason for letter in letters] == ["marked as an error (ISERROR = 1)"]


@pytest.mark.parametrize(
    ("version", "codes"), [("10.0", ["E11.65", "I10"]), ("10", ["E11.65", "I10"]), ("", ["E11.65", "I10"])]
)
def test_the_version_of_mimic_iv_may_be_a_float_or_missing(
    tmp_path: Path, version: str, codes: list[str]
) -> None:
    rows = f"10000117,22927623.0,2.0,i10,{version}\n10000117,22927623.0,1.0,E1165,{version}\n"
    write(
        tmp_path, {"discharge.csv": DISCHARGE, "diagnoses_icd.csv": DIAGNOSES_4.splitlines()[0] + "\n" + rows}
    )
    assert read(tmp_path)[0]["10000117-DS-5"]["codes"] == codes


@pytest.mark.parametrize(
    ("table", "code"), [("PROCEDURES_ICD", "5"), ("DIAGNOSES_ICD", "42"), ("DIAGNOSES_ICD", "4019.0")]
)
def test_codes_of_mimic_that_lost_digits_are_refused(tmp_path: Path, table: str, code: str) -> None:
    content = f"HADM_ID,SEQ_NUM,ICD9_CODE\n167853,1,{code}\n167853,2,3605\n"
    write(tmp_path, {"NOTEEVENTS.csv": NOTEEVENTS, f"{table}.csv": content})
    with pytest.raises(NoteFormatError, match=r"row 1: the code has lost digits.*dtype=str"):
        read(tmp_path)
    without = NoteReader(tmp_path, on_dead_letter=lambda _: None, codes=False)
    assert sum(batch.num_rows for batch in without) == 6


def test_tables_of_codes_without_notes_are_refused(tmp_path: Path) -> None:
    write(
        tmp_path, {"hosp/diagnoses_icd.csv": DIAGNOSES_4, "hosp/admissions.csv": "subject_id,hadm_id\n1,2\n"}
    )
    with pytest.raises(NoteFormatError, match=r"the notes are not there: discharge\.csv\.gz"):
        read(tmp_path)


def test_stays_that_are_in_no_table_of_codes_are_said(tmp_path: Path) -> None:
    codes = "HADM_ID,SEQ_NUM,ICD9_CODE\n999,1,4019\n"
    write(tmp_path, {"NOTEEVENTS.csv": NOTEEVENTS, "DIAGNOSES_ICD.csv": codes})
    with pytest.warns(UserWarning, match="none of which is of a stay of the tables of codes .*: 3"):
        read(tmp_path)
