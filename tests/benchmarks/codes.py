"""ICD codes by the SVM: CMC 2007 in 10 folds, and CodiEsp (English) from train to dev. Prints figures.

python tests/benchmarks/codes.py [cmc|codiesp|speed …]      reads ../shared/data beside the repository
"""

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rubricator.models.classifier import TrainedModel
from rubricator.models.evaluation import Evaluation, evaluate, on_labels
from rubricator.models.training import cross_validate, train_model
from rubricator.nlp.examples import Examples, code_examples
from rubricator.nlp.notes import NoteReader, NoteSettings

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
SHOWN = (
    "micro_f1",
    "micro_f1_at_half",
    "macro_f1",
    "macro_f1_of_means",
    "map",
    "p_at_8",
    "micro_auroc",
    "exact_match",
    "ece_predicted",
)


def cmc() -> None:
    """978 radiology reports, 45 ICD-9-CM codes; near-duplicate notes stay in one fold."""
    examples = read("cmc2007.jsonl.gz", NoteSettings())
    for name, grouped in (("grouped 10-fold", True), ("random 10-fold", False)):
        start = time.perf_counter()
        found = cross_validate(examples, task="codes", classifier="svm", grouped=grouped)
        show(f"CMC 2007, {name}", found.evaluate(examples, bootstrap=1000 if grouped else 0), start)
        right = examples.targets.toarray()[found.accepted].mean() if found.accepted.any() else float("nan")
        print(f"  accepted without review: {found.accepted.sum()} codes, {right:.3f} of them right")


def codiesp() -> None:
    """500 case reports to learn from, 250 to be scored on; all diagnosis codes, also those that only dev has."""
    columns = NoteSettings(text_column="text_en", codes_column="diagnosis_codes")
    train, dev = read("codiesp_train.jsonl.gz", columns), read("codiesp_dev.jsonl.gz", columns)
    start = time.perf_counter()
    model = train_model(train, task="codes", classifier="svm")
    labels = sorted({*train.labels, *dev.labels})
    probabilities = model.predict_proba(dev.texts)
    scores = evaluate(
        on_labels(dev.targets, dev.labels, labels),
        on_labels(probabilities, model.labels, labels),
        on_labels(model.decide(probabilities) != "reject", model.labels, labels),
        dev.groups,
        labels,
        training_positives=on_labels(np.array([model.training_positives]), model.labels, labels)[0],
    )
    print(
        f"{len(train.labels)} codes in train; {len(labels) - len(train.labels)} in dev only, which count as missed"
    )
    show("CodiEsp English, train to dev", scores, start)
    for bucket, of_labels in scores.buckets.items():
        figures = ", ".join(f"{name} {each.value:.3f}" for name, each in of_labels.metrics.items())
        print(
            f"  {bucket} positives in train: {of_labels.labels} codes, {of_labels.positives} in dev: {figures}"
        )
    with tempfile.TemporaryDirectory() as scratch:
        start = time.perf_counter()
        model.save(Path(scratch) / "model")
        saved = time.perf_counter()
        TrainedModel.load(Path(scratch) / "model")
        size = sum(path.stat().st_size for path in (Path(scratch) / "model").iterdir())
        print(
            f"  {size / 1e6:.0f} MB, saved in {saved - start:.1f} s, loaded in {time.perf_counter() - saved:.1f} s"
        )


def speed() -> None:
    """Sentence-sized texts through a fitted model with one label."""
    examples = read("cmc2007.jsonl.gz", NoteSettings())
    sentences = [part for text in examples.texts for part in text.split(". ")] * 10
    one = Examples(
        ids=examples.ids,
        groups=examples.groups,
        texts=examples.texts,
        targets=examples.targets[:, [examples.labels.index("786.2")]],
        labels=["786.2"],
    )
    model = train_model(one, task="codes", classifier="svm")
    start = time.perf_counter()
    for first in range(0, len(sentences), 2000):
        model.predict_proba(sentences[first : first + 2000])
    print(f"{len(sentences) / (time.perf_counter() - start):,.0f} sentences a second")
    start = time.perf_counter()
    model.evidence(sentences[:2000], [[0]] * 2000)
    print(f"{2000 / (time.perf_counter() - start):,.0f} sentences a second with evidence")


def read(name: str, columns: NoteSettings) -> Examples:
    """Notes with codes of one file of the shared data."""
    return code_examples(
        NoteReader(DATA / name, columns, on_dead_letter=lambda letter: print(letter, file=sys.stderr))
    )


def show(name: str, scores: Evaluation, start: float) -> None:
    """The figures of one evaluation with their intervals."""
    print(f"{name}: {scores.counts}, {time.perf_counter() - start:.0f} s")
    for figure, value, interval in scores.rows():
        if figure in SHOWN:
            print(f"  {figure:20} {value}  {interval}")


def main(asked: Sequence[str]) -> None:
    """Run the benchmarks asked for, or all."""
    for benchmark in (cmc, codiesp, speed):
        if not asked or benchmark.__name__ in asked:
            benchmark()


if __name__ == "__main__":
    main(sys.argv[1:])
