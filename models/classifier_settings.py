"""Settings of a classifier by name: the defaults for a unit of text, some of them replaced by given values."""

import json
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from rubricator.models.classifier import check_unit, classifier_class
from rubricator.nlp.errors import RubricatorError, did_you_mean, what_is_wrong

if TYPE_CHECKING:
    from rubricator.nlp.units import UnitName


class SettingError(RubricatorError):
    """A setting that the classifier does not have, or a value that it cannot take."""


def settings_with(classifier: str, unit: "UnitName", given: Mapping[str, Any]) -> BaseModel:
    """The classifier's default settings for the unit, with the given values in place of the defaults.

    given: values by the name of the setting. A dot leads into a part of the settings ("features.min_groups"). A part
    that is given as a mapping is replaced as a whole. Raises SettingError, which lists all settings for an unknown
    one, UnknownClassifierError and UnfitClassifierError.
    """
    check_unit(classifier, unit)
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
        names = {name for name, *_ in listed(defaults)}
        wrong = [f"{_setting_at(each['loc'], names)}: {what_is_wrong(each)}" for each in error.errors()]
    raise SettingError(f"{classifier} cannot take these settings: {'; '.join(dict.fromkeys(wrong))}")


def _setting_at(place: Sequence[int | str], names: Container[str]) -> str:
    """The setting in which pydantic found an error; further parts of the place are types."""
    parts = list(map(str, place))
    ends = [end for end in range(len(parts), 0, -1) if ".".join(parts[:end]) in names]
    return ".".join(parts[: ends[0]] if ends else parts)


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
