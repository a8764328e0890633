"""Labels of coded notes: one spelling, one version of ICD, and what is said of them."""

from collections.abc import Sequence

import pyarrow as pa
import pytest

from rubricator.nlp.builders.code_labels import respelt
from rubricator.nlp.builders.codes import NoCodesError, code_examples
from rubricator.nlp.code_table import read_code_table
from rubricator.nlp.examples import Examples
from rubricator.nlp.readers.notes import NOTES_SCHEMA
from rubricator.nlp.shortcuts import read_notes


def notes(*codes: Sequence[str]) -> list[pa.RecordBatch]:
    frame = pa.table(
        {
            "note_id": [f"n{number}" for number in range(len(codes))],
            "text": [f"Word{number} of a note." for number in range(len(codes))],
            "codes": [list(each) for each in codes],
        }
    )
    table = read_notes(frame)
    assert table.schema == NOTES_SCHEMA
    batches: list[pa.RecordBatch] = table.to_batches()
    return batches


def labels_of(examples: Examples) -> list[list[str]]:
    return [[examples.labels[at] for at in row.indices] for row in examples.targets]


def test_spellings_are_one_label_and_the_own_spelling_stays_where_it_is_the_same_everywhere() -> None:
    same = code_examples(notes(["E119", "i10"], ["E119"], ["4019"][:0]))
    assert (same.labels, same.notices) == (["E119", "i10"], [])
    several = code_examples(notes(["E119", "i10"], ["E11.9"], ["e11.9."]))
    assert (several.labels, labels_of(several)) == (
        ["E11.9", "I10"],
        [["E11.9", "I10"], ["E11.9"], ["E11.9"]],
    )
    assert several.notices == [
        "1 code written in several ways became one label each (E119, E11.9, e11.9: E11.9)"
    ]


def test_a_table_of_the_site_is_matched_by_code(tmp_path: "pytest.TempPathFactory") -> None:
    file = tmp_path / "codes.csv"  # type: ignore[operator]
    file.write_text("icd10_code,title\nE119,sugar\nE11.9,diabetes\nX9977,our own\nI10,pressure\n")
    found = code_examples(notes(["E11.9"], ["I10", "X99.77"]), table=read_code_table(file))
    assert found.labels == ["E11.9", "I10", "X99.77"]
    assert found.descriptions == ["sugar\ndiabetes", "pressure", "our own"]
    assert not any("no table" in notice for notice in found.notices)


@pytest.mark.parametrize(
    ("wanted", "labels"), [(None, ["E11.9", "I10"]), (10, ["E11.9", "I10"]), (9, ["401.9"])]
)
def test_one_version_of_icd_is_learnt(wanted: "int | None", labels: list[str]) -> None:
    corpus = notes(["I10"], ["401.9"], ["E11.9", "I10", "0DTJ4ZZ"][:2], ["I10", "E11.9", "250.00"], ["401.9"])
    found = code_examples(corpus, icd_version=wanted)  # type: ignore[arg-type]
    assert found.labels == labels
    assert found.ids == (["n1", "n4"] if wanted == 9 else ["n0", "n2", "n3"])
    [notice] = found.notices
    assert ("3 notes of ICD-10 are used; 2 of ICD-9 and 1 code of" in notice) == (wanted != 9)


def test_a_tie_is_of_icd_10_and_codes_that_look_like_both_follow_the_tables() -> None:
    assert code_examples(notes(["I10"], ["401.9"])).labels == ["I10"]
    nine = code_examples(notes(["401.9", "V58.61", "E878.8", "99.04"], ["V58.61"]))
    assert nine.labels == ["401.9", "99.04", "E878.8", "V58.61"]
    assert nine.notices == []


def test_notes_are_scored_in_the_spelling_and_version_of_the_model() -> None:
    scored = code_examples(notes(["E11.9", "J18.9"], ["401.9"]), scored_labels=["E119", "I10"])
    assert (scored.labels, scored.ids) == (["E119", "J18.9"], ["n0"])
    with pytest.raises(NoCodesError, match="no note has codes of ICD-9; 1 note with codes of ICD-10"):
        code_examples(notes(["I10"]), scored_labels=["401.9"])
    own = code_examples(notes(["I10", "401.9"]), scored_labels=["FEVER"])
    assert own.labels == ["401.9", "I10"]


@pytest.mark.parametrize(
    ("codes", "said"),
    [
        (["I10", "X99.77", "COVID_19"], "2 of 3 labels: in no table of codes (COVID_19, X99.77)"),
        (
            ["FEVER", "COUGH"],
            "no label has the form of an ICD code: they are taken as labels of your own (COUGH, FEVER)",
        ),
        (
            ["401.9", "42", "5"],
            "codes may have lost leading zeros",
        ),
    ],
)
def test_labels_that_are_no_known_codes_are_named(codes: list[str], said: str) -> None:
    assert any(said in notice for notice in code_examples(notes(*[codes] * 5, codes[:1])).notices)


def test_labels_of_few_notes_may_be_text_and_are_not_shown() -> None:
    said = code_examples(notes(["I10", "SEEN_BY_QUILL"], ["FEVER"])).notices
    assert any("2 of 3 labels: in no table" in notice for notice in said)
    assert not any("QUILL" in notice or "FEVER" in notice for notice in said)


def test_labels_are_respelt_like_others() -> None:
    assert respelt(["E11.9", "FEVER", "I10"], ["e119", "I10", "J18.9"]) == ["e119", "FEVER", "I10"]
