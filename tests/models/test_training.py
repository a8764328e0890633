"""Training end to end on made-up sentences and notes, with the traps that real label sets hold."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from rubricator.models.classifier import ContextError, UnknownClassifierError, classifier_class
from rubricator.models.model_files import ModelFormatError
from rubricator.models.trained_model import TrainedModel
from rubricator.models.training import cross_validate, train_model
from rubricator.nlp.contexts import Context
from rubricator.nlp.examples import Examples
from rubricator.nlp.folds import FoldError, assign_folds

FINDINGS = {
    "R05": ["dry cough", "coughing at night", "productive cough"],
    "R50": ["fever", "febrile to 39.2", "high temperature"],
    "N39": ["urinary tract infection", "dysuria and bacteriuria", "UTI"],
    "J18": ["lobar pneumonia", "pneumonia of the left base", "consolidation"],
}
FILLER = [
    "seen in clinic",
    "no acute distress",
    "was brought by her mother",
    "sleeps well",
    "walks daily",
    "eats little",
]
LABELS = [*FINDINGS, "Z99"]  # Z99 never occurs, nor does its name


def made_up_notes(count: int, seed: int = 0) -> tuple[list[str], csr_matrix]:
    random = np.random.default_rng(seed)
    texts, targets = [], np.zeros((count, len(LABELS)), np.uint8)
    for row in range(count):
        parts = list(random.choice(FILLER, 2))
        for label, wordings in enumerate(FINDINGS.values()):
            if random.random() < 0.3:
                targets[row, label] = 1
                parts.append(str(random.choice(wordings)))
        random.shuffle(parts)
        texts.append("HISTORY: " + ". ".join(parts) + ".")
    return texts, csr_matrix(targets)


def made_up_examples(count: int, in_a_group: int) -> Examples:
    texts, targets = made_up_notes(count)
    return examples_of(texts, targets, np.arange(count) // in_a_group)


def examples_of(texts: list[str], targets: csr_matrix, groups: NDArray[np.int64]) -> Examples:
    return Examples(
        ids=[str(row) for row in range(len(texts))],
        groups=groups,
        texts=texts,
        targets=targets,
        labels=LABELS[: targets.shape[1]],
    )


def trained(count: int = 120) -> TrainedModel:
    return train_model(made_up_examples(count, in_a_group=2), task="codes", classifier="svm")


@pytest.fixture(scope="module")
def model() -> TrainedModel:
    return trained()


def test_it_learns_and_a_code_that_no_note_has_or_names_is_rejected(model: TrainedModel) -> None:
    texts, targets = made_up_notes(60, seed=1)
    probabilities = model.predict_proba(texts)
    assert probabilities.shape == (60, 5)
    assert probabilities.dtype == np.float32
    decisions = model.decide(probabilities)
    assert ((decisions != "reject") == targets.toarray().astype(bool)).mean() > 0.95
    assert (probabilities[:, 4] < 0.01).all()
    assert (decisions[:, 4] == "reject").all()


def test_training_twice_gives_the_same_bits(model: TrainedModel) -> None:
    texts, _ = made_up_notes(40, seed=2)
    assert (trained().predict_proba(texts) == model.predict_proba(texts)).all()


def test_a_saved_model_is_json_and_safetensors_and_gives_the_same_bits(
    model: TrainedModel, tmp_path: Path
) -> None:
    texts, _ = made_up_notes(40, seed=2)
    folder = tmp_path / "model"
    model.save(folder)
    assert {path.suffix for path in folder.iterdir()} == {".json", ".safetensors", ".md"}
    loaded = TrainedModel.load(folder)
    assert (loaded.predict_proba(texts) == model.predict_proba(texts)).all()
    assert (loaded.decide(loaded.predict_proba(texts)) == model.decide(model.predict_proba(texts))).all()
    assert loaded.evidence(texts, [[0, 1]] * 40) == model.evidence(texts, [[0, 1]] * 40)
    assert loaded.labels == LABELS
    assert loaded.settings == model.settings


def test_another_process_loads_it_without_the_training_libraries(model: TrainedModel, tmp_path: Path) -> None:
    texts, _ = made_up_notes(5, seed=3)
    model.save(tmp_path / "model")
    program = """
