"""Every command and example of the documentation runs, page by page, on synthetic notes in the shapes it names.

Blocks of `sh`, `python` and `toml` run in their order. A `toml` or `python` block whose first line names a file is that
file. A block that cannot run stands after a comment `<!-- not run: reason -->`. Pages share a folder, and one process:
each would import everything again. README.md comes first, as the others use the models that it trains.
"""

import base64
import gzip
import json
import os
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest
from shell import STEP, Shell

from rubricator.flows.demo.synthetic import read_gold, write_synthetic_notes

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
FIRST = [ROOT / "README.md", DOCS / "guides" / "data-engineer.md"]
PAGES = [*FIRST, *sorted({*DOCS.rglob("*.md"), ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"} - {*FIRST})]
MADE = {"contributing.md", "changelog.md"}  # by docs/build_site.py, as is most of the reference
SERVES = ("rubricator schedule", "mlflow ui")  # until they are stopped
MOST_NOT_RUN = 12
BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]+) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S
)
INLINE = re.compile(r"`(rubricator [a-z]+[^`]*)`")
FILE = re.compile(r"# ([\w-]+\.(?:py|toml))\n")


class Block(NamedTuple):
    """A fenced block of a page. reason: why it is not run, if it is not."""

    language: str
    text: str
    reason: str | None


def blocks(page: Path) -> list[Block]:
    found = BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [Block(each["language"], each["text"], each["reason"]) for each in found]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


RUNNABLE = [
    page for page in PAGES if any(block.language != "text" and not block.reason for block in blocks(page))
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all the files that the pages speak of."""
    folder = tmp_path_factory.mktemp("docs")
    corpus = write_synthetic_notes(folder / "corpus", notes=100, new_notes=20, seed=5)
    notes = pl.read_ndjson(corpus.notes)
    notes.drop("codes").write_csv(folder / "notes.csv")
    notes.drop("codes").write_parquet(folder / "notes.parquet")
    notes.write_parquet(folder / "coded-notes.parquet")
    with sqlite3.connect(folder / "omop.db") as database:
        database.execute("CREATE TABLE note (note_id, person_id, note_date, note_text)")
        rows = notes.select("note_id", "patient_id", "written_on", "text").rows()
        database.executemany("INSERT INTO note VALUES (?, ?, ?, ?)", rows)
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


@pytest.fixture(scope="module")
def shell(folder: Path, environment: dict[str, str]) -> Iterator[Shell]:
    opened = Shell(folder, environment)
    yield opened
    opened.close()


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("page", RUNNABLE, ids=name_of)
def test_all_of_a_page_runs(page: Path, shell: Shell) -> None:
    for block in blocks(page):
        if block.reason or block.language == "text":
            continue
        if named := FILE.match(block.text):
            (shell.folder / named[1]).write_text(block.text)
        elif block.language == "python":
            shell.run(name_of(page), "python", block.text)
        else:
            for command in commands(block.text):
                run_command(command, page, shell)


def commands(block: str) -> list[str]:
    return [command for line in block.splitlines() if (command := line.split("  #")[0].strip())]


def run_command(command: str, page: Path, shell: Shell) -> None:
    if command.startswith("make"):  # tests of their own run the demo, and `make test` runs this very test
        ran([*shlex.split(command), "--dry-run"], cwd=ROOT)
    elif command.startswith(SERVES) and "--once" not in command:
        assert serves(command, shell.folder, shell.environment), command
    else:
        assert command.startswith("rubricator "), f"{name_of(page)}: what runs {command!r}?"
        shell.run(name_of(page), "sh", command)


@pytest.mark.slow
def test_what_the_readme_promises_is_there(shell: Shell) -> None:
    """Needs README.md to have run."""
    assert len(pl.read_parquet(shell.folder / "predicted-codes" / "predictions")) > 0
    assert (shell.folder / "note-1.html").exists()


@pytest.mark.slow
def test_the_installed_program_runs(folder: Path, environment: dict[str, str]) -> None:
    ran(
        ["rubricator", "extract", "notes.csv", "--out", "by-program", "--no-prefect"],
        cwd=folder,
        env=environment,
    )


def ran(command: list[str], **how: Any) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=STEP, **how)
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
            process.wait(20)
        except subprocess.TimeoutExpired:  # MLflow's server, where it was still starting
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return running and bool(log.read_text().strip())


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_says_what_it_is(page: Path) -> None:
    """All fences are found, in a language that is run, or as text."""
    text = page.read_text(encoding="utf-8")
    found = blocks(page)
    assert 2 * len(found) == len(re.findall("^ *```", text, re.MULTILINE))
    for block in found:
        assert block.language in ("sh", "python", "toml", "text"), block
        assert block.language != "toml" or FILE.match(block.text), f"no file is named: {block.text}"
    assert not re.findall(r"^(?!```)<!--(?! not run: .* -->$)", text, re.MULTILINE)


def test_few_blocks_are_not_run() -> None:
    reasons = [block.reason for page in PAGES for block in blocks(page) if block.reason]
    assert len(reasons) <= MOST_NOT_RUN and all(len(reason) > 20 for reason in reasons)


def test_the_readme_is_short() -> None:
    assert len(FIRST[0].read_text(encoding="utf-8").splitlines()) <= 150


def test_extras_that_are_named_are_there() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    named = re.findall(r"(?:install|wheel) [^`\n]*'(?:\.|rubricator)\[([\w,]+)\]'", text)
    assert named and {extra for group in named for extra in group.split(",")} <= extras.keys()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_within_lines_have_options_that_there_are(page: Path) -> None:
    from rubricator.flows.cli import COMMANDS

    text = page.read_text(encoding="utf-8")
    in_blocks = [line for block in blocks(page) if block.language == "sh" for line in commands(block.text)]
    for command in [*INLINE.findall(BLOCK.sub("", text)), *in_blocks]:
        words = command.split()
        if words[0] == "rubricator" and words[1][0] != "-":
            made = COMMANDS[words[1]].made(words[1])
            options = {name for each in made.params for name in (*each.opts, *each.secondary_opts)}
            assert {word.partition("=")[0] for word in words if word.startswith("--")} <= options | {
                "--help"
            }, command


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_it_links_to_what_is_there(page: Path) -> None:
    """Anchors and pages that are made are checked where the site is built; of addresses elsewhere, the form is."""
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            assert re.fullmatch(r"https://[\w.-]+\.[a-z]+(/[\w./~%+-]*)?", target), target
            continue
        to = page.parent / target.partition("#")[0] if not target.startswith("#") else page
        made = page.is_relative_to(DOCS) and (to.name in MADE or to.parent.name == "reference")
        assert made or to.exists(), target
    for path in re.findall(r"`((?:flows|models|nlp|tests|requirements)/[\w./-]+)`", text):
        assert (ROOT / path).exists(), path


@pytest.mark.slow
def test_the_site_is_built_without_warnings() -> None:
    """With every link and anchor, and a reference that describes all there is."""
    ran([sys.executable, str(DOCS / "build_site.py")])
    pages = {path.stem: path.read_text() for path in (ROOT / "build" / "docs" / "reference").glob("*.md")}
    for layer in ("nlp", "models", "flows"):
        for name in __import__(f"rubricator.{layer}", fromlist=["__all__"]).__all__:
            assert f"## {name}\n" in pages[layer]
    assert "`features.min_groups`" in pages["settings"] and "`body_start`" in pages["tables"]
    assert "`--top-k" in pages["command-line"]
