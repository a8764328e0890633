"""Names of patients, staff and hospitals are in no file of a model that learns its words from notes."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from rubricator.models.shortcuts import fit_model
from rubricator.models.trained_model import TrainedModel

SETTINGS = {
    "svm": {},
    "mentions": {"inner_folds": 2},
    "transformer": {"epochs": 1, "folds": 2, "dim": 8, "heads": 2, "layers": 1, "feed_forward": 8},
}
COMPLAINTS = {"R05": "a dry cough at night", "M54.5": "low back pain since lifting"}
NAMES = ("qorlin", "zavana", "vyrander", "o'tulowic", "krathquist", "smith", "vostermoor")
FINDINGS = (
    "The lungs are clear.", "Heart sounds are regular.", "The abdomen is soft.", "Reflexes are brisk and equal.",
    "The skin is warm and dry.", "Pupils react to light.", "Gait is normal on both sides.", "The throat is slightly red.",
    "Pulses are full at the ankles.", "There is no swelling of the legs.", "Hearing is good.", "The neck moves freely.",
)  # fmt: skip
WORDS = ("pain", "parkinson", "brown", "return")  # that stay


def notes() -> pl.DataFrame:
    """Two notes of each patient, without a column of patients."""
    random, rows = np.random.default_rng(0), []
    for at in range(24):
        patient = ("Qorlin", "Vyrander", "O'Tulowic", "Smith")[at // 2 % 4]
        code = list(COMPLAINTS)[at // 3 % 2]
        rows.append(
            {
                "note_id": f"n{at}",
                "text": f"{patient.upper()}, ZAVANA\n\nHISTORY:\nMs. {patient} has {COMPLAINTS[code]}, on day {at}. "
                f"Her Parkinson's disease is stable. {patient}'s sputum is not brown.\n\n"
                f"EXAM:\n{' '.join(random.permutation(FINDINGS)[:8])}\n\n"
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
        ("codes", "svm"),
        ("codes", "mentions"),
        ("codes", "transformer"),
    ],
)
def test_no_file_of_a_model_has_a_name(task: str, classifier: str, tmp_path: Path) -> None:
    def held(keep_names: bool) -> str:
        model = fit_model(
            task, notes(), model=classifier, settings=SETTINGS[classifier], keep_names=keep_names
        )
        assert bool(model.settings["names_left_out"]) != keep_names
        return "\n".join(texts_of(model, tmp_path / str(keep_names)))

    without, kept = held(keep_names=False), held(keep_names=True)
    assert not [name for name in NAMES if name in without or name[:5] in without]
    if classifier != "mentions":  # which has the words of names of codes
        assert [word for word in WORDS if word not in without] == []
    assert [name for name in NAMES if name in kept], "the notes do have names"


def test_missing_patient_ids_are_said_before_training_and_in_the_card() -> None:
    with pytest.warns(UserWarning, match="24 notes have no patient id"):
        model = fit_model("codes", notes())
    assert "24 notes without a patient id" in model.card
    assert "Words that the notes of a single patient have" in model.card
    assert "No word that looks like a name" in model.card
    known = notes().with_columns(patient_id=pl.Series([f"p{at // 2}" for at in range(24)]))
    card = fit_model("codes", known, keep_names=True).card
    assert "without a patient id" not in card and "of a single patient" not in card
    assert "are kept in" in card
