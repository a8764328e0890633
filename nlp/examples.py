"""Labelled examples: what every classifier is trained and scored on, whatever the task.

An example is a unit of text (a sentence, or a whole note), the group that keeps it on one side of every split
(patient ∪ near-duplicate notes), and its labels. A task only says where units and labels come from: headed
sections for plan sentences, billed codes for ICD coding, an annotation file for gold units.
"""

import gzip
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, vstack

from rubricator.nlp.contexts import Context, LabelSpan, neighbours
from rubricator.nlp.duplicates import group_notes
from rubricator.nlp.errors import RubricatorError
from rubricator.nlp.headings import Lexicon
from rubricator.nlp.hidden_text import hides_text
from rubricator.nlp.plain_text import PlainText, read_plain
from rubricator.nlp.sections import SectionFinder
from rubricator.nlp.sentences import sentence_contexts
from rubricator.nlp.weak_labels import WeakLabelSettings, label_note

_WORD = re.compile(r"[^\W_]")
_T = TypeVar("_T")
Progress = Callable[[int, int], None]
Failed = Callable[[str, BaseException], None]  # told of a note that is left out as the work on it raised


def _raise(_: str, error: BaseException) -> None:
    raise error


class ExampleError(RubricatorError):
    """Notes, labels or annotations that cannot be made into examples; the message says what is missing."""


@hides_text("counts")
@dataclass(frozen=True, kw_only=True)
class Examples:
    """Units of text with their labels.

    ids: one per example, `note_id` or `note_id:start:end`. groups: int64 (n,), examples of one group never stand on
    both sides of a split. texts: n strings. contexts: what stands around each text, None where the text is the whole
    note. targets: 0/1 matrix (n, labels). labels: column names of targets. evidence: for each text the spans that its
    labels were given for, None where nobody marked any. strata: name of a stratum per example, where the annotations
    give one. counts: what became of the notes, for the report. further: examples to learn from beside these, never to
    score on. names: what a site calls a label, beside the official description.
    """

    ids: list[str]
    groups: NDArray[np.int64]
    texts: list[str]
    targets: csr_matrix
    labels: list[str]
    contexts: list[Context] | None = None
    evidence: list[list[LabelSpan]] | None = None
    counts: dict[str, int] = field(default_factory=dict)
    strata: list[str] | None = None
    further: "Examples | None" = None
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> "Examples":
        """The examples of these row numbers."""

        def chosen(values: list[_T] | None) -> list[_T] | None:
            return None if values is None else [values[row] for row in rows]

        return replace(
            self,
            ids=chosen(self.ids) or [],
            groups=self.groups[rows],
            texts=chosen(self.texts) or [],
            contexts=chosen(self.contexts),
            evidence=chosen(self.evidence),
            targets=self.targets[rows],
            strata=chosen(self.strata),
        )

    def split(self, test: NDArray[np.bool_]) -> tuple["Examples", "Examples"]:
        """To learn from and to test on; no group of the test is among the further examples."""
        learnt, tested = self.take(np.flatnonzero(~test)), self.take(np.flatnonzero(test))
        if self.further:
            apart = ~np.isin(self.further.groups, tested.groups)
            learnt = replace(learnt, further=self.further.take(np.flatnonzero(apart)))
        return learnt, replace(tested, further=None)

    def with_further(self) -> "Examples":
        """These and the further examples as one."""
        if self.further is None:
            return self
        other = self.further
        return replace(
            self,
            ids=self.ids + other.ids,
            groups=np.concatenate([self.groups, other.groups]),
            texts=self.texts + other.texts,
            contexts=None if self.contexts is None else self.contexts + (other.contexts or []),
            evidence=None if self.evidence is None else self.evidence + (other.evidence or []),
            targets=vstack([self.targets, other.targets], format="csr"),
            strata=None,
            further=None,
        )

    def fingerprint(self) -> str:
        """sha256 over ids, texts, groups, labels and evidence: the same data gives the same 64 hex digits."""
        marked = [] if self.evidence is None else [self.evidence]
        digest = hashlib.sha256(json.dumps([self.labels, self.ids, *marked]).encode())
        if self.further:
            digest.update(self.further.fingerprint().encode())
        targets = self.targets.tocsr().sorted_indices()
        self._update(digest, self.groups, targets.indptr, targets.indices)
        return digest.hexdigest()

    def inputs_fingerprint(self) -> str:
        """sha256 over ids, texts and groups: the same whatever labels they get."""
        digest = hashlib.sha256(json.dumps(self.ids).encode())
        self._update(digest, self.groups)
        return digest.hexdigest()

    def _update(self, digest: "hashlib._Hash", *arrays: NDArray[np.integer]) -> None:
        for text in self.texts:
            digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
        for array in arrays:
            digest.update(np.ascontiguousarray(array, dtype=np.int64).tobytes())


