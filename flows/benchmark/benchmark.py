"""Benchmark: every model on every corpus that is there, one process a row, and one report of all that was measured."""

import hashlib
import json
import multiprocessing
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rubricator.flows.benchmark.table import BenchmarkError, Row, Table, note_files
from rubricator.flows.jobs.shards import locked, write_text
from rubricator.nlp.readers.mimic_splits import SPLIT_FILES

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_BOOTSTRAP, _QUICK_BOOTSTRAP = 1000, 100
_SUFFIXES = (".jsonl.gz", ".jsonl", ".jsonl.zst", ".parquet")  # of a corpus in the data folder


@dataclass(frozen=True)
class Benchmarked:
    """What the report holds. failed: reason by row. left: rows that were not chosen and have not been measured."""

    report: Path
    measured: int
    failed: dict[str, str]
    left: int
    seconds: float

    def __rich__(self) -> "RenderableType":
        from rich.text import Text

        lines = [f"{self.measured} rows measured, {len(self.failed)} failed, {self.left} not run"]
        lines += [f"  failed: {key}: {reason}" for key, reason in self.failed.items()]
        lines += [f"report: {self.report} and {self.report.with_suffix('.md').name} beside it"]
        return Text("\n".join(lines), overflow="ignore", no_wrap=True)


def benchmark(
    data: str | None = None,
    *,
    out: str,
    only: Sequence[str] = (),
    models: Sequence[str] = (),
    quick: bool = False,
    mimic3: str | None = None,
    mimic4: str | None = None,
    splits: str | None = None,
) -> Benchmarked:
    """Measure the rows of benchmark.toml on the corpora in a folder, and write report.md and report.html into `out`.

    only, models: how the names of protocols and models start. quick: a smoke run of few notes, folds and epochs, into
    the folder `quick` of `out`. mimic3, mimic4: folders with the tables of these releases. splits: folder with the
    public split files of MIMIC; without it parts are drawn anew. A row that was measured with the same settings on the
    same data is not measured again; one that fails is a line of the report, which has the protocols whose corpora are
    given. Raises BenchmarkError where there is nothing to measure.
    """
    from rich.console import Console

    start = time.monotonic()
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    table = Table.load()
    chosen = table.choose(only, models)
    paths = _corpora(data, {"mimic3": mimic3, "mimic4": mimic4}, table)
    folder = Path(out, "quick") if quick else Path(out)
    os.umask(0o077)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        rows = [
            Row(
                protocol=protocol,
                model=model,
                paths={name: paths[name] for name in protocol.corpora},
                splits=splits,
                out=folder.resolve(),
                quick=quick,
                bootstrap=_QUICK_BOOTSTRAP if quick else _BOOTSTRAP,
                members=tuple(each for each in table.models if each.name in model.members),
            )
            for protocol in table.protocols
            for model in table.models
            if model.is_for(protocol) and protocol.corpora <= paths.keys()
        ]
        for protocol in table.protocols:
            missing = protocol.corpora - paths.keys()
            if missing and not protocol.mimic and protocol.name in {name for name, _ in chosen}:
                console.print(f"{protocol.name}: left out, as there is no {', '.join(sorted(missing))}")
        sums = {name: _sum(path) for name, path in paths.items()}
        if splits:
            lists = sorted(path for form in SPLIT_FILES for path in Path(splits).rglob(form))
            sums["splits"] = hashlib.sha256("".join(_sum(str(path)) for path in lists).encode()).hexdigest()
        asked = [row for row in rows if (row.protocol.name, row.model.name) in chosen]
        if not asked:
            raise BenchmarkError(f"{data or 'what was given'} holds no corpus that the rows chosen need")
        try:
            _measure(asked, sums, console)
        finally:
            failed = _report(folder, rows, sums, quick)
    results = [row.result(sums) for row in rows]
    return Benchmarked(
        report=folder / "report.html",
        measured=sum(result is not None and "failure" not in result for result in results),
        failed=failed,
        left=sum(result is None for result in results),
        seconds=time.monotonic() - start,
    )


def _corpora(data: str | None, given: Mapping[str, str | None], table: Table) -> dict[str, str]:
    """The file of each corpus that is there, and the folders that were given."""
    found = {name: path for name, path in given.items() if path}
    for path in filter(None, (data, *found.values())):
        if not Path(path).is_dir():
            raise BenchmarkError(f"{path} is no folder; give the folder that holds the corpora")
    for name in {name for protocol in table.protocols for name in protocol.corpora} if data else ():
        files = [Path(data or "", f"{name}{suffix}") for suffix in _SUFFIXES]
        if file := next((file for file in files if file.exists()), None):
            found[name] = str(file)
    return found


def _sum(path: str) -> str:
    """sha256 of a file; of a folder of tables, which are large, of their names and sizes."""
    if Path(path).is_file():
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    sizes = [(str(file.relative_to(path)), file.stat().st_size) for file in note_files(path)]
    return hashlib.sha256(json.dumps(sizes).encode()).hexdigest()


def _measure(rows: list[Row], sums: dict[str, str], console: "Console") -> None:
    """Each row that has no result yet, or failed before, in a process of its own."""
    from rubricator.flows.progress import Progress
    from rubricator.flows.train import checkpoint_folder, networks_in_training

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
            rate = spent / due if due else 1.0  # of this machine, by the rows that it has measured
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
    from rubricator.flows.benchmark.row import run_row

    process = multiprocessing.get_context("spawn").Process(target=run_row, args=(row, row.digest(sums)))
    process.start()
    return process


def _died(row: Row, sums: dict[str, str], code: int | None) -> dict[str, str]:
    """The process left no result: it was killed."""
    why = f"its process ended with {code}" + (": out of memory?" if code == -9 else "")
    result = {"digest": row.digest(sums), "key": row.key, "failure": why}
    row.folder.mkdir(parents=True, exist_ok=True)
    write_text(row.folder / "figures.json", json.dumps(result))
    return result


def _report(out: Path, rows: list[Row], sums: dict[str, str], quick: bool) -> dict[str, str]:
    """Write the report of all results there are; the rows that failed, with their reasons."""
    from rubricator.flows.benchmark.report import write_benchmark_report

    results = {row.key: result for row in rows if (result := row.result(sums))}
    write_benchmark_report(out, rows, results, is_quick=quick)
    return {key: result["failure"] for key, result in results.items() if "failure" in result}


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
