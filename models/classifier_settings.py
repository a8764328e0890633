"""Settings of a classifier by name: the defaults for a unit of text, some of them replaced by given values."""

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from rubricator.models.classifier import classifier_class
from rubricator.nlp.errors import RubricatorError, did_you_mean

if TYPE_CHECKING:
    from rubricator.nlp.units import UnitName


class SettingError(RubricatorError):
    """A setting that the classifier does not have, or a value that it cannot take."""


def settings_with(classifier: str, unit: "UnitName", given: Mapping[str, Any]) -> BaseModel:
    """The classifier's default settings for the unit, with the given values in place of the defaults.

    given: values by the name of the setting. A dot leads into a part of the settings ("features.min_groups"). A part
    that is given as a mapping is replaced as a whole. Raises SettingError, which lists all settings, and
    UnknownClassifierError.
    """
    defaults = classifier_class(classifier).default_settings(unit)
    chosen = defaults.model_dump()
    for key, value in given.items():
        *parts, last = key.split(".")
        within: Any = chosen
        for part in parts:
            within = within.get(part) if isinstance(within, dict) else None
        if not isinstance(within, dict) or last not in within:
            known = [name for name, *_ in listed(defaults)]
            raise SettingError(
                f"{classifier} has no setting {key!r}{did_you_mean(key, known)}; {_listing(defaults)}"
            )
        within[last] = value
    wrong: list[str] = []
    try:
        return type(defaults).model_validate(chosen)
    except ValidationError as error:
        wrong = [
            f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors(include_url=False)
        ]
    raise SettingError(f"{classifier} cannot take these settings: {'; '.join(wrong)}; {_listing(defaults)}")


def listed(settings: BaseModel, within: str = "") -> Iterator[tuple[str, Any, str]]:
    """(name, value as JSON types, description) of every setting. A setting within a part is named PART.SETTING."""
    values = settings.model_dump(mode="json")
    for name, field in type(settings).model_fields.items():
        part = getattr(settings, name)
        if isinstance(part, BaseModel):
            yield from listed(part, f"{within}{name}.")
        else:
            yield f"{within}{name}", values[name], field.description or ""


def _listing(settings: BaseModel) -> str:
    lines = (f"  {name}={json.dumps(value)}" for name, value, _ in listed(settings))
    return "\n".join(["its settings and their defaults:", *lines])
