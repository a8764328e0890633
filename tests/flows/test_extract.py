"""Extract: sections and sentences of every note on disk, the report on headings, and no note text elsewhere."""

import base64
import csv
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from rubricator.flows.extract import Extracted, extract
from rubricator.flows.jobs.files import sha256_by_name
from rubricator.flows.jobs.job import read_manifest
from rubricator.flows.jobs.ledger import SettingsChangedError
from rubricator.flows.parameters.flat import flat
from rubricator.nlp.lexicon.lexicon import Lexicon
from rubricator.nlp.readers.notes import NOTES_SCHEMA, read_notes
from rubricator.nlp.sections.finder import SECTIONS_SCHEMA, SectionFinder
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
    return flat(extract)(str(notes), out=str(out), home=str(out.parent / "home"), workers=1, **options)  # type: ignore[arg-type]


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


def shown(result: Extracted) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(result)
    return " ".join(capture.get().split())


def test_the_example_of_the_readme_makes_plans(tmp_path: Path) -> None:
    """In every form of the heading, though a guard of ours takes what begins with "what" for prose."""
    headings = [
        "What happens next:\n",
        "WHAT HAPPENS NEXT\n",
        "**What happens next**\n",
        "What happens next: ",
        "Proposed management:\n",
    ]
    rows = [
        {
            "note_id": f"n{row}",
            "patient_id": f"p{row}",
            "text": f"CHIEF COMPLAINT: Cough.\n\nWELLNESS WISHES:\nHe wants to walk.\n\n{heading}Rest at home.\n",
        }
        for row, heading in enumerate(2 * headings)
    ]
    notes = write_notes(tmp_path / "notes.jsonl", rows)
    before = run(notes, tmp_path / "before")
    assert before.report.sections["plan"] == 2
    assert "name their categories in a TOML file and give it as a lexicon" in shown(before)
    lexicon = tmp_path / "our-headings.toml"
    lexicon.write_text('[categories.plan]\nvariants = ["proposed management", "what happens next"]\n')
    after = run(notes, tmp_path / "after", lexicon=[str(lexicon)])
    assert after.report.sections["plan"] == after.report.notes_with["plan"] == 10
    sentences = pq.read_table(tmp_path / "after" / "sentences").to_pylist()
    positive = [(row["note_id"], row["start"], row["end"]) for row in sentences if row["label"] == 1]
    assert {rows[int(note_id[1:])]["text"][start:end] for note_id, start, end in positive} == {
        "Rest at home."
    }
    assert len(positive) == 10
    assert [unknown.heading for unknown in after.report.unknown_headings] == ["wellness wishes"]


def test_the_report_names_the_file_to_add_to_and_no_heading_that_is_in_it(
    notes: Path, tmp_path: Path
) -> None:
    names = tmp_path / "names.toml"
    names.write_text(
        '[categories.goals]\nvariants = ["wellness wishes"]\n'
        '[[guards]]\nreason = "wishes"\nheading = "wellness wishes"\n'
    )
    refused = run(notes, tmp_path / "refused", lexicon=[str(names)])
    assert refused.report.sections["unknown"] >= 10 and refused.report.rejected["wishes"] == 10
    assert refused.report.unknown_headings == []
    names.write_text('[categories.goals]\nvariants = ["wishes of others"]\n')
    said = shown(run(notes, tmp_path / "other", lexicon=[str(names)]))
    assert "give it as a lexicon" not in said
    assert f"name their categories in {names}, and run again into another folder" in said


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


# ---- marked up notes


MARKUP = f"<h2>History</h2><p>Had a cough.</p><h2>Plan</h2>{{}}stop warfarin, {CANARY}"


def write_fhir(folder: Path, *resources: dict[str, object]) -> Path:
    folder.mkdir(exist_ok=True)
    for kind in {str(resource["resourceType"]) for resource in resources}:
        lines = (json.dumps(resource) for resource in resources if resource["resourceType"] == kind)
        (folder / f"{kind}.ndjson").write_text("".join(f"{line}\n" for line in lines))
    return folder


def document(name: str, html: str) -> dict[str, object]:
    attachment = {"contentType": "text/html", "data": base64.b64encode(html.encode()).decode()}
    return {"resourceType": "DocumentReference", "id": name, "content": [{"attachment": attachment}]}


def composition(name: str, *sections: tuple[str, str]) -> dict[str, object]:
    made = [{"title": title, "text": {"div": f"<div>{narrative}</div>"}} for title, narrative in sections]
    return {"resourceType": "Composition", "id": name, "section": made}


