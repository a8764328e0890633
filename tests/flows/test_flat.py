"""The flat form of a step: its signature, what it refuses, and parameters of earlier versions."""

import inspect
import logging
import pickle
from typing import Annotated

import pytest
from pydantic import Field

from rubricator.flows.parameters.flat import ParameterError, flat, removed
from rubricator.flows.parameters.options import Home, PathName, StepSettings, Without


class Learning(StepSettings):
    folds: int = Field(default=10, ge=2, description="Folds.")
    lexicon: tuple[PathName, ...] = ()


class Columns(StepSettings):
    id_column: str | None = None
    evidence_column: str | None = None


LEARNING, COLUMNS = Learning(), Columns()


@removed("denoise", harmless="none", because="for it made models worse")
def learn(
    task: str,
    *,
    settings: Learning = LEARNING,
    columns: Annotated[Columns, Without(("evidence_column",))] = COLUMNS,
    home: Home = None,
) -> tuple[str, Learning, Columns, str | None]:
    return task, settings, columns, home


def test_fields_take_the_place_of_their_settings() -> None:
    parameters = inspect.signature(flat(learn)).parameters
    assert list(parameters) == ["task", "folds", "lexicon", "id_column", "home", "denoise"]
    assert {name: each.default for name, each in parameters.items()} == {
        "task": inspect.Parameter.empty,
        "folds": 10,
        "lexicon": (),
        "id_column": None,
        "home": None,
        "denoise": None,
    }


def test_a_call_gives_the_step_its_settings() -> None:
    assert flat(learn)("plan") == ("plan", Learning(), Columns(), None)
    found = flat(learn)("plan", folds=3, lexicon=["a.toml"], id_column="key", home="here")
    assert found == ("plan", Learning(folds=3, lexicon=("a.toml",)), Columns(id_column="key"), "here")


def test_a_flat_form_has_itself_as_its_flat_form() -> None:
    assert flat(flat(learn)) is not learn
    assert flat(flat(learn))("plan", folds=4)[1].folds == 4


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"fold": 2}, "learn has no parameter 'fold'; did you mean 'folds'?"),
        ({"evidence_column": "spans"}, "learn has no parameter 'evidence_column'"),
        ({"folds": 1}, "folds: it must be greater than or equal to 2"),
        ({"folds": "many"}, "folds: it must be a whole number"),
        ({"lexicon": "a.toml"}, "lexicon: it must be a list"),
        ({"lexicon": ["a.toml", ""]}, "lexicon.1: it is empty"),
        ({"home": " "}, "home: it is empty"),
        ({"denoise": "cleanlab"}, "denoise was removed, for it made models worse"),
    ],
)
def test_what_a_step_cannot_take_is_named(given: dict[str, object], message: str) -> None:
    with pytest.raises(ParameterError) as raised:
        flat(learn)("plan", **given)  # type: ignore[arg-type]
    assert str(raised.value).startswith(message)
    assert raised.value.argument == next(iter(given))
    copied = pickle.loads(pickle.dumps(raised.value))  # Prefect hands errors on so
    assert (str(copied), copied.argument) == (str(raised.value), raised.value.argument)


def test_a_missing_parameter_is_named() -> None:
    with pytest.raises(ParameterError, match="learn: missing a required argument: 'task'"):
        flat(learn)()


def test_the_harmless_value_of_a_removed_parameter_is_taken_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        assert flat(learn)("plan", denoise="none") == flat(learn)("plan")
    assert "denoise was removed, for it made models worse; it is ignored" in caplog.text


def test_two_parameters_of_one_name_are_an_error_of_the_definition() -> None:
    def twice(*, folds: int, settings: Learning = LEARNING) -> None: ...

    with pytest.raises(TypeError, match="twice has two parameters folds"):
        flat(twice)
