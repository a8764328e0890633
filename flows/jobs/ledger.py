"""What a job has done: shards, notes and dead letters, in a SQLite file. Each shard is one transaction."""

import hashlib
import json
import shutil
import sqlite3
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Self

from rubricator.nlp.errors import RubricatorError
from rubricator.nlp.readers.files import DeadLetter

Figures = dict[str, int]

_SCHEMA = """
PRAGMA synchronous = FULL;
CREATE TABLE IF NOT EXISTS job (step TEXT NOT NULL, settings TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS shards (
    number INTEGER PRIMARY KEY, notes INTEGER NOT NULL, rows TEXT NOT NULL, bytes TEXT NOT NULL,
    figures TEXT NOT NULL, made_by TEXT NOT NULL, seconds REAL NOT NULL, run TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS notes (
    note_id TEXT PRIMARY KEY, digest BLOB NOT NULL, shard INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS dead_letters (
    file TEXT NOT NULL, row INTEGER NOT NULL, note_id TEXT NOT NULL, reason TEXT NOT NULL, run TEXT NOT NULL,
    PRIMARY KEY (file, row, note_id, reason));
"""


LOCKED_FOR = 20  # seconds; how long to wait for another program that has the file open


class JobError(RubricatorError):
    """A job that cannot go on; the message says why and what to do."""


class SettingsChangedError(JobError):
    """The folder holds tables made with other settings."""


class Shard(NamedTuple):
    """Notes that one worker does at a time. Their text is in a file of the work folder."""

    number: int
    note_ids: list[str]
    digests: list[bytes]
    bytes: int


class FailedNote(NamedTuple):
    """A note on which the work raised, and the name of the exception."""

    note_id: str
    reason: str


class ShardDone(NamedTuple):
    """What a worker reports of a shard: counts, ids and names of exceptions, never text."""

    rows: Figures  # by table
    figures: Figures
    failed: list[FailedNote]
    seconds: float


class FileMark(NamedTuple):
    """How a file of a table is known again."""

    size: int  # bytes
    digest: str  # of its content

    @classmethod
    def of(cls, path: Path) -> Self:
        """Reads the whole file: a gigabyte takes a second."""
        with path.open("rb") as file:
            return cls(path.stat().st_size, hashlib.file_digest(file, _digest).hexdigest())