import json, sys
from pathlib import Path
from rubricator.models.trained_model import TrainedModel
model = TrainedModel.load(Path(sys.argv[1]))
heavy = {"torch", "mlflow", "prefect", "spacy", "sklearn", "pandas"} & set(sys.modules)
print(json.dumps([model.predict_proba(json.loads(sys.argv[2])).tolist(), sorted(heavy)]))
"""
    arguments = [sys.executable, "-c", program, str(tmp_path / "model"), json.dumps(texts)]
    answer = subprocess.run(arguments, check=True, capture_output=True, text=True, cwd=tmp_path)
    probabilities, heavy = json.loads(answer.stdout)
    assert heavy == []
    assert (np.array(probabilities, np.float32) == model.predict_proba(texts)).all()


def test_settings_of_another_version_are_named(model: TrainedModel, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    file = tmp_path / "model" / "classifier.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps(config | {"settings": config["settings"] | {"bygone": 1}}))
    with pytest.raises(ModelFormatError, match="bygone"):
        TrainedModel.load(tmp_path / "model")


@pytest.mark.parametrize("broken", [b"", b"\0" * 100])
def test_broken_weights_are_named(model: TrainedModel, tmp_path: Path, broken: bytes) -> None:
    model.save(tmp_path / "model")
    (tmp_path / "model" / "weights.safetensors").write_bytes(broken)
    with pytest.raises(ModelFormatError, match=r"weights\.safetensors cannot be read"):
        TrainedModel.load(tmp_path / "model")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", "null"),
        ("config.json", '{"format_version": 2}'),
        ("labels.json", "[]"),
        ("labels.json", "null"),
        ("vocabulary.json", "{}"),
        ("vocabulary.json", "[]"),
        ("classifier.json", '{"labels": ["plan"], "settings": null}'),
        ("classifier.json", '{"labels": ["plan"], "settings": {}}'),
        ("classifier.json", "{}"),
        ("model_card.md", None),
        ("model_card.md", b"\xff"),
    ],
)
def test_a_damaged_model_is_an_error_that_names_its_folder(
    model: TrainedModel, tmp_path: Path, file: str, content: str | bytes | None
) -> None:
    model.save(tmp_path / "model")
    path = tmp_path / "model" / file
    path.unlink()
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ModelFormatError, match=str(tmp_path)):
        TrainedModel.load(tmp_path / "model").predict_proba(["Start aspirin."])


def test_loading_refuses_what_it_does_not_know(model: TrainedModel, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    model.save(folder)
    with pytest.raises(ModelFormatError, match="not empty"):
        model.save(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"format_version": 99}))
    with pytest.raises(ModelFormatError, match="format 99"):
        TrainedModel.load(folder)
    with pytest.raises(ModelFormatError, match=r"config\.json"):
        TrainedModel.load(tmp_path / "nowhere")


def test_an_unknown_classifier_names_those_there_are() -> None:
    with pytest.raises(UnknownClassifierError, match=r"there is: .*svm"):
        train_model(made_up_examples(2, in_a_group=1), task="codes", classifier="oracle")


def test_cross_validation_predicts_every_row_from_the_other_groups() -> None:
    examples = made_up_examples(100, in_a_group=3)
    seen = []
    result = cross_validate(
        examples,
        task="codes",
        classifier="svm",
        folds=5,
        on_fold=lambda fold, metrics: seen.append((fold, metrics["micro_f1"])),
    )
    assert [fold for fold, _ in seen] == [0, 1, 2, 3, 4]
    assert all(len(set(result.folds[examples.groups == group])) == 1 for group in set(examples.groups))
    assert (result.decisions == examples.targets.toarray().astype(bool)).mean() > 0.9
    assert not (result.accepted & ~result.decisions).any()


KILLED = """
import os, signal, sys
import psutil
sys.path[:0] = {folders!r}
from test_training import made_up_examples
from rubricator.models import training

