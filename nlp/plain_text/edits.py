"""Collects the edits of a text from its start to its end."""

from __future__ import annotations

import re

Edit = tuple[int, int, str]  # text[start:end] becomes the string


class Edits:
    """The edits of a text so far, in order. Keeps the current line of the edited text, for line ends and bold type."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.edits: list[Edit] = []
        self._at = 0  # the text up to here is done
        self._line = ""  # the end of the edited text so far
        self._bold = False

    def keep(self, end: int) -> None:
        """Keeps the text up to `end` as it is."""
        if end > self._at:
            self._write(self.text[self._at : end])
            self._at = end

    def replace(self, start: int, end: int, replacement: str) -> None:
        """Keeps the text up to `start`, and replaces text[start:end]."""
        self.keep(start)
        self.edits.append((start, end, replacement))
        self._write(replacement)
        self._at = end

    def end_line(self, start: int, end: int, *, blank_line: bool = False, then: str = "") -> None:
        """Replaces text[start:end] by a line end, unless the line is empty so far; with `blank_line` by a blank line.

        then: what the next line begins with.
        """
        self.keep(start)
        ends = self._line[len(self._line.rstrip(" \t\n")) :].count("\n") if self._line else 2
        wanted = (2 if blank_line else 1) - ends
        self.replace(start, end, "\n" * max(0, wanted) + then)

    def bold(self, start: int, end: int, *, on: bool) -> None:
        """Replaces text[start:end] by "**" where bold type begins a line, as in a heading; elsewhere removes it."""
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
        """Replaces the tag text[start:end] by the section name in it, as a heading on its own line."""
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
