"""The command line as a user meets it: fast help, clear errors, exit codes."""

import json
import os
import re
import sqlite3
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from rubricator.flows.cli import COMMANDS, ExitCode, main
from rubricator.flows.promote import Promotion, PromotionRefusedError
from rubricator.nlp.tasks import TASKS

NAMES = (
    "benchmark",
    "check",
    "demo",
    "evaluate",
    "explain",
    "extract",
    "predict",
    "promote",
    "schedule",
    "settings",
    "train",
)
READING = "--date-format --encoding --notes-sql --sheet"
OPTIONS = {
    "check": f"--codes-column --headings --home --lexicon --max-dead-letters --out --sample --stub --workers {READING}",
    "demo": "--home --no-prefect --notes --seed",
    "extract": (
        "--codes-column --engine --home --id-column --lexicon --no-prefect --out --patient-column "
        "--positive --shard-size --text-column --workers --max-dead-letters " + READING
    ),
    "train": (
        "--bootstrap --code-table --codes-column --denoise --evidence-column --exclude --folds "
        "--home --id-column --lexicon --model --name --no-prefect --patient-column --positive "
        "--report --seed --setting --text-column --top-labels --force --icd-version --keep-names --max-dead-letters "
        + READING
    ),
    "evaluate": (
        "--annotations --bootstrap --codes-column --home --id-column --lexicon --patient-column "
        "--report --text-column"
    ),
    "predict": (
        "--codes-column --engine --home --id-column --lexicon --min-probability --model "
        "--no-prefect --out --patient-column --shard-size --text-column --top-k --workers --max-dead-letters "
        + READING
    ),
    "benchmark": "--mimic3 --mimic4 --models --only --out --quick --splits",
    "promote": "--home --margin --no-prefect --version",
    "explain": (
        "--codes-column --home --id-column --lexicon --model --note-id --out --patient-column --text-column"
    ),
    "schedule": "--config --home --log-json --once",
}
HEAVY = (
    "prefect",
    "mlflow",
    "spacy",
    "sklearn",
    "torch",
    "pandas",
    "polars",
    "pyarrow",
    "numpy",
    "matplotlib",
)


