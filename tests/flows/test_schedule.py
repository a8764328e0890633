"""Jobs on a schedule: the TOML file, the deployments on a real server, and runs that take up only new notes."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from prefect.states import Running, Scheduled

from rubricator.flows.home import Home
from rubricator.flows.jobs.files import locked
from rubricator.flows.prefect_adapter import Run, server_at
from rubricator.flows.runs.locks import held, working_on
from rubricator.flows.schedule import STEPS, TEMPLATE, ScheduleError, read_schedule, schedule
from rubricator.flows.schedule.serve import deployments
from rubricator.flows.servers import ServerError

ROOT = Path(__file__).parent.parent.parent
JOB = """
timezone = "Europe/Zurich"
[[jobs]]
name = "nightly"
step = "extract"
cron = "0 1 * * *"
parameters = { notes = "notes", out = "tables" }
"""


def read(folder: Path, text: str) -> list[dict[str, object]]:
    (folder / "schedule.toml").write_text(text)
    return [job.model_dump() for job in read_schedule(folder / "schedule.toml").jobs]


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    [job] = read(tmp_path, JOB)
    assert job["parameters"] == {"notes": str(tmp_path / "notes"), "out": str(tmp_path / "tables")}


def test_every_parameter_that_is_a_path_is_relative_to_the_file(tmp_path: Path) -> None:
    paths = (
        'exclude = "gold.jsonl", report = "figures.json", code_table = "codes.csv", lexicon = ["ours.toml"]'
    )
    trained = f"{{ task = 'codes', notes = '~/notes', {paths}, setting = ['encoder=./encoder', 'cost=.5'] }}"
    [job] = read(
        tmp_path, JOB.replace('"extract"', '"train"').replace('{ notes = "notes", out = "tables" }', trained)
    )
    assert job["parameters"] == {
        "task": "codes",
        "notes": str(Path.home() / "notes"),
        "exclude": str(tmp_path / "gold.jsonl"),
        "report": str(tmp_path / "figures.json"),
        "code_table": str(tmp_path / "codes.csv"),
        "lexicon": [str(tmp_path / "ours.toml")],
        "setting": [f"encoder={tmp_path}/encoder", "cost=.5"],
    }
    model = '{ notes = "notes", out = "tables", model = "../model" }'
    [job] = read(
        tmp_path, JOB.replace('"extract"', '"predict"').replace('{ notes = "notes", out = "tables" }', model)
    )
    assert job["parameters"]["model"] == f"{tmp_path}/../model"


def test_the_template_and_prefect_yaml_hold_the_same_jobs() -> None:
    template = read_schedule(TEMPLATE)
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    assert {job.step for job in template.jobs} == set(STEPS)
    for job, deployment in zip(template.jobs, deployments, strict=True):
        assert deployment["name"] == job.name
        assert deployment["entrypoint"] == f"rubricator.flows.deployments.{job.step}_flow"
        assert deployment["parameters"].keys() == job.parameters.keys()
        assert deployment["schedules"] == [{"cron": job.cron, "timezone": template.timezone}]
        assert "concurrency_limit" not in deployment, "a worker that is killed would never give its slot back"


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("0 1 * * *", "0 25 * * *", "jobs.0.cron: '0 25 * * *' is no cron expression"),
        ("0 1 * * *", "hourly", "jobs.0.cron: 'hourly' is no cron expression"),
        ("0 1 * * *", "0 0 31 2 *", "jobs.0.cron: '0 0 31 2 *' is never due"),
        ("0 1 * * *", "0 0 30 2,13 *", "jobs.0.cron: '0 0 30 2,13 *' is no cron expression"),
        ("Europe/Zurich", "Europe/Zuerich", "timezone: there is no time zone 'Europe/Zuerich'"),
        ('"extract"', '"promote"', "jobs.0.step: it must be 'extract', 'train' or 'predict'"),
        ("out =", "output =", "the parameters are notes, out"),
        ('"notes"', "5", "jobs.0.parameters: notes: it must be a string"),
        (
            '"tables"',
            '"tables", workers = "2"',
            "jobs.0.parameters: workers: it must be a whole number",
        ),
        (
            '"tables"',
            '"tables", workers = true',
            "jobs.0.parameters: workers: it must be a whole number",
        ),
        (
            '"tables"',
            '"tables", lexicon = "a.toml"',
            "jobs.0.parameters: lexicon: it must be a list",
        ),
        (
            '"tables"',
            '"tables", lexicon = [1]',
            "jobs.0.parameters: lexicon.0: it must be a string",
        ),
        (
            '"tables"',
            '"tables", positive = "plan"',
            "jobs.0.parameters: positive: it must be a list",
        ),
        (', out = "tables"', "", "jobs.0.parameters: missing a required argument: 'out'"),
        ("timezone", "time_zone", "time_zone: there is no such key"),
        ('name = "nightly"', 'name = "nightly', "is not TOML"),
    ],
)
def test_a_wrong_file_says_what_is_wrong(tmp_path: Path, before: str, after: str, message: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        read(tmp_path, JOB.replace(before, after))
    assert message in str(caught.value)


def test_a_parameter_of_version_0_1_is_passed_over_or_explained(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train = JOB.replace('"extract"', '"train"').replace('out = "tables"', 'task = "plan", denoise = "none"')
    [job] = read(tmp_path, train)
    assert "denoise was removed, because it lowered F1" in caplog.text
    assert job["parameters"]["denoise"] == "none", "the flow passes it over too"
    with pytest.raises(
        ScheduleError, match=r"jobs\.0\.parameters: denoise was removed, because it lowered F1"
    ):
        read(tmp_path, train.replace('"none"', '"cleanlab"'))


def test_names_differ(tmp_path: Path) -> None:
    with pytest.raises(ScheduleError, match="two jobs have the name 'nightly'"):
        read(tmp_path, JOB + JOB.partition('Zurich"')[2])


def test_a_missing_file_says_where_to_begin(tmp_path: Path) -> None:
    with pytest.raises(ScheduleError, match=r"no such file; copy .*schedule\.toml"):
        read_schedule(tmp_path / "schedule.toml")


# ---- on a real server

SERVE = """
import sys
from rubricator.flows.schedule import schedule
if __name__ == "__main__":
    schedule(config=sys.argv[1], home=sys.argv[2])
