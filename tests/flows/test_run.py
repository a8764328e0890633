"""A step runs the same as a Prefect flow and without; what it raises holds no note text, in either way."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prefect.exceptions import TerminationSignal

from rubricator.flows.home import open_home
from rubricator.flows.run import SafeError, guarded
from rubricator.nlp.errors import RubricatorError

CANARY = "zyxcanaryword"
STEPS = f"""
import sys
from rubricator.flows.home import open_home
from rubricator.flows.run import run

def double(*, number: int, home: str | None = None) -> int:
    open_home(home)
    return 2 * number

def fail(*, home: str | None = None) -> None:
    note = "{CANARY} has a cough"
    try:
        int(note)
    except ValueError as error:
        raise KeyError(note) from error

if __name__ == "__main__":
    home, use_prefect = sys.argv[1], sys.argv[2] == "prefect"
    if use_prefect:
        import prefect  # before its environment is set: the harder order
    print(run(double, home=home, use_prefect=use_prefect, number=21))
    try:
        run(fail, home=home, use_prefect=use_prefect)
    except Exception as error:
        print(type(error).__name__, error, error.__cause__, error.__context__)
    print("prefect" in sys.modules)
"""


class NoteError(RubricatorError):
    pass


def fail(with_error: BaseException) -> None:
    try:
        int(f"{CANARY} has a cough")
    except ValueError as error:
        raise with_error from error


def raised(error: BaseException) -> Exception:
    with pytest.raises(RubricatorError) as caught:
        guarded(fail)(error)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return caught.value


def test_our_own_errors_keep_their_message() -> None:
    assert str(raised(NoteError("notes.csv: row 3 has no text"))) == "notes.csv: row 3 has no text"


def test_other_errors_tell_only_where_and_their_type() -> None:
    message = str(raised(KeyError(f"{CANARY} has a cough")))
    assert message == f"test_run.py:{fail.__code__.co_firstlineno + 4} in fail: KeyError"


def test_what_is_no_exception_tells_the_same_unless_it_is_a_wish_to_stop() -> None:
    class PanicException(BaseException):
        pass

    message = str(raised(PanicException(f"{CANARY} has a cough")))
    assert message == f"test_run.py:{fail.__code__.co_firstlineno + 4} in fail: PanicException"
    for stop in (KeyboardInterrupt(), SystemExit(2), asyncio.CancelledError(), TerminationSignal(15)):
        with pytest.raises(type(stop)):
            guarded(fail)(stop)


def test_an_error_within_a_library_tells_our_line_and_theirs() -> None:
    with pytest.raises(SafeError, match=r"^home\.py:\d+ in open_home \(.*\): TypeError$"):
        guarded(open_home)(3.14)  # type: ignore[arg-type]


def test_an_operating_system_error_keeps_its_reason_and_path() -> None:
    message = str(raised(FileNotFoundError(2, f"{CANARY}", "/notes.csv")))
    assert message.endswith("in fail: FileNotFoundError: No such file or directory: /notes.csv")


def test_a_step_runs_alike_with_and_without_prefect_and_leaves_no_text(
    tmp_path: Path, home: Path, files_with: Callable[..., list[Path]]
) -> None:
    script = tmp_path / "steps.py"
    script.write_text(STEPS)
    for how, imported in (("direct", False), ("prefect", True)):
        done = subprocess.run([sys.executable, script, home, how], capture_output=True, text=True, check=True)
        number, error, prefect = done.stdout.splitlines()
        assert number == "42"
        assert error == "SafeError steps.py:15 in fail: KeyError None None"
        assert prefect == str(imported)
        assert done.stderr == ""
    assert files_with("SafeError", home), "the failure is on record"
    assert files_with(CANARY, home) == []


def test_a_deployed_flow_is_found_by_its_entry_point(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from prefect.flows import load_flow_from_entrypoint

    (tmp_path / "made_up_deployments.py").write_text(
        "from rubricator.flows.promote import promote\n"
        "from rubricator.flows.run import as_flow\n"
        "promote_flow = as_flow(promote, module=__name__)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for entrypoint in ("made_up_deployments.promote_flow", f"{tmp_path}/made_up_deployments.py:promote_flow"):
        flow = load_flow_from_entrypoint(entrypoint)
        assert flow.name == "promote"
        assert set(flow.parameters.properties) == {"name", "version", "home", "margin"}


CHECKS = """
import sys
from rubricator.flows.extract import extract
from rubricator.flows.predict import predict
from rubricator.flows.run import run
from rubricator.flows.train import train
from rubricator.nlp.errors import RubricatorError

