"""Extract: sections and sentences of every note on disk, the report on headings, and no note text elsewhere."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from rubricator.flows.extract import Extracted, extract
from rubricator.flows.ledger import SettingsChangedError
from rubricator.flows.shards import read_manifest
from rubricator.nlp.headings import Lexicon
from rubricator.nlp.sections import SECTIONS_SCHEMA, SectionFinder
from rubricator.nlp.weak_labels import SENTENCES_SCHEMA, LabelError, WeakLabelSettings, label_note

HERE = Path(__file__).parent
CANARY = "zyxcanaryword"
NOTE = """\
CHIEF COMPLAINT: Cough.

WELLNESS WISHES: He would like to walk more.

EXAM: Lungs are clear. No edema.

PLAN: Chest film today. Follow up in two weeks.
"""


def write_notes(path: Path, notes: list[dict[str, str]]) -> Path:
    path.write_text("".join(json.dumps(note) + "\n" for note in notes))
    return path


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """Twelve notes of six patients, two without headings."""
    rows = [
        {
            "note_id": f"n{row}",
            "patient_id": f"p{row % 6}",
            "text": NOTE.replace("Cough", f"Cough, day {row}"),
        }
        for row in range(10)
    ]
    rows[0]["text"] = "JOHN DOE: was seen.\n\n" * 6 + rows[0]["text"]
    rows += [{"note_id": f"n{row}", "patient_id": "p9", "text": "Doing well. No pain."} for row in (10, 11)]
    return write_notes(tmp_path / "notes.jsonl", rows)


def run(notes: Path, out: Path, **options: object) -> Extracted:
    return extract(str(notes), out=str(out), home=str(out.parent / "home"), workers=1, **options)  # type: ignore[arg-type]


def test_tables_hold_what_the_finder_and_the_labels_say(notes: Path, tmp_path: Path) -> None:
    run(notes, tmp_path / "out", shard_size=5)
    sections = pq.read_table(tmp_path / "out" / "sections")
    sentences = pq.read_table(tmp_path / "out" / "sentences")
    assert sections.schema.equals(SECTIONS_SCHEMA) and sentences.schema.equals(SENTENCES_SCHEMA)
    lexicon = Lexicon.load()
    expected_sections, expected_sentences = [], []
    for note in map(json.loads, notes.read_text().splitlines()):
        found = SectionFinder(lexicon).find(note["text"])
        expected_sections += [
            (note["note_id"], part.category, part.body_start, part.body_end) for part in found
        ]
        expected_sentences += [
            (note["note_id"], note["patient_id"], unit.start, unit.end, unit.category, unit.label)
            for unit in label_note(note["text"], found, WeakLabelSettings(), lexicon)
        ]
    columns = ["note_id", "category", "body_start", "body_end"]
    assert [tuple(row[name] for name in columns) for row in sections.to_pylist()] == expected_sections
    assert [tuple(row.values()) for row in sentences.to_pylist()] == expected_sentences


def test_the_report_counts_and_shows_headings_of_enough_patients_only(notes: Path, tmp_path: Path) -> None:
    result = run(notes, tmp_path / "out", shard_size=5)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (report["notes"], report["notes_without_headings"]) == (12, 2)
    assert report["sections"]["plan"] == report["notes_with"]["plan"] == 10
    assert sum(report["sentences"].values()) == pq.read_table(tmp_path / "out" / "sentences").num_rows
    assert report["sentences"]["positive"] == 20
    assert report["unknown_headings"] == [{"heading": "wellness wishes", "sections": 10, "patients": 6}]
    console = Console(width=120)
    with console.capture() as capture:
        console.print(result)
    shown = capture.get()
    assert "wellness wishes" in shown and "12 notes in" in shown and "JOHN DOE" not in shown.upper()


def test_a_lexicon_of_the_site_names_its_headings(notes: Path, tmp_path: Path) -> None:
    lexicon = tmp_path / "ours.toml"
    lexicon.write_text('[categories.goals]\nvariants = ["wellness wishes"]\n')
    result = run(notes, tmp_path / "out", lexicon=[str(lexicon)], positive=["plan", "goals"])
    assert result.report.sections["goals"] == 10
    assert result.report.unknown_headings == []
    assert result.report.sentences["positive"] == 30
    lexicon.write_text('[categories.plan]\nvariants = ["wellness wishes"]\n')
    with pytest.raises(SettingsChangedError, match=r"lexicon: .*ours\.toml"):
        run(notes, tmp_path / "out", lexicon=[str(lexicon)], positive=["plan", "goals"])


def test_a_category_that_there_is_not_is_refused(notes: Path, tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=r"no category plans in the lexicon; there are: .*plan"):
        run(notes, tmp_path / "out", positive=["plans"])


def test_a_second_run_adds_only_new_notes(notes: Path, tmp_path: Path) -> None:
    run(notes, tmp_path / "out")
    before = pq.read_table(tmp_path / "out" / "sections")
    assert str(run(notes, tmp_path / "out").job) == "nothing to do: all 12 notes are done"
    with notes.open("a") as file:
        file.write(json.dumps({"note_id": "new", "patient_id": "p1", "text": NOTE}) + "\n")
    result = run(notes, tmp_path / "out")
    assert (result.job.notes, result.job.skipped, result.report.notes) == (1, 12, 13)
    assert pq.read_table(tmp_path / "out" / "sections").num_rows == before.num_rows + 4


# ---- as a Prefect flow, in a process of its own

FLOW = """
import sys
from rubricator.flows.extract import extract
from rubricator.flows.run import run
if __name__ == "__main__":
    notes, out, home, engine = sys.argv[1:]
    print(run(extract, home=home, notes=notes, out=out, workers=2, shard_size=6, engine=engine).job)
