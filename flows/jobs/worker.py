"""What a worker process does: the notes of one shard."""

import faulthandler
import multiprocessing
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rubricator.flows.jobs.files import storage
from rubricator.flows.jobs.ledger import FailedNote, ShardDone
from rubricator.flows.jobs.result import COMPOSED_NOTES
from rubricator.flows.jobs.shards import late_path, made_path, spool_path
from rubricator.flows.jobs.step import ShardTables, Step, Submit
from rubricator.flows.run import guarded, is_interrupt
from rubricator.models.processes import end_with_parent

LONGEST = 600.0  # seconds for a shard, and one more for each of its notes; then its worker is ended


@guarded
def work_on_shard(step: Step, work: Path, number: int) -> ShardDone:
    """Process the notes of `shard-N.arrow` in the folder `work`, and write `shard-N.TABLE.parquet` for each table.

    Composed notes, if any, are a table of their own. A note that raises an exception is left out, and reported by the
    name of the exception. A shard that takes too long ends its process. Raises only exceptions without note text.
    """
    started = time.perf_counter()
    process = _prepared(step)
    with storage(work.parents[1]):
        with pa.memory_map(str(spool_path(work, number))) as file:
            notes = pa.ipc.open_file(file).read_all()
            with _limited(late_path(work, number), notes.num_rows):
                parts, failed = _process(process, notes)
            composed = _composed(notes, failed)
        tables = {
            table: pa.concat_tables([schema.empty_table(), *(part.tables[table] for part in parts)])
            for table, schema in step.schemas.items()
        }
        if composed.num_rows:
            tables[COMPOSED_NOTES] = composed
        for table, whole in tables.items():
            _write(whole, made_path(work, number, table))
    figures: Counter[str] = Counter()
    for part in parts:
        figures.update(part.figures)
    rows = {table: whole.num_rows for table, whole in tables.items()}
    return ShardDone(rows, dict(figures), failed, time.perf_counter() - started)


@contextmanager
def _limited(late: Path, notes: int) -> Iterator[None]:
    """End this process if the work takes too long, also where it hangs in a library. late: gets the lines of code."""
    with late.open("w") as file:
        in_worker = multiprocessing.parent_process() is not None
        faulthandler.dump_traceback_later(
            LONGEST + notes, exit=True, file=file if in_worker or sys.__stderr__ is None else sys.__stderr__
        )
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
    late.unlink()


def _write(table: pa.Table, path: Path) -> None:
    with path.open("wb") as file:
        pq.write_table(table, file, compression="zstd")
        file.flush()
        os.fsync(file.fileno())


@lru_cache(maxsize=1)
def _prepared(step: Step) -> Callable[[pa.Table], ShardTables]:
    return step.prepare()


def _process(
    process: Callable[[pa.Table], ShardTables], notes: pa.Table
) -> tuple[list[ShardTables], list[FailedNote]]:
    """Process all notes at once. If that raises, process each half alone, down to the notes that fail."""
    if not notes.num_rows:
        return [], []
    try:
        return [process(notes)], []
    except BaseException as error:
        if is_interrupt(error):
            raise
        reason = type(error).__name__
    if notes.num_rows == 1:
        return [], [FailedNote(notes["note_id"][0].as_py(), reason)]
    half = notes.num_rows // 2
    first, first_failed = _process(process, notes.slice(0, half))
    second, second_failed = _process(process, notes.slice(half))
    return first + second, first_failed + second_failed


def _composed(notes: pa.Table, failed: list[FailedNote]) -> pa.Table:
    """The notes whose text was composed by their reader, without those that failed."""
    composed = notes.filter(notes["composed"])
    ids = pa.array([note.note_id for note in failed], pa.string())
    return composed.filter(pc.invert(pc.is_in(composed["note_id"], ids)))


@dataclass(frozen=True)
class ThisProcess:
    """No worker: shards are done in this process, one after the other. A shard that ends the process ends the job."""

    workers: int = 1

    @property
    def for_few_notes(self) -> "ThisProcess":
        return self

    @contextmanager
    def start(self) -> Iterator[Submit]:
        try:
            yield _submit_here
        finally:
            _prepared.cache_clear()  # a later job may find other files under the same names


def _submit_here(step: Step, work: Path, number: int) -> "Future[ShardDone]":
    future: Future[ShardDone] = Future()
    try:
        future.set_result(work_on_shard(step, work, number))
    except Exception as error:
        future.set_exception(error)
    return future


@dataclass(frozen=True)
class LocalProcesses:
    """Worker processes of this machine, without Prefect or Dask. always: also for few notes."""

    workers: int
    always: bool = True

    @property
    def for_few_notes(self) -> "LocalProcesses | ThisProcess":
        return self if self.always else ThisProcess()

    @contextmanager
    def start(self) -> Iterator[Submit]:
        # spawn: a fork of a process with threads (polars, pyarrow, Prefect) can hang
        spawn = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(self.workers, mp_context=spawn, initializer=ignore_interrupts)
        try:
            yield lambda step, work, number: pool.submit(work_on_shard, step, work, number)
        finally:
            pool.shutdown(cancel_futures=True)


def ignore_interrupts() -> None:
    """Called first in a worker process: leave Ctrl-C to its parent, and end the process if its parent is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
