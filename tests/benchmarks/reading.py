"""Notes read per second, format by format: MTSamples notes repeated with new ids. `python tests/benchmarks/reading.py`."""

import argparse
import gzip
import json
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from rubricator.nlp.readers.notes import NOTES_SCHEMA, DeadLetter, NoteReader, read_notes

MTSAMPLES = Path(__file__).parents[2].parent / "shared" / "data" / "mtsamples.jsonl.gz"


def refuse(letter: DeadLetter) -> None:
    raise SystemExit(f"unexpected dead letter: {letter}")


def write(folder: Path, count: int) -> list[Path]:
    """The notes as JSON lines, the same compressed, and parquet."""
    texts = read_notes(MTSAMPLES, on_dead_letter=refuse)["text"].to_pylist()
    paths = [folder / name for name in ("notes.jsonl", "notes.jsonl.gz", "notes.parquet")]
    with (
        paths[0].open("w", encoding="utf-8") as plain,
        gzip.open(paths[1], "wt", 1, encoding="utf-8") as packed,
        pq.ParquetWriter(paths[2], NOTES_SCHEMA.remove(5).remove(4).remove(3)) as parquet,
    ):
        for start in range(0, count, 2000):
            rows = [
                {"note_id": f"n{i}", "patient_id": f"p{i // 5}", "text": texts[i % len(texts)]}
                for i in range(start, min(start + 2000, count))
            ]
            lines = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
            plain.write(lines)
            packed.write(lines)
            parquet.write_table(pa.Table.from_pylist(rows, parquet.schema))
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--notes", type=int, default=117_730)
    count = parser.parse_args().notes
    if not MTSAMPLES.exists():
        sys.exit(f"skipped: {MTSAMPLES} is absent")
    with tempfile.TemporaryDirectory() as folder:
        for path in write(Path(folder), count):
            start, processor = time.perf_counter(), time.process_time()
            notes = sum(batch.num_rows for batch in NoteReader(path, on_dead_letter=refuse))
            seconds, processor = time.perf_counter() - start, time.process_time() - processor
            print(
                f"{path.name:16} {path.stat().st_size / 1e6:5.0f} MB  {notes:,} notes in {seconds:4.1f} s "
                f"({processor:.1f} s of processor time): {notes / seconds:,.0f} notes/s"
            )


if __name__ == "__main__":
    main()
