"""Sentences among their neighbours, on made-up notes where only the neighbours tell."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from rubricator.models.scores.evaluation import evaluate
from rubricator.models.trained_model import TrainedModel
from rubricator.models.training import train_model
from rubricator.nlp.contexts import neighbours
from rubricator.nlp.examples import Examples

FINDINGS = ["The lungs are clear.", "The abdomen is soft.", "Blood pressure was high.", "He denies pain."]
ORDERS = ["Continue lisinopril.", "Return in two weeks.", "We will repeat the film.", "Start metformin."]
DRUGS = [
    "Aspirin 81 mg.",
    "Metformin 500 mg.",
    "Lisinopril 10 mg.",
]  # a plan among orders, history among findings


def made_up_notes(count: int, seed: int = 0) -> Examples:
    random = np.random.default_rng(seed)
    texts, contexts, groups, labels = [], [], [], []
    for note in range(count):
        parts = [
            [*random.permutation(stock)[:3], *random.permutation(DRUGS)[:2]] for stock in (FINDINGS, ORDERS)
        ]
        sentences = [str(sentence) for part in parts for sentence in random.permutation(part)]
        texts += sentences
        contexts += neighbours(sentences)
        groups += [note] * len(sentences)
        labels += [0] * 5 + [1] * 5
    return Examples(
        ids=[str(row) for row in range(len(texts))],
        groups=np.array(groups),
        texts=texts,
        targets=csr_matrix(np.array(labels, np.uint8).reshape(-1, 1)),
        labels=["plan"],
        contexts=contexts,
    )


@pytest.fixture(scope="module")
def model() -> TrainedModel:
    return train_model(made_up_notes(60), task="plan", classifier="stacked")


def probabilities(model: TrainedModel, examples: Examples) -> NDArray[np.float32]:
    return model.predict_proba(examples.texts, contexts=examples.contexts)


def test_neighbours_tell_what_a_sentence_does_not(model: TrainedModel) -> None:
    examples = made_up_notes(20, seed=1)
    found = probabilities(model, examples)
    decided = model.decide(found) != "reject"
    scores = evaluate(examples.targets, found, decided, examples.groups, examples.labels, bootstrap=0)
    assert scores.values()["micro_f1"] > 0.9


def test_what_is_loaded_says_the_same_bits(model: TrainedModel, tmp_path: Path) -> None:
    examples = made_up_notes(5, seed=2)
    model.save(tmp_path / "model")
    loaded = TrainedModel.load(tmp_path / "model")
    assert (probabilities(loaded, examples) == probabilities(model, examples)).all()
    assert loaded.evidence(examples.texts, [[0]] * len(examples)) == model.evidence(
        examples.texts, [[0]] * len(examples)
    )
    assert {path.suffix for path in (tmp_path / "model").rglob("*") if path.is_file()} == {
        ".json",
        ".safetensors",
        ".md",
    }


def test_a_label_without_positives_has_probability_zero() -> None:
    examples = made_up_notes(30)
    both = csr_matrix(np.hstack([examples.targets.toarray(), np.zeros((len(examples), 1), np.uint8)]))
    with_absent = Examples(
        ids=examples.ids,
        groups=examples.groups,
        texts=examples.texts,
        targets=both,
        labels=["plan", "absent"],
        contexts=examples.contexts,
    )
    fitted = train_model(with_absent, task="plan", classifier="stacked")
    found = probabilities(fitted, made_up_notes(3, seed=3))
    assert (found[:, 1] == 0).all()
    assert (found[:, 0] > 0).all()
