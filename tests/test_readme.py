"""Every command and every example of the README runs, in its order, on synthetic notes in the shapes it names."""

import base64
import gzip
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from rubricator.flows.demo.synthetic import read_gold, write_synthetic_notes

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SERVES = ("rubricator schedule", "mlflow ui")  # until they are stopped


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    lines = [line.split("  #")[0].strip() for block in blocks("sh") for line in block.splitlines()]
    inline = re.findall(r"`(rubricator [a-z]+ [^`]*notes[^`]*)`", README)
    return [line for line in [*lines, *inline] if line]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all the files that the README speaks of."""
    folder = tmp_path_factory.mktemp("readme")
    corpus = write_synthetic_notes(folder / "corpus", notes=100, new_notes=20, seed=5)
    notes = pl.read_ndjson(corpus.notes)
    notes.drop("codes").write_csv(folder / "notes.csv")
    notes.drop("codes").write_parquet(folder / "notes.parquet")
    notes.write_parquet(folder / "coded-notes.parquet")
    (folder / "exports").mkdir()
    with gzip.open(folder / "exports" / "1.jsonl.gz", "wt") as lines:
        lines.write(notes.rename({"text": "body"}).write_ndjson())
    (folder / "text-notes").mkdir()
    for row in notes.head(5).iter_rows(named=True):
        (folder / "text-notes" / f"{row['note_id']}.txt").write_text(row["text"])
    new = pl.read_ndjson(corpus.new_notes)
    new.write_parquet(folder / "later-coded-notes.parquet")
    first = new["note_id"][0]
    new = new.with_columns(note_id=pl.col("note_id").replace(first, "note-1"))
    (folder / "new-notes").mkdir()
    new.write_ndjson(folder / "new-notes" / "monday.jsonl")
    write_fhir(folder / "fhir-export", notes.row(0, named=True))
    write_mimic(folder, notes.row(0, named=True))
    gold = read_gold(corpus.gold)
    with (folder / "gold.jsonl").open("w") as lines:
        for row in notes.head(20).iter_rows(named=True):
            units = [[start, end, 1] for start, end in gold[row["note_id"]].plan]
            lines.write(json.dumps({"note_id": row["note_id"], "units": units or [[0, 10, 0]]}) + "\n")
    for block in blocks("toml"):
        name, _, content = block.partition("\n")
        (folder / name.removeprefix("# ")).write_text(content)
    return folder


def write_fhir(folder: Path, note: dict[str, Any]) -> None:
    folder.mkdir()
    document = {
        "resourceType": "DocumentReference",
        "id": "d1",
        "status": "current",
        "subject": {"reference": "Patient/p1"},
        "content": [
            {
                "attachment": {
                    "contentType": "text/plain",
                    "data": base64.b64encode(note["text"].encode()).decode(),
                }
            }
        ],
    }
    (folder / "DocumentReference.ndjson").write_text(json.dumps(document) + "\n")


def write_mimic(folder: Path, note: dict[str, Any]) -> None:
    third, fourth = folder / "mimic3", folder / "mimic4"
    (fourth / "note").mkdir(parents=True)
    (fourth / "hosp").mkdir()
    third.mkdir()
    pl.DataFrame(
        {
            "ROW_ID": ["1"],
            "SUBJECT_ID": ["7"],
            "HADM_ID": ["70"],
            "CHARTDATE": ["2101-01-01"],
            "CHARTTIME": [""],
            "STORETIME": [""],
            "CATEGORY": ["Discharge summary"],
            "DESCRIPTION": ["Report"],
            "CGID": [""],
            "ISERROR": [""],
            "TEXT": [note["text"]],
        }
    ).write_csv(third / "NOTEEVENTS.csv")
    diagnosis = {
        "ROW_ID": ["1"],
        "SUBJECT_ID": ["7"],
        "HADM_ID": ["70"],
        "SEQ_NUM": ["1"],
        "ICD9_CODE": ["4019"],
    }
    pl.DataFrame(diagnosis).write_csv(third / "DIAGNOSES_ICD.csv")
    pl.DataFrame({**diagnosis, "ICD9_CODE": ["3893"]}).write_csv(third / "PROCEDURES_ICD.csv")
    pl.DataFrame(
        {
            "note_id": ["7-DS-1"],
            "subject_id": ["7"],
            "hadm_id": ["70"],
            "note_type": ["DS"],
            "note_seq": ["1"],
            "charttime": ["2101-01-01 10:00:00"],
            "storetime": ["2101-01-01 10:00:00"],
            "text": [note["text"]],
        }
    ).write_csv(fourth / "note" / "discharge.csv")
    icd = {
        "subject_id": ["7"],
        "hadm_id": ["70"],
        "seq_num": ["1"],
        "icd_code": ["I10"],
        "icd_version": ["10"],
    }
    pl.DataFrame(icd).write_csv(fourth / "hosp" / "diagnoses_icd.csv")
    pl.DataFrame({**icd, "icd_code": ["02HV33Z"], "chartdate": ["2101-01-01"]}).write_csv(
        fourth / "hosp" / "procedures_icd.csv"
    )


@pytest.fixture(scope="module")
def environment(folder: Path, made_home: Path) -> dict[str, str]:
    """Without what points to another home. Prefect's database is made: that takes a quarter of a minute."""
    shutil.copytree(made_home / "prefect", folder / ".rubricator" / "prefect")
    own = ("RUBRICATOR", "MLFLOW", "PREFECT")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    return kept | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


