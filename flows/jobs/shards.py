"""Jobs over any number of notes, cut into shards, done by worker processes, and safe against kill -9.

A job's folder (`--out`) holds

    sections/part-00000.parquet …   each table is a folder of parquet files, one a shard
    composed_notes/                 such a table of NOTES_SCHEMA, where the reader put the text of notes together
                                    (FHIR compositions): offsets point into it, and it is nowhere else
    ledger.sqlite                   the truth about what is done: shards, notes, dead letters
    manifest.json                   the same for people: settings, models, counts, shards
    dead_letters.jsonl              notes that could not be read or worked on, and why; never their text
    .work/                          scratch of a running job: the notes of the shards in flight; gone when it ends

The parent reads notes, leaves out those that the ledger knows and puts each shard into `.work`, where a
worker writes the shard's tables. Only the parent moves them into the table folders, and records shard and
notes in one transaction. The next start removes files that no transaction tells of. So a job may die
anywhere: no row is lost or doubled, and at most the shards in flight are done again.
"""

import errno
import fcntl
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache, partial
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rubricator.flows.jobs.ledger import (
    FailedNote,
    Figures,
    JobError,
    Ledger,
    Shard,
    ShardDone,
    canonical,
    part_name,
)
from rubricator.flows.progress import Progress
from rubricator.flows.run import guarded, is_interrupt
from rubricator.nlp.hidden_text import hides_text
from rubricator.nlp.readers.notes import NOTES_SCHEMA, DeadLetter

if TYPE_CHECKING:
    from rich.text import Text

SHARD_SECONDS = 15.0  # of work: a Prefect task of less costs more in the server than it is worth
SMALLEST_SHARD = 250_000  # bytes of text, about 80 notes
LARGEST_SHARD = 48_000_000  # bytes of text; bounds the memory of a worker
KILLS_UNTIL_GIVING_UP = (
    25  # in a row; the note of a shard that kills its worker is found after log2(notes) kills
)
COMPOSED_NOTES = "composed_notes"  # not "notes": a folder of that name beside the tables may be the user's
KILLED = "its worker process was killed, most likely for want of memory"


class JobIsRunningError(JobError):
    """Another job writes into the same folder."""


class WorkerKilledError(JobError):
    """Worker processes keep being killed, most likely for want of memory."""


@hides_text("figures")
class ShardTables(NamedTuple):
    """What a step makes of some notes: a table for each schema, and figures that add up over shards."""

    tables: dict[str, pa.Table]
    figures: Figures


class Step(Hashable, Protocol):
    """The work of a job on any set of notes. Frozen, hashable and small: it is pickled with every shard."""

    @property
    def name(self) -> str: ...

    @property
    def schemas(self) -> Mapping[str, pa.Schema]:
        """The tables that it makes."""

    @property
    def settings(self) -> dict[str, Any]:
        """JSON-able. Tables made with other settings never share a folder."""

    @property
    def made_by(self) -> dict[str, str]:
        """What may differ between the shards of a folder: the version of the model."""

    def prepare(self) -> Callable[[pa.Table], ShardTables]:
        """Load what the work needs, once a process. The work takes a table of NOTES_SCHEMA."""


class Submitted(Protocol):
    """A future of the standard library, Prefect or Dask."""

    def result(self) -> Any: ...

    def add_done_callback(self, callback: Callable[[Any], None], /) -> Any: ...


Submit = Callable[[Step, Path, int], Submitted]


class Engine(Protocol):
    """Where shards are worked on."""

    @property
    def workers(self) -> int: ...

    def start(self) -> AbstractContextManager[Submit]:
        """Start workers; what it gives calls `work_on_shard` in one of them."""


class Notes(Protocol):
    """What a job reads: a NoteReader."""

    files: list[Path]

    def __iter__(self) -> Iterator[pa.RecordBatch]: ...

    @property
    def fraction_read(self) -> float: ...


@dataclass(frozen=True, kw_only=True)
class JobResult:
    """What one run of a job did."""

    step: str
    out: Path
    notes: int  # done in this run
    skipped: int  # done before
    dead_letters: int  # of the folder: not readable, or failed
    rows: Figures  # written in this run, by table
    seconds: float
    composed: int  # notes of this run whose composed text is kept

    def __str__(self) -> str:
        if self.notes:
            rows = ", ".join(f"{count:,} {table}" for table, count in self.rows.items())
            text = f"{self.notes:,} notes in {self.seconds:.1f} s: {rows}"
            text += f"; {self.skipped:,} were done before" if self.skipped else ""
        else:
            text = (
                f"nothing to do: all {self.skipped:,} notes are done" if self.skipped else "no note was done"
            )
        if self.composed:
            text += f"; the composed texts of {self.composed:,} are in {self.out / COMPOSED_NOTES}"
        if self.dead_letters:
            text += f"; {self.dead_letters:,} could not be used, see {self.out / 'dead_letters.jsonl'}"
        return text

    def __rich__(self) -> "Text":
        from rich.text import Text

        return Text(str(self))


