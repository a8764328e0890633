"""Sentence splitting: marked-up cases, agreement with the units of plan_annotated, and notes per second.

python tests/benchmarks/sentences.py [--errors]
"""

import gzip
import json
import re
import sys
import time
from collections import Counter
from pathlib import Path

from rubricator.nlp.sentences.splitter import split_sentences

TESTS = Path(__file__).parent.parent
DATA = TESTS.parent.parent / "shared/data"
sys.path.insert(0, str(TESTS / "nlp"))

from test_sentences import load_cases, tally  # noqa: E402


def marked_up_cases(file: str, errors: bool) -> None:
    counts: Counter[str] = Counter()
    cases = load_cases(file)
    for case in cases:
        found = split_sentences(case.text)
        counts += tally(case, found)
        if errors and found != case.expected:
            print(f"--- {case.name}")
            for sign, spans in (
                ("-", set(case.expected) - set(found)),
                ("+", set(found) - set(case.expected)),
            ):
                for start, end in sorted(spans):
                    print(f"    {sign} {case.text[start:end]!r}")
    print(f"{file}: {len(cases)} cases")
    for what in ("items apart", "lines apart", "wraps split", "sentences exact"):
        total = counts[what.split()[0]]
        print(f"    {what:16} {counts[what] / total:.3f} of {total}")


def annotated_units(texts: dict[str, str]) -> None:
    """Share of the annotated units (lone enumerators aside) whose start, end, or both are found exactly."""
    hits: Counter[str] = Counter()
    with gzip.open(DATA / "plan_annotated.jsonl.gz", "rt") as lines:
        for note in map(json.loads, lines):
            text = texts[note["note_id"]]
            found = split_sentences(text)
            starts, ends = {start for start, _ in found}, {end for _, end in found}
            for start, end, _ in note["units"]:
                if not re.fullmatch(r"\W*\w{1,3}[.)]", text[start:end]):
                    hits["units"] += 1
                    hits["start"] += start in starts
                    hits["end"] += end in ends
                    hits["both"] += (start, end) in found
    print(f"plan_annotated: {hits['units']} units")
    for what in ("start", "end", "both"):
        print(f"    {what:16} {hits[what] / hits['units']:.3f}")


def throughput(texts: list[str]) -> None:
    characters = sum(map(len, texts))
    began = time.process_time()
    sentences = sum(len(split_sentences(text)) for text in texts)
    seconds = time.process_time() - began
    print(f"{len(texts)} notes, {sentences} sentences, {seconds:.2f} s CPU")
    print(f"    {characters / 3000 / seconds:,.0f} notes of 3,000 characters a second, one core")


if __name__ == "__main__":
    for cases in ("sentences_development.txt", "sentences_blind.txt", "sentences_exports.txt"):
        marked_up_cases(cases, errors="--errors" in sys.argv)
    with gzip.open(DATA / "mtsamples.jsonl.gz", "rt") as rows:
        notes = {note["note_id"]: note["text"] for note in map(json.loads, rows)}
    annotated_units(notes)
    throughput(list(notes.values()))
