"""The codes of a cell: every spelling and every form of a list that sites have, and what is no list of codes."""

import contextlib
import random
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from rubricator.nlp import icd
from rubricator.nlp.icd import ICD_9, icd10cm_names, is_billable, normal_code, normal_codes
from rubricator.nlp.readers.code_cells import (
    CHANGED_NUMBER,
    NOT_UNDERSTOOD,
    CellError,
    NumbersError,
    SystemCode,
    read_codes,
)
from rubricator.nlp.readers.files import DeadLetter, NoteFormatError
from rubricator.nlp.readers.notes import NoteReader, NoteSettings, read_notes


def normal(cell: object) -> list[str] | None:
    found = read_codes(cell)
    return found and found.normal


@pytest.mark.parametrize(
    "written",
    """E11.9|E119|e11.9|e119|E11.9.|E11.|ICD10:E11.9|ICD-10-CM: E119|icd10cm e11.9|ICD-10 E11.9|E11.9 (ICD-10-CM)
    E11.9-Y|E11.9(Y)|E11.9 (POA)|E11.9:N|E11.9[POA:Y]|E11.9+|E11.9*|†E11.9|E11.9†|*E11.9|'E11.9|="E11.9"|"E11.9"
    <E11.9>|(E11.9)|Ｅ１１．９|E11·9|E11․9|E11.9\u200b|\u00a0E11.9\u00a0|\ufeffE11.9|Е11.9|http://hl7.org/fhir/sid/icd-10-cm¦E119
    E11,9|E11.9;|;E11.9|E11.9?|-E11.9|E11.9\x00|E١١.٩""".replace("\n    ", "|").split("|"),
)  # fmt: skip
def test_a_code_has_one_spelling(written: str) -> None:
    expected = "E11" if written == "E11." else "E11.9"
    assert normal(written.replace("¦", "|")) == [expected]
    assert normal([written.replace("¦", "|")]) == [expected]


BOTH = ["E11.9", "I10"]


@pytest.mark.parametrize(
    "cell",
    [
        "E11.9;I10", "E11.9; I10", "E11.9,I10", "E11.9|I10", "E11.9 I10", "E11.9\nI10", "E11.9\r\nI10", "E11.9\tI10",
        "E11.9/I10", "E11.9 / I10", "E11.9 & I10", "E11.9 + I10", "E11.9 and I10", "E11.9~I10", "E11.9^I10",
        "E11.9<br/>I10", r"E11.9\nI10", "{E11.9,I10}", "[E11.9, I10]", "(E11.9, I10)", "{'E11.9', 'I10'}",
        "('E11.9', 'I10')", '["E11.9","I10"]', "['E11.9' 'I10']", "['E11.9'\n 'I10']", "'E11.9','I10'", '"E11.9","I10"',
        "set(['E11.9', 'I10'])", "array(['E11.9', 'I10'], dtype=object)", "frozenset({'E11.9', 'I10'})",
        "ICD10:E11.9;ICD10:I10", "E11.9-Y;I10-N", "N/A;E11.9;I10;-", "E11.9;I10;", "E119;i10;E11.9",
        "E11.9 - Diabetes of type 2; I10 - High blood pressure", "E11.9: Type 2 diabetes; I10: Hypertension",
        "E11.9 – Type 2 diabetes mellitus, without complications\nI10 – Essential (primary) hypertension",
        "Type 2 diabetes (E11.9), Hypertension (I10)", "Diabetes [E11.9]; Hypertension [I10]",
        "Diabetes - E11.9; Hypertension - I10", "(E11.9) Type 2 diabetes; (I10) Hypertension", "E11.9-Diabetes;I10",
        "1. E11.9 2. I10", "1) E11.9 Type 2 diabetes; 2) I10 Hypertension", "E11.9 Type 2 diabetes | I10 Hypertension",
        "E11.9, diabetes; I10, hypertension", '[{"code": "E11.9", "description": "x"}, {"code": "I10"}]',
        "[{'icd_code': 'E119', 'icd_version': 10}, {'icd_code': 'I10', 'icd_version': 10}]",
        '{"E11.9": "Type 2 diabetes", "I10": "Hypertension"}', "[('E11.9', 'Type 2 diabetes'), ('I10', 'HTN')]",
        ["E11.9", "I10"], ("E11.9", None, "I10"), ["E11.9 - Type 2 diabetes", "Hypertension (I10)"], ["E11.9;I10"],
        [{"code": "E11.9"}, {"code": "I10", "display": "x"}],
        [{"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "E119"}]}, "I10"],
    ],
)  # fmt: skip
def test_every_form_of_a_list_gives_its_codes(cell: object) -> None:
    assert normal(cell) == BOTH


@pytest.mark.parametrize(
    ("cell", "labels"),
    [
        ("Fever", ["Fever"]),
        ("Fever;Cough", ["Fever", "Cough"]),
        ("Fever, cough", ["Fever", "cough"]),
        ("PLAN_A PLAN_B", ["PLAN_A", "PLAN_B"]),
        ('["chest pain", "fever"]', ["chest pain", "fever"]),
        (["chest pain"], ["chest pain"]),
        ("1;0", ["1", "0"]),
        ("A00-A09", ["A00-A09"]),
        ("GENERAL", ["GENERAL"]),
        (
            "I10;COVID-19",
            ["I10", "COVID-19"],
        ),  # an identifier is a label beside codes, a word is a description
        ("I10;Fever", ["I10"]),
        ("250.0", ["250.0"]),  # a header of ICD-9-CM
        ("42", ["42"]),  # said in training: it may be 042
        ("V5861;E8788;4019", ["V58.61", "E878.8", "401.9"]),
        ("E8582;4019", ["E858.2", "401.9"]),  # poisoning, among codes of ICD-9-CM
        ("E8582;I10", ["E85.82", "I10"]),  # amyloidosis
        ("ICD9:E882", ["E882"]),
        ([SystemCode("E8582", ICD_9)], ["E858.2"]),
        ("0dtj4zz", ["0DTJ4ZZ"]),
    ],
)
def test_labels_of_a_site_stay_as_they_are_written(cell: object, labels: list[str]) -> None:
    assert normal(cell) == labels


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("Admitted with cough and fever.", NOT_UNDERSTOOD),
        ("45 year old man with cough, no fever", NOT_UNDERSTOOD),
        ("low vitamin B12; fracture of T12", NOT_UNDERSTOOD),
        ("chest pain", NOT_UNDERSTOOD),
        ("E11.9 Diabetes I10 Hypertension", NOT_UNDERSTOOD),  # one of the two would be lost
        ("E11.9 " + "word " * 100, NOT_UNDERSTOOD),
        ("x " * 20_000, "the cell of codes has more than 20,000 characters"),
        ("rule out O80", NOT_UNDERSTOOD),
        ("J18.9, not K35.80", NOT_UNDERSTOOD),
        ("no evidence of I21.9", NOT_UNDERSTOOD),
        ("E11.9 ruled out", NOT_UNDERSTOOD),
        ("I10=1;E11.9=0", NOT_UNDERSTOOD),
        ("I10:0.9", NOT_UNDERSTOOD),
        ("4019.0", CHANGED_NUMBER),
        ("486.0", CHANGED_NUMBER),  # the table has 486, and no 486.0
        ("5.0", CHANGED_NUMBER),
        ("5.00E+10;I10", CHANGED_NUMBER),
        (["4019.0"], CHANGED_NUMBER),
    ],
)
def test_a_cell_that_cannot_be_understood_is_refused_without_its_words(cell: object, reason: str) -> None:
    with pytest.raises(CellError) as raised:
        read_codes(cell)
    assert str(raised.value) == reason