def run_job(
    step: Step,
    read: Callable[[Callable[[DeadLetter], None]], Notes],
    out: Path,
    *,
    engine: Engine,
    source: str,
    shard_size: int | None = None,
) -> JobResult:
    """Do the step on every note that `out` does not hold yet.

    read: opens the notes, given what to call with each dead letter. source: the notes as the user named them.
    shard_size: notes a shard; by default shards grow until one is some 15 s of work.
    Raises JobIsRunningError, SettingsChangedError, WorkerKilledError, SafeError; what is done stays done.
    """
    out = out.absolute()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = "it is a file" if out.is_file() else os.strerror(error.errno or errno.EIO)
        raise JobError(f"--out {out} cannot be the folder of the tables: {why}; name another one") from None
    with (
        locked(out),
        Ledger(out, step=step.name, settings=step.settings, tables=(*step.schemas, COMPOSED_NOTES)) as ledger,
    ):
        job = _Job(
            step=step,
            notes=read(ledger.add_dead_letter),
            out=out,
            engine=engine,
            ledger=ledger,
            source=source,
            shard_size=shard_size,
        )
        status = "stopped"
        try:
            result = job.run()
            status = "complete"
        finally:
            shutil.rmtree(out / ".work", ignore_errors=True)  # it holds note text
            job.write_manifest(status)
        return result


def read_manifest(out: Path) -> dict[str, Any]:
    """The manifest of a job's folder. Raises JobError where there is none."""
    path = out / "manifest.json"
    if not path.is_file():
        raise JobError(f"{out} has no manifest.json: it is not the folder of an extract or predict job")
    manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return manifest


# ---- the worker's side


@guarded
def work_on_shard(step: Step, work: Path, number: int) -> ShardDone:
    """Do the notes of `shard-N.arrow` in the folder `work`, and write `shard-N.TABLE.parquet` of each table.

    Composed notes are a table of their own, where there are any. A note on which the work raises is left out, and
    told of by the name of the exception. Raises only exceptions without note text.
    """
    started = time.perf_counter()
    process = _prepared(step)
    with pa.memory_map(str(_spool(work, number))) as file:
        notes = pa.ipc.open_file(file).read_all()
        parts, failed = _process(process, notes)
        composed = _composed(notes, failed)
    tables = {
        table: pa.concat_tables([schema.empty_table(), *(part.tables[table] for part in parts)])
        for table, schema in step.schemas.items()
    }
    if composed.num_rows:
        tables[COMPOSED_NOTES] = composed
    for table, whole in tables.items():
        with _made(work, number, table).open("wb") as made:
            pq.write_table(whole, made, compression="zstd")
            made.flush()
            os.fsync(made.fileno())
    figures: Counter[str] = Counter()
    for part in parts:
        figures.update(part.figures)
    rows = {table: whole.num_rows for table, whole in tables.items()}
    return ShardDone(rows, dict(figures), failed, time.perf_counter() - started)


@lru_cache(maxsize=1)
def _prepared(step: Step) -> Callable[[pa.Table], ShardTables]:
    return step.prepare()


def _process(
    process: Callable[[pa.Table], ShardTables], notes: pa.Table
) -> tuple[list[ShardTables], list[FailedNote]]:
    """All notes at once; where that raises, each half alone, down to the notes that cannot be done."""
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
class LocalProcesses:
    """Worker processes of this program, with nothing in between."""

    workers: int

    @contextmanager
    def start(self) -> Iterator[Submit]:
        # spawn: a fork of a process with threads (polars, pyarrow, Prefect) can hang
        spawn = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(self.workers, mp_context=spawn, initializer=end_with_parent)
        try:
            yield lambda step, work, number: pool.submit(work_on_shard, step, work, number)
        finally:
            pool.shutdown(cancel_futures=True)


