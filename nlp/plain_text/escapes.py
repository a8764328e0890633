"""Escape sequences in a note: those of HL7 v2 (chapter 2, 2.7), and escaped line ends and tabs (JSON, spreadsheets)."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable

from rubricator.nlp.plain_text.edits import Edit


def escape_edits(text: str) -> Iterable[Edit]:
    """The edits that replace escape sequences by the characters that they stand for.

    A backslash with "n" or "r" alone counts as a line end only where the text has at least as many escaped line ends as
    real ones. The path of a file has no escape sequences.
    """
    paths = [match.span() for match in _PATH.finditer(text)]
    starts = [start for start, _ in paths]
    found = []
    for match in _ESCAPE.finditer(text):
        path = bisect_right(starts, match.start()) - 1
        if path < 0 or match.start() >= paths[path][1]:
            found.append(match)
    ends = sum(match["end"] is not None for match in found)
    lost = ends >= max(1, text.count("\n"))
    for match in found:
        if (escape := match["hl7"]) is not None:
            yield *match.span(), _hl7(escape)
        elif lost or match["excel"] or (match["end"] and len(match["end"]) > 1):
            yield *match.span(), "\t" if match["tab"] else "\n"


def repetition_edits(text: str) -> Iterable[Edit]:
    """The edits for a text of one line: HL7 v2 writes "~" between the repetitions of a field, which become lines."""
    return ((*match.span(), "\n") for match in _REPETITION.finditer(text))


def _hl7(escape: str) -> str:
    if escape[0] == ".":
        return "\n" if escape[1:3] in ("br", "sp", "ce", "sk") else ""
    if escape[0] == "X":
        pairs = escape[1 : len(escape) - (len(escape) - 1) % 2]
        return bytes.fromhex(pairs).decode("latin-1").replace("\r", "\n")
    return _HL7_CHARACTERS[escape]


_ESCAPE = re.compile(
    r"\\(?P<hl7>\.br|\.sp\d*|\.ce|\.(?:in|ti|sk|fi|nf)[+-]?\d*|[FSTREHN]|X[0-9A-Fa-f]{2,8})\\"
    r"|\\{1,2}(?P<end>r\\{1,2}n|n|r)|(?P<excel>_x000[dDaA]_)|\\(?P<tab>t)"
)
_HL7_CHARACTERS = {"F": "|", "S": "^", "T": "&", "R": "~", "E": "\\", "H": "", "N": ""}
_PATH = re.compile(
    r"(?:\b[A-Za-z]:\\|(?<!\S)\\\\)[^\s\\]+(?:\\[^\s\\]+)*\.[A-Za-z]{2,4}\b|\b[B-NQRT-Z]:\\[\w.$\\-]+"
    r"|(?<!\S)\\\\[\w$-][\w.$-]*\\[\w.$\\-]+"
)
_REPETITION = re.compile(r"(?<=\S)~(?=[A-Za-z#*•-])")
