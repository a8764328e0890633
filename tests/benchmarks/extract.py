"""Time and memory of `rubricator extract`, end to end: MTSamples notes, repeated with new ids, on two processes.

    python tests/benchmarks/extract.py [--notes 117730] [--format jsonl|parquet] [--no-prefect]

Memory is that of all processes together, sampled ten times a second: pages that they share count once (PSS).
"""

import argparse
import gzip
import itertools
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq

SOURCE = Path(__file__).parent.parent.parent.parent / "shared" / "data" / "mtsamples.jsonl.gz"


def write_notes(folder: Path, notes: int, kind: str) -> Path:
    """A file of so many notes; ten notes a patient, about as in the paper's 1,001 records of 117,730 notes."""
    with gzip.open(SOURCE, "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    rows = (
        {"note_id": f"note-{row:07d}", "patient_id": f"patient-{row // 118:05d}", "text": text}
        for row, text in zip(range(notes), itertools.cycle(texts), strict=False)
    )
    path = folder / f"notes.{kind}"
    if kind == "jsonl":
        with path.open("w", encoding="utf-8") as file:
            for row in rows:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        return path
    schema = pa.schema([("note_id", pa.string()), ("patient_id", pa.string()), ("text", pa.string())])
    with pq.ParquetWriter(path, schema) as writer:
        while batch := list(itertools.islice(rows, 5000)):
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))
    return path


def watch(command: list[str]) -> tuple[float, dict[str, float]]:
    """Seconds that a command takes, and its peak memory in MB by kind of process."""
    started = time.perf_counter()
    process = psutil.Popen(command)
    peak: dict[str, float] = {"all processes": 0.0}
    while process.poll() is None:
        memory: dict[str, float] = {}
        for member in [process, *process.children(recursive=True)]:
            try:
                kind = "Prefect server" if "prefect.server" in " ".join(member.cmdline()) else "job"
                memory[kind] = memory.get(kind, 0) + member.memory_full_info().pss / 1e6
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        memory["all processes"] = sum(memory.values())
        for kind, megabytes in memory.items():
            peak[kind] = max(peak.get(kind, 0), megabytes)
        time.sleep(0.1)
    if process.returncode:
        sys.exit(f"it failed with exit code {process.returncode}")
    return time.perf_counter() - started, peak


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--notes", type=int, default=117_730)
    parser.add_argument("--format", choices=["jsonl", "parquet"], default="jsonl")
    parser.add_argument("--no-prefect", action="store_true")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    if not SOURCE.exists():
        sys.exit(f"{SOURCE} is not here: nothing is measured")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        notes = write_notes(folder, options.notes, options.format)
        command = [
            str(Path(sys.executable).with_name("rubricator")),
            *("extract", str(notes), "--out", str(folder / "tables"), "--home", str(folder / "home")),
            *("--workers", str(options.workers)),
            *(["--no-prefect"] if options.no_prefect else []),
        ]
        seconds, peak = watch(command)
        shards = json.loads((folder / "tables" / "manifest.json").read_text())["shards"]
        tables = sum(file.stat().st_size for file in (folder / "tables").rglob("*.parquet"))
        print(f"{options.notes:,} notes, {notes.stat().st_size / 1e6:,.0f} MB of {options.format}")
    print(f"{seconds:.1f} s, {options.notes / seconds:,.0f} notes/s, {tables / 1e6:,.0f} MB of tables")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"{used.ru_utime + used.ru_stime:.0f} s of CPU on {os.cpu_count()} cores; load is now {os.getloadavg()[0]:.1f}"
    )
    print(f"{len(shards)} shards, {sum(shard['seconds'] for shard in shards):.1f} s of work in them")
    print("peak memory: " + ", ".join(f"{kind} {megabytes:,.0f} MB" for kind, megabytes in peak.items()))


if __name__ == "__main__":
    main()
