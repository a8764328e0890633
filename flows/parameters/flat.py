"""The flat form of a step, for the command line, schedules and Prefect: each setting is a parameter of its own.

A step takes its settings as objects: `train(task, notes, settings=TrainSettings(folds=5))`. Its flat form takes their
fields: `flat(train)(task, notes, folds=5)`. The signature of the flat form is made from that of the step, so that a
setting is declared once, with its type, its default and its description.
"""

import functools
import inspect
import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, get_origin

from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticUndefined, to_json

from rubricator.flows.parameters.options import Panel, Without, marks
from rubricator.nlp.errors import RubricatorError, did_you_mean, what_is_wrong

R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])

_LOG = logging.getLogger(__name__)
_EMPTY, _KEYWORD = inspect.Parameter.empty, inspect.Parameter.KEYWORD_ONLY


class ParameterError(RubricatorError):
    """A parameter that a step does not have, or a value that it cannot take. argument: name of the parameter."""

    def __init__(self, message: str, argument: str = "") -> None:
        super().__init__(message)
        self.argument = argument


@dataclass(frozen=True)
class Removed:
    """A parameter of an earlier version. harmless: the value that had no effect; it is still accepted."""

    harmless: str
    because: str


def removed(name: str, *, harmless: str, because: str) -> Callable[[F], F]:
    """Decorator: the step's flat form accepts the harmless value of a removed parameter, with a warning, and no other.

    because: why it was removed, as the end of a sentence ("because …").
    """

    def decorated(step: F) -> F:
        vars(step).setdefault("__removed__", {})[name] = Removed(harmless, because)
        return step

    return decorated


def removed_from(step: Callable[..., Any]) -> Mapping[str, Removed]:
    """The parameters of earlier versions that the step's flat form still takes."""
    gone: Mapping[str, Removed] = getattr(
        step, "__removed__", {}
    )  # functools.wraps gives it to a wrapper too
    return gone


def warn_of_removed(step: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """Warn of removed parameters. Raises ParameterError for one with another value than the harmless one."""
    for name, was in removed_from(step).items():
        value = given.get(name)
        if value is not None and value != was.harmless:
            raise ParameterError(f"{name} was removed, {was.because}", name)
        if value is not None:
            _LOG.warning("%s was removed, %s; it is ignored", name, was.because)


def flat(step: Callable[..., R]) -> Callable[..., R]:
    """The step with the fields of its settings as keyword parameters, in place of the settings.

    Its signature holds the types with their descriptions. A call raises ParameterError for a parameter that the step
    does not have, one that is missing, and a value of the wrong type. Raises TypeError where two parameters would have
    the same name. A step without settings, or one that is flat already, keeps its parameters.
    """
    if hasattr(step, "__flat__"):
        return step
    own = list(inspect.signature(step).parameters.values())
    gone = removed_from(step)
    parameters = [flat for parameter in own for flat in _flattened(parameter)]
    parameters += [inspect.Parameter(name, _KEYWORD, default=None, annotation=str | None) for name in gone]
    names = [parameter.name for parameter in parameters]
    if twice := {name for name in names if names.count(name) > 1}:
        raise TypeError(f"{step.__name__} has two parameters {', '.join(sorted(twice))}")
    parameters.sort(key=lambda parameter: parameter.kind)
    signature = inspect.Signature(parameters)

    @functools.wraps(step)
    def flattened(*args: Any, **kwargs: Any) -> R:
        given = _given(step.__name__, signature, args, kwargs)
        warn_of_removed(step, given)
        return step(**{name: value for each in own for name, value in _as_own(each, given).items()})

    vars(flattened).update(__signature__=signature, __flat__=True)
    flattened.__annotations__ = {each.name: each.annotation for each in parameters}
    return flattened


def checked_by(check: Callable[..., None]) -> Callable[[F], F]:
    """Decorator: `check` finds errors of the step's parameters in a moment, before the step is run (see `check`).

    check: takes those parameters of the step that it needs, all with a default, and raises what the step would.
    """

    def decorated(step: F) -> F:
        vars(step)["__check__"] = check
        return step

    return decorated


def check(step: Callable[..., Any], parameters: Mapping[str, Any], *, later: Collection[str] = ()) -> None:
    """Raise what the step would raise at its start. parameters: of its flat form. later: those not checked yet."""
    found: Callable[..., None] | None = getattr(step, "__check__", None)
    if found is None:
        return
    given = _given(step.__name__, inspect.signature(flat(step)), (), dict(parameters))
    needed = inspect.signature(found).parameters.keys() - set(later)
    own = inspect.signature(step).parameters
    found(**{key: value for name in needed for key, value in _as_own(own[name], given).items()})


def checked(name: str, value: Any, annotation: Any, *, as_json: bool = False) -> Any:
    """The value, validated and converted to the type of the annotation. Raises ParameterError.

    as_json: strict; the value must have the JSON type of the annotation ("5" is no number).
    """
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(annotation)
        if as_json:
            return adapter.validate_json(to_json(value), strict=True)
        return adapter.validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    where = ".".join(map(str, (name, *first["loc"])))
    raise ParameterError(f"{where}: {what_is_wrong(first)}", name)


def _flattened(parameter: inspect.Parameter) -> Iterator[inspect.Parameter]:
    """The parameter itself, or the fields of its settings class as parameters."""
    kind = _settings_class(parameter)
    if kind is None:
        yield parameter
        return
    for name in _fields(parameter):
        field = kind.model_fields[name]
        about = (*field.metadata, Field(description=field.description), *_panel(kind))
        default = field.default if parameter.default is _EMPTY else getattr(parameter.default, name)
        yield inspect.Parameter(
            name,
            _KEYWORD,
            default=_EMPTY if default is PydanticUndefined else default,
            annotation=Annotated[field.annotation, *about],
        )


def _settings_class(parameter: inspect.Parameter) -> type[BaseModel] | None:
    annotation = parameter.annotation
    kind = annotation.__origin__ if get_origin(annotation) is Annotated else annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _fields(parameter: inspect.Parameter) -> list[str]:
    """The fields of its settings class that are parameters of the flat form."""
    kind = _settings_class(parameter)
    left_out = {name for mark in marks(parameter.annotation, Without) for name in mark.fields}
    return [name for name in kind.model_fields if name not in left_out] if kind else []


def _panel(kind: type[BaseModel]) -> list[Panel]:
    title = kind.model_config.get("title")
    return [Panel(title)] if title else []


def _given(
    step: str, signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """The parameters that were given in a call, by name, validated."""
    known = signature.parameters
    if unknown := next((name for name in kwargs if name not in known), None):
        raise ParameterError(f"{step} has no parameter {unknown!r}{did_you_mean(unknown, known)}", unknown)
    try:
        bound = signature.bind(*args, **kwargs).arguments
    except TypeError as error:
        problem = str(error)
    else:
        return {name: checked(name, value, known[name].annotation) for name, value in bound.items()}
    raise ParameterError(f"{step}: {problem}")


def _as_own(parameter: inspect.Parameter, given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameter of the step, made from those of the flat form; empty where its default is enough."""
    name = parameter.name
    kind = _settings_class(parameter)
    if kind is None:
        return {name: given[name]} if name in given else {}
    fields = {field: given[field] for field in _fields(parameter) if field in given}
    before = {} if parameter.default is _EMPTY else dict(parameter.default)
    return {name: kind.model_validate({**before, **fields})} if fields or parameter.default is _EMPTY else {}
