"""The base class of the errors that users see."""

from collections.abc import Iterable
from difflib import get_close_matches


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
