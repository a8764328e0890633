"""The tasks: where labels come from, and what a unit of text is. A new task is one more entry of TASKS.

Training and prediction are the same for all tasks. This module imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from rubricator.nlp.errors import RubricatorError, did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

    from rubricator.nlp.builders.label_source import LabelSource
    from rubricator.nlp.examples import Examples
    from rubricator.nlp.units import UnitName


class UnknownTaskError(RubricatorError):
    """There is no task of this name in TASKS."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a model learns, and from which labels.

    summary: one line on the units and their labels. unit: the unit of text that gets labels; classifiers choose their
    default settings by it. model_name: default name in the model registry. examples: makes labelled examples from
    notes (batches of NOTES_SCHEMA). scored_on: gives the label source for scoring from the one for training. options:
    names of the training settings that only this task's label source uses. labels_are_codes: labels are ICD codes, and
    are described and checked as such. purpose, label_source: sentences of the model card.
    """

    name: str
    summary: str
    unit: UnitName
    model_name: str
    examples: Callable[[Iterable[pa.RecordBatch], LabelSource], Examples]
    scored_on: Callable[[LabelSource], LabelSource] = field(default=lambda source: source)
    options: tuple[str, ...] = ()
    labels_are_codes: bool = False
    purpose: str
    label_source: str


def task_named(name: str) -> Task:
    """The task of this name. Raises UnknownTaskError, which lists the known tasks."""
    if name not in TASKS:
        raise UnknownTaskError(
            f"there is no task {name!r}; there are: {', '.join(TASKS)}{did_you_mean(name, TASKS)}"
        )
    return TASKS[name]


def _plan_examples(notes: Iterable[pa.RecordBatch], source: LabelSource) -> Examples:
    from rubricator.nlp.builders.notes import raise_failure
    from rubricator.nlp.builders.sections import section_examples

    return section_examples(
        notes,
        settings=source.weak_labels,
        lexicon=source.lexicon,
        exclude=source.exclude,
        keep_names=source.keep_names or source.scored_labels is not None,
        progress=source.progress,
        failed=source.failed or raise_failure,
    )


def _against_all_others(source: LabelSource) -> LabelSource:
    return replace(source, weak_labels=source.weak_labels.against_all_others(source.lexicon))


def _code_examples(notes: Iterable[pa.RecordBatch], source: LabelSource) -> Examples:
    from rubricator.nlp.builders.codes import code_examples

    return code_examples(
        notes,
        exclude=source.exclude,
        top_labels=source.top_labels,
        table=source.label_names,
        icd_version=source.icd_version,
        scored_labels=source.scored_labels,
        keep_names=source.keep_names,
        progress=source.progress,
    )


TASKS = {
    task.name: task
    for task in (
        Task(
            name="plan",
            summary="sentences that state a plan, learnt from the headings they stand under",
            unit="sentence",
            model_name="plan-sentences",
            examples=_plan_examples,
            scored_on=_against_all_others,
            options=("positive", "lexicon"),
            purpose="Finds the sentences of clinical notes that belong under {labels}, in notes with headings or "
            "without.",
            label_source="Weak labels: the heading of the section that a sentence stands under. No word of a heading "
            "is a feature. The figures are measured on such labels too: they say how well headings are predicted, "
            "not how well people would agree.",
        ),
        Task(
            name="codes",
            summary="the ICD codes of whole notes, learnt from notes with their codes",
            unit="note",
            model_name="icd-codes",
            examples=_code_examples,
            options=("top_labels", "code_table", "icd_version"),
            labels_are_codes=True,
            purpose="Suggests {count} codes for clinical notes, with evidence, to be checked by a coder.",
            label_source="The codes that came with the notes.",
        ),
    )
}
