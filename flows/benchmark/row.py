"""One row of the benchmark, in a process of its own: train, predict, score, and measure the cost.

A result is figures.json and an .npz of predictions for each test set: ids, labels, probabilities. No text.
"""

import hashlib
import json
import os
import platform
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rubricator.flows.benchmark.table import Mimic, Model, Row, TestSet
from rubricator.flows.jobs.files import write_text
from rubricator.flows.jobs.worker import ignore_interrupts
from rubricator.flows.run import guarded
from rubricator.nlp.errors import RubricatorError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pydantic import BaseModel
    from scipy.sparse import csr_matrix

    from rubricator.models.trained_model import TrainedModel
    from rubricator.models.training import CrossValidation
    from rubricator.nlp.examples import Examples
    from rubricator.nlp.readers.notes import NoteReader

QUICK_GROUPS, QUICK_FOLDS = 150, 3  # size of a smoke run
ENSEMBLE_FOLDS = 10  # of the training part, where the protocol has a test set
MEMORY_TEXTS, MEMORY_TOKENS, MEMORY_LABELS = 8, 2500, 8900  # batch and length of TransICD, codes of MIMIC-III
_LIBRARIES = ("numpy", "scipy", "scikit-learn", "torch", "transformers")
_SOURCES = (".py", ".toml")
_TIMED_SENTENCES = 10_000
_TIMED_NOTES, _TIMED_WORDS = 200, 500


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Predictions on one test set. targets, probabilities, decisions: (rows, labels). training_positives: (labels,).
    strata: name of the stratum of each row, "" where there is none."""

    ids: "NDArray[np.str_]"
    groups: "NDArray[np.int64]"
    strata: "NDArray[np.str_]"
    labels: "NDArray[np.str_]"
    training_positives: "NDArray[np.int64]"
    targets: "csr_matrix"
    probabilities: "NDArray[np.float32]"
    decisions: "csr_matrix"

    def save(self, path: Path) -> None:
        """Write as .npz; sparse matrices as column numbers and row ends (CSR)."""
        import numpy as np

        arrays = dict(vars(self))
        for name in _SPARSE:
            matrix = arrays.pop(name)
            arrays |= {f"{name}.columns": matrix.indices, f"{name}.ends": matrix.indptr}
        np.savez_compressed(path, **arrays)

    @classmethod
    def load(cls, path: Path) -> "Scored":
        """What save wrote."""
        import numpy as np
        from scipy.sparse import csr_matrix

        with np.load(path, allow_pickle=False) as saved:
            arrays = dict(saved)
        for name in _SPARSE:
            columns, ends = arrays.pop(f"{name}.columns"), arrays.pop(f"{name}.ends")
            shape = arrays["probabilities"].shape
            arrays[name] = csr_matrix((np.ones(len(columns), bool), columns, ends), shape=shape)
        return cls(**arrays)

    def take(self, rows: "NDArray[np.int64]") -> "Scored":
        """These rows."""
        of_rows = ("ids", "groups", "strata", "targets", "probabilities", "decisions")
        return replace(self, **{name: getattr(self, name)[rows] for name in of_rows})


_SPARSE = ("targets", "decisions")


def run_row(row: Row, digest: str) -> None:
    """Measure a row, and write its result or why it failed. Needs a process of its own: it silences its output."""
    ignore_interrupts()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # libraries warn and show progress here, and might quote notes
    os.dup2(nowhere, 2)
    os.umask(0o077)
    os.environ["HF_HUB_OFFLINE"] = "1"
    from rubricator.flows.training.checkpoints import checkpoint_folder, resumable

    start = time.monotonic()
    shutil.rmtree(row.folder, ignore_errors=True)
    row.folder.mkdir(parents=True)
    about: dict[str, Any] = {
        "digest": digest,
        "key": row.key,
        "quick": row.quick,
        "made_with": made_with(),
    }
    try:
        checkpoints = checkpoint_folder(row.out / "checkpoints", row.key, digest)
        with resumable(checkpoints):
            about["resumed"] = any(checkpoints.iterdir())
            result = guarded(measure)(row, checkpoints)
    except RubricatorError as error:
        result = {"failure": str(error)}
    result |= {**about, "seconds": time.monotonic() - start}
    write_text(row.folder / "figures.json", json.dumps(result, indent=1))
    from joblib.externals.loky import get_reusable_executor

    get_reusable_executor().shutdown(
        kill_workers=True
    )  # else idle workers keep this process alive for five minutes


def made_with() -> str:
    """The machine, the source and the libraries of this process, as text."""
    from rubricator import models, nlp

    source = hashlib.sha256()
    for package in (models, nlp):
        for path in sorted(path for root in package.__path__ for path in Path(root).rglob("*.*")):
            if path.suffix in _SOURCES:
                source.update(path.read_bytes())
    versions = []
    for name in _LIBRARIES:
        with suppress(ImportError):  # an extra that is not installed
            versions.append(f"{name} {version(name)}")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB, {platform.machine()}; rubricator "
        f"{version('rubricator')}, source {source.hexdigest()[:8]}; Python {platform.python_version()}, "
        f"{', '.join(versions)}"
    )


def measure(row: Row, checkpoints: Path) -> dict[str, Any]:
    """Measure a row: write its predictions into its folder, and return its figures as JSON types.

    checkpoints: folder for the checkpoints of its networks. Raises RubricatorError for data or settings that cannot be
    used, or a library that is missing.
    """
    protocol, task = row.protocol, "plan" if row.protocol.task == "plan" else "codes"
    settings = _settings(row, row.model, task)
    if protocol.task == "memory":
        return _forward_cost(row, settings)
    train, tests, rule = _examples(row)
    folds = QUICK_FOLDS if row.quick else protocol.folds or ENSEMBLE_FOLDS
    start = time.monotonic()
    fit, validate = _learning(row, train, task, folds, checkpoints)
    fitted = fit(train)
    cost = {"train_seconds": time.monotonic() - start, **_cost(fitted, train)}
    keep = protocol.top_labels is not None
    scored = {name: _predicted(fitted, train, test, keep=keep) for name, test in tests.items()}
    if protocol.folds:
        start = time.monotonic()
        held_out = validate(train, folds=folds)
        cost["folds_seconds"] = time.monotonic() - start
        scored["held out"] = _scored(train, train, train.labels, held_out.probabilities, held_out.decisions)
    figures = {}
    for number, (name, predictions) in enumerate(scored.items()):
        predictions.save(row.folder / f"{number}.npz")
        figures[name] = {"predictions": f"{number}.npz", **_figures(predictions, row.bootstrap)}
    return {
        "settings": fitted.settings["classifier"],
        "rule": rule,
        "trained_on": {"examples": len(train), "labels": len(train.labels), **train.counts},
        "cost": cost,
        "tests": figures,
    }


def _settings(row: Row, model: Model, task: str) -> "BaseModel":
    from rubricator.flows.settings import classifier_settings

    return classifier_settings(model.classifier, task, [*model.settings, *(model.quick if row.quick else ())])


def _learning(
    row: Row, train: "Examples", task: str, folds: int, checkpoints: Path
) -> "tuple[Callable[..., TrainedModel], Callable[..., CrossValidation]]":
    """The functions that fit and cross-validate the row's model. The members of an ensemble are trained here."""
    from rubricator.models.ensemble.classifier import EnsembleSettings, Member
    from rubricator.models.ensemble.training import cross_validate_ensemble, train_ensemble
    from rubricator.models.training import cross_validate, train_model

    shared: dict[str, Any] = {"task": task, "calibration": row.model.calibration}

    def how(model: Model) -> dict[str, Any]:
        settings = _settings(row, model, task)
        return {**shared, "classifier": model.classifier, "settings": settings, "checkpoints": checkpoints}

    if not row.members:
        return partial(train_model, **how(row.model)), partial(cross_validate, **how(row.model))
    members = []
    for each in row.members:
        held_out = cross_validate(train, folds=folds, **how(each)).held_out(train)
        members.append(Member(each.name, train_model(train, **how(each)), held_out))
    fit = partial(train_ensemble, members, settings=EnsembleSettings(), **shared)
    return fit, partial(cross_validate_ensemble, members, **shared)


