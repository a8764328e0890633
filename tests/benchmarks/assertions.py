"""Codes of conditions that a made-up note denies, fears or reports of the family. Prints figures for each kind of wording.

    python tests/benchmarks/assertions.py [--model svm] [--notes 320] [--seed 0] [--show]

Trains on notes with 15 codes, of whose mentions half are asserted. Their templates are not those of the tests
(assertions.toml). wrong: a condition that is not the patient's, and its code is given. missed: it is, and is not given.
"""

import argparse
import random
import re
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl

from rubricator.models import fit_model, predict_notes

WORDS = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
NAMES: dict[str, list[str]] = WORDS["conditions"]


def filled(template: str, draw: random.Random) -> tuple[str, list[str]]:
    """The text of a template, and the codes of its conditions x, y, z in this order."""
    wanted = sorted({name.lower() for name in re.findall(r"{(\w)}", template)})
    codes = dict(zip(wanted, draw.sample(list(NAMES), len(wanted)), strict=True))

    def name(match: re.Match[str]) -> str:
        said = draw.choice(NAMES[codes[match.group(1).lower()]])
        return said[0].upper() + said[1:] if match.group(1).isupper() else said

    return re.sub(r"{(\w)}", name, template), [codes[letter] for letter in wanted]


def framed(text: str, draw: random.Random) -> str:
    frame = WORDS["frame"]
    return f"{draw.choice(frame['before'])}\n{text}\n{draw.choice(frame['after'])}"


def training_notes(many: int, draw: random.Random) -> pl.DataFrame:
    rows: list[dict[str, Any]] = []
    others = ("negated", "negated", "other_person", "hypothetical")
    for number in range(many):
        said, codes = [], set()
        for _ in range(draw.randint(1, 4)):
            kind = draw.choice(("asserted", draw.choice(others)))
            text, named = filled(draw.choice(WORDS["train"][kind]), draw)
            said.append(text)
            codes |= set(named) if kind == "asserted" else set()
        rows.append(
            {
                "note_id": f"n{number}",
                "patient_id": f"p{number}",
                "text": framed(" ".join(said), draw),
                "codes": sorted(codes),
            }
        )
    return pl.DataFrame(rows)


def test_notes(draw: random.Random, times: int) -> list[tuple[str, str, str, set[str], set[str]]]:
    """(kind, template, text, codes that must be given, codes that must not be given)."""
    cases = []
    for table in WORDS["test"]:
        for template in table.get("given", []) + table.get("not_given", []):
            for _ in range(times):
                text, codes = filled(template, draw)
                asserted = template in table.get("given", [])
                if table["kind"] == "family-present":  # {y} is of a relative
                    must, must_not = {codes[0]}, set(codes[1:])
                else:
                    must, must_not = (set(codes), set()) if asserted else (set(), set(codes))
                cases.append((table["kind"], template, framed(text, draw), must, must_not))
    return cases


def main() -> None:
    """Train, predict, count."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--model", default="svm")
    options.add_argument("--notes", type=int, default=320)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--times", type=int, default=3, help="notes of each template")
    options.add_argument("--show", action="store_true", help="the templates that failed")
    chosen = options.parse_args()
    draw = random.Random(chosen.seed)
    model = fit_model("codes", training_notes(chosen.notes, draw), model=chosen.model)
    cases = test_notes(draw, chosen.times)
    notes = pl.DataFrame(
        {"note_id": [str(row) for row in range(len(cases))], "text": [case[2] for case in cases]}
    )
    found: dict[int, set[str]] = {}
    for note_id, label in predict_notes(model, notes).select("note_id", "label").iter_rows():
        found.setdefault(int(note_id), set()).add(label)
    right, every, wrong, missed = (Counter[str]() for _ in range(4))
    failed: Counter[str] = Counter()
    for row, (kind, template, _, must, must_not) in enumerate(cases):
        given = found.get(row, set())
        every[kind] += 1
        wrong[kind] += len(given & must_not)
        missed[kind] += len(must - given)
        if must <= given and not given & must_not:
            right[kind] += 1
        else:
            failed[f"{kind}: {template!r}"] += 1
    for kind, many in every.items():
        print(f"{kind:16} {right[kind]:3} of {many:3} right, {wrong[kind]:3} wrong, {missed[kind]:3} missed")
    print(f"{'all':16} {right.total():3} of {every.total():3} right: {right.total() / every.total():.3f}")
    if chosen.show:
        print(*(f"  {many} {template}" for template, many in failed.items()), sep="\n")


if __name__ == "__main__":
    main()
