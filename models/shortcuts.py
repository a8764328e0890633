"""Train, predict and score with one call each, on notes in memory or in files; no registry, no server."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import polars as pl
from pydantic import BaseModel

from rubricator.models.classifier_settings import settings_with
from rubricator.models.prediction import MadeBy, Predictor
from rubricator.models.registry.model_card import model_card
from rubricator.models.scores.of_model import score_model
from rubricator.models.trained_model import TrainedModel
from rubricator.models.training import train_model
from rubricator.nlp.builders.label_source import LabelSource
from rubricator.nlp.builders.notes import without_patients
from rubricator.nlp.readers.notes import NoteSettings
from rubricator.nlp.shortcuts import read_notes, section_finder
from rubricator.nlp.tasks import task_named
from rubricator.nlp.weak_labels import WeakLabelSettings

if TYPE_CHECKING:
    from rubricator.models.scores.evaluation import Evaluation
    from rubricator.nlp.readers.frames import NotesInMemory


def fit_model(
    task: str,
    notes: "str | Path | NotesInMemory",
    *,
    model: str = "svm",
    settings: BaseModel | Mapping[str, Any] | None = None,
    columns: NoteSettings = NoteSettings(),
    lexicon: Sequence[str | Path] = (),
    top_labels: int | None = None,
    icd_version: Literal[9, 10] | None = None,
    keep_names: bool = False,
) -> TrainedModel:
    """Train a classifier on notes, and fit its calibration and thresholds; without cross-validation.

    task: a name in TASKS, for example "plan" or "codes". notes: as for read_notes; "codes" needs a column of codes.
    settings: of the classifier, in place of its defaults for the task (`settings_with`). lexicon: TOML files with more
    headings. top_labels: number of codes to train on, the most frequent ones; None for all. icd_version: of the codes,
    by default that of most notes. keep_names: whether words that look like names of persons may be learnt. What is to
    be known of the notes and their codes is a warning. Raises ExampleError, FoldError, UnknownTaskError,
    UnknownClassifierError and SettingError.

    >>> notes = [f"History:\\nCough for {days} days.\\n\\nPlan:\\nReturn in {days} weeks." for days in range(2, 30)]
    >>> fit_model("plan", notes).labels
    ['plan']
    """
    found = task_named(task)
    source = LabelSource(
        weak_labels=WeakLabelSettings(),
        lexicon=section_finder(lexicon).lexicon,
        top_labels=top_labels,
        icd_version=icd_version,
        keep_names=keep_names,
    )
    examples = found.examples(read_notes(notes, columns).to_batches(), source)
    for notice in filter(None, (without_patients(examples.counts), *examples.notices)):
        warnings.warn(notice, stacklevel=2)
    chosen = settings_with(model, found.unit, settings) if isinstance(settings, Mapping) else settings
    trained = train_model(examples, task=task, classifier=model, settings=chosen)
    trained.card = model_card(
        trained, name=found.model_name, counts=examples.counts, notices=examples.notices
    )
    return trained


def predict_notes(
    model: TrainedModel,
    notes: "str | Path | NotesInMemory",
    *,
    columns: NoteSettings = NoteSettings(),
    lexicon: Sequence[str | Path] = (),
    top_k: int | None = None,
    min_probability: float | None = None,
) -> pl.DataFrame:
    """Predictions for notes: one row per unit and label, with probability, decision and evidence.

    The columns are those of PREDICTIONS_SCHEMA. Offsets are Python string offsets into the note; no column holds note
    text. top_k: most rows per unit, those with the highest probabilities. min_probability: rows with a lower
    probability are left out; by default, the rows with decision "reject". Raises ValueError for a
    `top_k` below 1 and for a `min_probability` outside 0 to 1.
    """
    predictor = Predictor(
        model,
        section_finder(lexicon),
        made_by=MadeBy(model.classifier_name, model.fingerprint[:12]),
        top_k=top_k,
        min_probability=min_probability,
    )
    rows, _ = predictor.predict(read_notes(notes, columns))
    return pl.DataFrame(rows)


def evaluate_model(
    model: TrainedModel,
    notes: "str | Path | NotesInMemory",
    *,
    columns: NoteSettings = NoteSettings(),
    lexicon: Sequence[str | Path] = (),
    bootstrap: int = 1000,
) -> "Evaluation":
    """Score a model on notes that it was not trained on, by their headed sections or by their codes.

    bootstrap: number of resamples for the 95 % intervals; 0 for none. Raises ExampleError where the notes have no
    labels, and ValueError for a negative `bootstrap`.
    """
    if bootstrap < 0:
        raise ValueError(f"bootstrap is {bootstrap}; it must be at least 0")
    task = task_named(model.task)
    source = LabelSource(
        weak_labels=WeakLabelSettings.model_validate(model.settings.get("weak_labels", {})),
        lexicon=section_finder(lexicon).lexicon,
        scored_labels=model.labels,
    )
    examples = task.examples(read_notes(notes, columns).to_batches(), task.scored_on(source))
    probabilities = model.predict_proba(examples.texts, contexts=examples.contexts)
    return score_model(model, examples, probabilities, bootstrap=bootstrap)
