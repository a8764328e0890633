"""The benchmark on made-up corpora in the shapes it names: what it measures, keeps, reports and survives."""

import gzip
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rubricator.flows.benchmark.benchmark import Benchmarked, benchmark
from rubricator.flows.benchmark.row import made_up_notes
from rubricator.flows.benchmark.table import BenchmarkError, Table
from rubricator.flows.demo.synthetic import synthetic_notes
from rubricator.flows.parameters.flat import flat

CANARY = "zebrafinchnebula"


def write(path: Path, rows: Iterator[dict[str, Any]] | list[dict[str, Any]]) -> None:
    with gzip.open(path, "wt", encoding="utf-8") as lines:
        lines.writelines(json.dumps(row) + "\n" for row in rows)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Corpora of synthetic notes; those of CMC 2007 have no codes, those of CodiEsp are missing."""
    folder = tmp_path_factory.mktemp("data")
    notes = list(synthetic_notes(notes=160, seed=3))
    texts = {note.note_id: f"{note.text}\nDisclaimer: {CANARY}." for note in notes}
    write(
        folder / "mtsamples.jsonl.gz",
        [{"note_id": note.note_id, "text": texts[note.note_id], "headings": []} for note in notes[:120]],
    )
    write(
        folder / "aci_bench.jsonl.gz",
        [{"note_id": note.note_id, "source": "x", "text": texts[note.note_id]} for note in notes[120:]],
    )
    write(
        folder / "plan_annotated.jsonl.gz",
        [
            {
                "note_id": note.note_id,
                "kind": "unheaded" if note.gold.style == "unheaded" else "headed",
                "units": [[0, 10, 0], *([start, end, 1] for start, end in note.gold.plan)],
            }
            for note in notes[:12]
        ],
    )
    write(folder / "cmc2007.jsonl.gz", [{"note_id": "1", "text": f"Cough. {CANARY}", "codes": None}])
    return folder


@pytest.fixture(scope="module")
def out(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a smoke run leaves its results: apart from those of a whole one."""
    return tmp_path_factory.mktemp("benchmark") / "out" / "quick"


def run(data: Path, out: Path, only: list[str]) -> Benchmarked:
    models = ["svm", "majority", "keywords"]
    return flat(benchmark)(str(data), out=str(out.parent), only=only, models=models, quick=True)


@pytest.fixture(scope="module")
def done(data: Path, out: Path) -> Benchmarked:
    return run(data, out, ["plan-content", "cmc"])


def test_a_row_ends_as_soon_as_it_is_measured(tmp_path: Path) -> None:
    rows = [  # enough text for folds in processes of their own
        {"note_id": f"{row}", "text": f"cough {row} " * 300, "codes": [f"{row % 2}"]} for row in range(140)
    ]
    write(tmp_path / "cmc2007.jsonl.gz", rows)
    done = flat(benchmark)(
        str(tmp_path), out=str(tmp_path / "out"), only=["cmc"], models=["majority"], quick=True
    )
    assert done.measured == 1 and done.seconds < 150, "idle processes of folds were waited for: 300 seconds"


def test_an_ensemble_is_measured_beside_its_members(tmp_path: Path) -> None:
    said = ["dry cough", "fever", "knee pain", "rash"]
    rows = [
        {"note_id": f"{row}", "text": f"seen {row} for {said[row % 4]} {row % 7}", "codes": [f"R0{row % 4}"]}
        for row in range(60)
    ]
    write(tmp_path / "cmc2007.jsonl.gz", rows)
    models = ["svm", "mentions", "ensemble"]
    done = flat(benchmark)(str(tmp_path), out=str(tmp_path / "out"), only=["cmc"], models=models, quick=True)
    assert done.measured == 3 and not done.failed
    figures = json.loads((tmp_path / "out/quick/runs/cmc/ensemble/figures.json").read_text())
    assert figures["tests"]["held out"]["all"]["metrics"]["micro_f1"]["value"] > 0.9
    assert figures["settings"]["members"] == ["svm", "mentions"]
    assert re.search(r"\| ensemble \| svm \| [+-]?\d", done.report.with_suffix(".md").read_text())


def test_it_measures_what_it_can_and_reports_what_failed(done: Benchmarked, out: Path) -> None:
    assert done.measured == 3
    assert set(done.failed) == {"cmc/majority", "cmc/svm"}
    assert "none of 1 notes has codes" in done.failed["cmc/svm"]
    figures = json.loads((out / "runs" / "plan-content" / "svm" / "figures.json").read_text())
    assert {"annotated notes", "ACI-BENCH"} == set(figures["tests"])
    strata = figures["tests"]["annotated notes"]["strata"]
    assert {"headed", "unheaded"} == set(strata) and strata["headed"]["metrics"]["micro_f1"][
        "resamples"
    ] == 100
    assert figures["cost"]["units_per_second"] > 0 and figures["cost"]["peak_megabytes"] > 50


