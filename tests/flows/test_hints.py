"""Hints of the command line: each names a class that there is, and options that there are."""

import re
from importlib import import_module

import pytest

from rubricator.flows.cli import COMMANDS
from rubricator.flows.command_line.hints import HINTS, hint_for
from rubricator.nlp.errors import RubricatorError
from rubricator.nlp.readers.files import ColumnError, NoteFormatError


@pytest.mark.parametrize("name", HINTS)
def test_every_class_with_a_hint_is_there(name: str) -> None:
    module, _, kind = name.rpartition(".")
    assert issubclass(getattr(import_module(module), kind), RubricatorError)


def test_hints_name_options_that_there_are() -> None:
    options = {
        option
        for name, command in COMMANDS.items()
        for parameter in command.made(name).params
        for option in parameter.opts
    }
    texts = [hint for hint in HINTS.values() if isinstance(hint, str)]
    named = {option for text in texts for option in re.findall(r"--[a-z-]+", text)}
    assert named and named <= options


def test_a_column_has_its_option_and_an_error_without_a_hint_none() -> None:
    assert hint_for(ColumnError("no text", "text_column")) == "see --text-column"
    assert hint_for(ColumnError("two dates")) == ""
    assert hint_for(NoteFormatError("broken")) == ""
