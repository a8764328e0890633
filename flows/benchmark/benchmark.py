"""Benchmark: measure every model on every corpus that is there, one process per row, and write one report."""

import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from rubricator.flows.jobs.files import locked
from rubricator.flows.parameters.options import Commas, Name, PathName, StepSettings

if TYPE_CHECKING:
    from rich.console import RenderableType


Data = Annotated[
    PathName | None, Field(description="Folder of the corpora. A corpus that is missing is left out.")
]
Out = Annotated[
    PathName,
    Field(
        description="Folder for the report and every result. The same command, run again, goes on where it stopped."
    ),
]


class BenchmarkSettings(StepSettings):
    """Which rows are measured, and where MIMIC is."""

    only: Annotated[tuple[Name, ...], Commas()] = Field(
        default=(), description="Prefixes of protocol names, with commas: plan,cmc. By default all protocols."
    )
    models: Annotated[tuple[Name, ...], Commas()] = Field(
        default=(), description="Prefixes of model names, with commas: svm,cnn. By default all models."
    )
    quick: bool = Field(
        default=False,
        description="A smoke run of few notes, folds and epochs, into OUT/quick; its figures mean nothing.",
    )
    mimic3: PathName | None = Field(default=None, description="Folder with the tables of MIMIC-III.")
    mimic4: PathName | None = Field(default=None, description="Folder with the tables of MIMIC-IV.")
    splits: PathName | None = Field(
        default=None,
        description="Folder with the public split files of MIMIC; by default the split is drawn at random.",
    )


@dataclass(frozen=True)
class Benchmarked:
    """Counts of the report. failed: reason by row. left: number of rows that have not been measured."""

    report: Path
    measured: int
    failed: dict[str, str]
    left: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """As JSON types."""
        return {**asdict(self), "report": str(self.report)}

    def __rich__(self) -> "RenderableType":
        from rich.text import Text

        lines = [f"{self.measured} rows measured, {len(self.failed)} failed, {self.left} not run"]
        lines += [f"  failed: {key}: {reason}" for key, reason in self.failed.items()]
        lines += [f"report: {self.report} and {self.report.with_suffix('.md').name} beside it"]
        return Text("\n".join(lines), overflow="ignore", no_wrap=True)


def benchmark(
    data: Data = None, *, out: Out, settings: BenchmarkSettings = BenchmarkSettings()
) -> Benchmarked:
    """Measure the rows of benchmark.toml on the corpora in a folder, and write report.md and report.html into `out`.

    A row is one model on one protocol. A row that was measured with the same settings on the same data is not measured
    again. A row that fails is a line of the report. The report shows the protocols whose corpora are given.
    Raises BenchmarkError where there is nothing to measure.
    """
    from rich.console import Console

    from rubricator.flows.benchmark.measure import corpora, left_out, measure, report, rows_of, sums_of
    from rubricator.flows.benchmark.table import BenchmarkError, Table

    start = time.monotonic()
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    table = Table.load()
    chosen = table.choose(settings.only, settings.models)
    paths = corpora(data, settings, table)
    folder = Path(out, "quick") if settings.quick else Path(out)
    os.umask(0o077)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        rows = rows_of(table, paths, folder, settings)
        for protocol, missing in left_out(table, paths).items():
            if protocol in {name for name, _ in chosen}:
                console.print(f"{protocol}: left out, as there is no {', '.join(missing)}")
        sums = sums_of(paths, settings.splits)
        asked = [row for row in rows if (row.protocol.name, row.model.name) in chosen]
        if not asked:
            raise BenchmarkError(
                f"{data or 'what was given'} holds no corpus that the chosen rows need: see benchmark.toml"
            )
        try:
            measure(asked, sums, console)
        finally:
            failed = report(folder, rows, sums, settings.quick)
    results = [row.result(sums) for row in rows]
    return Benchmarked(
        report=folder / "report.html",
        measured=sum(result is not None and "failure" not in result for result in results),
        failed=failed,
        left=sum(result is None for result in results),
        seconds=time.monotonic() - start,
    )
