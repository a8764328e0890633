"""The base class of the errors that users see."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any


class RubricatorError(Exception):
    """An error that is safe to show and to log: its message never quotes note text.

    The message says what is wrong, where, and what to do about it.
    """


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the known name that is most similar, or "" if none is.

    >>> did_you_mean("trasnformer", ["cnn", "svm", "transformer"])
    "; did you mean 'transformer'?"
    """
    close = get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def counted(number: int, what: str) -> str:
    """A number of things, such as "1 code" or "2,000 codes"."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def what_is_wrong(error: Mapping[str, Any]) -> str:
    """What is wrong with a value, in words for users. error: one of `ValidationError.errors()`.

    >>> what_is_wrong({"type": "int_parsing", "msg": "Input should be a valid integer, unable to parse"})
    'it must be a whole number'
    """
    kind, message = str(error["type"]), str(error["msg"])
    known = next((said for start, said in _SAID.items() if kind.startswith(start)), None)
    return known or message.removeprefix("Value error, ").replace("Input should be", "it must be")


_SAID = {  # by the beginning of pydantic's type of error
    "string_pattern_mismatch": "it is empty; give a name, or leave it out",
    "string_too_short": "it is empty; give a name, or leave it out",
    "int_": "it must be a whole number",
    "float_": "it must be a number",
    "bool_": "it must be true or false",
    "string_type": "it must be a string",
    "tuple_type": "it must be a list",
    "list_type": "it must be a list",
    "set_type": "it must be a list",
    "frozen_set_type": "it must be a list",
    "dict_type": "it must be a table of keys and values",
    "model_type": "it must be a table of keys and values",
    "missing": "it is missing",
    "extra_forbidden": "there is no such key",
}
