"""The command line as a user meets it: fast help, clear errors, exit codes."""

import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = ("benchmark", "demo", "evaluate", "explain", "extract", "predict", "promote", "schedule", "train")
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


@pytest.mark.parametrize("command", ["", *COMMANDS])
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
    assert all(f" {command} " in said for command in COMMANDS)


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
