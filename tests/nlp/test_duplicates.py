"""Groups: patients joined across copied-forward notes."""

import random

import numpy as np
import pytest

from rubricator.nlp.duplicates import group_notes, near_duplicates

WORDS = "aspirin dyspnea cardiac follow weeks stable wound chest murmur lasix knee fever cough lungs".split()  # noqa: SIM905


def note(seed: int, length: int = 200) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=length))


def test_a_copied_forward_note_joins_the_groups_of_its_patients() -> None:
    original = note(1)
    copied = original.replace("fever", "chills", 2) + " Addendum: seen again today."
    groups = group_notes(
        ["n1", "n2", "n3", "n4"], ["anna", "anna", "bert", "carl"], [note(2), original, copied, note(3)]
    )
    assert groups.tolist() == [0, 0, 0, 1]
    assert groups.dtype == np.int64


def test_unlike_notes_of_different_patients_stay_apart() -> None:
    assert group_notes(list("abc"), list("xyz"), [note(1), note(2), note(3)]).tolist() == [0, 1, 2]


def test_equal_texts_are_linked_however_many_and_however_short() -> None:
    assert near_duplicates(["No change."] * 3 + ["", "Seen."]) == [(1, 0), (2, 0)]


def test_groups_are_the_same_on_every_run_and_progress_counts_notes() -> None:
    texts = [note(seed % 7) + f" visit {seed}" for seed in range(30)]
    done: list[int] = []
    runs = [group_notes([str(i) for i in range(30)], [str(i) for i in range(30)], texts) for _ in range(2)]
    group_notes(["a"], ["b"], ["c"], progress=done.append)
    assert runs[0].tolist() == runs[1].tolist() == [seed % 7 for seed in range(30)]
    assert done == [1]


def test_sequences_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="2 note ids"):
        group_notes(["a", "b"], ["p"], ["t"])


def test_no_notes_no_groups() -> None:
    assert group_notes([], [], []).shape == (0,)
