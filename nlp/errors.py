"""The one base of the errors that users see."""


class RubricatorError(Exception):
    """An error whose message says what, where and the mend, and never holds note text: safe to show and to log."""
