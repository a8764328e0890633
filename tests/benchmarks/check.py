"""Time and memory of `rubricator check` on so many notes: MTSamples, repeated with new ids and a few other words.

python tests/benchmarks/check.py [--notes 100000]
"""

import argparse
import resource
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from extract import watch, write_notes

CODES = ["I10", "E11.9", "e119", "401.9", "J18.9", "Z79.4"]


def with_columns(notes: Path) -> Path:
    """The notes with dates and codes, and with other words in each, so that few are near duplicates of another."""
    table = pq.read_table(notes)
    count = table.num_rows
    texts = [
        " ".join(f"{word}{row}" if at % 7 == row % 7 else word for at, word in enumerate(text.split(" ")))
        for row, text in enumerate(table["text"].to_pylist())
    ]
    table = table.set_column(table.schema.get_field_index("text"), "text", pa.array(texts))
    table = table.append_column(
        "date", pa.array([f"20{row % 24:02d}-03-{row % 28 + 1:02d}" for row in range(count)])
    )
    table = table.append_column(
        "codes", pa.array([[CODES[row % 6], CODES[row * 7 % 5]] for row in range(count)])
    )
    path = notes.with_name("with-columns.parquet")
    pq.write_table(table, path, row_group_size=5000)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--notes", type=int, default=100_000)
    count = parser.parse_args().notes
    with tempfile.TemporaryDirectory() as folder:
        notes = with_columns(write_notes(Path(folder), count, "parquet"))
        command = [str(Path(sys.executable).with_name("rubricator")), "check", str(notes), "--quiet"]
        seconds, peak = watch([*command, "--home", folder + "/home"])
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(f"{count:,} notes: {seconds:.1f} s, {used.ru_utime + used.ru_stime:.0f} s of CPU")
        print("peak memory: " + ", ".join(f"{kind} {megabytes:,.0f} MB" for kind, megabytes in peak.items()))


if __name__ == "__main__":
    main()