def plan_sentences(out: Path, texts: dict[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in pq.read_table(out / "sentences").to_pylist():
        if row["label"] == 1:
            found.setdefault(row["note_id"], []).append(texts[row["note_id"]][row["start"] : row["end"]])
    return found


def test_no_depth_of_markup_hides_what_stands_in_it(tmp_path: Path) -> None:
    """10,000 elements that are never closed, of each kind that writers of HTML leave open."""
    texts = {tag: MARKUP.format(f"<{tag}>" * 10_000) for tag in ("font", "span", "b", "div")}
    texts["mixed"] = MARKUP.format("<div><b><font color='#000'><span style='x'>" * 2_500)
    source = write_fhir(
        tmp_path / "fhir",
        *(document(name, text) for name, text in texts.items()),
        *(composition(name, ("Plan", text)) for name, text in texts.items()),
    )
    with (tmp_path / "notes.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["note_id", "text"], *texts.items()])
    said = f"stop warfarin, {CANARY}"
    run(source, tmp_path / "from-fhir")
    given = {f"DocumentReference/{name}": text for name, text in texts.items()}
    kept = pq.read_table(tmp_path / "from-fhir" / "composed_notes").to_pylist()
    given |= {note["note_id"]: note["text"] for note in kept}
    assert plan_sentences(tmp_path / "from-fhir", given) == {note_id: [said] for note_id in given}
    run(tmp_path / "notes.csv", tmp_path / "from-csv")
    assert plan_sentences(tmp_path / "from-csv", texts) == {name: [said] for name in texts}


def test_the_time_of_deep_markup_grows_with_its_length() -> None:
    def seconds(depth: int) -> float:
        started = time.process_time()
        text = MARKUP.format("<div><b><font color='#000'><span>" * depth)
        label_note(text, SectionFinder().find(text), WeakLabelSettings(), Lexicon.load())
        return time.process_time() - started

    seconds(10)
    assert seconds(20_000) < 30 * max(seconds(2_000), 0.02)


def test_what_a_reader_decided_stands_in_the_first_line_of_the_report_and_in_the_manifest(
    tmp_path: Path,
) -> None:
    documents = [document(f"d{row}", MARKUP.format("<p>")) | {"status": "superseded"} for row in range(3)]
    source = write_fhir(tmp_path / "fhir", *documents)
    (source / "log[b].ndjson").write_text('{"eventId": "kickoff"}\n')
    result = run(source, tmp_path / "out")
    console = Console(width=200, record=True, file=(tmp_path / "screen").open("w"))
    console.print(result)
    notices = [
        "documents read although marked as superseded, as no document of the export replaces them: 3",
        "files that are not FHIR (log[b].ndjson): 1",
    ]
    assert [line.strip() for line in console.export_text().splitlines()[:2]] == notices
    assert read_manifest(tmp_path / "out")["notices"] == result.to_json()["job"]["notices"] == notices
    assert str(result.job).splitlines()[:2] == notices


def test_composed_texts_are_kept_beside_the_tables_and_no_other_text(
    tmp_path: Path, files_with: Callable[..., list[Path]]
) -> None:
    visits = [
        composition(f"c{row}", ("History", "<p>A cough.</p>"), ("A & P", f"<p>Rest, {CANARY}.</p>"))
        for row in range(3)
    ]
    others = [document(f"d{row}", MARKUP.format("<p>")) for row in range(3)]
    source = write_fhir(tmp_path / "fhir", *visits, *others)
    out = tmp_path / "out"
    result = run(source, out, shard_size=2, positive=["assessment_and_plan"])
    assert f"; the composed texts of 3 are in {out / 'composed_notes'}" in str(result.job)
    assert {file.parent for file in files_with(CANARY, out, tmp_path / "home")} == {out / "composed_notes"}
    kept = pq.read_table(out / "composed_notes")
    assert kept.schema.equals(NOTES_SCHEMA)
    read = read_notes(source, on_dead_letter=print).to_pylist()
    assert kept.to_pylist() == [note for note in read if note["note_id"].startswith("Composition/")]
    texts = dict(zip(kept["note_id"].to_pylist(), kept["text"].to_pylist(), strict=True))
    assert plan_sentences(out, texts) == {f"Composition/c{row}": [f"Rest, {CANARY}."] for row in range(3)}
    for file in (out / "composed_notes").glob("*"):
        assert file.stat().st_mode & 0o777 == 0o600
    manifest = read_manifest(out)
    assert manifest["rows"]["composed_notes"] == 3
    again = run(out / "composed_notes", tmp_path / "again", positive=["assessment_and_plan"])
    assert again.job.notes == 3, "what is kept can be given as notes"
    assert plan_sentences(tmp_path / "again", texts) == plan_sentences(out, texts)


def test_where_no_text_was_composed_none_is_kept(notes: Path, tmp_path: Path) -> None:
    result = run(notes, tmp_path / "out")
    assert not (tmp_path / "out" / "composed_notes").exists()
    assert "composed" not in str(result.job)


# ---- as Prefect flows, all in one process of their own

FLOWS = """
import sys
from pathlib import Path
from rubricator.flows.jobs.engines import choose_engine
from rubricator.flows.extract import extract
from rubricator.flows.run import run
from rubricator.flows.jobs.job import run_job
from rubricator.nlp.readers.notes import NoteReader
from toy_steps import CountWords

def count(*, notes: str, out: str, engine: str, home: str | None = None):
    return run_job(CountWords(), lambda dead: NoteReader(notes, on_dead_letter=dead), Path(out),
                   engine=choose_engine(engine, 2), source=notes, shard_size=4)

if __name__ == "__main__":
    home, notes, *engines = sys.argv[1:]
    for engine in engines:
        print(run(extract, home=home, notes=notes, out=engine, workers=2, shard_size=6, engine=engine).job)
        print(run(count, home=home, notes=f"failing-{engine}.jsonl", out=f"failing-{engine}", engine=engine))
"""
ENGINES = ["local", "dask"] if find_spec("prefect_dask") else ["local"]


@pytest.fixture(scope="module")
def flows(module_home: Path) -> tuple[Path, str]:
    """The folder that the flows ran in, and what they said. Notes hold a canary; of the last jobs', some fail."""
    folder = module_home.parent
    rows = [
        {"note_id": f"n{row}", "text": NOTE.replace("Cough", f"Cough {CANARY}, day {row}")}
        for row in range(12)
    ]
    write_notes(folder / "notes.jsonl", rows)
    rows = [{"note_id": f"n{row}", "text": "fine"} for row in range(9)]
    rows[5]["text"] = f"[fail] {CANARY} has a cough"
    rows[6]["text"] = f"[panic] {CANARY} has a cough"
    write_notes(folder / "failing-dask.jsonl", rows)
    rows[7]["text"] = (
        f"[kill] {CANARY} has a cough"  # with Dask, to find it takes a cluster for each half of a shard
    )
    write_notes(folder / "failing-local.jsonl", rows)
    (folder / "script.py").write_text(FLOWS)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT")}
    done = subprocess.run(
        [sys.executable, "script.py", module_home, "notes.jsonl", *ENGINES],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(HERE)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder, done.stdout + done.stderr


def test_shards_are_tasks_of_the_flows(flows: tuple[Path, str]) -> None:
    folder, _ = flows
    asked = """
        SELECT group_concat(task_run.name || ' ' || task_run.state_name) FROM task_run
        JOIN flow_run ON flow_run.id = task_run.flow_run_id JOIN flow ON flow.id = flow_run.flow_id
        WHERE flow.name = 'extract' GROUP BY flow_run.id
    """
    with sqlite3.connect(folder / "home" / "prefect" / "prefect.db") as database:
        found = [sorted(states.split(",")) for (states,) in database.execute(asked)]
    assert found == [["shard-0 Completed", "shard-1 Completed"]] * len(ENGINES)


@pytest.mark.parametrize("engine", ["local", "dask"])
def test_a_flow_gives_the_same_tables(flows: tuple[Path, str], tmp_path: Path, engine: str) -> None:
    if engine not in ENGINES:
        pytest.skip("no prefect-dask here")
    folder, said = flows
    run(folder / "notes.jsonl", tmp_path / "direct")
    assert said.count("12 notes in") == len(ENGINES)
    for table in ("sections", "sentences"):
        key = [("note_id", "ascending"), ("start" if table == "sentences" else "heading_start", "ascending")]
        tables = [pq.read_table(out / table).sort_by(key) for out in (folder / engine, tmp_path / "direct")]
        assert tables[0].num_rows and tables[0].equals(tables[1])


def test_note_text_is_nowhere_also_of_a_note_that_fails(
    flows: tuple[Path, str], files_with: Callable[..., list[Path]]
) -> None:
    folder, said = flows
    raised = {"failed: PanicException": 1, "failed: ValueError": 1}
    killed = {"its worker process was killed, most likely for want of memory": 1}
    failing = [folder / f"failing-{engine}" for engine in ENGINES]
    for out in failing:
        letters = read_manifest(out)["dead_letters"]
        assert letters == (raised if out.name.endswith("dask") else raised | killed)
    assert "6 notes in" in said
    assert CANARY not in said
    assert files_with(CANARY, folder / "home", *failing, *(folder / engine for engine in ENGINES)) == []


def test_lexicon_files_of_one_name_are_both_part_of_the_settings(tmp_path: Path) -> None:
    files = [tmp_path / ward / "headings.toml" for ward in "ab"]
    for file in files:
        file.parent.mkdir()
        file.write_text(f"# {file.parent.name}")
    before = sha256_by_name(list(map(str, files)))
    files[0].write_text("# edited")
    assert len(before) == 2 and sha256_by_name(list(map(str, files))) != before


def test_brackets_in_the_name_of_a_folder_are_no_pattern(home: Path, tmp_path: Path) -> None:
    (tmp_path / "n[1].jsonl").write_text(json.dumps({"note_id": "1", "text": "Plan:\nRest."}) + "\n")
    done = flat(extract)(str(tmp_path / "n[1].jsonl"), out=str(tmp_path / "o[1]"), home=str(home))
    assert done.report.notes == 1
