"""Codes are given for what a note asserts of its patient; codes that exclude each other have a warning."""

import random

import polars as pl
import pytest

from rubricator.models import fit_model, predict_notes
from rubricator.models.trained_model import TrainedModel
from rubricator.models.training import train_model
from rubricator.nlp.builders.codes import code_examples
from rubricator.nlp.shortcuts import read_notes

NAMES = {
    "E10.9": "type 1 diabetes mellitus",
    "E11.9": "type 2 diabetes mellitus",
    "I10": "hypertension",
    "I50.9": "heart failure",
    "J18.9": "pneumonia",
    "J45.909": "asthma",
}
ASSERTED = ["Patient has {}.", "Known {}.", "She was treated for {}.", "Long-standing {}, well controlled."]
NOT_ASSERTED = ["No evidence of {}.", "She denies {}.", "His brother has {}.", "Possible {}.", "Rule out {}."]


def coded_notes(many: int) -> pl.DataFrame:
    draw = random.Random(0)
    rows = []
    for number in range(many):
        said, codes = [], []
        for code in draw.sample(list(NAMES), 3):
            asserted = draw.random() < 0.5
            said.append(draw.choice(ASSERTED if asserted else NOT_ASSERTED).format(NAMES[code]))
            codes += [code] * asserted
        text = f"HISTORY: Visit.\n{' '.join(said)}\nPLAN: Follow up."
        rows.append({"note_id": f"n{number}", "patient_id": f"p{number}", "text": text, "codes": codes})
    return pl.DataFrame(rows)


def predicted(model: TrainedModel, said: str) -> pl.DataFrame:
    note = {"note_id": ["new"], "text": [f"HISTORY: Visit.\n{said}\nPLAN: Follow up."]}
    return predict_notes(model, pl.DataFrame(note))


@pytest.fixture(scope="module")
def svm() -> TrainedModel:
    return fit_model("codes", coded_notes(200))


@pytest.mark.parametrize(
    ("said", "given"),
    [
        ("Pneumonia: absent. Asthma: no.", set()),
        ("Asthma has been excluded.", set()),
        ("FAMILY HISTORY:\nHypertension. Asthma.", set()),
        ("Family history of hypertension. Father had asthma at forty; sister has heart failure.", set()),
        ("Asthma versus heart failure. If pneumonia develops, return.", set()),
        ("No change in asthma. Not only hypertension but also pneumonia.", {"J45.909", "I10", "J18.9"}),
        ("No symptoms this week, asthma controlled.", {"J45.909"}),
        ("Non-compliant patient with asthma. Lives with mother, has hypertension.", {"J45.909", "I10"}),
    ],
)
def test_only_asserted_conditions_of_the_patient_get_their_code(
    svm: TrainedModel, said: str, given: set[str]
) -> None:
    named = {code for code, name in NAMES.items() if name in said.lower()}
    assert set(predicted(svm, said)["label"]) & named == given


def test_codes_that_exclude_each_other_have_a_warning(svm: TrainedModel) -> None:
    rows = predicted(svm, "Known type 1 diabetes mellitus. Known type 2 diabetes mellitus. Known asthma.")
    warnings = dict(rows.select("label", "warnings").iter_rows())
    assert warnings["E10.9"] == ["E10 and E11 exclude each other (Excludes1): see E11.9"]
    assert warnings["E11.9"] == ["E10 and E11 exclude each other (Excludes1): see E10.9"]
    assert warnings["J45.909"] == []


def test_a_code_without_notes_is_found_by_its_whole_name_and_not_where_it_is_denied() -> None:
    table = {
        "N17.9": ["Acute kidney failure, unspecified"],
        "H10.9": ["Unspecified conjunctivitis"],
    }
    examples = code_examples(read_notes(coded_notes(160)).to_batches(), table=table)
    model = train_model(examples, task="codes", classifier="mentions")
    rows = predicted(model, "Here for acute kidney failure, unspecified.")
    assert rows.sort("rank")["label"].to_list()[:1] == ["N17.9"], "not heart failure, which shares a word"
    assert rows.sort("rank")["decision"].to_list()[0] == "review", "a code that no note had is never accepted"
    assert "H10.9" in predicted(model, "Known asthma and unspecified conjunctivitis.")["label"]
    for denied in ("No acute kidney failure.", "Mother had acute kidney failure, unspecified."):
        assert predicted(model, denied).is_empty()
