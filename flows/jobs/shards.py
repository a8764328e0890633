"""Notes cut into shards: how large a shard is, which notes are done already, and the files of a shard."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from rubricator.flows.jobs.ledger import Ledger, Shard
from rubricator.nlp.readers.notes import NOTES_SCHEMA

SHARD_SECONDS = 15.0  # of work: for a shorter one, the overhead of a Prefect task is too large
SMALLEST_SHARD = 250_000  # bytes of text, about 80 notes
ALIKE_UP_TO = 4  # so many workers have the same shards, so that the tables have the same files
LARGEST_SHARD = 48_000_000  # bytes of text; bounds the memory of a worker


class Notes(Protocol):
    """What a job reads: a NoteReader."""

    files: list[Path]

    def __iter__(self) -> Iterator[pa.RecordBatch]: ...

    @property
    def fraction_read(self) -> float: ...

    @property
    def notices(self) -> list[str]: ...


@dataclass(kw_only=True)
class ShardCutter:
    """Cuts the notes that are not done yet into shards, and writes the notes of each into the work folder.

    size: notes per shard; where it is None, shards grow until one takes SHARD_SECONDS. fail: called with the id of a
    note that cannot be done, and why.
    """

    notes: Notes
    ledger: Ledger
    work: Path
    workers: int
    size: int | None
    fail: Callable[[str, str], None]
    cut: int = 0  # notes put into shards in this run
    skipped: int = 0  # notes that were done before
    seconds_per_byte: float = 0.0  # of the shards done last; 0 where none is done

    def __iter__(self) -> Iterator[Shard]:
        shard = Shard(self.ledger.next_shard(), [], [], 0)
        batches: list[pa.RecordBatch] = []
        cut_bytes = 0
        for batch in self.notes:
            fresh, note_ids, digests, sizes = self._not_done(batch)
            start = 0
            for row, size in enumerate(sizes):
                if self._is_full(shard, cut_bytes):
                    yield self._close(shard, [*batches, fresh.slice(start, row - start)])
                    cut_bytes += shard.bytes
                    shard, batches, start = Shard(self.ledger.next_shard(), [], [], 0), [], row
                shard.note_ids.append(note_ids[row])
                shard.digests.append(digests[row])
                shard = shard._replace(bytes=shard.bytes + size)
            batches.append(fresh.slice(start))
        if shard.note_ids:
            yield self._close(shard, batches)

    def halves(self, shard: Shard) -> list[Shard]:
        """Split a shard of several notes into two, which replace it."""
        middle, spool = len(shard.note_ids) // 2, spool_path(self.work, shard.number)
        pieces = []
        with pa.memory_map(str(spool)) as file:
            notes = pa.ipc.open_file(file).read_all()
            for half in (slice(0, middle), slice(middle, len(shard.note_ids))):
                piece = Shard(
                    self.ledger.next_shard(), shard.note_ids[half], shard.digests[half], shard.bytes // 2
                )
                rows = notes.slice(half.start, half.stop - half.start)
                _write_spool(rows.to_batches(), spool_path(self.work, piece.number))
                pieces.append(piece)
        spool.unlink()
        return pieces

    def _is_full(self, shard: Shard, cut_bytes: int) -> bool:
        if self.size is not None:
            return len(shard.note_ids) >= self.size
        # They grow with what was cut before: small inputs and the end of large ones keep all workers busy
        limit = min(LARGEST_SHARD, cut_bytes / (16 if self.workers <= ALIKE_UP_TO else 8 * self.workers))
        if self.seconds_per_byte:
            limit = min(limit, SHARD_SECONDS / self.seconds_per_byte)
        return shard.bytes >= max(SMALLEST_SHARD, limit)

    def _not_done(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, list[str], list[bytes], list[int]]:
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
                    note_id,
                    "a note of this id was done before, with another text: to do all notes anew, choose another folder",
                )
        return (
            batch if len(fresh) == len(note_ids) else batch.take(pa.array(fresh, pa.int64())),
            [note_ids[row] for row in fresh],
            [digests[row] for row in fresh],
            [len(texts[row]) for row in fresh],
        )

    def _close(self, shard: Shard, batches: list[pa.RecordBatch]) -> Shard:
        _write_spool(batches, spool_path(self.work, shard.number))
        self.cut += len(shard.note_ids)
        return shard


def spool_path(work: Path, number: int) -> Path:
    """The file with the notes of a shard."""
    return work / f"shard-{number:05d}.arrow"


def late_path(work: Path, number: int) -> Path:
    """A file that is not empty after a worker ended because it took too long for a shard."""
    return work / f"shard-{number:05d}.late"


def made_path(work: Path, number: int, table: str) -> Path:
    """The file that a worker writes for one table of a shard."""
    return work / f"shard-{number:05d}.{table}.parquet"


def _write_spool(batches: list[pa.RecordBatch], path: Path) -> None:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, NOTES_SCHEMA) as writer:
        for batch in batches:
            writer.write_batch(batch)
