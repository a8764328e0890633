"""Every setting says what it is: `rubricator train --help` and the reference show it."""

from collections.abc import Iterator
from typing import get_args

import pytest
from pydantic import BaseModel

from rubricator.models.classifier import CLASSIFIERS, classifier_class
from rubricator.models.decisions.calibration import CalibrationSettings


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