@pytest.mark.parametrize("name", ["report.html", "report.md"])
def test_the_report_has_figures_tests_costs_plots_and_failures(
    done: Benchmarked, out: Path, name: str
) -> None:
    page = (out / name).read_text()
    assert "smoke run" in page and "none of 1 notes has codes" in page
    for said in ("Plan sentences by content", "paired tests", "tuned thresholds", "by kind of note", "Cost"):
        assert said in page
    assert "CodiEsp" not in page and "plan-folds/svm" in page  # no data; data but not chosen
    if name == "report.md":
        plots = re.findall(r"\]\((plots/[^)]+)\)", page)
        assert len(plots) == 4 and all((out / plot).read_bytes().startswith(b"\x89PNG") for plot in plots)
        assert re.search(r"\| svm \| majority|\| majority \| svm \| [+-]\d\.\d{3}", page)
    else:
        assert page.count("data:image/png;base64,") == 4 and "<script" not in page


def test_a_second_run_measures_only_what_is_missing(done: Benchmarked, data: Path, out: Path) -> None:
    kept = out / "runs" / "plan-content" / "svm" / "figures.json"
    before = {path: path.stat().st_mtime_ns for path in out.glob("runs/plan-content/*/*")}
    (out / "runs" / "plan-content" / "keywords" / "figures.json").unlink()
    assert run(data, out, ["plan-content"]).measured == 3
    assert kept.stat().st_mtime_ns == before[kept]
    assert {path for path in before if path.stat().st_mtime_ns != before[path]} == set(
        (out / "runs" / "plan-content" / "keywords").iterdir()
    )


def test_a_smoke_run_leaves_a_whole_run_alone(done: Benchmarked, data: Path, out: Path) -> None:
    assert done.report == out / "report.html"
    assert {path.name for path in out.parent.iterdir()} == {"quick"}


def test_rows_that_were_made_with_other_code_are_told_apart(done: Benchmarked, data: Path, out: Path) -> None:
    assert "source" in (out / "report.md").read_text().split("\n")[2]
    kept = out / "runs" / "plan-content" / "svm" / "figures.json"
    figures = json.loads(kept.read_text())
    kept.write_text(json.dumps(figures | {"made_with": "1 core, another source"}))
    run(data, out, ["plan-content"])
    told = (out / "report.md").read_text().split("What the rows were made with")[1]
    assert re.search(r"1 core, another source \| plan-content/svm \|", told)
    kept.write_text(json.dumps(figures))


