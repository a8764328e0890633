"""What all builders of examples share: the rows of notes, and the groups that splits keep whole."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rubricator.nlp.duplicates import group_notes
from rubricator.nlp.words.person_names import person_names

WITHOUT_PATIENT = "notes without a patient id"  # a count
NAMES_LEFT_OUT = "words left out as names"  # a count

OnCompared = Callable[[int, int], None]  # called with the number of notes done, and of all notes
Failed = Callable[[str, BaseException], None]  # called with the id of a note that is left out, and its error


def raise_failure(_: str, error: BaseException) -> None:
    """The default of `failed`: raises the error."""
    raise error


def note_rows(batches: Iterable[pa.RecordBatch], columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """The values of these columns, note by note."""
    for batch in batches:
        yield from zip(*(batch.column(name).to_pylist() for name in columns), strict=True)


def groups_without(
    exclude: Collection[str],
    note_ids: Sequence[str],
    patient_ids: Sequence[str],
    texts: Sequence[str],
    progress: OnCompared | None,
) -> tuple[NDArray[np.int64], list[int]]:
    """The group number of each note (n,), and the row numbers of the notes whose group has no excluded note."""
    count = len(note_ids)
    each = (lambda done: progress(done, count)) if progress else None
    groups = group_notes(note_ids, patient_ids, texts, progress=each) if count else np.zeros(0, np.int64)
    left_out = {group for group, note_id in zip(groups, note_ids, strict=True) if note_id in exclude}
    return groups, [row for row, group in enumerate(groups) if group not in left_out]


def count_without_patient(note_ids: Sequence[str], patient_ids: Sequence[str], counts: Counter[str]) -> None:
    """Count the notes whose patient is not known: readers give these the note id as patient id."""
    if without := sum(note == patient for note, patient in zip(note_ids, patient_ids, strict=True)):
        counts[WITHOUT_PATIENT] = without


def without_patients(counts: Mapping[str, int]) -> str | None:
    """What the user should know where notes have no patient id; None where all have one. counts: of the examples."""
    if not (without := counts.get(WITHOUT_PATIENT)):
        return None
    return (
        f"{without:,} notes have no patient id, or one that equals the note id: each counts as a patient of its own. "
        "Folds keep only near duplicates together, so figures may be too good. A word that a single patient's notes "
        "have, such as a name, may enter the vocabulary. Give the column of patient ids where there is one."
    )


def names_left_out(
    texts: Sequence[str], groups: NDArray[np.int64], counts: Counter[str], *, keep: bool
) -> frozenset[str]:
    """The words of these notes that look like names, and their number in the counts; none where names are kept.

    texts: of whole notes, as plain text. groups: (texts,).
    """
    if keep:
        return frozenset()
    found = person_names(texts, groups)
    counts[NAMES_LEFT_OUT] = len(found)
    return found
