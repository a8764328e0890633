"""Edits of a text, written piece by piece."""

from __future__ import annotations

import re

Edit = tuple[int, int, str]  # text[start:end] becomes the string


class Edits:
    """Edits in the order of the text. Knows what its line holds so far, for line ends and bold type."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.edits: list[Edit] = []
        self._at = 0  # up to here the text is taken care of
        self._line = ""  # the end of what was written so far
        self._bold = False

    def keep(self, end: int) -> None:
        """The text up to `end` stays as it is."""
        if end > self._at:
            self._write(self.text[self._at : end])
            self._at = end

    def replace(self, start: int, end: int, replacement: str) -> None:
        """The text up to `start` stays, text[start:end] becomes the replacement."""
        self.keep(start)
        self.edits.append((start, end, replacement))
        self._write(replacement)
        self._at = end

    def end_line(self, start: int, end: int, *, blank_line: bool = False, then: str = "") -> None:
        """text[start:end] ends a line that holds anything; with `blank_line` a paragraph."""
        self.keep(start)
        ends = self._line[len(self._line.rstrip(" \t\n")) :].count("\n") if self._line else 2
        wanted = (2 if blank_line else 1) - ends
        self.replace(start, end, "\n" * max(0, wanted) + then)

    def bold(self, start: int, end: int, *, on: bool) -> None:
        """Bold type. It tells a heading where a line begins with it; elsewhere it is dropped."""
        self.keep(start)
        if on and not self._bold:
            self._bold = not self._line or _LINE_START.search(self._line) is not None
            self.replace(start, end, "**" if self._bold else "")
        elif not on and self._bold:
            self._bold = False
            self.replace(start, end, "**")
        else:
            self.replace(start, end, "")

    def title(self, start: int, end: int, name: str) -> None:
        """text[start:end] is a tag that names a section: the name becomes a heading on a line of its own."""
        at = self.text.find(name, start, end)
        if at < 0:  # written with character references
            self.end_line(start, end)
            return
        self.end_line(start, at, blank_line=True, then="## ")
        for blank in re.finditer("_", name):
            self.replace(at + blank.start(), at + blank.end(), " ")
        self.replace(at + len(name), end, "\n")

    def _write(self, text: str) -> None:
        if text:
            self._line = (self._line + text)[-_LONGEST_LINE_END:]


_LONGEST_LINE_END = 80
_LINE_START = re.compile(r"\n[\s•*+#>-]*$|^[\s•*+#>-]*$")
