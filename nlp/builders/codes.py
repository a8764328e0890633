"""Examples that are whole notes, labelled with their codes."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_matrix

from rubricator.nlp.builders.code_labels import (
    Spellings,
    corpus_version,
    note_version,
    of_version,
    said_of_labels,
    said_of_versions,
    version_of_labels,
)
from rubricator.nlp.builders.notes import (
    OnCompared,
    count_without_patient,
    groups_without,
    names_left_out,
    note_rows,
)
from rubricator.nlp.contexts import LabelSpan
from rubricator.nlp.errors import counted
from rubricator.nlp.examples import ExampleError, Examples
from rubricator.nlp.hidden_text import hides_text
from rubricator.nlp.icd import normal_code
from rubricator.nlp.plain_text.plain import PlainText, read_plain


class NoCodesError(ExampleError):
    """No note has a code."""


def code_examples(
    batches: Iterable[pa.RecordBatch],
    *,
    exclude: Collection[str] = (),
    top_labels: int | None = None,
    table: Mapping[str, Sequence[str]] | None = None,
    icd_version: Literal[9, 10] | None = None,
    scored_labels: Sequence[str] | None = None,
    keep_names: bool = False,
    progress: OnCompared | None = None,
) -> Examples:
    """Whole notes with their codes. A note whose codes are null is left out; a note with an empty list has no label.

    All codes are of one version of ICD. Notes of the other version are left out, and so are its codes in other notes.
    Codes in several spellings are one label, in the user's own spelling where it is the same everywhere.
    `Examples.notices` says so.

    exclude: ids of notes to leave out, with all notes of their groups. top_labels: keep only the N most frequent codes
    (ties by code), as the public top-50 splits do. table: codes with their names; they are labels even if no note has
    them. icd_version: by default that of most notes. scored_labels: the labels of a model that is to be scored: codes
    are spelt like them, and are of their version. Evidence of a code that is not a label of its note is left out and
    counted. keep_names: whether words that look like names may be learnt. progress: called while near duplicates are
    looked for.
    Raises NoCodesError where no note has a code, and ExampleError where `top_labels` is below 1.
    """
    if top_labels is not None and top_labels < 1:
        raise ExampleError(f"top_labels is {top_labels}; keep at least one label")
    counts: Counter[str] = Counter()
    read = list(_coded_notes(batches, exclude, counts))
    ids, patients, texts = zip(*(note[:3] for note in read), strict=True) if read else ((), (), ())
    groups, kept = groups_without(exclude, ids, patients, texts, progress)
    counts["notes left out"] = len(read) - len(kept)
    of_all = len(kept)
    kept, notices = _one_version(read, kept, counts["notes"], icd_version, scored_labels)
    if of_others := of_all - len(kept):
        counts["notes coded in the other version of ICD"] = of_others
    names, site = _label_names([read[row] for row in kept], table or {}, scored_labels, notices)
    notes = [_named(read[row], names) for row in kept]
    frequency = Counter(code for note in notes for code in note.codes)
    ranked = sorted(frequency, key=lambda code: (-frequency[code], code))
    count_without_patient([note.note_id for note in notes], [note.patient_id for note in notes], counts)
    person_names = names_left_out(
        [note.text for note in notes], groups[kept], counts, keep=keep_names or scored_labels is not None
    )
    labels = sorted({*ranked[:top_labels], *site})
    counts["labels"] = len(labels)
    if scored_labels is None:
        notices += said_of_labels(labels, frequency, own=site)
    return Examples(
        ids=[note.note_id for note in notes],
        groups=groups[kept],
        texts=[note.text for note in notes],
        targets=label_matrix([note.codes for note in notes], labels),
        labels=labels,
        evidence=_label_spans(notes, labels, counts),
        counts=dict(counts),
        descriptions=["\n".join(site.get(label, ())) or None for label in labels],
        site_labels=frozenset(site),
        notices=notices,
        person_names=person_names,
    )


@hides_text()
class _CodedNote(NamedTuple):
    """A note as plain text. codes: each with its spelling in the note. marked: its evidence spans with their codes,
    None where the note has no evidence."""

    note_id: str
    patient_id: str
    text: str
    codes: dict[str, str]
    marked: list[dict[str, Any]] | None


def _coded_notes(
    batches: Iterable[pa.RecordBatch], exclude: Collection[str], counts: Counter[str]
) -> Iterator[_CodedNote]:
    """The notes that have codes or are excluded. Counts all notes, and those without codes."""
    columns = ("note_id", "patient_id", "text", "codes", "codes_as_written", "evidence")
    for note_id, patient_id, given, codes, written, evidence in note_rows(batches, columns):
        counts["notes"] += 1
        if codes is None and note_id not in exclude:
            counts["notes without codes"] += 1
            continue
        plain = read_plain(given)
        marked = evidence and [_in_plain(plain, span) for span in evidence]
        spelt = dict(zip(codes or [], written or codes or [], strict=True))
        yield _CodedNote(note_id, patient_id, plain.text, spelt, marked)


def _one_version(
    notes: Sequence[_CodedNote],
    rows: Sequence[int],
    count: int,
    wanted: int | None,
    scored: Sequence[str] | None,
) -> tuple[list[int], list[str]]:
    """The rows of the notes of one version of ICD, and what was left out. Raises NoCodesError where none has codes.

    count: of all notes that were read. wanted: the version, by default that of the most notes. scored: the labels of a
    model that is scored, in place of it. Codes of the other version are taken out of the notes that stay.
    """
    versions = {row: note_version(list(notes[row].codes)) for row in rows}
    wanted = wanted if scored is None else version_of_labels(scored)
    version = wanted or (corpus_version(Counter(versions.values())) if scored is None else None)
    kept = [row for row in rows if version is None or versions[row] in (None, version)]
    if not any(notes[row].codes for row in kept):
        of_other = sum(found not in (None, version) for found in versions.values())
        if of_other and version:
            raise NoCodesError(
                f"no note has codes of ICD-{version}; {counted(of_other, 'note')} with codes of ICD-{19 - version}"
            )
        raise NoCodesError(
            f"none of {count} notes has codes; a table needs a column of codes (codes_column), and an export of "
            "FHIR or MIMIC codes of the same encounters or stays"
        )
    codes_left_out = 0
    for row in kept:
        others = notes[row].codes.keys() - of_version(list(notes[row].codes), version)
        codes_left_out += len(others)
        for code in others:
            del notes[row].codes[code]
    notes_left_out = len(rows) - len(kept)
    if version is None or not (notes_left_out or codes_left_out):
        return kept, []
    used = sum(versions[row] == version for row in kept)
    said = said_of_versions(version, used, notes_left_out, codes_left_out)
    return kept, [
        said if scored is not None else f"{said} (icd_version {19 - version} makes a model of these)"
    ]


def _label_names(
    notes: Sequence[_CodedNote],
    table: Mapping[str, Sequence[str]],
    scored: Sequence[str] | None,
    notices: list[str],
) -> tuple[dict[str, str], dict[str, list[str]]]:
    """The label of each code, and the names of the labels of the site's own table. Adds to the notices.

    scored: the labels of a model that is scored, None in training.
    """
    of_table: dict[str, str] = {}
    for written in table:
        of_table.setdefault(normal_code(written), written)
    if scored is None:
        spellings = Spellings((note.codes for note in notes), of_table)
        notices += spellings.said()
        names = spellings.labels()
    else:
        names = {code: code for note in notes for code in note.codes}
        names |= {normal_code(label): label for label in reversed(scored)}
    site: dict[str, list[str]] = {}
    for written, called in table.items():
        site.setdefault(names.get(normal_code(written), written), []).extend(called)
    return names, site


def _named(note: _CodedNote, names: Mapping[str, str]) -> _CodedNote:
    """The note with labels in place of its codes."""
    marked = note.marked and [{**span, "code": names.get(span["code"], span["code"])} for span in note.marked]
    return note._replace(codes={names[code]: code for code in note.codes}, marked=marked)


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
