"""Kill extract and predict jobs under Prefect with SIGKILL, at any moment, and count what is lost.

Example: .venv/bin/python tests/benchmarks/kill_jobs.py --times 20

Each job is killed --times times, each time after another while, and started again; one that ends before is begun anew in
another folder. At the end it runs to its end, and its rows are compared with those of a job that nobody killed. After
each kill, processes of this home that are still there after a few seconds are counted: servers and workers.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from rubricator.flows.demo.synthetic import synthetic_notes
from rubricator.models import fit_model

GRACE = 8  # seconds in which the processes of a killed job must be gone


def command(step: str, folder: Path, out: str, *more: str) -> list[str]:
    model = ["--model", str(folder / "model")] if step == "predict" else []
    return [
        *(sys.executable, "-m", "rubricator.flows.cli", step, str(folder / "notes.parquet"), "--quiet"),
        *("--out", str(folder / out), "--home", str(folder / "home"), "--workers", "2", "--shard-size", "40"),
        *(*model, *more),
    ]


def rows(out: Path, table: str) -> list[tuple[object, ...]]:
    read = pl.read_parquet(out / table / "*.parquet")
    return sorted(map(repr, read.iter_rows()))  # type: ignore[arg-type]


def left(home: Path) -> list[int]:
    """The processes that were started with this home and still run."""
    wanted = str(home).encode()
    return [
        int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _has(entry, wanted)
    ]


def _has(process: Path, wanted: bytes) -> bool:
    try:
        about = (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
        state = (process / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return wanted in about and state != "Z" and int(process.name) != os.getpid()


def outs(step: str) -> Iterator[str]:
    number = 0
    while True:
        yield f"{step}-{number}"
        number += 1


def kill(step: str, folder: Path, times: int, random_: random.Random) -> None:
    table = "predictions" if step == "predict" else "sentences"
    environment = {**os.environ, "RUBRICATOR_HOME": str(folder / "home")}
    subprocess.run(command(step, folder, f"{step}-whole", "--no-prefect"), check=True, env=environment)
    whole = rows(folder / f"{step}-whole", table)
    names, killed, remaining, done = outs(step), 0, Counter[str](), []
    out = next(names)
    while killed < times:
        log = (folder / f"{step}.log").open("w")
        job = subprocess.Popen(
            command(step, folder, out), env=environment, stdout=log, stderr=log, start_new_session=True
        )
        begun = time.monotonic()
        while job.poll() is None and not (folder / out / ".work").exists() and time.monotonic() < begun + 60:
            time.sleep(0.05)
        # a quarter of the kills while the server starts, the others at work
        time.sleep(random_.uniform(0, 3) if killed % 4 else 0)
        if job.poll() is None:
            job.send_signal(signal.SIGKILL)
            killed += 1
        elif job.returncode:
            remaining[f"exit code {job.returncode}"] += 1
        job.wait()
        deadline = time.monotonic() + GRACE
        while (found := left(folder / "home")) and time.monotonic() < deadline:
            time.sleep(0.2)
        remaining["processes left"] += len(found)
        if job.returncode == 0:
            done.append(out)
            out = next(names)
    subprocess.run(command(step, folder, out, "--no-prefect"), check=True, env=environment)
    differing = 0
    for each in [*done, out]:
        found_rows, wanted = Counter(rows(folder / each, table)), Counter(whole)
        lost, more = wanted - found_rows, found_rows - wanted
        differing += lost.total() + more.total()
        print(
            f"{step}: {each}: {len(whole):,} rows, lost {lost.total()}, doubled or differing {more.total()}",
            flush=True,
        )
    print(
        f"{step}: killed {killed} times; rows lost, doubled or differing {differing}; {dict(remaining)}",
        flush=True,
    )


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--notes", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", default="extract,predict")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        made = list(synthetic_notes(notes=asked.notes, seed=asked.seed))
        pl.DataFrame(
            {"note_id": [note.note_id for note in made], "text": [note.text for note in made]}
        ).write_parquet(folder / "notes.parquet")
        fit_model("plan", folder / "notes.parquet").save(folder / "model")
        for step in asked.steps.split(","):
            kill(step, folder, asked.times, random.Random(f"{asked.seed} {step}"))


if __name__ == "__main__":
    main()