"""
FAILING = """
import sys
from pathlib import Path
from rubricator.flows.engines import choose_engine
from rubricator.flows.run import run
from rubricator.flows.shards import run_job
from rubricator.nlp.notes import NoteReader
from toy_steps import CountWords

def count(*, notes: str, out: str, home: str | None = None):
    return run_job(CountWords(), lambda dead: NoteReader(notes, on_dead_letter=dead), Path(out),
                   engine=choose_engine("local", 2), source=notes, shard_size=4)

if __name__ == "__main__":
    notes, out, home = sys.argv[1:]
    print(run(count, home=home, notes=notes, out=out))
"""


def python(script: str, tmp_path: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    (tmp_path / "script.py").write_text(script)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT")}
    return subprocess.run(
        [sys.executable, tmp_path / "script.py", *map(str, arguments)],
        env=environment | {"PYTHONPATH": str(HERE)},
        capture_output=True,
        text=True,
        check=True,
    )


def task_runs(home: Path) -> list[tuple[str, str]]:
    with sqlite3.connect(home / "prefect" / "prefect.db") as database:
        return sorted(database.execute("SELECT name, state_name FROM task_run").fetchall())


@pytest.mark.parametrize("engine", ["local", "dask"])
def test_a_flow_does_shards_as_tasks_and_keeps_note_text_out(
    notes: Path, tmp_path: Path, home: Path, engine: str, files_with: Callable[..., list[Path]]
) -> None:
    if engine == "dask":
        pytest.importorskip("prefect_dask")
    notes.write_text(notes.read_text().replace("Cough", f"Cough {CANARY}"))
    out = tmp_path / "out"
    done = python(FLOW, tmp_path, notes, out, home, engine)
    assert done.stdout.startswith("12 notes in")
    assert task_runs(home) == [(f"shard-{number}", "Completed") for number in range(2)]
    run(notes, tmp_path / "direct")
    for table in ("sections", "sentences"):
        key = [("note_id", "ascending"), ("start" if table == "sentences" else "heading_start", "ascending")]
        tables = [pq.read_table(folder / table).sort_by(key) for folder in (out, tmp_path / "direct")]
        assert tables[0].equals(tables[1])
    assert CANARY not in done.stdout + done.stderr
    assert files_with(CANARY, out, home) == []


def test_the_text_of_a_note_that_fails_is_nowhere(
    tmp_path: Path, home: Path, files_with: Callable[..., list[Path]]
) -> None:
    rows = [{"note_id": f"n{row}", "text": "fine"} for row in range(9)]
    rows[5]["text"] = f"[fail] {CANARY} has a cough"
    rows[7]["text"] = f"[kill] {CANARY} has a cough"
    notes = write_notes(tmp_path / "notes.jsonl", rows)
    out = tmp_path / "out"
    done = python(FAILING, tmp_path, notes, out, home)
    assert done.stdout.startswith("7 notes in")
    assert read_manifest(out)["dead_letters"].keys() == {
        "failed: ValueError",
        "its worker process was killed, most likely for want of memory",
    }
    assert CANARY not in done.stdout + done.stderr
    assert files_with(CANARY, out, home) == []
