"""What all builders of examples share: the rows of notes, and the groups that splits keep whole."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rubricator.nlp.duplicates import group_notes

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
