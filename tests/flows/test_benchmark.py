"""The benchmark on made-up corpora in the shapes it names: what it measures, keeps, reports and survives."""

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rubricator.flows.benchmark import Benchmarked, benchmark
from rubricator.flows.benchmark_row import made_up_notes
from rubricator.flows.benchmark_table import BenchmarkError, Table
from rubricator.nlp.synthetic import synthetic_notes

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
    return tmp_path_factory.mktemp("benchmark") / "out"


def run(data: Path, out: Path, only: list[str]) -> Benchmarked:
    return benchmark(str(data), out=str(out), only=only, models=["svm", "majority", "keywords"], quick=True)


@pytest.fixture(scope="module")
def done(data: Path, out: Path) -> Benchmarked:
    return run(data, out, ["plan-content", "cmc"])


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


def test_mimic_tables_give_the_same_report(tmp_path: Path) -> None:
    only = ["mimic3-50", "mimic3-full"]
    stays = range(60)
    with (tmp_path / "NOTEEVENTS.csv").open("w") as table:
        table.write(
            "ROW_ID,SUBJECT_ID,HADM_ID,CHARTDATE,CHARTTIME,STORETIME,CATEGORY,DESCRIPTION,CGID,ISERROR,TEXT\n"
        )
        table.writelines(
            f"{stay},{stay},{100 + stay},2101-01-01,,,Discharge summary,Report,,,"
            f"Stay {stay} of the {stay * 7919} kind with {'cough' if stay % 2 else 'sepsis'} and {CANARY}\n"
            for stay in stays
        )
    with (tmp_path / "DIAGNOSES_ICD.csv").open("w") as table:
        table.write("ROW_ID,SUBJECT_ID,HADM_ID,SEQ_NUM,ICD9_CODE\n")
        table.writelines(f"1,{stay},{100 + stay},1,{'4019' if stay % 2 else '4280'}\n" for stay in stays)
    (tmp_path / "PROCEDURES_ICD.csv").write_text(
        "ROW_ID,SUBJECT_ID,HADM_ID,SEQ_NUM,ICD9_CODE\n1,0,100,1,9915\n"
    )
    done = benchmark(
        mimic3=str(tmp_path), out=str(tmp_path / "out"), only=only, models=["majority"], quick=True
    )
    assert done.measured == 2 and not done.failed
    page = (tmp_path / "out" / "report.md").read_text()
    assert "MIMIC-III, the 50 most frequent codes" in page and "MIMIC-III, all codes" in page
    assert "by positives in training" in page and CANARY not in page and "MIMIC-IV" not in page


def test_what_cannot_be_measured_is_said(data: Path, tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="no name starts so; there are plan-folds"):
        run(data, tmp_path, ["mtsamples"])
    with pytest.raises(BenchmarkError, match="holds no corpus that the rows chosen need"):
        run(data, tmp_path, ["codiesp"])
    with pytest.raises(BenchmarkError, match="is no folder"):
        run(data / "missing", tmp_path, [])


def test_every_row_of_the_table_can_be() -> None:
    """Names are of each other, and settings are of their classifiers."""
    from rubricator.flows.settings import classifier_settings

    table = Table.load()
    protocols, models = ({each.name for each in entries} for entries in (table.protocols, table.models))
    assert len(protocols) == len(table.protocols) and len(models) == len(table.models)
    for model in table.models:
        assert set(model.protocols) <= protocols and {model.against or model.name} <= models
        for task in model.seconds:
            classifier_settings(model.classifier, task, [*model.settings, *model.quick])


def test_notes_that_are_timed_have_their_length() -> None:
    assert [len(note.split()) for note in made_up_notes(3, 500)] == [500] * 3