def end_with_parent() -> None:
    """Called first in a worker process: Ctrl-C is its parent's affair, and it ends with a killed parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


# ---- the parent's side


@dataclass(kw_only=True)
class _Job:
    step: Step
    notes: Notes
    out: Path
    engine: Engine
    ledger: Ledger
    source: str
    shard_size: int | None
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    cut: int = 0  # notes put into shards in this run
    done: int = 0
    skipped: int = 0
    rows: Counter[str] = field(default_factory=Counter)
    seconds_per_byte: float = 0.0
    manifest_written: float = 0.0

    def __post_init__(self) -> None:
        self.work = self.out / ".work" / self.ledger.run
        self.files = [str(file) for file in self.notes.files]

    def run(self) -> JobResult:
        self.work.mkdir(parents=True)
        self.write_manifest("running")
        in_flight = 2 * self.engine.workers
        shards = self.shards()
        kills = 0
        # they are tried again, and what is known of them is no sign that the machine cannot do the others
        killers = {letter["note_id"] for letter in self.ledger.dead_letters() if letter["reason"] == KILLED}
        with Progress(self.step.name) as progress:
            lost = self.work_through(shards, in_flight, progress)
            while lost:  # a worker was killed: one shard at a time now, so that it is known which one did it
                shard = lost.pop()
                if not self.work_through(iter([shard]), 1, progress):
                    kills = 0
                else:
                    kills += not killers.issuperset(shard.note_ids)
                    if kills > KILLS_UNTIL_GIVING_UP:
                        raise WorkerKilledError(
                            f"worker processes were killed {kills} times in a row, most likely for want of memory, "
                            f"at last on shard {shard.number}, {_named(shard)}. What is done stays done: run again "
                            "with fewer --workers or smaller --shard-size"
                        )
                    lost += self.halves(shard)
                if not lost:
                    lost = self.work_through(shards, in_flight, progress)
        self.ledger.finish([self.source, *self.files])
        return JobResult(
            step=self.step.name,
            out=self.out,
            notes=self.done,
            skipped=self.skipped,
            dead_letters=len(self.ledger.dead_letters()),
            rows={table: self.rows[table] for table in self.step.schemas},
            composed=self.rows[COMPOSED_NOTES],
            seconds=(datetime.now(UTC) - self.started).total_seconds(),
        )

    def work_through(self, shards: Iterator[Shard], in_flight: int, progress: Progress) -> list[Shard]:
        """Do shards, at most `in_flight` at once; returns those in flight when a worker was killed."""
        following = next(shards, None)
        if following is None:
            return []  # no process is started for nothing
        finished: SimpleQueue[int] = SimpleQueue()
        running: dict[int, tuple[Shard, Submitted]] = {}
        with self.engine.start() as submit:
            while following is not None or running:
                try:
                    while following is not None and len(running) < in_flight:
                        future = submit(self.step, self.work, following.number)
                        running[following.number] = following, future
                        future.add_done_callback(partial(_put, finished, following.number))
                        following = next(shards, None)
                    number = finished.get()
                    shard, future = running[number]
                    done = future.result()
                except Exception as error:
                    # KilledWorker is Dask's word for it
                    if not isinstance(error, BrokenExecutor) and type(error).__name__ != "KilledWorker":
                        raise
                    lost = [shard for shard, _ in running.values()]
                    return lost if following is None else [*lost, following]
                del running[number]
                self.commit(shard, done)
                progress.show(self.notes.fraction_read * self.done / max(self.cut, 1), f"{self.done:,} notes")
        return []

    def shards(self) -> Iterator[Shard]:
        """Cut the notes that are not done yet into shards, each with its file in the work folder."""
        shard = Shard(self.ledger.next_shard(), [], [], 0)
        batches: list[pa.RecordBatch] = []
        cut_bytes = 0
        for batch in self.notes:
            fresh, note_ids, digests, sizes = self.not_done(batch)
            start = 0
            for row, size in enumerate(sizes):
                if self.is_full(shard, cut_bytes):
                    yield self.close(shard, [*batches, fresh.slice(start, row - start)])
                    cut_bytes += shard.bytes
                    shard, batches, start = Shard(self.ledger.next_shard(), [], [], 0), [], row
                shard.note_ids.append(note_ids[row])
                shard.digests.append(digests[row])
                shard = shard._replace(bytes=shard.bytes + size)
            batches.append(fresh.slice(start))
        if shard.note_ids:
            yield self.close(shard, batches)

    def is_full(self, shard: Shard, cut_bytes: int) -> bool:
        if self.shard_size is not None:
            return len(shard.note_ids) >= self.shard_size
        # They grow with what was cut before: small inputs and the end of large ones keep all workers busy
        limit = min(LARGEST_SHARD, cut_bytes / (8 * self.engine.workers))
        if self.seconds_per_byte:
            limit = min(limit, SHARD_SECONDS / self.seconds_per_byte)
        return shard.bytes >= max(SMALLEST_SHARD, limit)

    def not_done(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, list[str], list[bytes], list[int]]:
        """The notes of a batch that the ledger does not know, with their ids, digests and sizes in bytes."""
        note_ids = batch["note_id"].to_pylist()
        texts = batch["text"].cast(pa.large_binary()).to_pylist()
        digests = [hashlib.blake2b(text, digest_size=8).digest() for text in texts]
        known = self.ledger.digests(note_ids)
        fresh = []
        for row, (note_id, digest) in enumerate(zip(note_ids, digests, strict=True)):
            if note_id not in known:
                fresh.append(row)
            elif known[note_id] == digest:
                self.skipped += 1
            else:
                self.fail(
                    note_id, "its id was done before with another text: all notes anew need another --out"
                )
        return (
            batch if len(fresh) == len(note_ids) else batch.take(pa.array(fresh, pa.int64())),
            [note_ids[row] for row in fresh],
            [digests[row] for row in fresh],
            [len(texts[row]) for row in fresh],
        )

    def close(self, shard: Shard, batches: list[pa.RecordBatch]) -> Shard:
        _write_spool(batches, _spool(self.work, shard.number))
        self.cut += len(shard.note_ids)
        return shard

    def commit(self, shard: Shard, done: ShardDone) -> None:
        """Move a shard's files into the table folders, then record it: so no record lacks a file."""
        sizes = {}
        for table in done.rows:
            made = _made(self.work, shard.number, table)
            sizes[table] = made.stat().st_size
            (self.out / table).mkdir(exist_ok=True)
            made.rename(self.out / table / part_name(shard.number))
            _sync_folder(self.out / table)
        for note_id, reason in done.failed:
            self.fail(note_id, f"failed: {reason}")
        self.ledger.record(shard, done, sizes=sizes, made_by=self.step.made_by)
        _spool(self.work, shard.number).unlink()
        self.done += len(shard.note_ids) - len(done.failed)
        self.rows.update(done.rows)
        self.seconds_per_byte = done.seconds / max(shard.bytes, 1)
        if time.monotonic() - self.manifest_written > 5:
            self.write_manifest("running")

    def halves(self, shard: Shard) -> list[Shard]:
        """A shard that kills its worker, in two; a single note is a dead letter."""
        count = len(shard.note_ids)
        spool = _spool(self.work, shard.number)
        pieces = []
        if count == 1:
            self.fail(shard.note_ids[0], KILLED)
        else:
            with pa.memory_map(str(spool)) as file:
                notes = pa.ipc.open_file(file).read_all()
                for start, end in ((0, count // 2), (count // 2, count)):
                    piece = Shard(
                        self.ledger.next_shard(),
                        shard.note_ids[start:end],
                        shard.digests[start:end],
                        shard.bytes // 2,
                    )
                    _write_spool(
                        notes.slice(start, end - start).to_batches(), _spool(self.work, piece.number)
                    )
                    pieces.append(piece)
        spool.unlink()
        return pieces

    def fail(self, note_id: str, reason: str) -> None:
        self.ledger.add_dead_letter(DeadLetter(self.source, None, note_id, reason))

    def write_manifest(self, status: str) -> None:
        self.manifest_written = time.monotonic()
        if status != "running":
            letters = (json.dumps(letter, ensure_ascii=False) + "\n" for letter in self.ledger.dead_letters())
            write_text(self.out / "dead_letters.jsonl", "".join(letters))
        manifest = {
            "step": self.step.name,
            "status": status,
            "notes_from": self.source,
            "files": self.files,
            "started": self.started.isoformat(timespec="seconds"),
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            "settings": self.step.settings,
            "settings_fingerprint": hashlib.sha256(canonical(self.step.settings).encode()).hexdigest(),
            **self.ledger.summary(),
        }
        write_text(self.out / "manifest.json", json.dumps(manifest, indent=1, ensure_ascii=False))


def _named(shard: Shard) -> str:
    """Its notes, by the ids of the first and the last."""
    first, *others = shard.note_ids
    return f"the notes {first!r} to {others[-1]!r}" if others else f"the note {first!r}"


def _put(finished: SimpleQueue[int], number: int, _: object) -> None:
    finished.put(number)


def write_text(path: Path, text: str) -> None:
    """Write a file so that it is the new one or the old one, whole, whatever happens."""
    new = path.with_name(f".{path.name}.new")
    with new.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    _sync_folder(path.parent)


@contextmanager
def locked(
    out: Path, *, what: str = "job is writing into", instead: str = ", or choose another --out"
) -> Iterator[None]:
    """Hold the folder for this process alone. Raises JobIsRunningError where another one does."""
    with (out / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JobIsRunningError(f"another {what} {out}: wait for it{instead}") from None
        yield


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _spool(work: Path, number: int) -> Path:
    return work / f"shard-{number:05d}.arrow"


def _made(work: Path, number: int, table: str) -> Path:
    return work / f"shard-{number:05d}.{table}.parquet"


def _write_spool(batches: list[pa.RecordBatch], path: Path) -> None:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, NOTES_SCHEMA) as writer:
        for batch in batches:
            writer.write_batch(batch)
