"""Settings of a classifier as KEY=VALUE, such as `encoder=minilm` or `features.min_groups=3`, and a list of them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, Field

from rubricator.flows.parameters.options import Name, OneOf
from rubricator.nlp.tasks import TASKS, task_named

if TYPE_CHECKING:
    from rich.table import Table


def classifier_settings(classifier: str, task: str, assignments: Sequence[str]) -> BaseModel:
    """The classifier's default settings for the task, with the assignments applied.

    assignments: KEY=VALUE each. A VALUE is read as JSON; one that is not JSON is a string. Raises SettingError, which
    lists the settings there are, and UnknownClassifierError.
    """
    from rubricator.models.classifier_settings import SettingError, settings_with

    given = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals:
            raise SettingError(f"the setting {assignment!r} has no value: write KEY=VALUE")
        given[key.strip()] = _value(value)
    return settings_with(classifier, task_named(task).unit, given)


@dataclass(frozen=True)
class ListedSettings:
    """Every setting of a classifier. defaults: by task, then by setting. descriptions: by setting."""

    classifier: str
    defaults: dict[str, dict[str, Any]]
    descriptions: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """As JSON types."""
        return {
            "classifier": self.classifier,
            "settings": {
                name: {
                    "description": text,
                    "default": {task: each.get(name) for task, each in self.defaults.items()},
                }
                for name, text in self.descriptions.items()
            },
        }

    def __rich__(self) -> "Table":
        from rich.table import Table

        table = Table("setting", title=f"Settings of {self.classifier}", title_justify="left")
        for task in self.defaults:
            table.add_column(f"{task}, by default")
        table.add_column("what it is")
        for name, text in self.descriptions.items():
            values = [json.dumps(each[name]) if name in each else "" for each in self.defaults.values()]
            table.add_row(name, *values, text)
        return table


def settings(
    classifier: Annotated[
        Name, Field(description="Name of the classifier, as for --model of `rubricator train`.")
    ],
    *,
    task: Annotated[
        str | None,
        OneOf(tuple(TASKS)),
        Field(description="Show the defaults for this task only; by default for all tasks."),
    ] = None,
) -> ListedSettings:
    """Every setting of a classifier, with its description and its defaults. Raises UnknownClassifierError."""
    from rubricator.models.classifier import classifier_class
    from rubricator.models.classifier_settings import listed

    kind = classifier_class(classifier)
    defaults: dict[str, dict[str, Any]] = {}
    descriptions: dict[str, str] = {}
    for each in [task_named(task)] if task else TASKS.values():
        found = list(listed(kind.default_settings(each.unit)))
        defaults[each.name] = {name: value for name, value, _ in found}
        descriptions |= {name: text for name, _, text in found}
    return ListedSettings(classifier, defaults, descriptions)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
