"""Examples of whole notes, labelled by the codes they were given."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_matrix

from rubricator.nlp.builders.notes import Progress, groups_without, note_rows
from rubricator.nlp.contexts import LabelSpan
from rubricator.nlp.examples import ExampleError, Examples
from rubricator.nlp.plain_text.plain_text import PlainText, read_plain


def code_examples(
    batches: Iterable[pa.RecordBatch],
    *,
    exclude: Collection[str] = (),
    top_labels: int | None = None,
    table: Mapping[str, Sequence[str]] | None = None,
    progress: Progress | None = None,
) -> Examples:
    """Whole notes with their codes. Notes whose codes are null are unlabelled and left out; an empty list is a label.

    top_labels: keep only the N most frequent codes (ties by code), as the public top-50 splits do. table: codes with
    their names, which are labels even if no note has them. Evidence of codes that are no label of the note is left out
    and counted. progress: called while near duplicates are looked for. Raises ExampleError where no note has a code.
    """
    counts: Counter[str] = Counter()
    note_ids, patient_ids, texts, code_lists, marked = [], [], [], [], []
    columns = ("note_id", "patient_id", "text", "codes", "evidence")
    for note_id, patient_id, given, codes, evidence in note_rows(batches, columns):
        plain = read_plain(given)
        text = plain.text
        counts["notes"] += 1
        if codes is None and note_id not in exclude:
            counts["notes without codes"] += 1
            continue
        note_ids.append(note_id)
        patient_ids.append(patient_id)
        texts.append(text)
        code_lists.append(list(dict.fromkeys(codes or [])))
        marked.append(evidence and [_in_plain(plain, span) for span in evidence])
    groups, kept = groups_without(exclude, note_ids, patient_ids, texts, progress)
    counts["notes left out"] = len(note_ids) - len(kept)
    frequency = Counter(code for row in kept for code in code_lists[row])
    if not frequency:
        raise ExampleError(
            f"none of {counts['notes']} notes has codes; name the column that holds them with --codes-column"
        )
    ranked = sorted(frequency, key=lambda code: (-frequency[code], code))
    names = table or {}
    labels = sorted({*ranked[:top_labels], *names})
    counts["labels"] = len(labels)
    kept_codes = [code_lists[row] for row in kept]
    return Examples(
        ids=[note_ids[row] for row in kept],
        groups=groups[kept],
        texts=[texts[row] for row in kept],
        targets=label_matrix(kept_codes, labels),
        labels=labels,
        evidence=_label_spans([marked[row] for row in kept], kept_codes, labels, counts),
        counts=dict(counts),
        descriptions=["\n".join(names.get(label, ())) or None for label in labels],
    )


def label_matrix(label_lists: Sequence[Collection[str]], labels: Sequence[str]) -> csr_matrix:
    """0/1 matrix (n, labels); labels that are not in the columns are left out."""
    column = {label: index for index, label in enumerate(labels)}
    cells = [
        (row, column[label]) for row, found in enumerate(label_lists) for label in found if label in column
    ]
    rows, columns = zip(*cells, strict=True) if cells else ((), ())
    return csr_matrix((np.ones(len(cells), np.uint8), (rows, columns)), shape=(len(label_lists), len(labels)))


def _in_plain(plain: PlainText, span: dict[str, Any]) -> dict[str, Any]:
    """The marked span as offsets into the plain text."""
    start, end = plain.span_plain(span["start"], span["end"])
    return {**span, "start": start, "end": end}


def _label_spans(
    marked: Sequence[list[dict[str, Any]] | None],
    code_lists: Sequence[Collection[str]],
    labels: Sequence[str],
    counts: Counter[str],
) -> list[list[LabelSpan]] | None:
    """The spans of each note that were marked for codes which are its labels; None where no note has any."""
    if all(spans is None for spans in marked):
        return None
    number = {label: index for index, label in enumerate(labels)}
    found = [
        [
            LabelSpan(number[span["code"]], span["start"], span["end"])
            for span in spans or []
            if span["code"] in codes and span["code"] in number
        ]
        for spans, codes in zip(marked, code_lists, strict=True)
    ]
    counts["evidence spans"] = sum(map(len, found))
    counts["evidence spans of other codes"] = sum(len(spans or []) for spans in marked) - sum(map(len, found))
    return found
