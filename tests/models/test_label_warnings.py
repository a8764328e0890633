"""Labels with warnings are never accepted, neither by the saved thresholds nor in the rows of a prediction."""

import warnings
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from rubricator.models.shortcuts import fit_model, predict_notes
from rubricator.models.trained_model import TrainedModel
from rubricator.models.training import train_model
from rubricator.nlp.builders.codes import code_examples
from rubricator.nlp.shortcuts import read_notes

WORDS = {"asthma": "J45.909", "cough": "X99.77", "gout": "COVID_19"}


def corpus(labels: dict[str, str]) -> pl.DataFrame:
    rows = [(word, f"Patient {number} has {word}.") for number in range(40) for word in labels]
    return pl.DataFrame(
        {
            "note_id": [f"n{number}" for number in range(len(rows))],
            "text": [text for _, text in rows],
            "codes": [[labels[word]] for word, _ in rows],
        }
    )


def accepting(model: TrainedModel) -> TrainedModel:
    """The model with thresholds as a model of an earlier version has them: every positive is accepted."""
    return replace(model, calibration=replace(model.calibration, accept=model.calibration.decision))


def decisions(model: TrainedModel) -> dict[str, set[str]]:
    rows = predict_notes(model, corpus(dict(zip(WORDS, WORDS, strict=True))))
    return {label: set(some["decision"]) for (label,), some in rows.group_by("label")}


def test_codes_that_no_table_knows_are_only_for_review() -> None:
    with pytest.warns(UserWarning, match=r"2 of 3 labels: in no table of codes \(COVID_19, X99\.77\)"):
        model = fit_model("codes", corpus(WORDS))
    assert dict(zip(model.labels, np.isfinite(model.calibration.accept), strict=True)) == {
        "COVID_19": False,
        "J45.909": True,
        "X99.77": False,
    }
    assert "in no table of codes" in model.card
    for each in (model, accepting(model)):
        found = decisions(each)
        assert found["COVID_19"] == found["X99.77"] == {"review"}
    assert "accept" in found["J45.909"]


def test_a_table_of_the_site_makes_its_codes_known() -> None:
    examples = code_examples(
        read_notes(corpus(WORDS)).to_batches(), table={"X9977": ["our own"], "COVID_19": []}
    )
    model = train_model(examples, task="codes", classifier="svm")
    assert np.isfinite(model.calibration.accept).all()
    found = decisions(accepting(model))
    assert all("accept" in each for each in found.values())


def test_a_site_with_labels_of_its_own_has_one_notice_and_no_warnings() -> None:
    own = {"asthma": "AIR", "cough": "CHEST", "gout": "JOINT"}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        model = fit_model("codes", corpus(own))
    assert [str(each.message).partition(":")[0] for each in said] == [
        "120 notes have no patient id, or one that equals the note id",
        "no label has the form of an ICD code",
    ]
    assert np.isfinite(model.calibration.accept).all()