# ---- examples


def _examples(row: Row) -> tuple["Examples", dict[str, "Examples"], str]:
    """The training examples, the test sets by name, and how parts and codes of MIMIC were chosen (else empty)."""
    rule = ""
    if row.protocol.mimic:
        train, tests, rule = _mimic_examples(row, row.protocol.mimic)
    elif row.protocol.task == "codes":
        train, tests = _code_examples(row)
    else:
        train, tests = _plan_examples(row)
    if row.quick:
        return _few(train), {name: _few(test) for name, test in tests.items()}, rule
    return train, tests, rule


def _mimic_examples(row: Row, mimic: Mimic) -> tuple["Examples", dict[str, "Examples"], str]:
    from rubricator.nlp.builders.codes import code_examples
    from rubricator.nlp.readers.mimic_splits import mimic_splits

    found = mimic_splits(
        Path(row.paths[row.protocol.train]),
        release=mimic.release,
        icd=mimic.icd,
        splits=Path(row.splits) if row.splits else None,
        top=row.protocol.top_labels,
    )
    train, test = (code_examples(found.batches(part)) for part in ("train", "test"))
    return train, {"test set": test}, found.rule


def _code_examples(row: Row) -> tuple["Examples", dict[str, "Examples"]]:
    from rubricator.nlp.builders.codes import code_examples

    train = code_examples(_notes(row, row.protocol.train), top_labels=row.protocol.top_labels)
    return train, {
        test.name: code_examples(_notes(row, test.corpus), scored_labels=train.labels)
        for test in row.protocol.tests
    }


def _plan_examples(row: Row) -> tuple["Examples", dict[str, "Examples"]]:
    from rubricator.flows.training.challenger import one_to_one
    from rubricator.nlp.builders.annotations import annotated_examples, note_ids_in
    from rubricator.nlp.builders.sections import section_examples
    from rubricator.nlp.lexicon.lexicon import Lexicon
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
    from rubricator.nlp.readers.notes import NoteReader

    return NoteReader(row.paths[corpus], row.protocol.columns, on_dead_letter=lambda _: None)


