"""Every setting says what it is: `rubricator train --help` and the reference show it."""

from collections.abc import Iterator
from typing import get_args

import pytest
from pydantic import BaseModel

from rubricator.models.classifier import CLASSIFIERS, UnfitClassifierError, classifier_class
from rubricator.models.classifier_settings import SettingError, settings_with
from rubricator.models.decisions.calibration import CalibrationSettings
from rubricator.nlp.units import UnitName


def settings_classes(found: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """A settings class, and those of its parts."""
    yield found
    for field in found.model_fields.values():
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from settings_classes(kind)


@pytest.mark.parametrize("name", ["calibration", *CLASSIFIERS])
def test_every_setting_has_a_description(name: str) -> None:
    of_name = (
        CalibrationSettings
        if name == "calibration"
        else type(classifier_class(name).default_settings("sentence"))
    )
    for found in settings_classes(of_name):
        for setting, field in found.model_fields.items():
            sentence = field.description or ""
            assert sentence.endswith(".") and sentence[:1].isupper(), (
                f"{found.__name__}.{setting}: {sentence!r}"
            )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"features.min_groups": "x"}, "features.min_groups: it must be a whole number"),
        ({"features.min_groups": 0}, "features.min_groups: it must be greater than or equal to 1"),
        ({"features": 3}, "features: it must be a table of keys and values"),
        ({"features.assertions": "maybe"}, "features.assertions: it must be true or false"),
        ({"features.char_ngrams": "a"}, "features.char_ngrams: it must be a list"),
    ],
)
def test_a_wrong_value_is_told_in_plain_words(given: dict[str, object], said: str) -> None:
    with pytest.raises(SettingError) as caught:
        settings_with("svm", "sentence", given)
    assert str(caught.value) == f"svm cannot take these settings: {said}"


@pytest.mark.parametrize(
    ("classifier", "unit"), [("mentions", "sentence"), ("stacked", "note"), ("keywords", "note")]
)
def test_a_classifier_of_the_other_unit_is_refused_before_any_work(classifier: str, unit: UnitName) -> None:
    with pytest.raises(UnfitClassifierError, match=f"{classifier!r} works on a .*; there is: .*svm"):
        settings_with(classifier, unit, {})