def test_what_another_release_measured_is_measured_again(
    done: Benchmarked, data: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = out / "runs" / "plan-content" / "keywords" / "figures.json"
    before = kept.stat().st_mtime_ns
    monkeypatch.setattr("rubricator.flows.benchmark.table.version", lambda _: "99")
    run(data, out, ["plan-content"])
    assert kept.stat().st_mtime_ns != before


def test_no_note_text_is_kept(done: Benchmarked, out: Path) -> None:
    files = [path for path in out.rglob("*") if path.is_file()]
    assert files
    for path in files:
        held = path.read_bytes()
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                held = b"".join(arrays[name].astype(str).tobytes() for name in arrays)
                held = held.replace(b"\0", b"")
        assert CANARY.encode() not in held, path
        assert path.stat().st_mode & 0o077 == 0, path


def mimic_note(stay: int) -> str:
    return f"Stay {stay} of the {stay * 7919} kind with {'cough' if stay % 2 else 'sepsis'} and {CANARY}"


@pytest.fixture(scope="module")
def mimic3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty stays in the tables of MIMIC-III."""
    folder = tmp_path_factory.mktemp("mimic3")
    stays = range(60)
    with (folder / "NOTEEVENTS.csv").open("w") as table:
        table.write(
            "ROW_ID,SUBJECT_ID,HADM_ID,CHARTDATE,CHARTTIME,STORETIME,CATEGORY,DESCRIPTION,CGID,ISERROR,TEXT\n"
        )
        table.writelines(
            f"{stay},{stay},{100 + stay},2101-01-01,,,Discharge summary,Report,,,{mimic_note(stay)}\n"
            for stay in stays
        )
    with (folder / "DIAGNOSES_ICD.csv").open("w") as table:
        table.write("ROW_ID,SUBJECT_ID,HADM_ID,SEQ_NUM,ICD9_CODE\n")
        table.writelines(f"1,{stay},{100 + stay},1,{'4019' if stay % 2 else '4280'}\n" for stay in stays)
    (folder / "PROCEDURES_ICD.csv").write_text(
        "ROW_ID,SUBJECT_ID,HADM_ID,SEQ_NUM,ICD9_CODE\n1,0,100,1,9915\n"
    )
    return folder


@pytest.fixture(scope="module")
def mimic4(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eighty stays in the tables of MIMIC-IV, half of them coded in ICD-9; one code has nine stays."""
    folder = tmp_path_factory.mktemp("mimic4")
    (folder / "hosp").mkdir()
    (folder / "note").mkdir()
    stays = range(80)
    with gzip.open(folder / "note" / "discharge.csv.gz", "wt") as table:
        table.write("note_id,subject_id,hadm_id,note_type,note_seq,charttime,storetime,text\n")
        table.writelines(
            f"{stay}-DS-1,{stay},{100 + stay},DS,1,2101-01-01 10:00:00,,{mimic_note(stay)}\n"
            for stay in stays
        )
    with gzip.open(folder / "hosp" / "diagnoses_icd.csv.gz", "wt") as table:
        table.write("subject_id,hadm_id,seq_num,icd_code,icd_version\n")
        for stay in stays:
            nine, ten = ("4019", "I10") if stay % 2 else ("4280", "I509")
            table.write(
                f"{stay},{100 + stay},1,{ten},10\n" if stay < 40 else f"{stay},{100 + stay},1,{nine},9\n"
            )
        table.writelines(f"{stay},{100 + stay},2,E119,10\n" for stay in range(9))
    with gzip.open(folder / "hosp" / "procedures_icd.csv.gz", "wt") as table:
        table.write("subject_id,hadm_id,seq_num,chartdate,icd_code,icd_version\n")
        table.writelines(f"{stay},{100 + stay},1,2101-01-01,02HV33Z,10\n" for stay in range(20))
    return folder


def test_mimic_tables_give_the_same_report(mimic3: Path, mimic4: Path, tmp_path: Path) -> None:
    done = flat(benchmark)(
        mimic3=str(mimic3),
        mimic4=str(mimic4),
        out=str(tmp_path),
        only=["mimic3-50", "mimic3-full", "mimic4-icd9-50", "mimic4-icd10-full"],
        models=["majority"],
        quick=True,
    )
    assert done.measured == 4 and not done.failed and done.left
    page = (tmp_path / "quick" / "report.md").read_text()
    for title in (
        "MIMIC-III, the 50 most frequent codes",
        "MIMIC-III, all codes",
        "MIMIC-IV, ICD-9, the 50 most frequent codes",
        "MIMIC-IV, ICD-10, all codes",
    ):
        assert title in page
    assert "by positives in training" in page and CANARY not in page
    results = {
        path.parent.parent.name: json.loads(path.read_text())
        for path in tmp_path.glob("quick/runs/*/*/figures.json")
    }
    learnt = {name: result["trained_on"]["labels"] for name, result in results.items()}
    assert learnt == {"mimic3-50": 3, "mimic3-full": 3, "mimic4-icd9-50": 2, "mimic4-icd10-full": 3}
    for name, result in results.items():
        assert "parts drawn anew, not the public ones" in result["rule"]
        assert ("codes of at least 10 stays" in result["rule"]) == (name == "mimic4-icd10-full")


def test_another_list_of_stays_is_another_row(mimic3: Path, tmp_path: Path) -> None:
    lists = tmp_path / "splits"
    lists.mkdir()

    def rule(first: int) -> str:
        parts = {"train": range(first, 40), "dev": range(40, 50), "test": range(50, 70)}
        for part, stays in parts.items():
            ids = "".join(f"{100 + stay}\n" for stay in stays)
            (lists / f"{part}_full_hadm_ids.csv").write_text(ids)
        flat(benchmark)(
            mimic3=str(mimic3),
            splits=str(lists),
            out=str(tmp_path),
            only=["mimic3-full"],
            models=["majority"],
            quick=True,
        )
        [path] = tmp_path.glob("quick/runs/*/*/figures.json")
        return str(json.loads(path.read_text())["rule"])

    assert "40 of 40 train, 10 of 10 dev, 10 of 20 test stays" in rule(0)
    assert "39 of 39 train" in rule(1)


KILLED = """
import json, os, signal, sys, time
from pathlib import Path

if __name__ == "__mp_main__":  # the process of the row
    import transformers

    class Kill(transformers.TrainerCallback):
        networks = 0

        def on_train_begin(self, *_, **__):
            Kill.networks += 1

        def on_epoch_begin(self, args, state, control, **_):
            with open(sys.argv[4], "a") as log:
                print(Kill.networks, int(state.epoch), file=log)
            if sys.argv[5] == "kill" and (Kill.networks, state.epoch) == (2, 2):
                os.kill(os.getppid(), signal.SIGKILL)
                time.sleep(60)

    made = transformers.Trainer.__init__
    transformers.Trainer.__init__ = lambda self, *a, callbacks, **k: made(self, *a, callbacks=[*callbacks, Kill()], **k)

if __name__ == "__main__":
    from rubricator.flows.benchmark import table as benchmark_table
    from rubricator.flows.benchmark.benchmark import benchmark
    from rubricator.flows.parameters.flat import flat

    benchmark_table.TABLE = Path(sys.argv[3])
    print(flat(benchmark)(sys.argv[1], out=sys.argv[2], quick=True))
"""
TINY = """
[[protocols]]
name = "plan-content"
title = "Plan sentences by content"
text = "A made-up one."
task = "plan"
train = "mtsamples"
exclude = "plan_annotated"
tests = [{ name = "ACI-BENCH", corpus = "aci_bench" }]

[[models]]
name = "cnn"
about = "a small one"
classifier = "cnn"
settings = ["width=8", "filters=4", "hidden=8", "epochs=4", "least_steps=0", "patience=9", "members=2"]
seconds = { plan = 1 }
"""


def test_a_benchmark_that_was_killed_in_a_network_goes_on_from_its_checkpoint(
    data: Path, tmp_path: Path
) -> None:
    (tmp_path / "script.py").write_text(KILLED)
    (tmp_path / "table.toml").write_text(TINY)
    folder, log = tmp_path / "out/quick/runs/plan-content/cnn", tmp_path / "epochs.txt"

    def run_script(*, kill: bool) -> subprocess.CompletedProcess[str]:
        given = [data, tmp_path / "out", tmp_path / "table.toml", log, "kill" if kill else "run"]
        return subprocess.run(
            [sys.executable, tmp_path / "script.py", *given], capture_output=True, text=True, check=False
        )

    assert run_script(kill=True).returncode == -signal.SIGKILL
    assert log.read_text().split("\n") == ["1 0", "1 1", "1 2", "1 3", "2 0", "2 1", "2 2", ""]
    assert not (folder / "figures.json").exists()
    log.unlink()
    done = run_script(kill=False)
    assert done.returncode == 0, done.stderr
    assert log.read_text().split("\n") == ["1 2", "1 3", ""], "the first of two networks was done"
    figures = json.loads((folder / "figures.json").read_text())
    assert figures["resumed"], "its seconds are not those of a training"
    assert figures["tests"]["ACI-BENCH"]["all"]["metrics"]["micro_f1"]["value"] > 0
    assert not any(path.is_file() for path in (tmp_path / "out/quick/checkpoints").rglob("*"))


def test_what_cannot_be_measured_is_said(data: Path, tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="starts with 'mtsamples'; there are plan-folds"):
        run(data, tmp_path, ["mtsamples"])
    with pytest.raises(BenchmarkError, match="holds no corpus that the chosen rows need"):
        run(data, tmp_path, ["codiesp"])
    with pytest.raises(BenchmarkError, match="is no folder"):
        run(data / "missing", tmp_path, [])


def test_every_row_of_the_table_can_be() -> None:
    """Names are of each other, and settings are of their classifiers."""
    from rubricator.flows.settings import classifier_settings
    from rubricator.models.classifier import CLASSIFIERS

    table = Table.load()
    protocols, models = ({each.name for each in entries} for entries in (table.protocols, table.models))
    assert len(protocols) == len(table.protocols) and len(models) == len(table.models)
    for model in table.models:
        assert all(any(name.startswith(start) for name in protocols) for start in model.protocols)
        assert {model.against or model.name} <= models
        assert model.classifier in CLASSIFIERS or "models.ablations" in model.classifier
        for task in {"plan" if task == "plan" else "codes" for task in model.seconds}:  # as in row.py
            classifier_settings(model.classifier, task, [*model.settings, *model.quick])


def test_notes_that_are_timed_have_their_length() -> None:
    assert [len(note.split()) for note in made_up_notes(3, 500)] == [500] * 3
