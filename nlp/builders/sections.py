"""Examples of sentences, labelled by the headed section they stand under: weak labels without leakage."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_matrix

from rubricator.nlp.builders.notes import (
    Failed,
    OnCompared,
    count_without_patient,
    groups_without,
    names_left_out,
    note_rows,
    raise_failure,
)
from rubricator.nlp.contexts import Context
from rubricator.nlp.examples import ExampleError, Examples
from rubricator.nlp.hidden_text import hides_text
from rubricator.nlp.lexicon.lexicon import Lexicon
from rubricator.nlp.plain_text.plain import read_plain
from rubricator.nlp.sections.finder import SectionFinder
from rubricator.nlp.sentences.splitter import sentence_contexts
from rubricator.nlp.weak_labels import LabelledSentence, WeakLabelSettings, label_note


class NoHeadingsError(ExampleError):
    """The headings of the notes make no sentence positive, or none negative."""


def section_examples(
    batches: Iterable[pa.RecordBatch],
    *,
    settings: WeakLabelSettings,
    lexicon: Lexicon,
    exclude: Collection[str] = (),
    keep_names: bool = False,
    progress: OnCompared | None = None,
    failed: Failed = raise_failure,
) -> Examples:
    """Sentences labelled by the headed section they stand under (Poddar et al., arXiv 1906.11930).

    auxiliary examples: sentences of sections that mix plans with other things, labelled by their wording.
    exclude: note ids left out, together with every note of their groups (near duplicates, same patient).
    keep_names: whether words that look like names may be learnt. progress: called while near duplicates are looked
    for. failed: called with a note on which the work raises, in place of raising. Raises NoHeadingsError where no
    sentence is positive or none is negative.
    """
    settings.labels(lexicon)  # a wrong category is an error of the settings, not of every note
    counts: Counter[str] = Counter()
    notes = [
        note
        for note in _labelled_notes(batches, settings, lexicon, counts, failed)
        if note.sentences or note.note_id in exclude
    ]
    groups, kept = groups_without(
        exclude,
        [note.note_id for note in notes],
        [note.patient_id for note in notes],
        [note.text for note in notes],
        progress,
    )
    counts["notes left out"] = len(notes) - len(kept)
    rows = [
        _Row(notes[index], int(groups[index]), *labelled)
        for index in kept
        for labelled in notes[index].sentences
    ]
    headed = _examples(rows, [row.sentence.label for row in rows], settings.name)
    worded = _examples(rows, [row.sentence.worded for row in rows], settings.name)
    positive = headed.targets.nnz
    if not 0 < positive < len(headed):
        raise NoHeadingsError(
            f"{counts['notes']} notes gave {positive} positive and {len(headed) - positive} negative sentences "
            f"for {settings.name}; both are needed. `rubricator extract` shows which headings were found and which "
            "were not: add the headings of your site to the lexicon"
        )
    used = [notes[index] for index in kept]
    count_without_patient([note.note_id for note in used], [note.patient_id for note in used], counts)
    plain = [read_plain(note.text).text for note in used]
    person_names = names_left_out(plain, groups[kept], counts, keep=keep_names)
    counts |= {"sentences": len(headed), "positive sentences": positive}
    if len(worded):
        counts |= {"sentences by wording": len(worded), "positive sentences by wording": worded.targets.nnz}
    return replace(
        headed,
        counts=dict(counts),
        auxiliary=worded if len(worded) else None,
        person_names=person_names,
    )


@hides_text("note_id")
class _Note(NamedTuple):
    note_id: str
    patient_id: str
    text: str
    sentences: list[tuple[LabelledSentence, Context]]  # with a label


def _labelled_notes(
    batches: Iterable[pa.RecordBatch],
    settings: WeakLabelSettings,
    lexicon: Lexicon,
    counts: Counter[str],
    failed: Failed,
) -> Iterator[_Note]:
    """Each note, and how many there are in the counts. One on which the work raises has no sentences.

    An excluded note keeps its near duplicates out all the same.
    """
    finder = SectionFinder(lexicon)
    for note_id, patient_id, text in note_rows(batches, ("note_id", "patient_id", "text")):
        counts["notes"] += 1
        sentences: list[LabelledSentence] = []
        try:
            sentences = label_note(text, finder.find(text), settings, lexicon)
        except BaseException as error:
            failed(note_id, error)
        counts["notes with labels"] += any(sentence.label is not None for sentence in sentences)
        yield _Note(note_id, patient_id, text, _with_contexts(text, sentences))


@hides_text("group")
class _Row(NamedTuple):
    note: _Note
    group: int
    sentence: LabelledSentence
    context: Context


def _with_contexts(
    text: str, sentences: Sequence[LabelledSentence]
) -> list[tuple[LabelledSentence, Context]]:
    """The sentences that have a label, with what stands around them."""
    contexts = sentence_contexts(text, [(sentence.start, sentence.end) for sentence in sentences])
    return [
        (sentence, context)
        for sentence, context in zip(sentences, contexts, strict=True)
        if {sentence.label, sentence.worded} != {None}
    ]


def _examples(rows: Sequence[_Row], labels: Sequence[int | None], name: str) -> Examples:
    """Examples of the rows that have a label."""
    chosen = [(row, label) for row, label in zip(rows, labels, strict=True) if label is not None]
    spans = [(row.note, row.sentence.start, row.sentence.end) for row, _ in chosen]
    return Examples(
        ids=[f"{note.note_id}:{start}:{end}" for note, start, end in spans],
        groups=np.array([row.group for row, _ in chosen], dtype=np.int64),
        texts=[read_plain(note.text).of(start, end) for note, start, end in spans],
        contexts=[row.context for row, _ in chosen],
        targets=csr_matrix(np.array([label for _, label in chosen], dtype=np.uint8).reshape(-1, 1)),
        labels=[name],
    )
