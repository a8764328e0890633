"""Predict: every note by a registered model, each row traceable to its version; resumable; no note text elsewhere."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from rubricator.flows.jobs.job import read_manifest
from rubricator.flows.parameters.flat import flat
from rubricator.flows.predict import Predicted, predict
from rubricator.models.prediction import PREDICTIONS_SCHEMA
from rubricator.models.trained_model import TrainedModel
from rubricator.nlp.sentences.splitter import sentence_contexts

CANARY = "zyxcanaryword"
TEXTS = [
    "HPI: Had a cough for three days. Denies fever and chills.\n\nPLAN: Follow up in two weeks.",
    "Lungs are clear. Will repeat the chest film.",
    "Essential hypertension, on lisinopril. Low back pain after lifting.",
    "Type 2 diabetes, on metformin.",
    "1. 2. 3.",
]


def write_notes(path: Path, count: int, *, first: int = 0) -> Path:
    rows = [
        {"note_id": f"n{row}", "text": TEXTS[row % 5] + f" Visit {row}." * (row % 5 < 4)}
        for row in range(first, first + count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run(notes: Path, model: Path, out: Path, **options: object) -> Predicted:
    home = str(out.parent / "home")
    return flat(predict)(str(notes), model=str(model), out=str(out), home=home, workers=1, **options)  # type: ignore[arg-type]


def rows(out: Path) -> list[dict[str, object]]:
    table = pq.read_table(out / "predictions")
    assert table.schema.equals(PREDICTIONS_SCHEMA)
    found: list[dict[str, object]] = table.to_pylist()
    return sorted(found, key=lambda row: (row["note_id"], row["start"], row["rank"]))


def test_sentences_of_every_note_get_the_decisions_of_the_model(
    tmp_path: Path, home: Path, plan_model: Path
) -> None:
    notes = write_notes(tmp_path / "notes.jsonl", 5)
    result = run(notes, plan_model, tmp_path / "out")
    assert result.notes == 5 and result.model.startswith("plan-model/")
    assert str(result).startswith(f"{result.model}: 5 notes in ")
    found = rows(tmp_path / "out")
    texts = {note["note_id"]: note["text"] for note in map(json.loads, notes.read_text().splitlines())}
    said = {texts[row["note_id"]][row["start"] : row["end"]]: row["decision"] for row in found}
    assert {"Follow up in two weeks.", "Will repeat the chest film."} <= said.keys()
    assert not {"Had a cough for three days.", "Denies fever and chills.", "Lungs are clear."} & said.keys()
    assert "reject" not in said.values()
    for row in found:
        assert row["evidence"]
        for span in row["evidence"]:
            assert row["start"] <= span["start"] < span["end"] <= row["end"]
        assert (row["label"], row["rank"], row["warnings"]) == ("plan", 1, [])
        assert row["model_version"] == result.model.split("/")[1]


def test_min_probability_0_writes_every_unit_with_the_model_s_own_probability(
    tmp_path: Path, home: Path, plan_model: Path
) -> None:
    notes = write_notes(tmp_path / "notes.jsonl", 2)
    run(notes, plan_model, tmp_path / "out", min_probability=0)
    found = [row for row in rows(tmp_path / "out") if row["note_id"] == "n1"]
    text = json.loads(notes.read_text().splitlines()[1])["text"]
    spans = [(row["start"], row["end"]) for row in found]
    assert [text[start:end] for start, end in spans] == [
        "Lungs are clear.",
        "Will repeat the chest film.",
        "Visit 1.",
    ]
    probabilities = TrainedModel.load(plan_model).predict_proba(
        [text[start:end] for start, end in spans], contexts=sentence_contexts(text, spans)
    )
    assert np.allclose([row["probability"] for row in found], probabilities[:, 0], atol=1e-6)


def test_codes_have_rank_description_and_warnings(tmp_path: Path, home: Path, code_model: Path) -> None:
    notes = write_notes(tmp_path / "notes.jsonl", 5)
    run(notes, code_model, tmp_path / "out")
    coded: dict[object, list[object]] = {}
    for row in rows(tmp_path / "out"):
        coded.setdefault(row["note_id"], []).append(row["label"])
        assert row["start"] == 0
    assert coded["n3"] == ["E11.9"] and set(coded["n2"]) == {"I10", "M54.5"} and "n4" not in coded
    assert read_manifest(tmp_path / "out")["notes"] == 5, "a note without rows is done too"
    by_label = {row["label"]: row for row in rows(tmp_path / "out")}
    assert by_label["I10"]["description"] == "Essential (primary) hypertension"
    assert by_label["I10"]["warnings"] == []
    assert re.match("not a billable ICD-10-CM code", by_label["M54.5"]["warnings"][0])


def test_top_k_keeps_the_best_labels_of_a_note(tmp_path: Path, home: Path, code_model: Path) -> None:
    notes = write_notes(tmp_path / "notes.jsonl", 5)
    run(notes, code_model, tmp_path / "all", min_probability=0)
    run(notes, code_model, tmp_path / "two", min_probability=0, top_k=2)
    everything = rows(tmp_path / "all")
    assert len(everything) == 15
    for note in range(5):
        of_note = [row for row in everything if row["note_id"] == f"n{note}"]
        assert [row["rank"] for row in of_note] == [1, 2, 3]
        probabilities = [row["probability"] for row in of_note]
        assert probabilities == sorted(probabilities, reverse=True)
    assert rows(tmp_path / "two") == [row for row in everything if row["rank"] <= 2]


def test_another_version_goes_on_with_new_notes_only(tmp_path: Path, home: Path, plan_model: Path) -> None:
    notes = write_notes(tmp_path / "notes.jsonl", 5)
    first, second = tmp_path / "a" / "model", tmp_path / "b" / "model"
    model = TrainedModel.load(plan_model)
    model.save(first)
    model.card = "Trained again."
    model.save(second)
    before = run(notes, first, tmp_path / "out")
    assert "nothing to do: all 5 notes are done" in str(run(notes, second, tmp_path / "out"))
    write_notes(notes, 7)
    after = run(notes, second, tmp_path / "out")
    old, new = before.model.split("/")[1], after.model.split("/")[1]
    assert (after.notes, after.by_other_versions) == (2, {old: 5})
    assert f"version {old} did 5 notes before" in str(after)
    by_version = {(row["note_id"] in ("n5", "n6"), row["model_version"]) for row in rows(tmp_path / "out")}
    assert by_version == {(False, old), (True, new)}


def test_units_and_evidence_of_a_composition_point_into_the_text_that_is_kept(
    tmp_path: Path, home: Path, plan_model: Path, files_with: Callable[..., list[Path]]
) -> None:
    said = f"Follow up in two weeks &amp; rest, {CANARY}."
    visit = {
        "resourceType": "Composition",
        "id": "c1",
        "section": [
            {"title": "HPI", "text": {"div": "<div><p>Had a cough for three days.</p></div>"}},
            {"title": "A & P", "text": {"div": f"<div><ul><li>{said}</li></ul></div>"}},
        ],
    }
    (tmp_path / "Composition.ndjson").write_text(json.dumps(visit))
    result = run(tmp_path / "Composition.ndjson", plan_model, tmp_path / "out")
    assert result.composed == 1
    [kept] = pq.read_table(tmp_path / "out" / "composed_notes").to_pylist()
    found = [row for row in rows(tmp_path / "out") if row["note_id"] == "Composition/c1"]
    assert said in [kept["text"][row["start"] : row["end"]] for row in found]
    assert any(
        "ollow" in kept["text"][span["start"] : span["end"]] for row in found for span in row["evidence"]
    )
    assert {file.parent.name for file in files_with(CANARY, tmp_path / "out", home)} <= {"composed_notes"}


# ---- kill -9, and as a Prefect flow

RUN = """
import sys
from rubricator.flows.predict import predict
from rubricator.flows.run import run
if __name__ == "__main__":
    notes, model, out, home, prefect = sys.argv[1:]
    print(run(predict, home=home, use_prefect=prefect == "prefect", notes=notes, model=model, out=out,
              min_probability=0, workers=2, shard_size=10))
