"""The one base of the errors that users see."""

from collections.abc import Iterable
from difflib import get_close_matches


class RubricatorError(Exception):
    """An error whose message says what, where and the mend, and never holds note text: safe to show and to log."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a message about a name that is not there: the known name that is most like it, if one is.

    >>> did_you_mean("trasnformer", ["cnn", "svm", "transformer"])
    "; did you mean 'transformer'?"
    """
    close = get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
