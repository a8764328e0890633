"""Settings of a classifier by name: its defaults for a unit of text, and others put in their place."""

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
    """The classifier's default settings for the unit, with the given ones in their place.

    given: by name, with dots into parts of the settings ("features.min_groups"); a part that is given as a mapping is
    replaced as a whole. Raises SettingError that lists the settings there are, and UnknownClassifierError.
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
    """Name, value as JSON types, and description of every setting, those of its parts after a dot."""
    values = settings.model_dump(mode="json")
    for name, field in type(settings).model_fields.items():
        part = getattr(settings, name)
        if isinstance(part, BaseModel):
            yield from listed(part, f"{within}{name}.")
        else:
            yield f"{within}{name}", values[name], field.description or ""


def _listing(settings: BaseModel) -> str:
    lines = (f"  {name}={json.dumps(value)}" for name, value, _ in listed(settings))
    return "\n".join(["its settings, as they are by default:", *lines])