def _few(examples: "Examples") -> "Examples":
    """The examples of some groups, drawn at random."""
    import numpy as np

    groups = np.unique(examples.groups)
    chosen = np.random.default_rng(0).permutation(groups)[:QUICK_GROUPS]
    return examples.take(np.flatnonzero(np.isin(examples.groups, chosen)))


# ---- predictions and figures


def _predicted(model: "TrainedModel", train: "Examples", test: "Examples", *, keep: bool) -> Scored:
    """keep: score on the labels of training only. Else a label that the model does not know counts as missed."""
    from rubricator.models.entries import on_labels

    labels = train.labels if keep else sorted({*train.labels, *test.labels})
    probabilities = model.predict_proba(test.texts, contexts=test.contexts)
    decisions = model.positive(probabilities)
    return _scored(
        train,
        test,
        labels,
        on_labels(probabilities, model.labels, labels),
        on_labels(decisions, model.labels, labels),
    )


def _scored(
    train: "Examples",
    test: "Examples",
    labels: list[str],
    probabilities: "NDArray[np.float32]",
    decisions: "NDArray[np.bool_]",
) -> Scored:
    import numpy as np
    from scipy.sparse import csr_matrix

    from rubricator.models.entries import on_labels

    positives = np.asarray(train.targets.sum(axis=0), np.int64).reshape(1, -1)
    return Scored(
        ids=np.array(test.ids),
        groups=test.groups,
        strata=np.array(test.strata or [""] * len(test)),
        labels=np.array(labels),
        training_positives=on_labels(positives, train.labels, labels)[0],
        targets=csr_matrix(on_labels(test.targets.tocsr(), test.labels, labels)),
        probabilities=probabilities,
        decisions=csr_matrix(decisions),
    )


def _figures(scored: Scored, bootstrap: int) -> dict[str, Any]:
    """Of the whole test set: evaluation, what tuned thresholds gain over a fixed 0.5, reliability. Of each stratum:
    evaluation."""
    import numpy as np

    from rubricator.models.scores.bootstrap import paired_bootstrap
    from rubricator.models.scores.reliability import reliability_curve

    gain = paired_bootstrap(
        scored.targets, scored.probabilities >= 0.5, scored.decisions, scored.groups, bootstrap=bootstrap
    )
    return {
        "all": _evaluation(scored, bootstrap),
        "tuned_against_half": asdict(gain),
        "strata": {
            name: _evaluation(scored.take(np.flatnonzero(scored.strata == name)), bootstrap)
            for name in sorted(set(scored.strata.tolist()) - {""})
        },
        "reliability": reliability_curve(scored.targets, scored.probabilities),
    }


def _evaluation(scored: Scored, bootstrap: int) -> dict[str, Any]:
    from rubricator.models.scores.evaluation import evaluate

    found = evaluate(
        scored.targets,
        scored.probabilities,
        scored.decisions,
        scored.groups,
        scored.labels.tolist(),
        training_positives=scored.training_positives,
        bootstrap=bootstrap,
    ).to_json()
    return {name: found[name] for name in ("metrics", "counts", "buckets")}


# ---- costs


def _cost(model: "TrainedModel", train: "Examples") -> dict[str, Any]:
    """Size on disk, and speed of the loaded model on sentences of training or on made-up notes of 500 words."""
    from rubricator.models.trained_model import TrainedModel

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
    loaded.predict_proba(texts[:8], contexts=contexts and contexts[:8])  # warm up
    start = time.monotonic()
    loaded.predict_proba(texts, contexts=contexts)
    seconds = time.monotonic() - start
    return {
        "unit": unit,
        "units_per_second": len(texts) / seconds,
        "peak_megabytes": _peak_megabytes(),
        "model_megabytes": size / 1e6,
    }


def made_up_notes(notes: int = _TIMED_NOTES, words: int = _TIMED_WORDS) -> list[str]:
    """Synthetic notes of exactly so many words."""
    from rubricator.flows.demo.synthetic import synthetic_notes

    endless = (
        word
        for seed in count()
        for note in synthetic_notes(notes=500, seed=seed)
        for word in note.text.split()
    )
    return [" ".join(islice(endless, words)) for _ in range(notes)]


def _forward_cost(row: Row, settings: "BaseModel") -> dict[str, Any]:
    """Memory and time of one forward pass of an untrained network, at full size."""
    from rubricator.models.neural.forward_pass import untrained_forward

    texts = made_up_notes(MEMORY_TEXTS, MEMORY_TOKENS)
    before = _peak_megabytes()
    seconds = untrained_forward(row.model.classifier, settings, labels=MEMORY_LABELS, texts=texts)
    return {
        "settings": settings.model_dump(mode="json"),
        "forward": {
            "before_megabytes": before,
            "peak_megabytes": _peak_megabytes(),
            "forward_seconds": seconds,
        },
    }


def _peak_megabytes() -> float:
    """The peak memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