def section_examples(
    batches: Iterable[pa.RecordBatch],
    *,
    settings: WeakLabelSettings,
    lexicon: Lexicon,
    exclude: Collection[str] = (),
    progress: Progress | None = None,
    failed: Failed = _raise,
) -> Examples:
    """Sentences labelled by the headed section they stand under (FACTS: weak labels without leakage).

    further examples: sentences of sections that mix plans with other things, labelled by their wording.
    exclude: note ids left out, together with every note of their groups (near duplicates, same patient).
    progress: called while near duplicates are looked for, with the number of notes done and of all.
    failed: called with a note on which the work raises, in place of raising.
    Raises ExampleError where no sentence is positive or none is negative.
    """
    settings.labels(lexicon)  # a wrong category is an error of the settings, not of every note
    finder = SectionFinder(lexicon)
    counts: Counter[str] = Counter()
    note_ids, patient_ids, note_texts, units = [], [], [], []
    for note_id, patient_id, text in _note_rows(batches, ("note_id", "patient_id", "text")):
        counts["notes"] += 1
        try:
            sentences = label_note(text, finder.find(text), settings, lexicon)
        except BaseException as error:
            failed(note_id, error)
            sentences = []  # an excluded note keeps its near duplicates out all the same
        labelled = [
            index for index, sentence in enumerate(sentences) if {sentence.label, sentence.worded} != {None}
        ]
        counts["notes with labels"] += any(sentence.label is not None for sentence in sentences)
        if labelled or note_id in exclude:
            note_ids.append(note_id)
            patient_ids.append(patient_id)
            note_texts.append(text)
            contexts = sentence_contexts(text, [(sentence.start, sentence.end) for sentence in sentences])
            units.append([(sentences[index], contexts[index]) for index in labelled])
    groups, kept = _groups_without(exclude, note_ids, patient_ids, note_texts, progress)
    counts["notes left out"] = len(note_ids) - len(kept)
    rows = [(row, sentence, context) for row in kept for sentence, context in units[row]]

    def examples(labels: Sequence[int | None]) -> Examples:
        chosen = [(*row, label) for row, label in zip(rows, labels, strict=True) if label is not None]
        return Examples(
            ids=[f"{note_ids[row]}:{sentence.start}:{sentence.end}" for row, sentence, *_ in chosen],
            groups=np.array([groups[row] for row, *_ in chosen], dtype=np.int64),
            texts=[
                read_plain(note_texts[row]).of(sentence.start, sentence.end) for row, sentence, *_ in chosen
            ],
            contexts=[context for *_, context, _ in chosen],
            targets=csr_matrix(np.array([label for *_, label in chosen], dtype=np.uint8).reshape(-1, 1)),
            labels=[settings.name],
        )

    headed = examples([sentence.label for _, sentence, _ in rows])
    worded = examples([sentence.worded for _, sentence, _ in rows])
    positive = headed.targets.nnz
    if not 0 < positive < len(headed):
        raise ExampleError(
            f"{counts['notes']} notes gave {positive} positive and {len(headed) - positive} negative sentences "
            f"for {settings.name}; both are needed. `rubricator extract` shows which headings were found and which "
            "were not: add your site's headings with --lexicon"
        )
    counts |= {"sentences": len(headed), "positive sentences": positive}
    if len(worded):
        counts |= {"sentences by wording": len(worded), "positive sentences by wording": worded.targets.nnz}
    return replace(headed, counts=dict(counts), further=worded if len(worded) else None)


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
    and counted. progress: as for section_examples. Raises ExampleError where no note has a code.
    """
    counts: Counter[str] = Counter()
    note_ids, patient_ids, texts, code_lists, marked = [], [], [], [], []
    columns = ("note_id", "patient_id", "text", "codes", "evidence")
    for note_id, patient_id, given, codes, evidence in _note_rows(batches, columns):
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
    groups, kept = _groups_without(exclude, note_ids, patient_ids, texts, progress)
    counts["notes left out"] = len(note_ids) - len(kept)
    frequency = Counter(code for row in kept for code in code_lists[row])
    if not frequency:
        raise ExampleError(
            f"none of {counts['notes']} notes has codes; name the column that holds them with --codes-column"
        )
    ranked = sorted(frequency, key=lambda code: (-frequency[code], code))
    labels = sorted({*ranked[:top_labels], *(table or {})})
    counts["labels"] = len(labels)
    return Examples(
        ids=[note_ids[row] for row in kept],
        groups=groups[kept],
        texts=[texts[row] for row in kept],
        targets=label_matrix([code_lists[row] for row in kept], labels),
        labels=labels,
        evidence=_label_spans(
            [marked[row] for row in kept], [code_lists[row] for row in kept], labels, counts
        ),
        counts=dict(counts),
        names=table or {},
    )


def annotated_examples(
    batches: Iterable[pa.RecordBatch],
    annotations: Path,
    *,
    lexicon: Lexicon,
    label: str = "plan",
    failed: Failed = _raise,
) -> Examples:
    """Gold units of an annotation file: JSON lines (also .gz) of `note_id`, `units` ([[start, end, 0 or 1], …]) and,
    where given, `kind`, a stratum.

    As everywhere, words of a heading do not reach the features: where a unit holds one, its text is what stands
    beside the heading; a unit that is nothing but a heading has the empty text, which no model predicts.
    failed: as for section_examples.
    Raises ExampleError for a line without units or labels, a unit outside its note, a note that is missing, or no unit.
    """
    finder = SectionFinder(lexicon)
    units = _annotations(annotations)
    counts: Counter[str] = Counter()
    ids, groups, texts, contexts, values, strata = [], [], [], [], [], []
    for note_id, text in _note_rows(batches, ("note_id", "text")):
        annotation = units.pop(note_id, None)
        if annotation is None:
            continue
        try:
            sections = finder.find(text)
        except BaseException as error:
            failed(note_id, error)
            continue
        counts["notes"] += 1
        spans = [(start, end) for start, end, _ in annotation["units"]]
        if not all(0 <= start < end <= len(text) for start, end in spans):
            raise ExampleError(
                f"{annotations}: note {note_id}: a unit is outside its note of {len(text)} characters"
            )
        headings = [(section.heading_start, section.heading_end) for section in sections]
        unit_texts = [_without(headings, text, start, end) for start, end in spans]
        ids += [f"{note_id}:{start}:{end}" for start, end in spans]
        groups += [counts["notes"]] * len(spans)
        texts += unit_texts
        contexts += neighbours(unit_texts)
        values += [value for *_, value in annotation["units"]]
        strata += [str(annotation.get("kind", "all"))] * len(spans)
    if units:
        raise ExampleError(
            f"{annotations}: {len(units)} annotated notes are not among the notes, first {min(units)!r}"
        )
    if not ids:
        raise ExampleError(
            f"{annotations}: there is no unit to score in it; 'units' are [[start, end, 0 or 1], …]"
        )
    counts["sentences"], counts["positive sentences"] = len(ids), sum(values)
    return Examples(
        ids=ids,
        groups=np.array(groups, dtype=np.int64),
        texts=texts,
        contexts=contexts,
        targets=csr_matrix(np.array(values, dtype=np.uint8).reshape(-1, 1)),
        labels=[label],
        counts=dict(counts),
        strata=strata,
    )


def label_matrix(label_lists: Sequence[Collection[str]], labels: Sequence[str]) -> csr_matrix:
    """0/1 matrix (n, labels); labels that are not in the columns are left out."""
    column = {label: index for index, label in enumerate(labels)}
    cells = [
        (row, column[label]) for row, found in enumerate(label_lists) for label in found if label in column
    ]
    rows, columns = zip(*cells, strict=True) if cells else ((), ())
    return csr_matrix((np.ones(len(cells), np.uint8), (rows, columns)), shape=(len(label_lists), len(labels)))


def note_ids_in(path: Path) -> set[str]:
    """The note ids of a JSON lines file (also .gz) with a `note_id` in each line: an annotation file, say."""
    return {row["note_id"] for _, row in _json_rows(path)}


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


def _annotations(path: Path) -> dict[str, dict[str, Any]]:
    """The annotation of each note id."""
    found = {}
    for number, row in _json_rows(path):
        units = row.get("units")
        if not isinstance(units, list) or not all(map(_is_unit, units)):
            raise ExampleError(
                f"{path}, line {number}: 'units' is expected, as [[start, end, 0 or 1], …] in whole numbers"
            )
        if row["note_id"] in found:
            raise ExampleError(f"{path}, line {number}: note {row['note_id']} stands on another line too")
        found[row["note_id"]] = row
    return found


def _is_unit(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 3
        and all(isinstance(number, int) for number in value)
        and value[2] in (0, 1)
    )


def _without(headings: Sequence[tuple[int, int]], text: str, start: int, end: int) -> str:
    kept, at = [], start
    for heading_start, heading_end in headings:
        if heading_start < end and start < heading_end:
            kept.append(text[at : max(at, heading_start)])
            at = heading_end
    kept.append(text[at:end])
    return " ".join(part.strip(" \t\n:-–—") for part in kept if _WORD.search(part))


def _groups_without(
    exclude: Collection[str],
    note_ids: Sequence[str],
    patient_ids: Sequence[str],
    texts: Sequence[str],
    progress: Progress | None,
) -> tuple[NDArray[np.int64], list[int]]:
    """Group of each note, and the rows of the notes whose group holds no excluded note."""
    count = len(note_ids)
    each = (lambda done: progress(done, count)) if progress else None
    groups = group_notes(note_ids, patient_ids, texts, progress=each) if count else np.zeros(0, np.int64)
    left_out = {group for group, note_id in zip(groups, note_ids, strict=True) if note_id in exclude}
    return groups, [row for row, group in enumerate(groups) if group not in left_out]


def _json_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each line with its number."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                row = json.loads(line) if line.strip() else None
                if row is None:
                    continue
                if not isinstance(row, dict) or not isinstance(row.get("note_id"), str):
                    raise ExampleError(
                        f"{path}, line {number}: an object with a 'note_id' string is expected"
                    )
                yield number, row
    except (OSError, ValueError) as error:
        reason = type(error).__name__
    else:
        return
    raise ExampleError(f"{path} cannot be read as JSON lines: {reason}")


def _note_rows(batches: Iterable[pa.RecordBatch], columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    for batch in batches:
        yield from zip(*(batch.column(name).to_pylist() for name in columns), strict=True)
