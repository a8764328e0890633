"""Kill `rubricator schedule`, and a Prefect worker, while a job runs; start them again, and look at what is left.

    python tests/benchmarks/kill_schedule.py [--times 10] [--worker-times 3] [--seed 0]

A job extracts made-up notes, about 20 seconds of work for one process. In each round the schedule is started, a run is
begun, and at a random moment of it the schedule gets SIGTERM or SIGKILL. The next round starts it again with the same
folder. Counted are processes and servers that are left, runs that stay open, slots that stay taken, and next runs that
do not run. Tables that are complete are compared with those of a job that nobody killed: notes lost, rows doubled, rows
that differ. A worker is killed with SIGKILL: in turn with the process of its run, and alone.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

ROOT = Path(__file__).parent.parent.parent
BIN = Path(sys.executable).parent
NOTES = 2_500
TEXT = "History:\nCough.\n\nPlan:\nStart aspirin. Return in two weeks.\n" * 40
OPEN = ["PENDING", "RUNNING", "CANCELLING"]


class Place:
    """A folder with notes, the tables that nobody killed the job of, and a home."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home, self.out = folder, folder / "home", folder / "tables"
        (folder / "notes").mkdir()
        with (folder / "notes" / "notes.jsonl").open("w") as lines:
            for row in range(NOTES):
                lines.write(json.dumps({"note_id": f"n{row}", "text": f"{TEXT}Visit {row}."}) + "\n")
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "MLFLOW"))
        } | {"RUBRICATOR_HOME": str(self.home), "OMP_NUM_THREADS": "1"}
        arguments = ["extract", folder / "notes", "--out", folder / "whole", "--no-prefect", "--quiet"]
        subprocess.run([BIN / "rubricator", *arguments], env=self.environment, check=True)

    def started(self, *command: "str | Path", log: str, **more: str) -> "subprocess.Popen[bytes]":
        with (self.folder / log).open("ab") as file:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                env=self.environment | more,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def notes_done(self) -> int:
        """Notes in the tables; 0 where there are none yet."""
        try:
            return int(json.loads((self.out / "manifest.json").read_text())["notes"])
        except (OSError, ValueError, KeyError):
            return 0

    def differences(self) -> Counter[str]:
        """Of complete tables: notes lost, rows doubled, rows that differ."""
        found: Counter[str] = Counter()
        for table in ("sections", "sentences"):
            whole, made = (
                Counter(tuple(row.values()) for row in pq.read_table(out / table).to_pylist())
                for out in (self.folder / "whole", self.out)
            )
            found["rows lost"] += (whole - made).total()
            found["rows doubled"] += sum(count - 1 for count in made.values() if count > 1)
            found["rows that differ"] += len(made.keys() - whole.keys())
        return found

    def processes(self) -> list[int]:
        """Processes that were started for this home."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                mine = f"RUBRICATOR_HOME={self.home}".encode() in (folder / "environ").read_bytes()
                is_alive = (folder / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
            except OSError:
                continue
            if mine and is_alive:
                found.append(int(folder.name))
        return found


def call(url: str, path: str, **body: Any) -> Any:
    request = urllib.request.Request(
        f"{url}/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )

    def answer() -> Any:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return [json.load(answer)]

    found = wait_for(answer, 60)  # a server that has only just started answers 503 at times
    assert found, f"{path}: no answer"
    return found[0]


def get(url: str, path: str) -> Any:
    with urllib.request.urlopen(f"{url}/{path}", timeout=30) as answer:
        return json.load(answer)


def wait_for(what: Callable[[], Any], seconds: float) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if found := what():
                return found
        except OSError:
            pass
        time.sleep(0.2)
    return None


def open_runs(url: str) -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = call(url, "flow_runs/filter", flow_runs={"state": {"type": {"any_": OPEN}}})
    return runs


def slots(url: str) -> int:
    limits = call(url, "v2/concurrency_limits/filter")
    return sum(limit["active_slots"] for limit in limits)


def begun(url: str, deployment: str) -> str:
    found = get(url, f"deployments/name/{deployment}")
    run = call(url, f"deployments/{found['id']}/create_flow_run", state={"type": "SCHEDULED"})
    return str(run["id"])


def state_of(url: str, run: str) -> str:
    return str(get(url, f"flow_runs/{run}")["state"]["type"])


def goes_on(place: Place, url: str, run: str, before: int) -> bool:
    """Wait until the run has done more notes than those before."""
    wait_for(lambda: place.notes_done() > before or is_final(url, run), 120)
    return place.notes_done() > before


def is_final(url: str, run: str) -> bool:
    return state_of(url, run) in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


# ---- rubricator schedule

SCHEDULE = """
[[jobs]]
name = "job"
step = "extract"
cron = "0 0 29 2 *"
parameters = { notes = "notes", out = "tables", workers = 1, shard_size = 20 }
"""


def serve(place: Place) -> "tuple[subprocess.Popen[bytes], str]":
    log = place.folder / "schedule.log"
    before = log.stat().st_size if log.exists() else 0
    process = place.started(BIN / "rubricator", "schedule", log="schedule.log")

    def url() -> str:
        said = log.read_bytes()[before:].decode()
        return said.partition("see ")[2].partition(". ")[0] + "/api" if "jobs are served" in said else ""

    found = wait_for(url, 240)
    assert found, f"it did not start: {log.read_text()[-2000:]}"
    return process, found


def kill_schedules(place: Place, times: int, chance: random.Random) -> Counter[str]:
    (place.folder / "schedule.toml").write_text(SCHEDULE)
    counts: Counter[str] = Counter()
    for number in range(2 * times):
        what = (signal.SIGTERM, signal.SIGKILL)[number % 2]
        process, url = serve(place)
        counts["runs that stay open after the next start"] += len(open_runs(url))
        counts["slots that stay taken"] += slots(url)
        run, before = begun(url, "extract/job"), place.notes_done()
        counts["next runs that did not run"] += not goes_on(place, url, run, before)
        time.sleep(chance.uniform(0, 4))
        counts["killed while the job ran"] += not is_final(url, run)
        process.send_signal(what)
        begun_at = time.monotonic()
        process.wait(90)
        left = wait_for(lambda: not place.processes(), 30)
        counts["rounds with a process left"] += not left
        counts[f"exit status {process.returncode} after {what.name}"] += 1
        counts["rounds with a server left"] += answers(url)
        say(number, what.name, place.notes_done(), f"gone after {time.monotonic() - begun_at:.1f} s")
        if place.notes_done() == NOTES:
            counts.update(compared(place))
    process, url = serve(place)
    run = begun(url, "extract/job")
    counts["next runs that did not run"] += not ends_well(url, run)
    process.send_signal(signal.SIGTERM)
    process.wait(60)
    counts.update(compared(place))
    return counts


def ends_well(url: str, run: str) -> bool:
    wait_for(lambda: is_final(url, run), 120)
    return state_of(url, run) == "COMPLETED"


def answers(url: str) -> bool:
    try:
        urllib.request.urlopen(f"{url}/health", timeout=5).close()
    except OSError:
        return False
    return True


def compared(place: Place) -> Counter[str]:
    counts = place.differences()
    counts["complete tables compared"] += 1
    shutil.rmtree(place.out)
    return counts


def say(number: int, *what: object) -> None:
    sys.stderr.write(f"{number}: {', '.join(map(str, what))}\n")


# ---- a worker of a work pool


@contextmanager
def pool_server(place: Place) -> Iterator[str]:
    """A Prefect server with the work pool and the deployments of prefect.yaml."""
    port = random.randrange(20_000, 30_000)
    url = f"http://127.0.0.1:{port}/api"
    own = {"PREFECT_HOME": str(place.folder / "server"), "RUBRICATOR_HOME": "none"}
    server = place.started(BIN / "prefect", *f"server start --port {port}".split(), log="server.log", **own)
    try:
        assert wait_for(lambda: answers(url), 240)
        settings = yaml.safe_load((ROOT / "prefect.yaml").read_text())
        [extract, *_] = settings["deployments"]
        extract["parameters"] = {
            "notes": str(place.folder / "notes"),
            "out": str(place.out),
            "workers": 1,
            "shard_size": 20,
        }
        (place.folder / "prefect.yaml").write_text(yaml.safe_dump({**settings, "deployments": [extract]}))
        for command in ("work-pool create --type process rubricator", "--no-prompt deploy --all"):
            subprocess.run(
                [BIN / "prefect", *command.split()],
                cwd=place.folder,
                env=place.environment | {"PREFECT_API_URL": url},
                check=True,
                capture_output=True,
            )
        yield url
    finally:
        server.terminate()
        server.wait(60)


def kill_workers(place: Place, times: int, chance: random.Random) -> Counter[str]:
    counts: Counter[str] = Counter()
    with pool_server(place) as url:
        for number in range(times + 1):
            worker = place.started(
                *(BIN / "prefect", *["worker", "start", "--pool", "rubricator"]),
                log="worker.log",
                PREFECT_API_URL=url,
            )
            run, before = begun(url, "extract/extract-nightly"), place.notes_done()
            counts["next runs that did not run"] += not goes_on(place, url, run, before)
            others = [each for each in open_runs(url) if each["id"] != run]
            counts["runs that stay open after the next start"] += len(others)
            counts["slots that stay taken"] += slots(url)
            if number == times:
                counts["next runs that did not run"] += not ends_well(url, run)
                worker.terminate()
                worker.wait(60)
                break
            time.sleep(chance.uniform(0, 3))
            counts["killed while the job ran"] += not is_final(url, run)
            everything = number % 2 == 0
            for process in place.processes() if everything else [worker.pid]:
                os.kill(process, signal.SIGKILL)
            worker.wait(30)
            say(number, "SIGKILL of", "all" if everything else "the worker", place.notes_done())
            counts["rounds with a process left"] += not wait_for(lambda: not place.processes(), 30)
    counts["rounds with a process left"] += not wait_for(lambda: not place.processes(), 30)
    counts.update(compared(place))
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=10, help="of each signal")
    parser.add_argument("--worker-times", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    for title, kill, times in (
        ("rubricator schedule", kill_schedules, given.times),
        ("prefect worker", kill_workers, given.worker_times),
    ):
        if not times:
            continue
        with tempfile.TemporaryDirectory() as folder:
            place = Place(Path(folder))
            counts = kill(place, times, random.Random(given.seed))
            sys.stdout.write(f"{title}\n")
            sys.stdout.writelines(f"  {count:>4} {what}\n" for what, count in sorted(counts.items()))


if __name__ == "__main__":
    main()
