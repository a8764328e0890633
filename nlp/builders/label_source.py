"""The settings and data from which builders make labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rubricator.nlp.lexicon.lexicon import Lexicon
    from rubricator.nlp.weak_labels import WeakLabelSettings


@dataclass(frozen=True, kw_only=True)
class LabelSource:
    """The settings and data from which labels are made. Each task uses those that it needs.

    exclude: ids of notes to leave out, with the other notes of their groups. top_labels: keep only the N most frequent
    labels. label_names: labels with their names; they are labels even if no note has them. icd_version: of codes, by
    default that of most notes. scored_labels: the labels of a model that is to be scored. keep_names: whether words
    that look like names of persons may be learnt. progress: called with the number of notes compared for near
    duplicates and the number of all notes. failed: called with the note id and the error of a note that cannot be
    processed, instead of raising the error.
    """

    weak_labels: WeakLabelSettings
    lexicon: Lexicon
    exclude: frozenset[str] = frozenset()
    top_labels: int | None = None
    label_names: Mapping[str, Sequence[str]] | None = None
    icd_version: Literal[9, 10] | None = None
    scored_labels: Sequence[str] | None = None
    keep_names: bool = False
    progress: Callable[[int, int], None] | None = None
    failed: Callable[[str, BaseException], None] | None = None
