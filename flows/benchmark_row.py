"""One row of the benchmark, in a process of its own: train, predict, score, and what that costs.

A result is figures.json and an .npz of predictions for each test set: ids, labels, probabilities. No text.
"""

import json
import os
import resource
import shutil
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rubricator.flows.benchmark_table import Row, TestSet
from rubricator.flows.run import guarded
from rubricator.flows.shards import end_with_parent, write_text
from rubricator.nlp.errors import RubricatorError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from rubricator.models.classifier import TrainedModel
    from rubricator.nlp.examples import Examples
    from rubricator.nlp.notes import NoteReader

BUCKETS = {"0": (0, 0), "1-10": (1, 10), "11-50": (11, 50), "over 50": (51, 1 << 60)}  # positives in training
QUICK_GROUPS, QUICK_FOLDS = 150, 3  # what a smoke run is content with
_TIMED_SENTENCES = 10_000
_TIMED_NOTES, _TIMED_WORDS = 200, 500


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Predictions on one test set. targets, probabilities, decisions: (rows, labels). support: positives of each label
    in training. strata: name of the stratum of each row, "" where there is none."""

    ids: "NDArray[np.str_]"
    groups: "NDArray[np.int64]"
    labels: "NDArray[np.str_]"
    support: "NDArray[np.int64]"
    targets: "NDArray[np.bool_]"
    probabilities: "NDArray[np.float32]"
    decisions: "NDArray[np.bool_]"
    strata: "NDArray[np.str_]"

    def save(self, path: Path) -> None:
        """Write as .npz."""
        import numpy as np

        np.savez_compressed(path, **vars(self))

    @classmethod
    def load(cls, path: Path) -> "Scored":
        """What save wrote."""
        import numpy as np

        with np.load(path, allow_pickle=False) as arrays:
            return cls(**arrays)

    def take(self, rows: "NDArray[np.int64]") -> "Scored":
        """These rows."""
        by_row = ("ids", "groups", "targets", "probabilities", "decisions", "strata")
        return replace(self, **{name: getattr(self, name)[rows] for name in by_row})

    def only(self, columns: "NDArray[np.int64]") -> "Scored":
        """These labels."""
        by_label = {name: getattr(self, name)[columns] for name in ("labels", "support")}
        by_cell = {
            name: getattr(self, name)[:, columns] for name in ("targets", "probabilities", "decisions")
        }
        return replace(self, **by_label, **by_cell)


def run_row(row: Row, digest: str) -> None:
    """Measure a row and write its result, or why there is none. For a process of its own: it closes its output."""
    end_with_parent()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # libraries warn and show progress here, and might quote
    os.dup2(nowhere, 2)
    os.umask(0o077)
    os.environ.update({"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"})
    start = time.monotonic()
    shutil.rmtree(row.folder, ignore_errors=True)
    row.folder.mkdir(parents=True)
    about = {
        "digest": digest,
        "key": row.key,
        "quick": row.quick,
        "made_on": f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
    }
    try:
        result = guarded(measure)(row)
    except RubricatorError as error:
        result = {"failure": str(error)}
    result |= {**about, "seconds": time.monotonic() - start}
    write_text(row.folder / "figures.json", json.dumps(result, indent=1))


def measure(row: Row) -> dict[str, Any]:
    """All figures of a row as JSON types; its predictions are in its folder afterwards.

    Raises RubricatorError where the data, the settings or a library that is missing do not let the row be.
    """
    from rubricator.flows.settings import classifier_settings
    from rubricator.models.training import cross_validate, train_model

    protocol, model = row.protocol, row.model
    train, tests = _examples(row)
    settings = classifier_settings(
        model.classifier, protocol.task, [*model.settings, *(model.quick if row.quick else ())]
    )
    how: dict[str, Any] = {
        "task": protocol.task,
        "classifier": model.classifier,
        "settings": settings,
        "calibration": model.calibration,
    }
    start = time.monotonic()
    fitted = train_model(train, **how)
    cost = {"train_seconds": time.monotonic() - start, **_cost(fitted, train)}
    scored = {
        name: _predicted(fitted, train, test, keep=bool(protocol.top_labels)) for name, test in tests.items()
    }
    if protocol.folds:
        start = time.monotonic()
        held_out = cross_validate(train, folds=QUICK_FOLDS if row.quick else protocol.folds, **how)
        cost["folds_seconds"] = time.monotonic() - start
        scored["held out"] = _scored(train, train, train.labels, held_out.probabilities, held_out.decisions)
    figures = {}
    for number, (name, predictions) in enumerate(scored.items()):
        predictions.save(row.folder / f"{number}.npz")
        figures[name] = {"predictions": f"{number}.npz", **_figures(predictions, row.bootstrap)}
    return {
        "settings": settings.model_dump(mode="json"),
        "trained_on": {"examples": len(train), "labels": len(train.labels), **train.counts},
        "cost": cost,
        "tests": figures,
    }


# ---- examples


def _examples(row: Row) -> tuple["Examples", dict[str, "Examples"]]:
    """What is learnt from, and the test sets by name."""
    protocol = row.protocol
    train, tests = _code_examples(row) if protocol.task == "codes" else _plan_examples(row)
    if not row.quick:
        return train, tests
    return _few(train), {name: _few(test) for name, test in tests.items()}


def _code_examples(row: Row) -> tuple["Examples", dict[str, "Examples"]]:
    from rubricator.nlp.examples import code_examples

    train = code_examples(_notes(row, row.protocol.train), top_labels=row.protocol.top_labels)
    return train, {test.name: code_examples(_notes(row, test.corpus)) for test in row.protocol.tests}


def _plan_examples(row: Row) -> tuple["Examples", dict[str, "Examples"]]:
    from rubricator.flows.train import one_to_one
    from rubricator.nlp.examples import annotated_examples, note_ids_in, section_examples
    from rubricator.nlp.headings import Lexicon
    from rubricator.nlp.weak_labels import WeakLabelSettings

    lexicon, settings = Lexicon.load(), WeakLabelSettings()
    exclude = note_ids_in(Path(row.paths[row.protocol.exclude])) if row.protocol.exclude else set()
    notes = _notes(row, row.protocol.train)
    train = section_examples(notes, settings=settings, lexicon=lexicon, exclude=exclude)

    def scored(test: TestSet) -> "Examples":
        if test.annotations:
            annotations = Path(row.paths[test.annotations])
            return annotated_examples(_notes(row, test.corpus), annotations, lexicon=lexicon)
        others = settings.against_all_others(lexicon)
        return section_examples(_notes(row, test.corpus), settings=others, lexicon=lexicon)

    tests = {test.name: scored(test) for test in row.protocol.tests}
    return one_to_one(train, 0) if row.protocol.one_to_one else train, tests


def _notes(row: Row, corpus: str) -> "NoteReader":
    """The notes of a corpus; a note that cannot be used is left out, as in training."""
    from rubricator.nlp.notes import NoteReader

    return NoteReader(row.paths[corpus], row.protocol.columns, on_dead_letter=lambda _: None)


def _few(examples: "Examples") -> "Examples":
    """The examples of some groups, drawn at random."""
    import numpy as np

    groups = np.unique(examples.groups)
    chosen = np.random.default_rng(0).permutation(groups)[:QUICK_GROUPS]
    return examples.take(np.flatnonzero(np.isin(examples.groups, chosen)))


# ---- predictions and figures


def _predicted(model: "TrainedModel", train: "Examples", test: "Examples", *, keep: bool) -> Scored:
    """keep: score on the labels of training only; else one that the model does not know is missed where it stands."""
    labels = train.labels if keep else sorted({*train.labels, *test.labels})
    probabilities = model.predict_proba(test.texts, contexts=test.contexts)
    from rubricator.models.evaluation import on_labels

    return _scored(
        train,
        test,
        labels,
        on_labels(probabilities, model.labels, labels),
        on_labels(model.decide(probabilities) != "reject", model.labels, labels),
    )


def _scored(
    train: "Examples",
    test: "Examples",
    labels: list[str],
    probabilities: "NDArray[np.float32]",
    decisions: "NDArray[np.bool_]",
) -> Scored:
    import numpy as np

    from rubricator.models.evaluation import on_labels

    positives = np.asarray(train.targets.sum(axis=0), np.int64).reshape(1, -1)
    return Scored(
        ids=np.array(test.ids),
        groups=test.groups,
        labels=np.array(labels),
        support=on_labels(positives, train.labels, labels)[0],
        targets=on_labels(test.targets.toarray(), test.labels, labels) > 0,
        probabilities=probabilities,
        decisions=decisions,
        strata=np.array(test.strata or [""] * len(test)),
    )


def _figures(scored: Scored, bootstrap: int) -> dict[str, Any]:
    """Of the whole test set: evaluation, decisions at a fixed 0.5 beside, reliability; of each stratum and of each
    bucket of codes by their positives in training: evaluation."""
    import numpy as np

    from rubricator.models.evaluation import paired_bootstrap

    half = replace(scored, decisions=(scored.probabilities >= 0.5))
    parts = {
        name: _evaluation(scored.take(np.flatnonzero(scored.strata == name)), bootstrap)
        for name in sorted(set(scored.strata.tolist()))
        if name
    }
    buckets = {}
    for name, (least, most) in BUCKETS.items() if len(scored.labels) > 1 else ():
        columns = np.flatnonzero((scored.support >= least) & (scored.support <= most))
        if len(columns) and scored.targets[:, columns].any():
            buckets[name] = _evaluation(scored.only(columns), bootstrap)
    return {
        "all": _evaluation(scored, bootstrap),
        "at_half": _evaluation(half, bootstrap),
        "tuned_against_half": asdict(
            paired_bootstrap(_sparse(scored.targets), half.decisions, scored.decisions, scored.groups)
        ),
        "strata": parts,
        "buckets": buckets,
        "reliability": _reliability(scored),
    }


def _evaluation(scored: Scored, bootstrap: int) -> dict[str, Any]:
    from rubricator.models.evaluation import evaluate

    found = evaluate(
        _sparse(scored.targets),
        scored.probabilities,
        scored.decisions,
        scored.groups,
        scored.labels.tolist(),
        bootstrap=bootstrap,
    ).to_json()
    return {"metrics": found["metrics"], "counts": found["counts"]}


def _reliability(scored: Scored) -> list[tuple[int, float, float]]:
    """Of ten bins of the probabilities of all cells: cells, mean probability, share of positives."""
    import numpy as np

    probabilities, truth = scored.probabilities.ravel(), scored.targets.ravel()
    number = np.minimum((probabilities * 10).astype(int), 9)
    cells = np.bincount(number, minlength=10)
    sums = [np.bincount(number, values, 10) for values in (probabilities, truth)]
    return [
        (int(cells[each]), float(sums[0][each] / cells[each]), float(sums[1][each] / cells[each]))
        for each in range(10)
        if cells[each]
    ]


def _sparse(targets: "NDArray[np.bool_]") -> "csr_matrix":
    from scipy.sparse import csr_matrix

    return csr_matrix(targets)


# ---- costs


def _cost(model: "TrainedModel", train: "Examples") -> dict[str, Any]:
    """Size on disk, and speed of the loaded model on sentences of training or on made-up notes of 500 words."""
    from rubricator.models.classifier import TrainedModel

    if train.contexts is None:
        unit, texts, contexts = f"notes of {_TIMED_WORDS} words", made_up_notes(), None
    else:
        rows = range(min(_TIMED_SENTENCES, len(train)))
        unit, texts = "sentences", [train.texts[row] for row in rows]
        contexts = [train.contexts[row] for row in rows]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        model.save(folder)
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        loaded = TrainedModel.load(folder)
    loaded.predict_proba(texts[:8], contexts=contexts and contexts[:8])  # what is set up once
    start = time.monotonic()
    loaded.predict_proba(texts, contexts=contexts)
    seconds = time.monotonic() - start
    return {
        "unit": unit,
        "units_per_second": len(texts) / seconds,
        "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        / 1024,  # of this process, so far
        "model_megabytes": size / 1e6,
    }


def made_up_notes(notes: int = _TIMED_NOTES, words: int = _TIMED_WORDS) -> list[str]:
    """Synthetic notes of exactly so many words."""
    from rubricator.nlp.synthetic import synthetic_notes

    endless = (
        word
        for seed in count()
        for note in synthetic_notes(notes=500, seed=seed)
        for word in note.text.split()
    )
    return [" ".join(islice(endless, words)) for _ in range(notes)]
