"""Names of patients, staff and hospitals are in no file of a model that learns its words from notes."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from rubricator.models.shortcuts import fit_model
from rubricator.models.trained_model import TrainedModel

SMALL = {"epochs": 1, "least_steps": 0, "members": 1, "folds": 2, "max_tokens": 40}
SETTINGS = {
    "svm": {},
    "stacked": {},
    "mentions": {"inner_folds": 2},
    "cnn": {**SMALL, "width": 4, "filters": 2},
    "transformer": {**SMALL, "dim": 8, "heads": 2, "layers": 1, "feed_forward": 8},
}
COMPLAINTS = {"R05": "a dry cough at night", "M54.5": "low back pain since lifting"}
NAMES = ("qorlin", "zavana", "vyrander", "o'tulowic", "krathquist", "smith", "vostermoor")
WORDS = ("pain", "parkinson", "brown", "return")  # that stay


def notes() -> pl.DataFrame:
    """Two notes of each patient, without a column of patients."""
    rows = []
    for at in range(24):
        patient = ("Qorlin", "Vyrander", "O'Tulowic", "Smith")[at // 2 % 4]
        code = list(COMPLAINTS)[at // 3 % 2]
        rows.append(
            {
                "note_id": f"n{at}",
                "text": f"{patient.upper()}, ZAVANA\n\nHISTORY:\nMs. {patient} has {COMPLAINTS[code]}, on day {at}. "
                f"Her Parkinson's disease is stable. {patient}'s sputum is not brown.\n\n"
                f"PLAN:\nReturn in {at % 5} weeks. Zavana agrees. {('Chest film.', 'No lifting, as pain is worse.')[at % 2]}"
                f" Dr. Krathquist was told.\n\nElectronically signed by: Emma Krathquist, MD\nVostermoor Hospital",
                "codes": [code],
            }
        )
    return pl.DataFrame(rows)


def texts_of(model: TrainedModel, folder: Path) -> Iterator[str]:
    model.save(folder)
    for path in folder.rglob("*"):
        if path.is_file():
            yield path.read_bytes().decode("utf-8", "replace").lower()


@pytest.mark.filterwarnings("ignore:.*no patient id")
@pytest.mark.parametrize(
    ("task", "classifier"),
    [
        ("plan", "svm"),
        ("plan", "stacked"),
        ("plan", "cnn"),
        ("codes", "svm"),
        ("codes", "mentions"),
        ("codes", "cnn"),
        ("codes", "transformer"),
    ],
)
def test_no_file_of_a_model_has_a_name(task: str, classifier: str, tmp_path: Path) -> None:
    def held(keep_names: bool) -> str:
        model = fit_model(
            task, notes(), model=classifier, settings=SETTINGS[classifier], keep_names=keep_names
        )
        assert ("names_left_out" in model.settings) and bool(model.settings["names_left_out"]) != keep_names
        return "\n".join(texts_of(model, tmp_path / str(keep_names)))

    without = held(keep_names=False)
    assert not [name for name in NAMES if name in without or name[:5] in without]
    assert [word for word in WORDS if word in without] or classifier == "mentions"
    assert [name for name in NAMES if name in held(keep_names=True)], "the notes do have names"


def test_missing_patient_ids_are_said_before_training_and_in_the_card() -> None:
    with pytest.warns(UserWarning, match="24 notes have no patient id"):
        model = fit_model("codes", notes())
    assert "24 notes have no patient id" in model.card
    assert "No word that looks like a name" in model.card
    known = notes().with_columns(patient_id=pl.Series([f"p{at // 2}" for at in range(24)]))
    card = fit_model("codes", known, keep_names=True).card
    assert "no patient id" not in card
    assert "are kept in" in card
