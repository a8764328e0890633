"""What builders make labels with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rubricator.nlp.lexicon.lexicon import Lexicon
    from rubricator.nlp.weak_labels import WeakLabelSettings


@dataclass(frozen=True, kw_only=True)
class LabelSource:
    """What labels are made with; a task takes from it what it needs.

    exclude: ids of notes to leave out, with their near duplicates. top_labels: only so many labels, the most frequent.
    label_names: labels that there are whether a note has them or not, each with its names. progress: called with the
    number of notes compared for near duplicates, and of all. failed: called with a note on which the work raises, in
    place of raising.
    """

    weak_labels: WeakLabelSettings
    lexicon: Lexicon
    exclude: frozenset[str] = frozenset()
    top_labels: int | None = None
    label_names: Mapping[str, Sequence[str]] | None = None
    progress: Callable[[int, int], None] | None = None
    failed: Callable[[str, BaseException], None] | None = None
