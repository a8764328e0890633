"""Reads damaged files of every format: anything but a note, a dead letter or a NoteFormatError is a fault.

    tests/benchmarks/fuzz_readers.py --count 200000 --seed 1

Each case is a small valid file that was mutated: bytes changed, cut, doubled or moved; quotes, NULs, huge numbers, deep
nesting and pieces of other formats put in. Prints how many cases gave what, the slowest, and each fault with its number;
`--only NUMBER` does one case again and shows its traceback.
"""

import argparse
import gzip
import io
import json
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from pathlib import Path

import openpyxl
import polars as pl
import pyarrow as pa

from rubricator.nlp.readers.notes import DeadLetter, NoteFormatError, NoteReader, NoteSettings

HANGS_AFTER = 20  # seconds
PIECES = [
    b'"', b"'", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b"\n", b"\r\n", b",", b";", b"|", b"\t", b"{", b"}", b"[", b"]",
    b"\\", b"\\u0000", b"\\ud800", b"\x85", b"\xe2\x80\xa8", b"9" * 400, b"1e999", b"-1", b"NaN", b"null", b"true", b"1.5",
    b"[" * 2000, b'{"a":' * 2000, b'"' * 99, b"," * 99, b"\n" * 99, b"\x1f\x8b\x08\x00", b"\x28\xb5\x2f\xfd", b"PK\x03\x04",
    b"PAR1", b"id,text,codes\n", b'{"id":"9","text":"x"}', b'{"resourceType":"DocumentReference"}', b"=1+1", b"03/04/2020",
    b"<a>", b"&#0;", b"&#x110000;", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"id", b"text", b"codes", b"2020-13-99",
]  # fmt: skip


def seeds() -> dict[str, bytes]:
    """A small valid file of each format, by its suffix or name."""
    rows = [
        {
            "id": str(n // 2),
            "person_id": "p",
            "date": "03/04/2020",
            "text": f"PLAN: rést {n // 2}",
            "codes": f"I1{n}",
        }
        for n in range(6)
    ]
    frame = pl.DataFrame(rows)
    parquet, book, workbook = io.BytesIO(), io.BytesIO(), openpyxl.Workbook()
    frame.write_parquet(parquet)
    for row in [list(rows[0]), *(list(row.values()) for row in rows)]:
        workbook.active.append(row)
    workbook.save(book)
    lines = frame.write_ndjson().encode()
    document = {
        "resourceType": "DocumentReference", "id": "d1", "status": "current", "date": "2024-02-03T10:00:00Z",
        "subject": {"reference": "Patient/p1"},
        "content": [{"attachment": {"contentType": "text/plain", "data": "UExBTjogUmVzdC4="}}],
    }  # fmt: skip
    mimic = b"ROW_ID,SUBJECT_ID,HADM_ID,CHARTDATE,CATEGORY,DESCRIPTION,ISERROR,TEXT\n1,2,3,2150-01-01,Discharge summary,Report,,PLAN\n"
    table = frame.write_csv().encode()
    return {
        "n.csv": table, "n.tsv": frame.write_csv(separator="\t").encode(), "n.jsonl": lines,
        "n.json": json.dumps(rows).encode(), "p.json": json.dumps(rows, indent=1).encode(), "n.txt": b"PLAN:\nrest\n",
        "NOTE.txt": frame.write_csv(separator="|").encode(), "n.rtf": rb"{\rtf1 {\b PLAN:} Rest.}",
        "n.parquet": parquet.getvalue(), "n.xlsx": book.getvalue(), "DocumentReference.ndjson": json.dumps(document).encode(),
        "NOTEEVENTS.csv": mimic, "n.csv.gz": gzip.compress(table), "n.jsonl.zst": pa.Codec("zstd").compress(lines, asbytes=True),
    }  # fmt: skip


def mutated(data: bytes, chance: random.Random, others: list[bytes]) -> bytes:
    """The file after one to six mutations."""
    found = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(found) + 1)
        length = chance.choice([1, 1, 2, 8, 64])
        kind = chance.randrange(7)
        if kind == 0 and found:
            found[at % len(found)] = chance.randrange(256)
        elif kind == 1:
            del found[at : at + length]
        elif kind == 2:
            found[at:at] = found[at : at + length]
        elif kind == 3 and chance.random() < 0.3:
            del found[at:]
        elif kind == 4 and chance.random() < 0.1:
            found[at:] = chance.choice(others)
        else:
            found[at:at] = chance.choice(PIECES)
    return bytes(found)