RUN = """
import shlex, sys
from rubricator.flows.cli import main
for command in sys.argv[1:]:
    print("$", command, file=sys.stderr)
    sys.argv = shlex.split(command)
    try:
        main()
    except SystemExit as ended:
        if ended.code:
            raise
"""


@pytest.mark.timeout(1800)
def test_every_command_runs(folder: Path, environment: dict[str, str]) -> None:
    """The first by the installed program, most others in one process: each would import everything again."""
    found = commands()
    assert sum(command.startswith("rubricator") for command in found) > 15
    shown = [command for command in found if not command.startswith(("rubricator", "mlflow"))]
    for command in shown:
        if command.startswith("make"):  # `make test` runs this very test, and test_demo runs the demo
            ran([*shlex.split(command), "--dry-run"], cwd=ROOT)
    first, *others = (command for command in found if command not in shown)
    ran(shlex.split(first), cwd=folder, env=environment)
    ran(
        [sys.executable, "-c", RUN, *(command for command in others if not command.startswith(SERVES))],
        cwd=folder,
        env=environment,
    )
    for command in others:
        if command.startswith(SERVES):
            assert serves(command, folder, environment), command
    assert len(pl.read_parquet(folder / "predicted-codes" / "predictions")) > 0
    assert (folder / "note-1.html").exists()


def ran(command: list[str], **how: Any) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1500, **how)
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"


def serves(command: str, folder: Path, environment: dict[str, str]) -> bool:
    """Whether it is still there, and has said something, when it is stopped."""
    log = folder / "serves.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            f"exec {command}",
            shell=True,
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        deadline = time.monotonic() + 90
        while not log.read_text().strip() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.5)
        time.sleep(3)
        running = process.poll() is None
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:  # MLflow's server, where it was still starting
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return running and bool(log.read_text().strip())


def test_extras_that_it_installs_are_there() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = re.findall(r"(?:install|wheel) [^`\n]*'(?:\.|rubricator)\[([\w,]+)\]'", README)
    assert named and {extra for group in named for extra in group.split(",")} <= extras.keys()


@pytest.mark.parametrize("example", blocks("python"))
def test_every_python_example_runs(example: str, folder: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", example], capture_output=True, text=True, check=True, timeout=60
    )
    assert "plan 18776-5" in result.stdout


def test_it_links_to_what_is_there() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
    for path in re.findall(r"`((?:flows|models|nlp|tests)/[\w./-]+)`", README):
        assert (ROOT / path).exists(), path
