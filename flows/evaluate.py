"""Evaluate: a registered model on notes that it was not trained on."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rubricator.flows.figures import (
    CountedNotes,
    buckets_table,
    check_report,
    counts_line,
    figures_table,
)
from rubricator.flows.home import open_home
from rubricator.flows.jobs.shards import write_text
from rubricator.flows.progress import Progress
from rubricator.nlp.lexicon.lexicon import Lexicon
from rubricator.nlp.readers.notes import NoteSettings
from rubricator.nlp.tasks import LabelSource, task_named
from rubricator.nlp.weak_labels import WeakLabelSettings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.console import RenderableType

    from rubricator.models.scores.evaluation import Evaluation
    from rubricator.models.trained_model import TrainedModel
    from rubricator.nlp.examples import Examples

PORTION = 500  # texts that are predicted at once


@dataclass(frozen=True)
class Evaluated:
    """Every figure, of all examples and of each stratum of the annotations.

    failed_notes: each with the name of the exception.
    """

    model: str
    counts: dict[str, int]
    dead_letters: dict[str, int]
    evaluation: "Evaluation"
    strata: dict[str, "Evaluation"]
    failed_notes: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Every figure, as JSON types."""
        return {
            "model": self.model,
            "counts": self.counts,
            "dead_letters": self.dead_letters,
            "failed_notes": self.failed_notes,
            **self.evaluation.to_json(),
            "strata": {name: scores.to_json() for name, scores in self.strata.items()},
        }

    def __rich__(self) -> "RenderableType":
        from rich.console import Group

        tables = [figures_table(self.model, {"all": self.evaluation, **self.strata})]
        if self.evaluation.counts["labels"] > 1:
            tables.append(buckets_table(self.evaluation))
        return Group(counts_line(self.counts, self.dead_letters, self.failed_notes), *tables)


def evaluate(
    model: str,
    notes: str,
    *,
    annotations: str | None = None,
    lexicon: Sequence[str] = (),
    bootstrap: int = 1000,
    report: str | None = None,
    id_column: str | None = None,
    patient_column: str | None = None,
    text_column: str | None = None,
    codes_column: str | None = None,
    home: str | None = None,
) -> Evaluated:
    """Score a model, at the thresholds it was registered with.

    A model of sentences is scored on the gold units of `annotations`; without them on the headed sections of the notes:
    positive are the sentences of the categories that were positive in its training, negative those of every other
    known category; sections that mix both are left out. A model of codes is scored on the codes of the notes: a code
    that it does not know counts as missed. Raises NoteFormatError, ExampleError, ReportError, RegistryError.
    """
    opened = open_home(home)
    check_report(report)
    opened.init_mlflow()
    from rubricator.models.registry.registry import load, resolve
    from rubricator.nlp.builders.annotations import annotated_examples
    from rubricator.nlp.examples import ExampleError

    trained = load(resolve(model))
    task = task_named(trained.task)
    if annotations and task.unit == "note":
        raise ExampleError(
            f"{model} assigns codes to whole notes, and annotated units are for models of sentences: leave out "
            "--annotations, and it is scored on the codes of the notes"
        )
    columns = NoteSettings(
        id_column=id_column, patient_column=patient_column, text_column=text_column, codes_column=codes_column
    )
    headings = Lexicon.load(*map(Path, lexicon))
    with Progress(f"evaluate {model}") as progress:
        read = CountedNotes(notes, columns, progress)
        if annotations:
            examples = annotated_examples(
                read, Path(annotations), lexicon=headings, label=trained.labels[0], failed=read.failed
            )
        else:
            source = LabelSource(
                weak_labels=WeakLabelSettings.model_validate(trained.settings.get("weak_labels", {})),
                lexicon=headings,
                progress=read.compared,
                failed=read.failed,
            )
            examples = task.examples(read, task.scored_on(source))
        probabilities = _predicted(trained, examples, progress)
    strata = {
        stratum: [row for row, name in enumerate(examples.strata or []) if name == stratum]
        for stratum in sorted(set(examples.strata or []))
    }
    evaluated = Evaluated(
        model=model,
        counts=examples.counts,
        dead_letters=dict(read.dead_letters),
        failed_notes=read.failed_notes,
        evaluation=_score(trained, examples, probabilities, bootstrap),
        strata={
            stratum: _score(trained, examples.take(rows), probabilities[rows], bootstrap)
            for stratum, rows in strata.items()
        },
    )
    if report:
        write_text(Path(report), json.dumps(evaluated.to_json(), indent=1))
    return evaluated


def _predicted(trained: "TrainedModel", examples: "Examples", progress: Progress) -> "NDArray[np.float32]":
    """The probabilities of all examples, portion by portion."""
    import numpy as np

    count = len(examples)
    portions = []
    for start in range(0, count, PORTION):
        some = examples.take(range(start, min(start + PORTION, count)))
        portions.append(trained.predict_proba(some.texts, contexts=some.contexts))
        done = start + len(some)
        progress.show(done / count, f"{done:,} of {count:,} predicted")
    return np.concatenate(portions)


def _score(
    trained: "TrainedModel", examples: "Examples", probabilities: "NDArray[np.float32]", bootstrap: int
) -> "Evaluation":
    """On the labels of the model and of the notes: one that the model does not know is missed where it stands."""
    import numpy as np
    from scipy.sparse import csr_matrix

    from rubricator.models.scores.evaluation import evaluate as score
    from rubricator.models.scores.evaluation import on_labels

    labels = sorted({*trained.labels, *examples.labels})
    decisions = csr_matrix(trained.positive(probabilities))
    return score(
        on_labels(examples.targets, examples.labels, labels),
        on_labels(probabilities, trained.labels, labels),
        on_labels(decisions, trained.labels, labels),
        examples.groups,
        labels,
        training_positives=on_labels(np.array([trained.training_positives]), trained.labels, labels)[0],
        bootstrap=bootstrap,
    )
