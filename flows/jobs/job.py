"""What the parent process of a job does: read notes, give shards to workers, record what is done (see the package)."""

import errno
import hashlib
import json
import logging
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from rubricator.flows.jobs.files import locked, storage, sync_folder, write_text
from rubricator.flows.jobs.ledger import FileMark, JobError, Ledger, Shard, ShardDone, canonical, part_name
from rubricator.flows.jobs.result import COMPOSED_NOTES, JobResult
from rubricator.flows.jobs.shards import Notes, ShardCutter, late_path, made_path, spool_path
from rubricator.flows.jobs.step import Engine, Step, Submitted
from rubricator.flows.progress import Progress
from rubricator.nlp.readers.files import DeadLetter, shown

_LOG = logging.getLogger(__name__)
# in a row; the note that kills its worker is found after log2(notes of its shard) kills
KILLS_UNTIL_GIVING_UP = 25
KILLED = "its worker process was killed, most likely for want of memory"
LATE = "it took too long: its worker process was ended"
FEW_NOTES, FEW_BYTES = 300, 1_000_000  # a job of fewer is done sooner than workers start
MANIFEST_EVERY = 5.0  # seconds
FILES_NAMED = 1000  # in the manifest, which is written often


class OutFolderError(JobError):
    """A folder that the tables cannot be written into."""