"""


def start(tmp_path: Path, *arguments: object) -> subprocess.Popen[str]:
    (tmp_path / "script.py").write_text(RUN)
    return subprocess.Popen(
        [sys.executable, tmp_path / "script.py", *map(str, arguments)],
        env={key: value for key, value in os.environ.items() if not key.startswith("PREFECT")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_kill_9_and_again_gives_the_rows_of_an_uninterrupted_run(
    tmp_path: Path, home: Path, code_model: Path
) -> None:
    notes = write_notes(tmp_path / "notes.jsonl", 200)
    run(notes, code_model, tmp_path / "whole", min_probability=0)
    out = tmp_path / "out"
    for shards in (1, 12):
        job = start(tmp_path, notes, code_model, out, home, "direct")
        while len(list((out / "predictions").glob("*.parquet"))) < shards and job.poll() is None:
            time.sleep(0.002)
        job.send_signal(signal.SIGKILL)
        job.wait()
    again = start(tmp_path, notes, code_model, out, home, "direct").communicate()[0]
    assert re.search(r"(\d+) notes in .*; (\d+) were done before", again) or "nothing to do" in again
    assert rows(out) == rows(tmp_path / "whole")
    assert len(rows(out)) == 600


def test_a_flow_keeps_note_text_out(
    tmp_path: Path, home: Path, plan_model: Path, files_with: Callable[..., list[Path]]
) -> None:
    notes = write_notes(tmp_path / "notes.jsonl", 25)
    notes.write_text(notes.read_text().replace("cough", f"cough {CANARY}"))
    job = start(tmp_path, notes, plan_model, tmp_path / "out", home, "prefect")
    output, errors = job.communicate()
    assert "25 notes in" in output, errors
    assert CANARY not in output + errors
    assert any(file.name.startswith("prefect.db") for file in files_with("shard-0", home)), (
        "runs are on record"
    )
    assert files_with(CANARY, home, tmp_path / "out") == []