@pytest.mark.parametrize(
    ("cell", "codes"),
    [
        ("Other bacterial foodborne intoxications, not elsewhere classified (A05)", ["A05"]),
        ("Family history of malignant neoplasm of breast (Z80.3)", ["Z80.3"]),
        ("Non-ST elevation (NSTEMI) myocardial infarction (I21.4)", ["I21.4"]),
        ("J44.9 - Chronic obstructive pulmonary disease without exacerbation", ["J44.9"]),
    ],
)
def test_titles_of_icd_deny_no_code(cell: str, codes: list[str]) -> None:
    assert normal(cell) == codes


@pytest.mark.parametrize("cell", [4019, 250.0, [3.1], "[250.0, 401.9]", [{"code": 4019}]])
def test_numbers_are_told_from_text(cell: object) -> None:
    with pytest.raises(NumbersError):
        read_codes(cell)


@pytest.mark.parametrize(
    "word",
    [
        "NA",
        "N/A",
        "n/a",
        "null",
        "None",
        "none",
        "#N/A",
        "-",
        "--",
        "Unknown",
        "nil",
        "n.a.",
        ".",
        "?",
        "<NA>",
    ],
)
def test_words_for_nothing_are_no_codes_no_patients_and_may_be_note_ids(tmp_path: Path, word: str) -> None:
    assert read_codes(word) is None
    assert read_codes([word]) is None
    rows = [
        {"id": number, "patient_id": word, "text": "x", "codes": word, "date": word} for number in ("1", "2")
    ]
    pl.DataFrame(rows).write_csv(tmp_path / "n.csv")
    notes = read_notes(tmp_path / "n.csv", on_dead_letter=pytest.fail).to_pylist()
    assert [(note["patient_id"], note["codes"], note["written_on"]) for note in notes] == [
        ("1", None, None),
        ("2", None, None),
    ]
    kept = [row | {"id": word} for row in rows[:1]]
    pl.DataFrame(kept).write_csv(tmp_path / "ids.csv")
    letters: list[DeadLetter] = []
    found = read_notes(tmp_path / "ids.csv", on_dead_letter=letters.append)["note_id"].to_pylist()
    assert found == ([] if word in ("null", "None", "#N/A", "<NA>") else [word])


