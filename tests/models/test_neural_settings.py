"""Settings of the networks: each is described, and those of saved models of earlier versions are understood."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labelled import examples_of
from pydantic import ValidationError
from scipy.sparse import csr_matrix

from rubricator.models.ablations.transicd import OtherLossSettings
from rubricator.models.model_files import ModelFormatError
from rubricator.models.neural.settings import CnnSettings, NeuralSettings, TransformerSettings
from rubricator.models.trained_model import TrainedModel
from rubricator.models.training import train_model

KINDS = [NeuralSettings, CnnSettings, TransformerSettings, OtherLossSettings]
TEXTS = [f"seen {row} with {'cough' if row % 2 else 'fever'}" for row in range(24)]


@pytest.mark.parametrize("kind", KINDS)
def test_each_setting_is_described_in_a_sentence(kind: type[NeuralSettings]) -> None:
    for name, field in kind.model_fields.items():
        assert re.fullmatch(r"[A-Z][^.]+\.", field.description or ""), name


def test_an_unknown_loss_lists_those_there_are() -> None:
    with pytest.raises(ValidationError, match="should be 'bce' or 'ldam'"):
        CnnSettings.model_validate({"loss": "hinge"})


def test_a_setting_that_was_dropped_may_have_the_value_that_models_still_behave_by() -> None:
    given = {**TransformerSettings(dim=64).model_dump(), "positions": "token"}
    assert TransformerSettings.model_validate(given) == TransformerSettings(dim=64)
    for kind, changed in (
        (TransformerSettings, {"positions": "batch"}),
        (TransformerSettings, {"position": "token"}),
        (CnnSettings, {"positions": "token"}),
    ):
        with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
            kind.model_validate(changed)


@pytest.fixture(scope="module")
def model() -> TrainedModel:
    truth = np.array([["cough" in text, "fever" in text] for text in TEXTS], np.uint8)
    settings = TransformerSettings(dim=8, heads=2, feed_forward=8, layers=1, epochs=1, folds=2)
    return train_model(
        examples_of(TEXTS, csr_matrix(truth), ["R05", "R50"]),
        task="codes",
        classifier="transformer",
        settings=settings,
    )


@pytest.mark.parametrize(
    ("before", "wrong"),
    [
        ({"positions": "token"}, None),
        ({"positions": "batch"}, "positions"),
        ({"positions": "token", "loss": "focal"}, "loss"),
    ],
)
def test_a_folder_of_version_0_1_0_is_read_or_refused(
    model: TrainedModel, tmp_path: Path, before: dict[str, Any], wrong: str | None
) -> None:
    """Version 0.1.0 wrote the setting `positions` into each transformer."""
    folder = tmp_path / "model"
    model.save(folder)
    config = json.loads((folder / "classifier.json").read_text())
    config["settings"] |= before
    (folder / "classifier.json").write_text(json.dumps(config))
    if wrong:
        with pytest.raises(ModelFormatError, match=rf"settings that this version does not know \({wrong}\)"):
            TrainedModel.load(folder)
    else:
        loaded = TrainedModel.load(folder)
        np.testing.assert_array_equal(loaded.predict_proba(TEXTS), model.predict_proba(TEXTS))
