"""Labelled examples, on which every classifier is trained and scored.

An example is a unit of text (a sentence or a whole note), its labels, and its group. A group holds the notes of a
patient and their near duplicates, and every split keeps it whole. nlp/builders makes examples from notes.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, vstack

from rubricator.nlp.contexts import Context, LabelSpan
from rubricator.nlp.errors import RubricatorError
from rubricator.nlp.hidden_text import hides_text

_T = TypeVar("_T")


class ExampleError(RubricatorError):
    """Notes, labels or annotations cannot be made into examples; the message says what is wrong."""


def note_ids(example_ids: Iterable[str], *, of_sentences: bool) -> set[str]:
    """The notes of examples. of_sentences: the ids end with the offsets of a sentence (NOTE_ID:START:END)."""
    return {each.rsplit(":", 2)[0] if of_sentences else each for each in example_ids}


@hides_text("counts")
@dataclass(frozen=True, kw_only=True)
class Examples:
    """Units of text with their labels.

    ids: n strings, `note_id` or `note_id:start:end`. groups: int64 (n,), the group of each example; every split keeps
    groups whole. texts: n strings. contexts: the sentences around each text; None where texts are whole notes.
    targets: 0/1 matrix (n, labels). labels: column names of targets. evidence: the evidence spans of each text; None
    where none were marked. strata: the stratum of each example, where the annotations name one. counts: how many notes
    and labels were used or left out, for the report. auxiliary: further examples for training only, never for scoring.
    descriptions: the names of each label, one a line; None for a label without names. site_labels: labels that the
    site's own table of codes has. notices: what a user has to know of the labels, for the terminal and reports.
    person_names: words of the notes that look like names (`base_form`); no vocabulary has them.
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
    auxiliary: "Examples | None" = None
    descriptions: list[str | None] | None = None
    site_labels: frozenset[str] = frozenset()
    notices: list[str] = field(default_factory=list)
    person_names: frozenset[str] = frozenset()

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
        """Training and test examples. Auxiliary examples stay with the training ones, without the groups of the test.

        test: boolean (n,), true for test examples.
        """
        train, held_out = self.take(np.flatnonzero(~test)), self.take(np.flatnonzero(test))
        if self.auxiliary:
            apart = ~np.isin(self.auxiliary.groups, held_out.groups)
            train = replace(train, auxiliary=self.auxiliary.take(np.flatnonzero(apart)))
        return train, replace(held_out, auxiliary=None)

    def with_auxiliary(self) -> "Examples":
        """These and the auxiliary examples together."""
        if self.auxiliary is None:
            return self
        other = self.auxiliary
        return replace(
            self,
            ids=self.ids + other.ids,
            groups=np.concatenate([self.groups, other.groups]),
            texts=self.texts + other.texts,
            contexts=None if self.contexts is None else self.contexts + (other.contexts or []),
            evidence=None if self.evidence is None else self.evidence + (other.evidence or []),
            targets=vstack([self.targets, other.targets], format="csr"),
            strata=None,
            auxiliary=None,
        )

    def label_texts(self) -> list[str]:
        """The description of each label, empty where there is none."""
        return [text or "" for text in self.descriptions or [None] * len(self.labels)]

    def fingerprint(self) -> str:
        """SHA-256 of ids, texts, groups, labels and evidence, as 64 hex digits. Equal data have equal fingerprints."""
        marked = [] if self.evidence is None else [self.evidence]
        digest = hashlib.sha256(json.dumps([self.labels, self.ids, *marked]).encode())
        if self.auxiliary:
            digest.update(self.auxiliary.fingerprint().encode())
        targets = self.targets.tocsr().sorted_indices()
        self._update(digest, self.groups, targets.indptr, targets.indices)
        return digest.hexdigest()

    def inputs_fingerprint(self) -> str:
        """SHA-256 of ids, texts and groups, as 64 hex digits. It does not depend on the labels."""
        digest = hashlib.sha256(json.dumps(self.ids).encode())
        self._update(digest, self.groups)
        return digest.hexdigest()

    def _update(self, digest: "hashlib._Hash", *arrays: NDArray[np.integer]) -> None:
        for text in self.texts:
            digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
        for array in arrays:
            digest.update(np.ascontiguousarray(array, dtype=np.int64).tobytes())