def rubricator(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rubricator.flows.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.mark.parametrize("command", ["", *NAMES])
def test_help_imports_nothing_heavy(command: str) -> None:
    code = (
        "import sys; from rubricator.flows.cli import app\n"
        f"try: app({[command, '--help'] if command else ['--help']!r})\n"
        "except SystemExit: pass\n"
        f"print(sorted({set(HEAVY)!r} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.splitlines()[-1] == "[]"
    assert "Example" in result.stdout or not command


def test_every_command_is_there() -> None:
    said = rubricator("--help").stdout
    assert all(f" {command} " in said for command in NAMES)
    assert set(NAMES) == set(COMMANDS)


@pytest.mark.parametrize("command", ["--version", "--help", "settings svm", "settings svm --json"])
@pytest.mark.parametrize(
    ("to", "status", "message"),
    [
        (">/dev/full", 2, "error: standard output cannot be written: No space left on device"),
        (">&-", 2, "error: standard output cannot be written: Bad file descriptor"),
        ("2>&- | sed s/^/out:/ >&2", 0, "out:"),
    ],
)
def test_output_that_cannot_be_written_is_one_line(command: str, to: str, status: int, message: str) -> None:
    line = f"set -o pipefail; {sys.executable} -m rubricator.flows.cli {command} {to}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == status
    assert done.stderr.startswith(message) and "Traceback" not in done.stderr
    assert status == 0 or len(done.stderr.splitlines()) == 1


def test_a_reader_that_ends_first_is_no_fault() -> None:
    line = f"set -o pipefail; {sys.executable} -m rubricator.flows.cli settings svm | true"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (ExitCode.UNREAD, "")


def test_an_error_is_one_message_and_exit_code_2(tmp_path: Path) -> None:
    table = tmp_path / "notes.csv"
    table.write_text("key,remark\n1,hello\n")
    result = rubricator(
        "extract", str(table), "--out", str(tmp_path / "out"), "--home", str(tmp_path), "--no-prefect"
    )
    assert result.returncode == 2
    assert "error:" in result.stderr and "columns are key, remark" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_home_that_cannot_be_used_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = rubricator("promote", "icd-codes", "--version", "1", "--home", str(tmp_path / "file"))
    assert result.returncode == 2
    assert "cannot be the state folder (File exists)" in result.stderr
    assert "Traceback" not in result.stderr


def ended(monkeypatch: pytest.MonkeyPatch, command: str) -> int:
    """The exit code of a command, run in this process."""
    monkeypatch.setattr(sys, "argv", ["rubricator", *command.split()])
    with pytest.raises(SystemExit) as left:
        main()
    return int(left.value.code or 0)


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    file = tmp_path / "notes.csv"
    file.write_text('id,text\n1,"History:\nCough.\n\nPlan:\nReturn in two weeks."\n')
    return file


@pytest.mark.parametrize("command", OPTIONS)
def test_options_of_version_0_1_are_still_there(command: str) -> None:
    made = COMMANDS[command].made(command)
    assert {option for parameter in made.params for option in parameter.opts} >= set(OPTIONS[command].split())


def test_the_version_is_told() -> None:
    assert re.fullmatch(r"rubricator \d+\.\d+\.\d+\n", rubricator("--version").stdout)
    assert f"prefect {version('prefect')}" in rubricator("--version", "-v").stdout.splitlines()


def test_exit_codes_are_documented() -> None:
    said = " ".join(rubricator("--help").stdout.split())
    assert all(f"{code.value} {code.meaning}" in said for code in ExitCode)
    assert "exit status is 3" in rubricator("promote", "--help").stdout


def test_a_refusal_and_an_interrupt_have_exit_codes_of_their_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = Promotion("icd", "2", accepted=False, reason="worse", champion="1", decided_at="today")

    def refuse(name: str, *, version: int, home: str | None = None) -> Promotion:
        raise PromotionRefusedError(f"{name} version {version} is not promoted: worse", refused)

    def interrupt(name: str, *, version: int, home: str | None = None) -> Promotion:
        raise KeyboardInterrupt

    monkeypatch.setenv("RUBRICATOR_HOME", str(tmp_path))
    monkeypatch.setattr("rubricator.flows.promote.promote", refuse)
    command = "promote icd --version 2 --no-prefect"
    assert ended(monkeypatch, command) == ExitCode.REFUSED
    assert capsys.readouterr() == ("", "error: icd version 2 is not promoted: worse\n")
    assert ended(monkeypatch, f"{command} --json") == ExitCode.REFUSED
    assert json.loads(capsys.readouterr().out)["accepted"] is False
    monkeypatch.setattr("rubricator.flows.promote.promote", interrupt)
    assert ended(monkeypatch, command) == ExitCode.INTERRUPTED


def test_a_result_as_json_is_all_there_is_on_standard_output(notes: Path, tmp_path: Path) -> None:
    command = ("extract", str(notes), "--home", str(tmp_path), "--no-prefect", "--workers", "1", "--out")
    found = json.loads(rubricator(*command, str(tmp_path / "a"), "--json").stdout)
    assert (found["job"]["notes"], found["report"]["sections"]["plan"]) == (1, 1)
    assert "notes in" in rubricator(*command, str(tmp_path / "b")).stdout
    quiet = rubricator(*command, str(tmp_path / "c"), "--quiet")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    verbose = rubricator(*command, str(tmp_path / "d"), "--verbose")
    assert "shard 0: 1 notes" in verbose.stderr
    assert "two weeks" not in verbose.stderr


@pytest.mark.parametrize("given", ["--lexicon", "--positive", "--id-column"])
def test_an_empty_name_is_an_error(given: str, notes: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    result = rubricator(
        "extract", str(notes), "--out", out, "--home", str(tmp_path), "--no-prefect", given, ""
    )
    assert result.returncode == ExitCode.ERROR
    assert "it is empty" in result.stderr and f"hint: see {given}" in result.stderr


def test_an_error_about_an_argument_has_a_hint_with_the_option(tmp_path: Path) -> None:
    table = tmp_path / "notes.csv"
    table.write_text("key,remark\n1,hello\n")
    result = rubricator(
        "extract", str(table), "--out", str(tmp_path / "o"), "--home", str(tmp_path), "--no-prefect"
    )
    assert "no column looks like the note id" in result.stderr
    assert result.stderr.endswith("hint: see --id-column\n")


def test_denoise_of_version_0_1_is_passed_over_or_explained(notes: Path, tmp_path: Path) -> None:
    command = ("train", "plan", str(notes), "--home", str(tmp_path), "--no-prefect", "--denoise")
    removed = rubricator(*command, "cleanlab")
    assert removed.returncode == ExitCode.ERROR
    assert "denoise was removed" in removed.stderr and "0.845" in removed.stderr
    taken = rubricator(*command, "none")
    assert "denoise was removed, because it lowered F1" in taken.stderr
    assert "are too few to learn from" in taken.stderr, "the training itself is tried"
    assert "denoise" not in rubricator("train", "--help").stdout


def test_settings_are_listed_with_what_they_are() -> None:
    found = json.loads(rubricator("settings", "svm", "--json").stdout)
    assert found["classifier"] == "svm"
    assert all(set(each["default"]) == set(TASKS) for each in found["settings"].values())
    assert "did you mean 'transformer'?" in rubricator("settings", "transfomer").stderr


def test_the_shell_can_complete() -> None:
    asked = {
        "_RUBRICATOR_COMPLETE": "complete_bash",
        "COMP_WORDS": "rubricator train --fo",
        "COMP_CWORD": "2",
    }
    code = "import sys; from rubricator.flows.cli import main; sys.argv[0] = 'rubricator'; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **asked}, capture_output=True, text=True, check=False
    )
    assert "--folds" in done.stdout


def test_a_fault_of_the_program_has_another_status_than_an_error_of_the_user(
    home: Path, tmp_path: Path
) -> None:
    (tmp_path / "mlflow.py").write_text("raise ValueError('a broken library')")
    own = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW", "PREFECT"))}
    for name, status in (("nobody", ExitCode.FAULT), ("", ExitCode.ERROR)):
        arguments = ["promote", name, "--version", "1", "--no-prefect", "--home", str(home)]
        ended = subprocess.run(
            [sys.executable, "-m", "rubricator.flows.cli", *arguments],
            check=False,
            capture_output=True,
            text=True,
            env=own | {"PYTHONPATH": str(tmp_path)},
        )
        assert ended.returncode == status, ended.stderr
        assert "Traceback" not in ended.stderr


def test_notes_of_a_database_and_a_date_that_is_said(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "omop.db") as database:
        database.execute("CREATE TABLE note (note_id, person_id, note_date, note_text)")
        database.execute("INSERT INTO note VALUES (1, 7, '03/04/2020', 'PLAN: rest')")
    query = ("--notes-sql", f"sqlite:///{tmp_path}/omop.db", "SELECT * FROM note")
    extract = ("extract", *query, "--out", str(tmp_path / "out"), "--home", str(tmp_path), "--no-prefect")
    done = rubricator(*extract)
    assert done.returncode == 0, done.stderr
    assert "dates in the column 'note_date' that are left empty" in " ".join(done.stdout.split())
    refused = rubricator(*extract, "--date-format", "%d")
    assert refused.returncode == 2
    assert "--date-format" in refused.stderr
