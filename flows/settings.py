"""Settings of a classifier from the command line: `--setting encoder=minilm --setting features.min_groups=3`."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rubricator.nlp.errors import RubricatorError
from rubricator.nlp.tasks import task_named

if TYPE_CHECKING:
    from pydantic import BaseModel


class SettingError(RubricatorError):
    """A setting that the classifier does not have, or a value that it cannot take."""


def classifier_settings(classifier: str, task: str, assignments: Sequence[str]) -> "BaseModel":
    """The classifier's defaults for the task, with each KEY=VALUE put in their place.

    KEY: a setting's name, with dots into its parts. VALUE: JSON; what is none is a string. Raises SettingError that
    lists the settings there are, and UnknownClassifierError.
    """
    from pydantic import ValidationError

    from rubricator.models.classifier import classifier_class

    defaults = classifier_class(classifier).default_settings(task_named(task).unit)
    chosen = defaults.model_dump()
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals:
            raise SettingError(f"--setting {assignment}: write KEY=VALUE")
        *parts, last = key.strip().split(".")
        within: Any = chosen
        for part in parts:
            within = within.get(part) if isinstance(within, dict) else None
        if not isinstance(within, dict):
            raise SettingError(f"{classifier} has no setting {key!r}; {_listing(defaults)}")
        within[last] = _value(value)
    wrong: list[str] = []
    try:
        return type(defaults).model_validate(chosen)
    except ValidationError as error:
        wrong = [
            f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors(include_url=False)
        ]
    raise SettingError(f"{classifier} cannot take these settings: {'; '.join(wrong)}; {_listing(defaults)}")


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _listing(settings: "BaseModel") -> str:
    lines = (f"  {key}={json.dumps(value)}" for key, value in _flat(settings.model_dump(mode="json")))
    return "\n".join(["its settings, as they are by default:", *lines])


def _flat(values: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{within}{key}.")
        else:
            yield f"{within}{key}", value
