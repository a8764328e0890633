"""Commands of the command line, made from the flat forms of steps: an option is declared once, in the step."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import GenericAlias, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from annotated_types import Ge, Le
from pydantic.fields import FieldInfo

from rubricator.flows.parameters.flat import flat, removed_from
from rubricator.flows.parameters.options import Commas, IsPath, Metavar, OneOf, OnlyFor, Panel, marks
from rubricator.nlp.tasks import TASKS

Run = Callable[[dict[str, Any]], None]
_KEYWORD = inspect.Parameter.KEYWORD_ONLY


def command_of(
    step: Callable[..., Any], run: Run, switches: Sequence[inspect.Parameter]
) -> Callable[..., None]:
    """A function for Typer to make a command from. Its options are the parameters of the step's flat form.

    run: called with the options that were given, by name; the step has defaults for the others. switches: further
    options, which are no parameters of the step.
    """
    hidden = removed_from(step)
    typed = inspect.signature(flat(step)).parameters
    parameters = [_typer_parameter(each, is_hidden=each.name in hidden) for each in typed.values()]

    def command(**given: Any) -> None:
        run(
            {name: _value(typed.get(name), value) for name, value in given.items() if value not in (None, [])}
        )

    parameters += switches
    command.__name__ = step.__name__
    vars(command)["__signature__"] = inspect.Signature(parameters)
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    return command


def switch(name: str, *typed: str, what: str) -> inspect.Parameter:
    """An option without a value, which is no parameter of a step. what: its help."""
    about = typer.Option(*typed, help=what, rich_help_panel="Output")
    return inspect.Parameter(name, _KEYWORD, default=False, annotation=Annotated[bool, about])


def _tasks_with(option: str) -> str:
    return " and ".join(task.name for task in TASKS.values() if option in task.options)


def _typer_parameter(parameter: inspect.Parameter, *, is_hidden: bool) -> inspect.Parameter:
    field = FieldInfo.from_annotation(parameter.annotation)
    kind, is_list = _kind(field.annotation)
    about: dict[str, Any] = {
        "help": field.description,
        "rich_help_panel": _first(panel.title for panel in marks(parameter.annotation, Panel))
        or _first(f"Only for {_tasks_with(each.option)}" for each in marks(parameter.annotation, OnlyFor)),
        "metavar": _first(mark.name for mark in marks(parameter.annotation, Metavar)),
        "min": _first(mark.ge for mark in field.metadata if isinstance(mark, Ge)),
        "max": _first(mark.le for mark in field.metadata if isinstance(mark, Le)),
        "hidden": is_hidden,
    }
    if names := _first(mark.names for mark in marks(parameter.annotation, OneOf)):
        kind = Literal[tuple(names)]
    if marks(parameter.annotation, IsPath):
        kind, about["path_type"] = Path, str  # keep the string as typed: Path("") would be the current folder
    if parameter.kind is _KEYWORD:
        declared = [f"--{parameter.name.replace('_', '-')}"]
        info: Any = typer.Option(*declared, **about)
    else:
        info = typer.Argument(**{**about, "metavar": about["metavar"] or parameter.name.upper()})
    is_required = parameter.default is inspect.Parameter.empty
    annotation: Any = GenericAlias(list, (kind,)) if is_list else kind
    default = parameter.default or None if is_list else parameter.default
    return parameter.replace(
        annotation=Annotated[annotation if is_required or default is not None else annotation | None, info],
        default=inspect.Parameter.empty if is_required else default,
    )


def _kind(annotation: Any) -> tuple[Any, bool]:
    """The type of a value, and whether there may be several."""
    if get_origin(annotation) is Annotated:
        return _kind(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        [one] = [part for part in get_args(annotation) if part is not type(None)]
        return _kind(one)
    if get_origin(annotation) is tuple and get_args(annotation)[-1] is Ellipsis:
        return _kind(get_args(annotation)[0])[0], True
    return annotation, False


def _value(parameter: inspect.Parameter | None, value: Any) -> Any:
    """The option as the step takes it: values with commas are split."""
    if parameter is None or not marks(parameter.annotation, Commas):
        return value
    return [part.strip() for each in value for part in each.split(",")]


def _first(found: Iterable[Any]) -> Any:
    return next(iter(found), None)
