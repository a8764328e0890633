"""Lines of a note with their leading marks (bullets and enumerators), in blocks between blank lines."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rubricator.nlp.hidden_text import hides_text
from rubricator.nlp.sentences.list_items import leading_mark


@hides_text()
@dataclass(slots=True)
class Line:
    start: int  # of the first character that is not blank, also of a marker
    end: int
    indent: int
    content: str  # stripped, with the marker
    marker: int  # length of the leading bullet or enumerator with its blanks; 0 for none
    number: int | None  # the number of an enumerator: 3 for "3." and "c)"

    @property
    def width(self) -> int:
        return self.indent + len(self.content)


def blocks_of(text: str, start: int, end: int) -> list[list[Line]]:
    """The blocks of text[start:end]: runs of lines without a blank line between them."""
    blocks: list[list[Line]] = []
    block: list[Line] = []
    at = start
    for raw in text[start:end].split("\n"):
        content = raw.strip()
        if content:
            indent = 0 if len(content) == len(raw) else len(raw) - len(raw.lstrip())
            marker, number = leading_mark(content)
            if not block:
                blocks.append(block)
            block.append(Line(at + indent, at + indent + len(content), indent, content, marker, number))
        elif block:
            block = []
        at += len(raw) + 1
    for block in blocks:
        if len(block) > 1:
            _join_marks(block)
    return blocks


def _join_marks(block: list[Line]) -> None:
    """Takes "-" before a digit ("-2 tabs") for a bullet, not for a minus, in a block with bullets such as "-rest"."""
    joined = [line for line in block if line.content[0] in "-–*" and line.content[1:2].isalnum()]
    if len(joined) > 1 and any(line.marker or line.content[0] == "*" for line in joined):
        for line in joined:
            line.marker = max(line.marker, 1)


def settle_letters(lines: Sequence[Line]) -> None:
    """Unmarks "A.", "B.", … without a neighbour in alphabetical order: the letter begins a name, as in "M. Dupont"."""
    lettered = [
        line
        for line in lines
        if line.number
        and line.content[0].isupper()
        and line.content[1:2] == "."
        and line.marker < len(line.content)
    ]
    roman = bool(lettered) and any(line.content.startswith("II.") for line in lines)
    for at, line in enumerate(lettered):
        number = line.number or 0
        before = lettered[at - 1].number if at else None
        after = lettered[at + 1].number if at + 1 < len(lettered) else None
        counts_on = before == number - 1 or after == number + 1
        if line.content[0] == "A":
            set_off = line.marker > len("A. ")
            counts_on = counts_on or after == _LETTER_P or set_off or _ITEM_B.search(line.content) is not None
        elif line.content[0] == "I":
            counts_on = counts_on or roman
        if not counts_on:
            line.marker, line.number = 0, None


_LETTER_P = 16  # "A. … P. …" of SOAP
_ITEM_B = re.compile(r"\sB\.\s(?<!\band\sB\.\s)")