class WorkerKilledError(JobError):
    """Worker processes keep being killed, most likely because memory runs out."""


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

    read: opens the notes; its argument is to be called with each dead letter. source: the notes as the user named them.
    shard_size: notes per shard; by default shards grow until one takes about 15 s.
    Raises OutFolderError, StorageError, JobIsRunningError, SettingsChangedError, WorkerKilledError, SafeError; what is
    done stays done.
    """
    out = out.absolute()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = "it is a file" if out.is_file() else os.strerror(error.errno or errno.EIO)
        raise OutFolderError(f"{out} cannot be the folder of the tables: {why}; name another one") from None
    check_own(out, (*step.schemas, COMPOSED_NOTES))
    with (
        storage(out),
        locked(out),
        Ledger(out, step=step.name, settings=step.settings, tables=(*step.schemas, COMPOSED_NOTES)) as ledger,
    ):
        notes = read(ledger.add_dead_letter)
        if any(file.absolute().is_relative_to(out) for file in notes.files):
            raise OutFolderError(f"{out} holds the notes; name another folder for the tables")
        job = _Job(
            step=step,
            notes=notes,
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


def check_own(out: Path, tables: Sequence[str]) -> None:
    """Raises OutFolderError for a folder of somebody else, in which the job would replace files: without a ledger and a
    manifest, but with files of the tables' names; and for a home.
    """
    if (out / "mlflow.db").exists() or ((out.parent / "mlflow.db").exists() and out.name == "artifacts"):
        raise OutFolderError(f"{out} is of a home, with its models; name another folder for the tables")
    is_own = (out / "ledger.sqlite").exists() or (out / "manifest.json").exists()
    if not is_own and (foreign := next((name for name in tables if any((out / name).glob("*"))), None)):
        raise OutFolderError(
            f"{out} has a folder {foreign} that is of no job; name another folder for the tables"
        )


def read_manifest(out: Path) -> dict[str, Any]:
    """The manifest of a job's folder. Raises JobError where there is none."""
    path = out / "manifest.json"
    if not path.is_file():
        raise JobError(f"{out} has no manifest.json: it is not the folder of an extract or predict job")
    manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return manifest


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
    done: int = 0
    rows: Counter[str] = field(default_factory=Counter)
    manifest_written: float = 0.0

    def __post_init__(self) -> None:
        self.work = self.out / ".work" / self.ledger.run
        self.files = [shown(file) for file in self.notes.files]
        self.cutter = ShardCutter(
            notes=self.notes,
            ledger=self.ledger,
            work=self.work,
            workers=self.engine.workers,
            size=self.shard_size,
            fail=self.fail,
        )

    def run(self) -> JobResult:
        self.work.mkdir(parents=True)
        self.write_manifest("running")
        with Progress(self.step.name) as progress:
            self.do_all(progress)
        self.ledger.finish([self.source, *self.files])
        return JobResult(
            step=self.step.name,
            out=self.out,
            notes=self.done,
            skipped=self.cutter.skipped,
            dead_letters=len(self.ledger.dead_letters()),
            unusable=self.ledger.unusable(),
            rows={table: self.rows[table] for table in self.step.schemas},
            composed=self.rows[COMPOSED_NOTES],
            seconds=(datetime.now(UTC) - self.started).total_seconds(),
            notices=self.notices(),
        )

    def do_all(self, progress: Progress) -> None:
        """Do all shards. A shard that kills its worker is halved, until the note that does so is alone in one."""
        shards = self.choose_engine(iter(self.cutter))
        in_flight = 2 * self.engine.workers
        kills = 0
        # notes that killed a worker before are tried again; their kills do not show that the machine lacks memory
        reasons = (KILLED, LATE)
        killers = {letter["note_id"] for letter in self.ledger.dead_letters() if letter["reason"] in reasons}
        lost = self.work_through(shards, in_flight, progress)
        while lost:  # a worker was killed: one shard at a time now, so that it is known which one did it
            shard = lost.pop()
            if not self.work_through(iter([shard]), 1, progress):
                kills = 0
            else:
                kills += not killers.issuperset(shard.note_ids)
                if kills > KILLS_UNTIL_GIVING_UP:
                    raise WorkerKilledError(
                        f"worker processes were killed {kills} times in a row, most likely because memory ran "
                        f"out, at last on shard {shard.number}, {_named(shard)}. What is done stays done: run again "
                        "with fewer workers or smaller shards"
                    )
                lost += self.smaller(shard)
            if not lost:
                lost = self.work_through(shards, in_flight, progress)

    def choose_engine(self, shards: Iterator[Shard]) -> Iterator[Shard]:
        """Take the engine for few notes, if there are few. Not after a run that was killed: a note may have done it."""
        first: list[Shard] = []
        while sum(shard.bytes for shard in first) <= FEW_BYTES and self.cutter.cut <= FEW_NOTES:
            if (shard := next(shards, None)) is None:
                if not self.ledger.was_killed:
                    self.engine = self.engine.for_few_notes
                break
            first.append(shard)
        return chain(first, shards)

    def work_through(self, shards: Iterator[Shard], in_flight: int, progress: Progress) -> list[Shard]:
        """Do shards, at most `in_flight` at once; returns those in flight when a worker was killed."""
        following = next(shards, None)
        if following is None:
            return []  # do not start processes for nothing
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
                    # Dask raises KilledWorker
                    if not isinstance(error, BrokenExecutor) and type(error).__name__ != "KilledWorker":
                        raise
                    lost = [shard for shard, _ in running.values()]
                    return lost if following is None else [*lost, following]
                del running[number]
                self.commit(shard, done)
                share = self.notes.fraction_read * self.done / max(self.cutter.cut, 1)
                progress.show(share, f"{self.done:,} notes")
        return []

    def commit(self, shard: Shard, done: ShardDone) -> None:
        """Move a shard's files into the table folders, then record it: so no record lacks a file."""
        files = {}
        for table in done.rows:
            made = made_path(self.work, shard.number, table)
            files[table] = FileMark.of(made)
            (self.out / table).mkdir(exist_ok=True)
            made.rename(self.out / table / part_name(shard.number))
            sync_folder(self.out / table)
        for note_id, reason in done.failed:
            self.fail(note_id, f"failed: {reason}")
        _LOG.info(
            "shard %d: %d notes in %.1f s, %d failed",
            *(shard.number, len(shard.note_ids), done.seconds, len(done.failed)),
        )
        self.ledger.record(shard, done, files=files, made_by=self.step.made_by)
        spool_path(self.work, shard.number).unlink()
        self.done += len(shard.note_ids) - len(done.failed)
        self.rows.update(done.rows)
        self.cutter.seconds_per_byte = done.seconds / max(shard.bytes, 1)
        if time.monotonic() - self.manifest_written > MANIFEST_EVERY:
            self.write_manifest("running")

    def smaller(self, shard: Shard) -> list[Shard]:
        """The two halves of a shard that killed its worker; a single note becomes a dead letter instead."""
        if len(shard.note_ids) > 1:
            return self.cutter.halves(shard)
        late = late_path(self.work, shard.number)
        self.fail(shard.note_ids[0], LATE if late.exists() and late.stat().st_size else KILLED)
        spool_path(self.work, shard.number).unlink()
        return []

    def notices(self) -> tuple[str, ...]:
        return tuple(self.notes.notices)

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
            "files": self.files[:FILES_NAMED],
            "file_count": len(self.files),
            "started": self.started.isoformat(timespec="seconds"),
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            "settings": self.step.settings,
            "settings_fingerprint": hashlib.sha256(canonical(self.step.settings).encode()).hexdigest(),
            "notices": self.notices(),
            **self.ledger.summary(),
        }
        write_text(self.out / "manifest.json", json.dumps(manifest, indent=1, ensure_ascii=False))


def _named(shard: Shard) -> str:
    """The notes of a shard, named by the first and the last id."""
    first, *others = shard.note_ids
    return f"the notes {first!r} to {others[-1]!r}" if others else f"the note {first!r}"


def _put(finished: SimpleQueue[int], number: int, _: object) -> None:
    finished.put(number)
