"""ICD codes: CMC 2007 by the SVM in 10 folds, and CodiEsp from train to dev by any classifier. Prints figures.

python tests/benchmarks/codes.py [cmc|codiesp|speed …] [--model NAME] [--language en|es] [--code-table FILE | --all-codes]

Reads ../shared/data beside the repository. The options are for CodiEsp: the classifier, the language of the notes, and
what may be assigned beside the codes of the training notes: those of a file with their names, or every ICD-10-CM code of
up to six characters.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from rubricator.models.entries import on_labels
from rubricator.models.scores.evaluation import Evaluation, evaluate
from rubricator.models.trained_model import TrainedModel
from rubricator.models.training import cross_validate, train_model
from rubricator.nlp.builders.codes import code_examples
from rubricator.nlp.code_table import read_code_table
from rubricator.nlp.examples import Examples
from rubricator.nlp.icd import icd10cm_names
from rubricator.nlp.readers.notes import NoteReader, NoteSettings

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


def codiesp(classifier: str, language: str, code_table: Mapping[str, Sequence[str]] | None) -> None:
    """500 case reports to learn from, 250 to be scored on; all diagnosis codes, also those that only dev has."""
    columns = NoteSettings(text_column=f"text_{language}", codes_column="diagnosis_codes")
    marked = columns.model_copy(update={"evidence_column": "evidence_es" if language == "es" else None})
    train = read("codiesp_train.jsonl.gz", marked, code_table)
    dev = read("codiesp_dev.jsonl.gz", columns)
    start = time.perf_counter()
    model = train_model(train, task="codes", classifier=classifier)
    print(f"trained in {time.perf_counter() - start:.0f} s")
    begun = time.perf_counter()
    labels = sorted({*train.labels, *dev.labels})
    probabilities = model.predict_proba(dev.texts)
    print(f"{len(dev) / (time.perf_counter() - begun):.0f} notes a second")
    scores = evaluate(
        on_labels(dev.targets, dev.labels, labels),
        on_labels(probabilities, model.labels, labels),
        on_labels(model.decide(probabilities) != "reject", model.labels, labels),
        dev.groups,
        labels,
        training_positives=on_labels(np.array([model.training_positives]), model.labels, labels)[0],
    )
    print(
        f"{len(train.labels)} codes can be assigned; {len(labels) - len(train.labels)} more are in dev and count as missed"
    )
    show(f"CodiEsp {language}, {classifier}, train to dev", scores, start)
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


def read(name: str, columns: NoteSettings, code_table: Mapping[str, Sequence[str]] | None = None) -> Examples:
    """Notes with codes of one file of the shared data."""
    notes = NoteReader(DATA / name, columns, on_dead_letter=lambda letter: print(letter, file=sys.stderr))
    return code_examples(notes, table=code_table)


def show(name: str, scores: Evaluation, start: float) -> None:
    """The figures of one evaluation with their intervals."""
    print(f"{name}: {scores.counts}, {time.perf_counter() - start:.0f} s")
    for figure, value, interval in scores.rows():
        if figure in SHOWN:
            print(f"  {figure:20} {value}  {interval}")


def main() -> None:
    """Run the benchmarks asked for, or all."""
    options = argparse.ArgumentParser()
    options.add_argument("asked", nargs="*", help="cmc, codiesp, speed; default all")
    options.add_argument("--model", default="svm")
    options.add_argument("--language", choices=["en", "es"], default="en")
    options.add_argument("--code-table", type=Path)
    options.add_argument("--all-codes", action="store_true")
    given = options.parse_args()
    asked = given.asked or ["cmc", "codiesp", "speed"]
    if "cmc" in asked:
        cmc()
    if "codiesp" in asked:
        table = read_code_table(given.code_table) if given.code_table else {}
        if given.all_codes:
            table = {code: [] for code in icd10cm_names() if len(code.replace(".", "")) < 7} | table
        codiesp(given.model, given.language, table)
    if "speed" in asked:
        speed()


if __name__ == "__main__":
    main()