def kill(*_):
    print(*(child.pid for child in psutil.Process().children()), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

training._WORTH_PROCESSES = 0
training.cross_validate(made_up_examples(60, 2), task="codes", classifier="svm", folds=4, on_fold=kill)
"""


@pytest.mark.skipif(
    len(os.sched_getaffinity(0)) == 1, reason="folds have processes where there are cores for them"
)
def test_processes_of_folds_end_with_a_killed_training() -> None:
    """They would go on for as long as their fold takes, beside a training that was started again."""
    psutil = pytest.importorskip("psutil")
    script = KILLED.format(folders=[str(Path(__file__).parents[up]) for up in (0, 1)])
    killed = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    left = [psutil.Process(int(pid)) for pid in killed.stdout.split() if psutil.pid_exists(int(pid))]
    _, alive = psutil.wait_procs(left, timeout=10)
    assert killed.stdout.split() and not alive


def test_a_random_split_sees_copies_that_the_grouped_one_does_not() -> None:
    # each group: one note copied; what a group's rare word says cannot be learnt from other groups
    random = np.random.default_rng(0)
    values = random.integers(2, size=40)
    words = ["".join(random.choice(list("bcdfghjklmnpqrstvwxz"), 8)) for _ in range(40)]
    texts = [f"note about {word} and nothing else" for word in words for _ in range(3)]
    targets = csr_matrix(np.repeat(values, 3)[:, None].astype(np.uint8))
    examples = examples_of(texts, targets, np.repeat(np.arange(40), 3))
    score = {
        grouped: (
            cross_validate(
                examples, task="codes", classifier="svm", folds=4, grouped=grouped
            ).probabilities.ravel()
            > 0.5
        )
        == targets.toarray().ravel().astype(bool)
        for grouped in (True, False)
    }
    assert score[False].mean() > score[True].mean() + 0.2


def test_there_are_never_more_folds_than_groups() -> None:
    targets = csr_matrix(np.ones((6, 1), np.uint8))
    assert set(assign_folds(targets, np.array([0, 0, 1, 1, 2, 2]), 10, seed=0)) == {0, 1, 2}
    with pytest.raises(FoldError, match="at least two patients"):
        assign_folds(targets, np.zeros(6, np.int64), 10, seed=0)


def test_folds_spread_every_label() -> None:
    random = np.random.default_rng(0)
    targets = csr_matrix((random.random((400, 6)) < [0.5, 0.2, 0.1, 0.05, 0.025, 0.0]).astype(np.uint8))
    folds = assign_folds(targets, np.arange(400) // 2, 5, seed=3)
    sizes = np.bincount(folds)
    assert sizes.max() - sizes.min() <= 8
    for label in range(5):
        held = np.bincount(folds, targets[:, [label]].toarray().ravel(), 5)
        assert held.max() - held.min() <= max(3, 0.25 * held.mean())


@pytest.mark.parametrize("value", [0, 1])
def test_all_positive_or_all_negative_is_no_error(value: int) -> None:
    texts, _ = made_up_notes(20)
    targets = csr_matrix(np.full((20, 1), value, np.uint8))
    model = train_model(examples_of(texts, targets, np.arange(20)), task="codes", classifier="svm")
    probabilities = model.predict_proba([*texts, "zzz"])
    assert ((model.decide(probabilities) != "reject") == bool(value)).all()
    assert (probabilities > 0.5).all() if value else (probabilities == 0).all()


def test_a_text_without_a_word_is_never_positive() -> None:
    texts, _ = made_up_notes(20)
    model = train_model(
        examples_of(texts, csr_matrix(np.ones((20, 1), np.uint8)), np.arange(20)),
        task="codes",
        classifier="svm",
    )
    assert (model.predict_proba(["", " \n", "---"]) == 0).all()


def test_a_text_without_a_word_is_learnt_from_wherever_it_stands() -> None:
    texts, targets = made_up_notes(12)
    for place in (0, 11):
        wordless = [*texts[:place], "...", *texts[place + 1 :]]
        learnt = train_model(examples_of(wordless, targets, np.arange(12)), task="codes", classifier="svm")
        assert np.isfinite(learnt.predict_proba(wordless)).all()


def test_texts_without_a_common_word_give_every_note_the_same_probability() -> None:
    texts = ["alpha", "bravo", "coyote", "domino"]
    targets = csr_matrix(np.array([[1], [0], [1], [0]], np.uint8))
    examples = replace(examples_of(texts, targets, np.arange(4)), labels=["own code"])
    learnt = train_model(examples, task="codes", classifier="svm")
    assert len(np.unique(learnt.predict_proba(texts))) == 1


@pytest.mark.parametrize(
    ("classifier", "settings"),
    [("stacked", None), ("svm", "sentence"), ("cnn", "sentence")],
)
def test_a_classifier_that_reads_neighbours_says_that_notes_have_none(
    classifier: str, settings: str | None
) -> None:
    chosen = classifier_class(classifier).default_settings(settings) if settings else None
    with pytest.raises(ContextError, match="sentences"):
        train_model(made_up_examples(40, 1), task="codes", classifier=classifier, settings=chosen)


def test_a_random_split_learns_from_all_auxiliary_examples() -> None:
    texts, targets = made_up_notes(40)
    groups = np.arange(40) % 4
    auxiliary = examples_of(texts[:8], targets[:8], groups[:8])
    learnt_from = []

    def learn(examples: Examples, **_: object) -> TrainedModel:
        learnt_from.append(len(examples.with_auxiliary()))
        return train_model(examples, task="codes", classifier="svm")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("rubricator.models.training.train_model", learn)
        examples = replace(examples_of(texts, targets, groups), auxiliary=auxiliary)
        cross_validate(examples, task="codes", classifier="svm", folds=4, grouped=False)
    assert learnt_from == [30 + 8] * 4


def test_what_stands_around_a_sentence_counts() -> None:
    texts = ["Aspirin 81 mg daily."] * 80
    targets = csr_matrix((np.arange(80)[:, None] % 2).astype(np.uint8))
    around = ("Home medications are these.",), ("We will continue these.",)
    contexts = [Context(before=around[row % 2]) for row in range(80)]
    examples = replace(examples_of(texts, targets, np.arange(80)), contexts=contexts)
    model = train_model(examples, task="plan", classifier="svm")
    decisions = model.decide(model.predict_proba(texts[:2], contexts=contexts[:2]))
    assert list(decisions.ravel() != "reject") == [False, True]


def test_a_word_of_one_patient_never_enters_the_model(tmp_path: Path) -> None:
    examples = made_up_examples(120, in_a_group=2)
    texts = [f"{text} Xyzzyword." if row in (0, 1) else text for row, text in enumerate(examples.texts)]
    examples = replace(examples, texts=texts, contexts=[Context(before=(text,)) for text in texts])
    train_model(examples, task="plan", classifier="svm").save(tmp_path / "model")
    saved = b"".join(path.read_bytes() for path in (tmp_path / "model").iterdir())
    assert b"productive" in saved
    assert b"xyzz" not in saved


def test_empty_texts_and_unseen_words_get_a_probability(model: TrainedModel) -> None:
    probabilities = model.predict_proba(["", "…", "Xyzzy plugh 1234.5", "\n\n"])
    assert np.isfinite(probabilities).all()
    assert model.predict_proba([]).shape == (0, 5)
    assert model.evidence(["", "…"], [[0], [1, 2]]) == [[[]], [[], []]]


def test_a_text_without_a_word_is_never_predicted(model: TrainedModel) -> None:
    assert (model.predict_proba(["6.", "", "x 3", "98.6"]) == 0).all()
