"""Dictation commands that were typed as words: "new paragraph", "colon"."""

from __future__ import annotations

import re
from collections.abc import Iterable

from rubricator.nlp.plain_text.edits import Edit


def says_new_paragraph(text: str) -> bool:
    """Whether the text has a command that begins a new paragraph or line."""
    return _NEW_PARAGRAPH.search(text) is not None


def dictation_edits(text: str) -> Iterable[Edit]:
    """The edits that replace dictation commands by line ends and punctuation.

    A single "new line" is not a command where no colon was dictated: "a new line was placed".
    """
    breaks = list(_NEW_PARAGRAPH.finditer(text))
    only_lines = all("line" in match[0].lower() for match in breaks)
    if only_lines and len(breaks) < 2 and not _SPOKEN_COLON.search(text):
        return
    marks = [(*match.span(), "\n\n") for match in breaks]
    if marks and ":" not in text:
        marks += [(*match.span(), _SPOKEN[match["name"].lower()]) for match in _SPOKEN_MARK.finditer(text)]
    at = 0
    for start, end, mark in sorted(marks):
        if end > at:
            yield max(start, at), end, mark
            at = end


_NEW_PARAGRAPH = re.compile(r"\b(?:next|new) (?:paragraph|line)\b[.,]?[ \t]*", re.IGNORECASE)
_SPOKEN_COLON = re.compile(r"\w colon\b", re.IGNORECASE)
_SPOKEN_MARK = re.compile(
    r"[ \t]{1,3}(?P<name>colon|period|comma|full stop|new line|next line)\b[ \t]*", re.IGNORECASE
)
_SPOKEN = {
    "colon": ": ",
    "period": ". ",
    "comma": ", ",
    "full stop": ". ",
    "new line": "\n",
    "next line": "\n",
}
