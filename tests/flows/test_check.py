"""Check: what notes hold and what they can be used for, and none of their text."""

import csv
import io
import json
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from rubricator.flows.check.check import Checked, check
from rubricator.flows.check.readiness import Readiness, readiness_of
from rubricator.flows.figures import ReportError
from rubricator.flows.jobs.result import DeadLettersError
from rubricator.flows.parameters.flat import flat
from rubricator.nlp.lexicon.lexicon import Lexicon

CANARY = "zyxcanaryword"
NOTE = """\
CHIEF COMPLAINT: Cough since day {number}.

SCOREBOARD WORDS: {canary} is here.

EXAM: Lungs are clear. No edema.{more}

PLAN: Chest film on day {number}. Follow up in two weeks.
"""
Row = dict[str, Any]


def rows(count: int = 30) -> list[Row]:
    """Notes of two to a patient, each with a code; the first code has few notes."""
    return [
        {
            "id": f"n{number}",
            "patient_id": f"p{number // 2}",
            "date": f"2024-01-{number % 28 + 1:02d}",
            "note_type": "Clinic",
            "text": NOTE.format(
                number=number, canary=CANARY, more=f" Words of note {number}." * (number % 7)
            ),
            "codes": "I10" if number % 3 else "E11.9;J18.9",
        }
        for number in range(count)
    ]


