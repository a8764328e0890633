"""Codes by a neural classifier: the 50 most frequent diagnosis codes of CodiEsp, from train to dev. Prints figures.

python tests/benchmarks/neural.py {es|en} {out-of-fold|dev} [MODEL] [KEY=VALUE …]     reads ../shared/data beside the repository

out-of-fold: learns from four fifths of train and scores the rest, to choose settings by. dev: learns from all of train.
Spanish notes come with the spans that their codes were given for (of train only; dev is scored without).
"""

import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rubricator.flows.settings import classifier_settings
from rubricator.models.scores.evaluation import evaluate
from rubricator.models.training import train_model
from rubricator.nlp.builders.codes import code_examples, label_matrix
from rubricator.nlp.examples import Examples
from rubricator.nlp.folds import assign_folds
from rubricator.nlp.readers.notes import NoteReader, NoteSettings

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
SHOWN = (
    "micro_auroc",
    "macro_auroc",
    "micro_f1",
    "macro_f1",
    "micro_f1_at_half",
    "micro_precision",
    "micro_recall",
    "map",
)


def main(language: str, part: str, *chosen: str) -> None:
    """Train once, score once."""
    model = next((name for name in chosen if "=" not in name), "transformer")
    settings = classifier_settings(model, "codes", [setting for setting in chosen if "=" in setting])
    train = read("codiesp_train.jsonl.gz", language, top_labels=50)
    if part == "dev":
        test = on_codes(read("codiesp_dev.jsonl.gz", language), train.labels)
    else:
        fold = assign_folds(train.targets, train.groups, 5, seed=0)
        train, test = train.take(np.flatnonzero(fold != 0)), train.take(np.flatnonzero(fold == 0))
    start, cpu = time.perf_counter(), time.process_time()
    fitted = train_model(train, task="codes", classifier=model, settings=settings)
    trained, trained_cpu = time.perf_counter() - start, time.process_time() - cpu
    start = time.perf_counter()
    probabilities = fitted.predict_proba(test.texts)
    predicted = time.perf_counter() - start
    scores = evaluate(
        test.targets, probabilities, fitted.decide(probabilities) != "reject", test.groups, test.labels
    )
    print(f"CodiEsp {language} top 50, {part}, {model} {' '.join(chosen)}: {scores.counts}")
    print(
        f"  trained in {trained:.0f} s ({trained_cpu:.0f} s of CPU), {len(test) / predicted:.0f} notes/s predicted, "
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB at peak"
    )
    for figure, value, interval in scores.rows():
        if figure in SHOWN:
            print(f"  {figure:20} {value}  {interval}")


def read(name: str, language: str, *, top_labels: int | None = None) -> Examples:
    """Notes with their diagnosis codes, and the spans of those in Spanish."""
    columns = NoteSettings(
        text_column=f"text_{language}",
        codes_column="diagnosis_codes",
        evidence_column="evidence_es" if language == "es" else None,
    )
    notes = NoteReader(DATA / name, columns, on_dead_letter=lambda letter: print(letter, file=sys.stderr))
    return code_examples(notes, top_labels=top_labels)


def on_codes(examples: Examples, labels: Sequence[str]) -> Examples:
    """The same notes with the columns of these codes only."""
    found = [
        [examples.labels[column] for column in examples.targets[row].indices] for row in range(len(examples))
    ]
    return Examples(
        ids=examples.ids,
        groups=examples.groups,
        texts=examples.texts,
        targets=label_matrix(found, labels),
        labels=list(labels),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
