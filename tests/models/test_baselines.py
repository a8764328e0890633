"""The baselines: what they say of any text, and that they are saved and loaded like any classifier."""

from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from rubricator.models.baselines import BaselineError, KeywordClassifier, KeywordSettings
from rubricator.models.trained_model import TrainedModel
from rubricator.models.training import train_model
from rubricator.nlp.contexts import Context
from rubricator.nlp.examples import Examples

SENTENCES = [
    "We will start lisinopril.",
    "Recommend a follow up in two weeks.",
    "She denies chest pain.",
    "Lungs are clear.",
] * 10


def examples(texts: list[str], targets: list[list[int]], labels: list[str]) -> Examples:
    return Examples(
        ids=[str(row) for row in range(len(texts))],
        groups=np.arange(len(texts)),
        texts=texts,
        targets=csr_matrix(np.array(targets, np.uint8)),
        labels=labels,
        contexts=[Context() for _ in texts],
    )


def saved_and_loaded(model: TrainedModel, folder: Path) -> TrainedModel:
    model.save(folder / "model")
    return TrainedModel.load(folder / "model")


def test_majority_gives_every_text_the_shares_of_training(tmp_path: Path) -> None:
    notes = examples(
        ["a", "b", "c", "d"], [[1, 1, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0]], ["I10", "E11.9", "J18.9"]
    )
    model = saved_and_loaded(train_model(notes, task="codes", classifier="majority"), tmp_path)
    found = model.predict_proba(["anything", "else"])
    assert (found[0] == found[1]).all()
    assert found[0, 0] > found[0, 1] > 0 == found[0, 2]
    assert (model.decide(found)[:, 0] != "reject").all()
    assert model.evidence(["anything"], [[0, 1]]) == [[[], []]]


def test_keyword_rules_find_plans_and_show_the_words(tmp_path: Path) -> None:
    sentences = examples(SENTENCES, [[1], [1], [0], [0]] * 10, ["plan"])
    model = saved_and_loaded(train_model(sentences, task="plan", classifier="keywords"), tmp_path)
    texts = ["Will order a chest film.", "He has diabetes."]
    assert (
        model.decide(model.predict_proba(texts, contexts=[Context()] * 2))[:, 0] != "reject"
    ).tolist() == [
        True,
        False,
    ]
    [[spans], [none]] = model.evidence(texts, [[0], [0]])
    assert [texts[0][span.start : span.end] for span in spans] == ["Will", "order"] and none == []


def test_keyword_rules_are_for_plans_only() -> None:
    with pytest.raises(BaselineError, match="plan sentences only"):
        KeywordClassifier(["I10"], KeywordSettings())