@pytest.fixture
def checked(tmp_path: Path) -> Any:
    """Calls `check` on rows, written as CSV."""

    def run(notes: list[Row], **options: Any) -> Checked:
        with (tmp_path / "notes.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(notes[0]))
            writer.writeheader()
            writer.writerows(notes)
        found = flat(check)(str(tmp_path / "notes.csv"), home=str(tmp_path / "home"), workers=1, **options)
        assert isinstance(found, Checked)
        return found

    return run


def shown(found: Checked) -> str:
    text = io.StringIO()
    Console(file=text, width=200).print(found)
    return text.getvalue()


def ready(found: Checked) -> dict[str, Readiness]:
    return {each.task: each for each in found.readiness}


def test_counts_notes_patients_dates_codes_and_headings(checked: Any) -> None:
    found = checked(rows()).findings
    assert (found.notes, found.patients.patients, found.patients.given) == (30, 15, True)
    assert (found.dates.first, found.dates.last, found.dates.missing) == ("2024-01-01", "2024-01-28", 0)
    assert found.note_types == {"Clinic": 30}
    assert found.codes.most_used == {"I10": 20, "E11.9": 10, "J18.9": 10}
    assert found.codes.notes_by_version == {"ICD-10": 30}
    assert (found.headings.notes, found.headings.with_plan, found.headings.plan_sentences) == (30, 30, 60)


def test_no_text_of_notes_is_shown_unless_headings_are_asked_for(checked: Any, tmp_path: Path) -> None:
    page = tmp_path / "check.html"
    found = checked(rows(), out=str(page))
    said = shown(found) + json.dumps(found.to_json()) + page.read_text(encoding="utf-8")
    assert CANARY not in said
    assert "scoreboard" not in said.lower()
    assert found.to_json()["headings"]["unknown"] == 1
    found = checked(rows(), out=str(page), headings=True)
    for text in (shown(found), json.dumps(found.to_json()), page.read_text(encoding="utf-8")):
        assert "scoreboard words" in text
        assert CANARY not in text


def test_a_heading_of_few_patients_is_never_shown(checked: Any, tmp_path: Path) -> None:
    notes = rows()
    for row in notes[:4]:
        row["text"] = "JOHN QUILLFEATHER:\n" + row["text"]
    found = checked(notes, headings=True, stub=str(tmp_path / "stub.toml"))
    assert "quillfeather" not in (shown(found) + (tmp_path / "stub.toml").read_text()).lower()


def test_the_stub_is_a_lexicon_that_changes_nothing_until_it_is_filled_in(
    checked: Any, tmp_path: Path
) -> None:
    stub = tmp_path / "ours.toml"
    checked(rows(), stub=str(stub))
    assert tomllib.loads(stub.read_text())["categories"]["unknown"]["variants"] == ["scoreboard words"]
    Lexicon.load(stub)
    found = checked(rows(), lexicon=(str(stub),))
    assert (found.findings.headings.plan_sentences, found.findings.headings.unknown) == (60, [])
    filled = stub.read_text().replace("[categories.unknown]", "[categories.plan]")
    stub.write_text(filled)
    assert checked(rows(), lexicon=(str(stub),)).findings.headings.plan_sentences == 90


def test_copies_cut_texts_and_damaged_characters_are_counted(checked: Any) -> None:
    notes = rows()
    notes[1]["text"] = notes[0]["text"]
    notes[3]["text"] = notes[2]["text"] + " One more word."
    notes[4]["text"] = "The patientâ€™s cough. " + notes[4]["text"]
    for row in notes[10:20]:
        row["text"] = (row["text"] * 5)[:255]
    for row in notes:
        row["text"] = row["text"][:255]
    found = checked(notes).findings.texts
    assert found.copies >= 1
    assert found.near_copies >= 1
    assert (found.cut_at, found.damaged) == (255, 1)


@pytest.mark.parametrize(
    ("change", "task", "said"),
    [
        ({"codes": ""}, "codes", "no note has codes"),
        ({"codes": "I10"}, "codes", "same code"),
        ({"patient_id": "p1"}, "plan", "one patient"),
        ({"text": "Seen today. All is well."}, "plan", "no note has a heading that holds plans"),
    ],
)
def test_says_what_forbids_a_task(checked: Any, change: Row, task: str, said: str) -> None:
    found = ready(checked([row | change for row in rows()]))[task]
    assert not found.is_ready
    assert said in " ".join(found.forbidden)
    assert found.minutes is None


def test_says_what_to_look_at_first(checked: Any) -> None:
    notes = rows()
    for row in notes:
        del row["patient_id"]
    notes[0]["codes"] = "401.9"
    notes[1]["codes"] = "Q99.99"
    found = ready(checked(notes))["codes"]
    advice = " ".join(found.advice)
    assert found.is_ready
    for said in ("no patient ids", "several versions", "not in ICD-10-CM", "fewer than 10 notes"):
        assert said in advice


def test_nothing_is_left_in_the_home(checked: Any, tmp_path: Path) -> None:
    checked(rows())
    assert not list((tmp_path / "home").glob("check-*"))


def test_a_sample_is_looked_at_for_headings_and_all_notes_for_the_rest(checked: Any) -> None:
    found = checked(rows(300), sample=60).findings
    assert found.notes == 300
    assert 20 < found.headings.notes < 120


def test_a_type_or_a_label_of_few_patients_may_be_text_and_is_not_shown(checked: Any) -> None:
    notes = rows()
    notes[0]["note_type"] = f"seen by {CANARY}"
    notes[1]["codes"] = json.dumps([f"{CANARY} pain", "I10"])
    found = checked(notes)
    assert CANARY not in shown(found) + json.dumps(found.to_json())
    assert sum(found.findings.note_types.values()) == 30


@pytest.mark.parametrize(
    ("option", "name"), [("out", "notes.csv"), ("stub", "notes.csv"), ("out", "mine.txt")]
)
def test_no_file_of_the_user_is_replaced(checked: Any, tmp_path: Path, option: str, name: str) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(ReportError, match=r"the file .* give "):
        checked(rows(), **{option: str(tmp_path / name)})
    assert (tmp_path / "mine.txt").read_text() == "precious"
    assert "SCOREBOARD" in (tmp_path / "notes.csv").read_text()


def test_a_filled_in_stub_is_not_replaced(checked: Any, tmp_path: Path) -> None:
    stub = str(tmp_path / "ours.toml")
    checked(rows(), stub=stub)
    with pytest.raises(ReportError, match="a file of this name is there"):
        checked(rows(), stub=stub, lexicon=(stub,))


def test_notes_of_which_none_can_be_used_are_an_error(checked: Any) -> None:
    with pytest.raises(DeadLettersError, match="none of 30 notes could be used"):
        checked([row | {"text": " "} for row in rows()])


def test_standard_input_is_read(tmp_path: Path) -> None:
    table = "id,text\n" + "".join(f'{n},"PLAN: walk on day {n}."\n' for n in range(20))
    command = [sys.executable, "-m", "rubricator.flows.cli", "check", "-", "--json", "--home", str(tmp_path)]
    done = subprocess.run(command, input=table, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["notes"] == 20


@pytest.mark.parametrize(
    ("codes", "said"),
    [("4019.0", "a code was made a number"), ("He has a cough today.", "cannot be told from other text")],
)
def test_codes_that_training_would_refuse_are_told_and_the_rest_is_counted(
    checked: Any, codes: str, said: str
) -> None:
    notes = [row | {"codes": codes if number < 20 else "042;42"} for number, row in enumerate(rows())]
    found = checked(notes)
    assert found.findings.notes == 30
    assert any(said in notice and notice.endswith(": 20") for notice in found.source.notices)
    assert found.findings.codes.may_lack_zeros == ["42"]


def test_rare_labels_of_a_site_are_counted_and_not_named(checked: Any) -> None:
    notes = [row | {"codes": f"LABEL_{number // 3}"} for number, row in enumerate(rows())]
    found = checked(notes)
    assert (found.findings.codes.codes, ready(found)["codes"].is_ready) == (10, True)
    assert "LABEL_" not in shown(found) + json.dumps(found.to_json())


def test_a_sample_without_notes_is_said(checked: Any) -> None:
    found = checked(rows())
    empty = replace(found.findings, headings=None)
    plan, codes = readiness_of(empty)
    assert "no note fell into the sample" in plan.forbidden[0]
    assert codes.is_ready and codes.minutes is None


def test_what_a_killed_check_left_is_removed(checked: Any, tmp_path: Path) -> None:
    left = tmp_path / "home" / "check-killed" / ".work"
    left.mkdir(parents=True)
    checked(rows())
    assert not left.exists()
