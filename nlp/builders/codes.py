"""Examples that are whole notes, labelled with their codes."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_matrix

from rubricator.nlp.builders.notes import (
    OnCompared,
    count_without_patient,
    groups_without,
    names_left_out,
    note_rows,
)
from rubricator.nlp.contexts import LabelSpan
from rubricator.nlp.examples import ExampleError, Examples
from rubricator.nlp.hidden_text import hides_text
from rubricator.nlp.plain_text.plain import PlainText, read_plain


class NoCodesError(ExampleError):
    """No note has a code."""


def code_examples(
    batches: Iterable[pa.RecordBatch],
    *,
    exclude: Collection[str] = (),
    top_labels: int | None = None,
    table: Mapping[str, Sequence[str]] | None = None,
    keep_names: bool = False,
    progress: OnCompared | None = None,
) -> Examples:
    """Whole notes with their codes. A note whose codes are null is left out; a note with an empty list has no label.

    exclude: ids of notes to leave out, with all notes of their groups. top_labels: keep only the N most frequent codes
    (ties by code), as the public top-50 splits do. table: codes with their names; they are labels even if no note has
    them. Evidence of a code that is not a label of its note is left out and counted. keep_names: whether words that
    look like names may be learnt. progress: called while near duplicates are looked for.
    Raises NoCodesError where no note has a code, and ExampleError where `top_labels` is below 1.
    """
    if top_labels is not None and top_labels < 1:
        raise ExampleError(f"top_labels is {top_labels}; keep at least one label")
    counts: Counter[str] = Counter()
    read = list(_coded_notes(batches, exclude, counts))
    groups, kept = groups_without(
        exclude,
        [note.note_id for note in read],
        [note.patient_id for note in read],
        [note.text for note in read],
        progress,
    )
    notes = [read[row] for row in kept]
    counts["notes left out"] = len(read) - len(notes)
    frequency = Counter(code for note in notes for code in note.codes)
    if not frequency:
        raise NoCodesError(
            f"none of {counts['notes']} notes has codes; name the column that holds them (codes_column)"
        )
    ranked = sorted(frequency, key=lambda code: (-frequency[code], code))
    count_without_patient([note.note_id for note in notes], [note.patient_id for note in notes], counts)
    texts = [note.text for note in notes]
    person_names = names_left_out(texts, groups[kept], counts, keep=keep_names)
    names = table or {}
    labels = sorted({*ranked[:top_labels], *names})
    counts["labels"] = len(labels)
    return Examples(
        ids=[note.note_id for note in notes],
        groups=groups[kept],
        texts=texts,
        targets=label_matrix([note.codes for note in notes], labels),
        labels=labels,
        evidence=_label_spans(notes, labels, counts),
        counts=dict(counts),
        descriptions=["\n".join(names.get(label, ())) or None for label in labels],
        person_names=person_names,
    )


@hides_text()
class _CodedNote(NamedTuple):
    """A note as plain text. marked: its evidence spans with their codes, None where the note has no evidence."""

    note_id: str
    patient_id: str
    text: str
    codes: list[str]
    marked: list[dict[str, Any]] | None


def _coded_notes(
    batches: Iterable[pa.RecordBatch], exclude: Collection[str], counts: Counter[str]
) -> Iterator[_CodedNote]:
    """The notes that have codes or are excluded. Counts all notes, and those without codes."""
    columns = ("note_id", "patient_id", "text", "codes", "evidence")
    for note_id, patient_id, given, codes, evidence in note_rows(batches, columns):
        counts["notes"] += 1
        if codes is None and note_id not in exclude:
            counts["notes without codes"] += 1
            continue
        plain = read_plain(given)
        marked = evidence and [_in_plain(plain, span) for span in evidence]
        yield _CodedNote(note_id, patient_id, plain.text, list(dict.fromkeys(codes or [])), marked)


def label_matrix(label_lists: Sequence[Collection[str]], labels: Sequence[str]) -> csr_matrix:
    """0/1 matrix (n, labels), whose columns are `labels`. Other labels of the lists are left out."""
    column = {label: index for index, label in enumerate(labels)}
    entries = [
        (row, column[label]) for row, found in enumerate(label_lists) for label in found if label in column
    ]
    rows, columns = zip(*entries, strict=True) if entries else ((), ())
    return csr_matrix(
        (np.ones(len(entries), np.uint8), (rows, columns)), shape=(len(label_lists), len(labels))
    )


def _in_plain(plain: PlainText, span: dict[str, Any]) -> dict[str, Any]:
    """The evidence span with offsets into the plain text."""
    start, end = plain.span_plain(span["start"], span["end"])
    return {**span, "start": start, "end": end}


def _label_spans(
    notes: Sequence[_CodedNote], labels: Sequence[str], counts: Counter[str]
) -> list[list[LabelSpan]] | None:
    """The evidence spans of each note, for codes that are its labels; None where no note has evidence."""
    if all(note.marked is None for note in notes):
        return None
    number = {label: index for index, label in enumerate(labels)}
    found = [
        [
            LabelSpan(number[span["code"]], span["start"], span["end"])
            for span in note.marked or []
            if span["code"] in note.codes and span["code"] in number
        ]
        for note in notes
    ]
    used = sum(map(len, found))
    counts["evidence spans"] = used
    counts["evidence spans of other codes"] = sum(len(note.marked or []) for note in notes) - used
    return found
