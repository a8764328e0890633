"""Measure the rows of the benchmark, each in a process of its own, and write the report of all results."""

import hashlib
import json
import multiprocessing
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rubricator.flows.benchmark.report import write_benchmark_report
from rubricator.flows.benchmark.row import run_row
from rubricator.flows.benchmark.table import BenchmarkError, Row, Table, note_files
from rubricator.flows.jobs.files import write_text
from rubricator.flows.progress import Progress
from rubricator.flows.training.checkpoints import checkpoint_folder, networks_in_training
from rubricator.nlp.readers.mimic_splits import SPLIT_FILES

if TYPE_CHECKING:
    from rich.console import Console

    from rubricator.flows.benchmark.benchmark import BenchmarkSettings

BOOTSTRAP, QUICK_BOOTSTRAP = 1000, 100  # resamples of an interval
_SUFFIXES = (".jsonl.gz", ".jsonl", ".jsonl.zst", ".parquet")  # of a corpus in the data folder


def corpora(data: str | None, settings: "BenchmarkSettings", table: Table) -> dict[str, str]:
    """The path of each corpus that is there. Raises BenchmarkError for a folder that is not there."""
    given = {"mimic3": settings.mimic3, "mimic4": settings.mimic4}
    found = {name: path for name, path in given.items() if path}
    for path in filter(None, (data, *found.values())):
        if not Path(path).is_dir():
            raise BenchmarkError(f"{path} is no folder; give the folder that holds the corpora")
    for name in {name for protocol in table.protocols for name in protocol.corpora} if data else ():
        files = [Path(data or "", f"{name}{suffix}") for suffix in _SUFFIXES]
        if file := next((file for file in files if file.exists()), None):
            found[name] = str(file)
    return found


def rows_of(table: Table, paths: Mapping[str, str], folder: Path, settings: "BenchmarkSettings") -> list[Row]:
    """Every row whose corpora are there, chosen or not."""
    return [
        Row(
            protocol=protocol,
            model=model,
            paths={name: paths[name] for name in protocol.corpora},
            splits=settings.splits,
            out=folder.resolve(),
            quick=settings.quick,
            bootstrap=QUICK_BOOTSTRAP if settings.quick else BOOTSTRAP,
            members=tuple(each for each in table.models if each.name in model.members),
        )
        for protocol in table.protocols
        for model in table.models
        if model.is_for(protocol) and protocol.corpora <= paths.keys()
    ]


def left_out(table: Table, paths: Mapping[str, str]) -> dict[str, list[str]]:
    """The missing corpora, by protocol. Protocols on MIMIC are not named."""
    missing = {each.name: sorted(each.corpora - paths.keys()) for each in table.protocols if not each.mimic}
    return {protocol: names for protocol, names in missing.items() if names}


def sums_of(paths: Mapping[str, str], splits: str | None) -> dict[str, str]:
    """A checksum of each corpus, which shows whether the data changed."""
    sums = {name: _sum(path) for name, path in paths.items()}
    if splits:
        lists = sorted(path for form in SPLIT_FILES for path in Path(splits).rglob(form))
        sums["splits"] = hashlib.sha256("".join(_sum(str(path)) for path in lists).encode()).hexdigest()
    return sums


def _sum(path: str) -> str:
    """The sha256 of a file. For a folder of tables, which are large: of their names and sizes."""
    if Path(path).is_file():
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    sizes = [(str(file.relative_to(path)), file.stat().st_size) for file in note_files(path)]
    return hashlib.sha256(json.dumps(sizes).encode()).hexdigest()


def measure(rows: list[Row], sums: dict[str, str], console: "Console") -> None:
    """Measure each row that has no result yet, or failed before, in a process of its own."""
    results = {row.key: row.result(sums) for row in rows}
    pending = [row for row in rows if (results[row.key] or {"failure": ""}).keys() & {"failure"}]
    expected = {row.key: row.seconds() for row in pending}
    console.print(
        f"{len(rows) - len(pending)} rows are measured already, {len(pending)} to go: about "
        f"{_duration(sum(expected.values()))} on two free cores"
    )
    spent = due = 0.0
    with Progress("benchmark") as progress:
        for number, row in enumerate(pending):
            rate = spent / due if due else 1.0  # of this machine, from the rows measured so far
            left = sum(expected[each.key] for each in pending[number:]) * rate
            start = time.monotonic()
            process = _start(row, sums)
            checkpoints = checkpoint_folder(row.out / "checkpoints", row.key, row.digest(sums))
            try:
                while process.exitcode is None:
                    gone = time.monotonic() - start
                    done = sum(expected[each.key] for each in pending[:number]) * rate
                    progress.show(
                        min(0.99, (done + min(gone, expected[row.key] * rate)) / (done + left)),
                        f"{number} of {len(pending)} rows, about {_duration(max(left - gone, 0))} left; {row.key} "
                        f"{networks_in_training(checkpoints)}".rstrip(),
                    )
                    process.join(1)
            finally:
                process.terminate()
            took = time.monotonic() - start
            spent, due = spent + took, due + expected[row.key]
            result = row.result(sums)
            if result is None:
                result = _died(row, sums, process.exitcode)
            said = result.get("failure") or "done"
            console.print(f"{row.key}: {said}, {_duration(took)}")


def _start(row: Row, sums: dict[str, str]) -> multiprocessing.process.BaseProcess:
    process = multiprocessing.get_context("spawn").Process(target=run_row, args=(row, row.digest(sums)))
    process.start()
    return process


def _died(row: Row, sums: dict[str, str], code: int | None) -> dict[str, str]:
    """The process left no result: it was killed."""
    why = f"its process ended with exit code {code}" + (": out of memory?" if code == -9 else "")
    result = {"digest": row.digest(sums), "key": row.key, "failure": why}
    row.folder.mkdir(parents=True, exist_ok=True)
    write_text(row.folder / "figures.json", json.dumps(result))
    return result


def report(out: Path, rows: list[Row], sums: dict[str, str], quick: bool) -> dict[str, str]:
    """Write the report of all results there are. Returns the reason of each row that failed."""
    results = {row.key: result for row in rows if (result := row.result(sums))}
    write_benchmark_report(out, rows, results, is_quick=quick)
    return {key: result["failure"] for key, result in results.items() if "failure" in result}


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