for step, parameters in (
    (extract, {"notes": "nowhere", "out": "out"}),
    (extract, {"notes": "notes.csv", "out": "notes.csv"}),
    (extract, {"notes": "notes.csv", "out": "out", "lexicon": ["ours.toml"]}),
    (extract, {"notes": "notes.csv", "out": "out", "positive": ["plann"]}),
    (predict, {"notes": "notes.csv", "out": "out", "model": "./nowhere"}),
    (train, {"task": "codes", "notes": "notes.csv", "code_table": "codes.csv"}),
    (train, {"task": "codes", "notes": "notes.csv", "report": "."}),
    (train, {"task": "codes", "notes": "nowhere"}),
):
    try:
        run(step, home="home", **parameters)
    except RubricatorError as error:
        print(str(error).splitlines()[0])
print("prefect" in sys.modules)
"""


def test_errors_that_need_no_reading_come_before_prefect_is_started(tmp_path: Path, home: Path) -> None:
    (tmp_path / "notes.csv").write_text("note_id,text\n1,Plan: rest.\n")
    done = subprocess.run(
        [sys.executable, "-c", CHECKS], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    *errors, prefect = done.stdout.splitlines()
    assert prefect == "False"
    for error, said in zip(
        errors,
        (
            "nowhere: ",
            "notes.csv is a file",
            "ours.toml: there is no such file",
            "no category plann",
            "nowhere",
            "code_table: there is no file codes.csv",
            "it is a folder",
            "nowhere: ",
        ),
        strict=True,
    ):
        assert said in error


def test_a_killed_flow_leaves_no_server(home: Path, tmp_path: Path) -> None:
    """Also one that is killed while its server starts."""
    psutil = pytest.importorskip("psutil")
    (tmp_path / "notes.csv").write_text("note_id,text\n1,Plan: rest.\n")
    arguments = ["extract", "notes.csv", "--out", "tables", "--home", str(home)]
    for number in range(3):
        process = subprocess.Popen(
            [sys.executable, "-m", "rubricator.flows.cli", *arguments],
            cwd=tmp_path,
            stderr=subprocess.DEVNULL,
        )
        found: list[Any] = []
        while not found and process.poll() is None:
            with contextlib.suppress(psutil.Error):  # one may end meanwhile
                found = [
                    each
                    for each in psutil.Process(process.pid).children(recursive=True)
                    if number == 0 or "uvicorn" in " ".join(each.cmdline())
                ]
        time.sleep(number / 2)
        process.kill()
        process.wait()
        assert found
        _, left = psutil.wait_procs(found, 15)
        assert left == []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_a_flow_at_once_and_the_same_command_goes_on(
    home: Path, tmp_path: Path, how: signal.Signals
) -> None:
    text = "History:\nCough.\n\nPlan:\nStart aspirin. Return in two weeks.\n" * 20
    with (tmp_path / "notes.jsonl").open("w") as lines:
        lines.writelines(json.dumps({"note_id": str(row), "text": text}) + "\n" for row in range(20_000))
    arguments = [
        "extract",
        str(tmp_path / "notes.jsonl"),
        "--out",
        str(tmp_path / "tables"),
        "--home",
        str(home),
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "rubricator.flows.cli", *arguments, "--shard-size", "50", "--workers", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    while process.poll() is None and not any((tmp_path / "tables").glob("sections/*.parquet")):
        time.sleep(0.1)
    begun = time.monotonic()
    if how == signal.SIGINT:
        os.killpg(process.pid, how)  # as a terminal sends it: to all processes of the group
    else:
        process.send_signal(how)
    written, _ = process.communicate(timeout=120)
    assert process.returncode == 130, written
    assert "Traceback" not in written and "interrupted; run the same command again" in written
    assert time.monotonic() - begun < 60, "Prefect would try for a minute to reach a server that is gone"
    manifest = json.loads((tmp_path / "tables" / "manifest.json").read_text())
    assert manifest["status"] == "stopped" and not (tmp_path / "tables" / ".work").exists()