def damaged(name: str, data: bytes, chance: random.Random, others: list[bytes]) -> bytes:
    """The file after mutations: half of the time, those of what a compressed file or a zip archive holds."""
    if chance.random() < 0.5:
        return mutated(data, chance, others)
    if name.endswith(".gz"):
        return gzip.compress(mutated(gzip.decompress(data), chance, others))
    if name.endswith(".zst"):
        plain = pa.CompressedInputStream(io.BytesIO(data), "zstd").read()
        return pa.Codec("zstd").compress(mutated(plain, chance, others), asbytes=True)
    if not name.endswith(".xlsx"):
        return mutated(data, chance, others)
    archive = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as before, zipfile.ZipFile(archive, "w") as after:
        spoilt = chance.choice(before.namelist())
        for part in before.namelist():
            content = before.read(part)
            after.writestr(part, mutated(content, chance, others) if part == spoilt else content)
    return archive.getvalue()


def settings_of(chance: random.Random) -> NoteSettings:
    """Mostly none."""
    return NoteSettings(
        encoding=chance.choice([None] * 8 + ["cp1252", "utf-16", "utf-8"]),
        date_format=chance.choice([None] * 4 + ["%d/%m/%Y"]),
    )


def outcome(path: Path, settings: NoteSettings) -> str:
    """What reading gives; raises what is a fault."""
    letters: list[DeadLetter] = []
    try:
        reader = NoteReader(path, settings, on_dead_letter=letters.append)
        rows = sum(batch.num_rows for batch in reader)
    except NoteFormatError:
        return "refused"
    json.dumps([vars(letter) for letter in letters]).encode()
    [notice.encode() for notice in reader.notices]
    return (
        "notes"
        if rows and not letters
        else "notes and dead letters"
        if rows
        else "dead letters"
        if letters
        else "nothing"
    )


class HangError(BaseException):
    """A case took too long."""


def _hang(*_: object) -> None:
    raise HangError


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int)
    asked = parser.parse_args()
    files = seeds()
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    outcomes: dict[str, Counter[str]] = {name: Counter() for name in files}
    faults: Counter[str] = Counter()
    slowest, begun = 0.0, time.perf_counter()
    signal.signal(signal.SIGALRM, _hang)
    for number in [asked.only] if asked.only is not None else range(asked.count):
        chance = random.Random(f"{asked.seed} {number}")
        name = chance.choice(list(files))
        path = folder / name
        path.write_bytes(damaged(name, files[name], chance, list(files.values())))
        settings = settings_of(chance)
        started = time.perf_counter()
        signal.alarm(HANGS_AFTER)
        try:
            found = outcome(path, settings)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            found = "FAULT"
            where = traceback.extract_tb(error.__traceback__)[-1]
            faults[f"{name}: {type(error).__name__} in {Path(where.filename).name}:{where.lineno}"] += 1
            if asked.only is not None:
                traceback.print_exc()
            elif sum(faults.values()) < 20:
                print(f"case {number}: {type(error).__name__}", file=sys.stderr)
        signal.alarm(0)
        slowest = max(slowest, time.perf_counter() - started)
        outcomes[name][found] += 1
        path.unlink()
    shutil.rmtree(folder)
    for name, counts in outcomes.items():
        print(f"{name:26}" + ", ".join(f"{count:,} {what}" for what, count in counts.most_common()))
    total = sum(sum(counts.values()) for counts in outcomes.values())
    print(
        f"{total:,} cases in {time.perf_counter() - begun:.0f} s, slowest {slowest:.1f} s, {sum(faults.values())} faults"
    )
    for fault, count in faults.most_common():
        print(f"  {count} {fault}")


if __name__ == "__main__":
    main()
