"""Figures of plan sentences: weak labels by cross-validation, annotated units by kind, and ACI-BENCH.

    python tests/benchmarks/plan.py ../shared/data [--positive plan] [--by-heading-only] [--folds 10] [--setting cost=0.1]

Trained on MTSamples without the annotated notes. Thresholds are those of training; "best" is the F1 at the threshold
that would have been best, so that one sees what is lost by the threshold and what by the ranking.
"""

import argparse
from pathlib import Path
from typing import get_args

import numpy as np
from label_noise import Denoise, without_doubtful
from sklearn.metrics import average_precision_score, precision_recall_curve

from rubricator.flows.settings import classifier_settings
from rubricator.models.trained_model import TrainedModel
from rubricator.models.training import cross_validate, train_model
from rubricator.nlp.builders.annotations import annotated_examples, note_ids_in
from rubricator.nlp.builders.sections import section_examples
from rubricator.nlp.examples import Examples
from rubricator.nlp.lexicon.lexicon import Lexicon
from rubricator.nlp.readers.notes import NoteReader
from rubricator.nlp.weak_labels import WeakLabelSettings


def line(name: str, model: TrainedModel, examples: Examples) -> str:
    """Precision, recall, F1, best F1 and average precision."""
    probabilities = model.predict_proba(examples.texts, contexts=examples.contexts)
    truth, found = examples.targets.toarray().ravel() > 0, probabilities.ravel()
    decided = model.decide(probabilities).ravel() != "reject"
    hits = (truth & decided).sum()
    precision, recall, _ = precision_recall_curve(truth, found)
    best = (2 * precision * recall / np.maximum(precision + recall, 1e-9)).max()
    return (
        f"{name:12s} P {hits / max(1, decided.sum()):.3f}  R {hits / truth.sum():.3f}  "
        f"F1 {2 * hits / (decided.sum() + truth.sum()):.3f}  best {best:.3f}  "
        f"AP {average_precision_score(truth, found):.3f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="svm")
    parser.add_argument("--setting", action="append", default=[])
    parser.add_argument("--positive", action="append")
    parser.add_argument("--keep-names", action="store_true", help="learn words that look like names too")
    parser.add_argument(
        "--by-heading-only", action="store_true", help="no sentences labelled by their wording"
    )
    parser.add_argument(
        "--denoise",
        choices=get_args(Denoise),
        default="none",
        help="leave doubtful training labels out; with --folds 0; `confident` needs cleanlab",
    )
    parser.add_argument("--folds", type=int, default=10, help="of the cross-validation; 0 leaves it out")
    chosen = parser.parse_args()
    lexicon, annotations = Lexicon.load(), chosen.data / "plan_annotated.jsonl.gz"

    def notes(name: str) -> NoteReader:
        return NoteReader(chosen.data / name, on_dead_letter=print)

    settings = (
        WeakLabelSettings()
        if chosen.positive is None
        else WeakLabelSettings(positive=frozenset(chosen.positive))
    )
    if chosen.by_heading_only:
        settings = settings.model_copy(update={"by_wording": frozenset()})
    train = section_examples(
        notes("mtsamples.jsonl.gz"),
        settings=settings,
        lexicon=lexicon,
        exclude=note_ids_in(annotations),
        keep_names=chosen.keep_names,
    )
    if chosen.denoise != "none":
        train = without_doubtful(train.with_auxiliary(), chosen.denoise)
    print(train.counts)
    how = {
        "task": "plan",
        "classifier": chosen.model,
        "settings": classifier_settings(chosen.model, "plan", chosen.setting),
    }
    if chosen.folds:
        scores = cross_validate(train, folds=chosen.folds, **how).evaluate(train, bootstrap=0).values()
        print(f"weak labels  F1 {scores['micro_f1']:.3f}")
    model = train_model(train, **how)
    annotated = annotated_examples(notes("mtsamples.jsonl.gz"), annotations, lexicon=lexicon)
    print(line("annotated", model, annotated))
    for kind in sorted(set(annotated.strata or [])):
        rows = np.flatnonzero(np.array(annotated.strata) == kind)
        print(line(kind, model, annotated.take(rows)))
    clean = section_examples(
        notes("aci_bench.jsonl.gz"), settings=WeakLabelSettings().against_all_others(lexicon), lexicon=lexicon
    )
    print(line("ACI-BENCH", model, clean))


if __name__ == "__main__":
    main()