def _codes(system: str) -> list[str]:
    if system == "ICD-10-CM":
        return list(icd10cm_names())
    return [normal_code(code, (system,)) for code in icd._listed(system)]


SPELLINGS: list[Callable[[str], str]] = [
    str.lower,
    lambda code: f"{code}.",
    lambda code: f"{code}-Y",
    lambda code: f"'{code}",
    lambda code: f'="{code}"',
    lambda code: f"{code}*",
    lambda code: code.translate({ord("."): "·"}),
    lambda code: "".join(chr(ord(each) + 0xFEE0) for each in code),
]
CELLS: list[Callable[[list[str]], object]] = [
    list,
    ";".join,
    " ".join,
    "/".join,
    str,
    lambda codes: str(set(codes)),
    lambda codes: "{" + ",".join(codes) + "}",
]


@pytest.mark.parametrize("system", list(icd.RELEASE))
def test_each_code_of_the_tables_is_read_as_itself_in_every_spelling_and_form(system: str) -> None:
    drawn = random.Random(0)
    codes = drawn.sample(_codes(system), 1500)
    for code in codes:
        if system == "ICD-9-CM" and code[0] == "E":
            continue  # without others, E890 is E89.0
        assert normal_code(code) == code
        assert normal_code(code.replace(".", ""), (system,)) == code
        written = drawn.choice(SPELLINGS)(code)
        assert normal(written) == [code], written
    for start in range(0, len(codes), 3):
        some = [code for code in codes[start : start + 3] if system != "ICD-9-CM" or code[0] != "E"]
        form = drawn.choice(CELLS)
        assert sorted(normal(form(some)) or []) == sorted(some), form(some)
    if system == "ICD-9-CM":  # among other codes of its version, an E-code needs no dot
        undotted = [code.replace(".", "") for code in codes if is_billable(code)]
        assert normal_codes(["4019", "25000", *undotted])[2:] == [code for code in codes if is_billable(code)]


def test_a_column_of_text_is_refused_by_its_name_and_quotes_nothing(tmp_path: Path) -> None:
    text = "Secret words of a note, with cough."
    rows = [{"id": str(number), "text": text, "codes": "I10" if number < 4 else text} for number in range(10)]
    pl.DataFrame(rows).write_csv(tmp_path / "n.csv")
    letters: list[DeadLetter] = []
    for settings, said in ((NoteSettings(codes_column="text"), "'text'"), (NoteSettings(), "6 of 10 notes")):
        with pytest.raises(NoteFormatError, match=said) as raised:
            read_notes(tmp_path / "n.csv", settings, on_dead_letter=letters.append)
        assert "Secret" not in str(raised.value)
        assert "codes_column" in str(raised.value)
    assert {letter.reason for letter in letters} == {NOT_UNDERSTOOD}
    without = NoteReader(tmp_path / "n.csv", on_dead_letter=pytest.fail, codes=False)
    assert [note["codes"] for batch in without for note in batch.to_pylist()] == [None] * 10


def test_the_rows_with_changed_numbers_are_counted(tmp_path: Path) -> None:
    pl.DataFrame({"id": list("abc"), "text": ["x"] * 3, "codes": ["4019.0", "486.0", "250.0"]}).write_csv(
        tmp_path / "n.csv"
    )
    with pytest.raises(NoteFormatError, match=r"row 1: .*dtype=str in pandas \(and in 1 more rows\)"):
        read_notes(tmp_path / "n.csv", on_dead_letter=lambda _: None)


def test_evidence_is_spelt_as_the_codes_and_the_own_spelling_is_kept(tmp_path: Path) -> None:
    evidence = [{"code": "e119", "start": 0, "end": 1}, {"code": "E8582", "start": 0, "end": 1}]
    row = {"id": "1", "text": "xy", "codes": ["e119", "I10", "E11.9"], "evidence": evidence}
    (tmp_path / "n.jsonl").write_text(pl.DataFrame([row]).write_ndjson())
    [note] = read_notes(
        tmp_path / "n.jsonl", NoteSettings(evidence_column="evidence"), on_dead_letter=pytest.fail
    ).to_pylist()
    assert (note["codes"], note["codes_as_written"]) == (["E11.9", "I10"], ["e119", "I10"])
    assert [span["code"] for span in note["evidence"]] == ["E11.9", "E85.82"]


@pytest.mark.parametrize("cell", ["word I10{}xyz", "pain 1{}", "icd{}x", "E11.9 - {} I10"])
@pytest.mark.parametrize("filler", [" ", "1", "\t", "a "])
def test_the_time_for_a_cell_grows_with_its_length(
    cell: str, filler: str, takes_even_time: Callable[..., bool]
) -> None:
    def work(size: str) -> None:
        with contextlib.suppress(CellError):
            read_codes(cell.format(filler * (len(size) // len(filler))))

    assert takes_even_time(work, "x" * 19_000)