class Ledger:
    """The record of one job's folder; only the process that holds the folder's lock opens it.

    Opening it tidies the folder: files that no transaction recorded are removed, and shards with a file that is
    missing or changed are forgotten, so that they are done again. Raises SettingsChangedError where the folder holds
    notes that were done by another step or with other settings.

    was_killed: whether the run before did not come to its end.
    """

    def __init__(self, out: Path, *, step: str, settings: dict[str, Any], tables: Iterable[str]) -> None:
        self.out = out
        self.run = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"
        self._new_dead_letters: list[DeadLetter] = []
        self._db = sqlite3.connect(out / "ledger.sqlite", timeout=LOCKED_FOR, isolation_level=None)
        self._db.executescript(_SCHEMA)
        self.was_killed = (out / ".work").exists()
        self._check_settings(step, settings)
        self._tidy(tables)
        self._last_number: int = self._db.execute("SELECT coalesce(max(number), -1) FROM shards").fetchone()[
            0
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def next_shard(self) -> int:
        """A number that no shard has."""
        self._last_number += 1
        return self._last_number

    def digests(self, note_ids: list[str]) -> dict[str, bytes]:
        """The digests of the texts of those notes that are done, by note_id."""
        query = "SELECT note_id, digest FROM notes WHERE note_id IN (SELECT value FROM json_each(?))"
        return dict(self._db.execute(query, (json.dumps(note_ids),)).fetchall())

    def record(
        self, shard: Shard, done: ShardDone, *, files: dict[str, FileMark], made_by: dict[str, str]
    ) -> None:
        """Record a shard as done, with its notes except the failed ones. files: the marks of its files, by table."""
        failed = {note.note_id for note in done.failed}
        values = (
            *(shard.number, len(shard.note_ids) - len(failed), json.dumps(done.rows), json.dumps(files)),
            *(json.dumps(done.figures), json.dumps(made_by), round(done.seconds, 3), self.run),
        )
        notes = (
            (note_id, digest, shard.number)
            for note_id, digest in zip(shard.note_ids, shard.digests, strict=True)
            if note_id not in failed
        )
        with self._transaction():
            self._db.execute("INSERT INTO shards VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
            self._db.executemany("INSERT INTO notes VALUES (?, ?, ?)", notes)
            self._write_dead_letters()

    def add_dead_letter(self, letter: DeadLetter) -> None:
        """Record a note as not done. Every run tries it again; repeated failures for one reason are one dead letter."""
        self._new_dead_letters.append(letter)

    def finish(self, files: list[str]) -> None:
        """All notes of these files were read: remove dead letters of earlier runs that did not occur again."""
        with self._transaction():
            self._write_dead_letters()
            self._db.executemany(
                "DELETE FROM dead_letters WHERE file = ? AND run <> ?", [(file, self.run) for file in files]
            )

    def unusable(self) -> int:
        """How many dead letters this run has."""
        with self._transaction():
            self._write_dead_letters()
        count: int = self._db.execute(
            "SELECT count(*) FROM dead_letters WHERE run = ?", (self.run,)
        ).fetchone()[0]
        return count

    def dead_letters(self) -> list[dict[str, Any]]:
        """Every dead letter of the folder, also those of this run."""
        with self._transaction():
            self._write_dead_letters()
        rows = self._db.execute(
            "SELECT file, row, note_id, reason FROM dead_letters ORDER BY file, row, note_id, reason"
        )
        return [
            {"file": file, "row": None if row < 0 else row, "note_id": note_id or None, "reason": reason}
            for file, row, note_id, reason in rows
        ]

    def summary(self) -> dict[str, Any]:
        """All runs together: notes, rows and figures, models, dead letters by reason, shards."""
        shards = []
        rows: Counter[str] = Counter()
        figures: Counter[str] = Counter()
        made_by: Counter[str] = Counter()
        for number, notes, shard_rows, shard_figures, by, seconds, run in self._db.execute(
            "SELECT number, notes, rows, figures, made_by, seconds, run FROM shards ORDER BY number"
        ):
            shard = {"file": part_name(number), "notes": notes, "rows": json.loads(shard_rows)}
            shards.append({**shard, "seconds": seconds, "run": run})
            rows.update(shard["rows"])
            figures.update(json.loads(shard_figures))
            made_by[by] += notes
        reasons = self._db.execute(
            "SELECT reason, count(*) FROM dead_letters GROUP BY reason ORDER BY reason"
        )
        return {
            "notes": made_by.total(),
            "rows": dict(rows),
            "figures": dict(sorted(figures.items())),
            "made_by": [{**json.loads(by), "notes": notes} for by, notes in made_by.items()],
            "dead_letters": dict(reasons.fetchall()),
            "shards": shards,
        }

    def _check_settings(self, step: str, settings: dict[str, Any]) -> None:
        made = self._db.execute("SELECT step, settings FROM job").fetchone()
        # a job that did no note, as it failed at once, does not keep the folder
        if made is None or self._db.execute("SELECT 1 FROM notes LIMIT 1").fetchone() is None:
            self._claim(step, settings)
            return
        if made[0] != step:
            raise SettingsChangedError(f"{self.out} holds the tables of '{made[0]}': choose another folder")
        before = json.loads(made[1])
        changed = [
            f"{name}: {canonical(before.get(name))} → {canonical(settings.get(name))}"
            for name in {**before, **settings}
            if canonical(before.get(name)) != canonical(settings.get(name))
        ]
        if changed:
            raise SettingsChangedError(
                f"{self.out} was made with other settings ({'; '.join(changed)}): choose another folder"
            )

    def _claim(self, step: str, settings: dict[str, Any]) -> None:
        """Forget what was done in the folder, if anything, and take it for this job."""
        for number, files in self._db.execute("SELECT number, bytes FROM shards").fetchall():
            for table in json.loads(files):
                (self.out / table / part_name(number)).unlink(missing_ok=True)
        with self._transaction():
            for table in ("job", "shards", "dead_letters"):
                self._db.execute(f"DELETE FROM {table}")
            self._db.execute("INSERT INTO job VALUES (?, ?)", (step, canonical(settings)))

    def _tidy(self, tables: Iterable[str]) -> None:
        shutil.rmtree(self.out / ".work", ignore_errors=True)
        recorded: set[Path] = set()
        for number, marks in self._db.execute("SELECT number, bytes FROM shards").fetchall():
            files = {self.out / table / part_name(number): mark for table, mark in json.loads(marks).items()}
            if all(_is_whole(file, mark) for file, mark in files.items()):
                recorded |= files.keys()
            else:
                with self._transaction():
                    self._db.execute("DELETE FROM notes WHERE shard = ?", (number,))
                    self._db.execute("DELETE FROM shards WHERE number = ?", (number,))
        for table in tables:
            for file in (self.out / table).glob("part-*.parquet"):
                if file not in recorded:
                    file.unlink()

    def _write_dead_letters(self) -> None:
        rows = [
            (
                letter.file,
                -1 if letter.row is None else letter.row,
                letter.note_id or "",
                letter.reason,
                self.run,
            )
            for letter in self._new_dead_letters
        ]
        self._db.executemany("INSERT OR REPLACE INTO dead_letters VALUES (?, ?, ?, ?, ?)", rows)
        self._new_dead_letters.clear()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


def _is_whole(file: Path, mark: int | list[Any]) -> bool:
    """Whether the file is as it was recorded. mark: a FileMark; of version 0.2 and before only the size."""
    if not file.is_file():
        return False
    if isinstance(mark, int):
        return file.stat().st_size == mark
    return file.stat().st_size == mark[0] and FileMark.of(file) == tuple(mark)


def _digest() -> Any:
    return hashlib.blake2b(digest_size=16)


def part_name(shard: int) -> str:
    """The file of a shard in each table's folder."""
    return f"part-{shard:05d}.parquet"


def canonical(settings: object) -> str:
    """JSON in which equal settings are equal strings."""
    return json.dumps(settings, sort_keys=True, ensure_ascii=False)