"""
JOBS = """
timezone = "Europe/Zurich"
[[jobs]]
name = "extract-all"
step = "extract"
cron = "0 1 * * *"
parameters = { notes = "notes", out = "tables", workers = 1 }
[[jobs]]
name = "predict-all"
step = "predict"
cron = "15 * * * *"
parameters = { notes = "notes", model = "./model", out = "predictions", min_probability = 0, workers = 1 }
"""


def write_notes(path: Path, first: int, count: int) -> None:
    path.parent.mkdir(exist_ok=True)
    text = "Plan:\nFollow up in two weeks.\nExam:\nLungs are clear."
    rows = [
        {"note_id": f"n{number}", "text": f"{text} Visit {number}."} for number in range(first, first + count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def served(module_home: Path, plan_model: Path) -> Iterator[tuple[Path, str]]:
    """`rubricator schedule` running in a folder with notes and a model, and the URL of its server.

    Killed in the end, it leaves no server behind."""
    folder = module_home.parent
    (folder / "model").symlink_to(plan_model)
    (folder / "schedule.toml").write_text(JOBS)
    (folder / "serve.py").write_text(SERVE)
    write_notes(folder / "notes" / "monday.jsonl", 0, 6)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT")}
    process = subprocess.Popen(
        [sys.executable, "serve.py", "schedule.toml", "home"],
        cwd=folder,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    url = ""
    for line in process.stderr:
        if "jobs are served" in line:
            url = line.split("see ")[1].split(". ")[0] + "/api"
            break
    assert url, "it did not start"
    yield folder, url
    process.kill()
    process.wait(60)
    wait_for(lambda: is_gone(url), 30)


def is_gone(url: str) -> bool:
    try:
        urllib.request.urlopen(f"{url}/health", timeout=5).close()
    except OSError:
        return True
    return False


def client(url: str):
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: url}):
        return get_client(sync_client=True)


def wait_for(what, seconds: float = 120):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(0.5)
    raise AssertionError("waited in vain")


def last_state(url: str, deployment: str):
    """Of a run that is begun now."""
    with client(url) as server:
        found = server.read_deployment_by_name(deployment)
        run = server.create_flow_run_from_deployment(found.id)
        return wait_for(lambda: (state := server.read_flow_run(run.id).state) and state.is_final() and state)


def run_now(url: str, deployment: str) -> None:
    state = last_state(url, deployment)
    assert state.is_completed(), state


def test_jobs_are_deployed_with_their_times_and_get_runs(served: tuple[Path, str]) -> None:
    _, url = served
    with client(url) as server:
        wait_for(lambda: len(server.read_deployments()) == 2)
        deployments = {deployment.name: deployment for deployment in server.read_deployments()}
        schedules = {name: found.schedules[0].schedule for name, found in deployments.items()}
        assert {name: (found.cron, found.timezone) for name, found in schedules.items()} == {
            "extract-all": ("0 1 * * *", "Europe/Zurich"),
            "predict-all": ("15 * * * *", "Europe/Zurich"),
        }
        assert {found.global_concurrency_limit for found in deployments.values()} == {None}
        runs = wait_for(server.read_flow_runs)
        assert runs[0].state.is_scheduled() and runs[0].auto_scheduled


def test_a_scheduled_predict_takes_up_only_new_notes(served: tuple[Path, str]) -> None:
    folder, url = served
    run_now(url, "extract/extract-all")
    run_now(url, "predict/predict-all")
    before = {file: file.stat().st_mtime_ns for file in (folder / "predictions").rglob("*.parquet")}
    assert set(pq.read_table(folder / "predictions" / "predictions")["note_id"].to_pylist()) == {
        f"n{number}" for number in range(6)
    }
    write_notes(folder / "notes" / "tuesday.jsonl", 6, 3)
    run_now(url, "predict/predict-all")
    after = {file: file.stat().st_mtime_ns for file in (folder / "predictions").rglob("*.parquet")}
    new = sorted(after.keys() - before.keys())
    assert after.items() >= before.items()
    assert set(pq.read_table(new[0])["note_id"].to_pylist()) == {"n6", "n7", "n8"}
    assert json.loads((folder / "predictions" / "manifest.json").read_text())["notes"] == 9


def test_a_run_that_would_overlap_the_one_before_ends_at_once(served: tuple[Path, str]) -> None:
    folder, url = served
    with client(url) as server:
        deployment = server.read_deployment_by_name("extract/extract-all").id
    with held(folder / "home" / "runs" / f"{deployment}.job"):
        state = last_state(url, "extract/extract-all")
    assert (state.type.value, state.message) == ("CANCELLED", "skipped: the run before is still on")
    (folder / "tables").mkdir(exist_ok=True)
    with locked(folder / "tables"):
        state = last_state(url, "extract/extract-all")
    assert state.type.value == "CANCELLED"
    assert "another job is writing into" in state.message


def test_the_next_run_ends_those_that_no_process_works_on(served: tuple[Path, str]) -> None:
    """One is worked on, one was by a process that is gone, one by another machine, and of one nothing is known."""
    folder, url = served
    with client(url) as server:
        deployment = server.read_deployment_by_name("extract/extract-all").id
        soon = Scheduled(scheduled_time=datetime.now(UTC) + timedelta(days=1))
        runs = [server.create_flow_run_from_deployment(deployment, state=soon).id for _ in range(4)]
        for run in runs:
            server.set_flow_run_state(run, Running(), force=True)
        living, dead, elsewhere, unknown = runs
        records = {run: folder / "home" / "runs" / f"{run}.run" for run in runs}
        records[dead].write_text(socket.gethostname())
        records[elsewhere].write_text("another-machine")
        with working_on(Run(str(living), str(deployment), "extract-all"), Home(folder / "home")):
            run_now(url, "extract/extract-all")
            states = {run: server.read_flow_run(run).state for run in runs}
        assert states[dead].is_crashed()
        assert "ended without a word" in states[dead].message
        assert [run for run in (living, elsewhere, unknown) if not states[run].is_running()] == []
        assert not records[dead].exists()
        for run in (living, elsewhere, unknown):
            server.delete_flow_run(run)


def test_a_limit_of_an_earlier_version_is_taken_away(served: tuple[Path, str]) -> None:
    folder, url = served
    schedule = read_schedule(folder / "schedule.toml")
    with server_at(url):
        [deployment, _] = deployments(schedule, Home(folder / "home"))
        before = deployment.model_copy(update={"concurrency_limit": 1})
        for each, limit in ((before, 1), (deployment, None)):
            each.apply()
            with client(url) as server:
                found = server.read_deployment_by_name("extract/extract-all").global_concurrency_limit
            assert (found and found.limit) == limit


def test_a_second_schedule_of_a_home_is_refused(served: tuple[Path, str]) -> None:
    folder, _ = served
    with pytest.raises(ScheduleError, match="another process serves the job 'extract-all' of the home"):
        schedule(config=str(folder / "schedule.toml"), home=str(folder / "home"))


def test_prefect_yaml_deploys_to_a_work_pool(served: tuple[Path, str]) -> None:
    _, url = served
    environment = os.environ | {"PREFECT_API_URL": url}
    prefect = Path(sys.executable).with_name("prefect")
    for command in ("work-pool create --type process rubricator", "--no-prompt deploy --all"):
        done = subprocess.run(
            [prefect, *command.split()],
            check=False,
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    with client(url) as server:
        pooled = [found.name for found in server.read_deployments() if found.work_pool_name == "rubricator"]
    assert sorted(pooled) == ["extract-nightly", "predict-plan-hourly", "train-plan-weekly"]


# ---- from start to end

SLOW = """
[[jobs]]
name = "slow"
step = "extract"
cron = "0 0 29 2 *"
parameters = { notes = "notes", out = "tables", workers = 1, shard_size = 20 }
"""


def served_in(folder: Path) -> "tuple[subprocess.Popen[str], str]":
    """`rubricator schedule` with its log as JSON lines, and the URL of its server."""
    log = folder / "log.jsonl"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT")}
    command = [sys.executable, "-m", "rubricator.flows.cli", "schedule", "--log-json", "--home", "home"]
    with log.open("w") as file:
        process = subprocess.Popen(
            command, cwd=folder, env=environment | {"HOME": str(folder)}, stderr=file, text=True
        )
    said = wait_for(lambda: [each for each in events(folder) if each["event"] == "serving"], 200)
    return process, said[0]["message"].partition("see ")[2].partition(". ")[0] + "/api"


def events(folder: Path) -> list[dict[str, object]]:
    """Whole lines of the log. Every one is JSON."""
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().split("\n")[:-1]]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_schedule_that_is_stopped_in_a_run_runs_it_when_it_is_started_again(
    home: Path, how: signal.Signals
) -> None:
    folder = home.parent
    (folder / "schedule.toml").write_text(SLOW)
    write_notes(folder / "notes" / "notes.jsonl", 0, 3000)
    process, url = served_in(folder)
    with client(url) as server:
        stopped = server.create_flow_run_from_deployment(server.read_deployment_by_name("extract/slow").id).id
    wait_for(lambda: list((folder / "tables" / "sections").glob("*.parquet")))
    process.send_signal(how)
    assert process.wait(60) == (0 if how == signal.SIGTERM else -how)
    wait_for(lambda: is_gone(url), 20)
    assert [each["event"] for each in events(folder) if each.get("job")] == (
        ["waiting", "started", "stopped"] if how == signal.SIGTERM else ["waiting", "started"]
    )

    process, url = served_in(folder)
    run_now(url, "extract/slow")
    with client(url) as server:
        assert server.read_flow_run(stopped).state.is_final()
        assert [limit.active_slots for limit in server.read_global_concurrency_limits()] == []
    process.terminate()
    assert process.wait(60) == 0
    done = next(each for each in events(folder) if each["event"] == "done")
    assert done["job"] == "slow"
    assert 0 < done["notes"] < 3000, "it went on where it was stopped"
    assert {"time", "seconds", "next_run"} <= done.keys()
    note_ids = pq.read_table(folder / "tables" / "sections")["note_id"].to_pylist()
    assert len(note_ids) == 2 * 3000 == 2 * len(set(note_ids))
    assert not (folder / ".prefect").exists(), "all state is in the home"


def test_one_job_may_be_run_now(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = home.parent
    (folder / "schedule.toml").write_text(JOBS)
    write_notes(folder / "notes" / "notes.jsonl", 0, 3)
    once = [sys.executable, "-m", "rubricator.flows.cli", "schedule", "--home", "home", "--once"]
    ends = {
        job: subprocess.run([*once, job], cwd=folder, check=False).returncode
        for job in ("extract-all", "predict-all", "other")
    }
    said = capfd.readouterr()
    assert ends == {"extract-all": 0, "predict-all": 2, "other": 2}
    assert "extract-all: done, 3 notes, " in said.err
    assert "3 notes in" in said.out, "the result, as `rubricator extract` shows it"
    assert "predict-all: failed, " in said.err
    assert "there is no job 'other'; the jobs are extract-all, predict-all" in said.err
    assert "Traceback" not in said.err


# ---- what is refused before anything is served

PREDICT = """
[[jobs]]
name = "predict"
step = "predict"
cron = "0 1 * * *"
parameters = { notes = "later", model = "my-codes", out = "predictions" }
"""
TRAIN = """
[[jobs]]
name = "train"
step = "train"
cron = "0 1 * * sun"
parameters = { task = "codes", notes = "later", name = "my-codes" }
"""


@pytest.mark.parametrize(
    ("jobs", "problem"),
    [
        (PREDICT, "the job 'predict' cannot run: no model is registered as 'my-codes'"),
        (
            PREDICT.replace("my-codes", "./model"),
            "the job 'predict' cannot run: ",
        ),
        (
            TRAIN.replace('"my-codes"', '"my-codes", code_table = "codes.csv"'),
            "the job 'train' cannot run: code_table",
        ),
        (
            TRAIN.replace('"my-codes"', '"my-codes", model = "svn"'),
            "the job 'train' cannot run: .*'svn'",
        ),
        (JOB.replace('"tables"', '"schedule.toml"'), "the job 'nightly' cannot run: .* is a file"),
        (
            JOB.replace('"tables"', '"tables", lexicon = ["ours.toml"]'),
            "the job 'nightly' cannot run: .*ours.toml: there is no such file",
        ),
    ],
)
def test_a_job_that_cannot_run_is_refused_at_the_start(home: Path, jobs: str, problem: str) -> None:
    config = home.parent / "schedule.toml"
    config.write_text(jobs)
    with pytest.raises(ScheduleError, match=problem):
        schedule(config=str(config), home=str(home))


def test_a_model_may_be_made_by_another_job(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = home.parent / "schedule.toml"
    config.write_text(PREDICT + TRAIN)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    with pytest.raises(ServerError, match="PREFECT_API_URL names"):  # it got as far as its server
        schedule(config=str(config), home=str(home))
