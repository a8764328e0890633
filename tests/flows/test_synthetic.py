"""The synthetic corpus: the same from a seed everywhere, its gold true to its text, and called synthetic."""

import gzip
import hashlib
import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
import simple_icd_10_cm

from rubricator.flows.demo.synthetic import (
    LETTERHEAD,
    SyntheticNote,
    read_gold,
    synthetic_notes,
    write_synthetic_notes,
)


@pytest.fixture(scope="module")
def notes() -> list[SyntheticNote]:
    return list(synthetic_notes(notes=600, new_notes=150, seed=0))


def rows(path: Path) -> list[dict]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def test_a_seed_gives_the_same_bytes_and_another_seed_other_notes(tmp_path: Path) -> None:
    corpora = [
        write_synthetic_notes(tmp_path / name, notes=40, seed=seed)
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    first, again, other = ([p.read_bytes() for p in (c.notes, c.new_notes, c.gold)] for c in corpora)
    assert first == again
    assert first != other


def test_the_notes_of_a_seed_never_change_between_machines_and_versions() -> None:
    told = "".join(note.text for note in synthetic_notes(notes=100, seed=7))
    assert hashlib.sha256(told.encode()).hexdigest()[:16] == "9210e1ac091ec2e1", (
        "the grammar changed, or a draw is not stable"
    )


def test_asked_sizes_are_written_and_new_notes_are_of_other_patients(tmp_path: Path) -> None:
    corpus = write_synthetic_notes(tmp_path, notes=70, new_notes=30)
    seen, unseen = rows(corpus.notes), rows(corpus.new_notes)
    assert (len(seen), len(unseen), len(read_gold(corpus.gold))) == (70, 30, 100)
    assert not {row["patient_id"] for row in seen} & {row["patient_id"] for row in unseen}
    assert len({row["note_id"] for row in seen + unseen}) == 100


def test_everything_is_called_synthetic(notes: list[SyntheticNote]) -> None:
    assert all(note.note_id.startswith("synthetic-") for note in notes)
    assert all(note.patient_id.startswith("synthetic-patient-") for note in notes)
    assert all(note.text.startswith(LETTERHEAD) and "Synthetic" in LETTERHEAD for note in notes)


def test_gold_spans_hold_what_they_say(notes: list[SyntheticNote]) -> None:
    names = {}
    for note in notes:
        assert "\x02" not in note.text and "{" not in note.text, note.note_id
        for start, end in note.gold.plan:
            assert note.text[start:end].strip() == note.text[start:end] != "", (note.note_id, start)
        assert note.gold.plan == sorted(note.gold.plan)
        for mention in note.gold.mentions:
            name = note.text[mention.start : mention.end]
            assert "\n\n" not in name and len(name) >= 2
            names.setdefault(name.lower().replace("\n", " "), set()).add(mention.code)
    assert names["hypertension"] == {"I10"}
    assert all(len(codes) == 1 for codes in names.values()), "a name stands for one code"


def test_a_mention_not_to_be_coded_is_never_also_coded(notes: list[SyntheticNote]) -> None:
    kinds = Counter(mention.why_not for note in notes for mention in note.gold.mentions)
    assert min(kinds[kind] for kind in (None, "negated", "family", "hypothetical")) > 30
    for note in notes:
        assert not {m.code for m in note.gold.mentions if m.why_not} & set(note.gold.codes), note.note_id


def test_codes_are_billable_icd_10_cm_codes(notes: list[SyntheticNote]) -> None:
    for code in {code for note in notes for code in note.gold.codes}:
        assert simple_icd_10_cm.is_leaf(code), code


@pytest.mark.parametrize("size", [600, 2000])
def test_a_few_codes_are_rare_in_a_corpus_of_any_size(size: int) -> None:
    counts = Counter(code for note in synthetic_notes(notes=size) for code in note.gold.codes)
    rare = {"E27.1", "D86.9", "M31.6", "E83.110", "K90.0", "G70.00"}
    assert all(1 <= counts[code] <= 5 for code in rare), {code: counts[code] for code in rare}
    assert min(count for code, count in counts.items() if code not in rare) > 5


def test_styles_note_types_and_patients_vary(notes: list[SyntheticNote]) -> None:
    styles = Counter(note.gold.style for note in notes)
    assert len(styles) >= 14 and 0.25 < styles["unheaded"] / len(notes) < 0.5
    assert sum("line breaks lost" in style for note in notes for style in [note.gold.style]) > 10
    assert len({note.note_type for note in notes}) == 7
    assert max(Counter(note.patient_id for note in notes).values()) > 2
    assert sum(bool(note.gold.plan) for note in notes if note.gold.style == "unheaded") > 100


def test_some_notes_copy_an_earlier_note_forward(notes: list[SyntheticNote]) -> None:
    def paragraphs(note: SyntheticNote) -> set[str]:
        return {line for line in note.text.splitlines() if len(line) > 60}

    pairs = [
        (a, b) for at, a in enumerate(notes) for b in notes[at + 1 : at + 5] if a.patient_id == b.patient_id
    ]
    assert sum(len(paragraphs(a) & paragraphs(b)) >= 3 for a, b in pairs) > 20


def test_dates_of_a_patient_go_forward(notes: list[SyntheticNote]) -> None:
    for earlier, later in pairwise(notes):
        assert earlier.patient_id != later.patient_id or earlier.written_on < later.written_on
