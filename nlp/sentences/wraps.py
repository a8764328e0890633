"""Hard wraps: line breaks inside a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

from rubricator.nlp.sentences.lines import Line
from rubricator.nlp.words.tokens import word_set


def wrap_column(blocks: Iterable[list[Line]]) -> int | None:
    """The column at which the lines of a note were hard-wrapped; None where they were not.

    It is near the width of the widest line that runs on: one with a lower-case word after it, or one in capitals that
    ends with a word which cannot end a sentence.
    """
    widths = []
    widest = 0
    for block in blocks:
        for line, following in pairwise(block):
            width = line.width
            if _SHORTEST_WRAP <= width <= _LONGEST_WRAP and not following.marker:
                widths.append(width)
                if (
                    width > widest
                    and line.content[-1] not in _TERMINAL
                    and (following.content[0].islower() or (line.content.isupper() and _dangling(line)))
                ):
                    widest = width
    return max(width for width in widths if width <= widest + _RAGGED) if widest else None


def units_of(block: list[Line], column: int | None) -> Iterator[tuple[int, int, Line]]:
    """The units of a block: lines, joined where a break is a hard wrap. (start after the marker, end, first line)."""
    if len(block) == 1:
        line = block[0]
        yield line.start + line.marker, line.end, line
        return
    breaks = list(pairwise(block))
    longest = max(line.width for line in block)
    even = len(breaks) > 1 and _SHORTEST_WRAP <= longest <= _LONGEST_WRAP
    even = even and all(line.width + 1 + len(_first(following)) > longest for line, following in breaks)
    if even and (len(breaks) > 2 or not any(_capitalised(following) for _, following in breaks)):
        column = longest  # every line was filled up to this column
    elif longest < _SHORTEST_WRAP and any(
        _dangling(line) and _lower(following) for line, following in breaks
    ):
        column = longest
    lower_case_list = block[0].content[block[0].marker : block[0].marker + 1].islower() and not even
    first, end = block[0], block[0].end
    for line, following in breaks:
        if _continues(first, line, following, column, lower_case_list=lower_case_list, even=even):
            end = following.end
        else:
            yield first.start + first.marker, end, first
            first, end = following, following.end
    yield first.start + first.marker, end, first


def _first(line: Line) -> str:
    return line.content.split(None, 1)[0]


def _dangling(line: Line) -> bool:
    return line.content[line.content.rfind(" ") + 1 :].rstrip(".").lower() in _DANGLING


def _lower(line: Line) -> bool:
    return line.content[0].islower()


def _capitalised(line: Line) -> bool:
    return line.content[0].isupper() and not line.content.isupper()


def _continues(
    first: Line, line: Line, following: Line, column: int | None, *, lower_case_list: bool, even: bool
) -> bool:
    """Whether the break between two lines is a hard wrap. first: the first line of their unit."""
    last = line.content[-1]
    terminal = last in _TERMINAL
    full = column is not None and column >= line.width > column - 1 - len(_first(following))
    dangling = last in ",&/(" or _dangling(line)
    if following.marker:  # perhaps a number that the wrap moved to the start of a line: "GCS of / 15. She …"
        listed = first.number is not None and following.number == first.number + 1
        return (full or dangling) and not terminal and following.number is not None and not listed
    lower = _lower(following) or _DOSE.match(following.content) is not None
    if terminal and last != ".":
        return full and (lower or _INNER_END.search(line.content) is not None)
    if line is first and _hangs(line, following):
        return True
    if terminal:
        return full or dangling
    if dangling and (full or (lower and not lower_case_list)):
        return True
    if lower and line.width <= _LONGEST_WRAP:
        runs_on = line.width >= _SHORTEST_WRAP // 2 and _first(following) in _RUNNING_ON
        return full or even or (not lower_case_list and (line.width >= _SHORTEST_WRAP or runs_on))
    return full and not _LABEL.match(following.content)


def _hangs(item: Line, following: Line) -> bool:
    """Whether a line that begins with a digit is indented like the text of the item above it."""
    text_at = item.indent + item.marker
    return item.indent < text_at <= following.indent and following.content[0].isdigit()


_LONGEST_WRAP = 130
_SHORTEST_WRAP = 40
_RAGGED = 8
_TERMINAL = frozenset(".!?:;")
_DANGLING = word_set(  # a line that ends with one of these runs on
    "a an the of and or nor but with without to for from in on at by as than that which who whose is are was "
    "were be been has have had will would should may can could his her their this these if when while into "
    "through between about until since because including per after before due not no x dr mr mrs ms"
)
_RUNNING_ON = word_set(
    "of and or nor than that which who until unless with without for to in on at by from because as"
)
_INNER_END = re.compile(r"\.\s")
_DOSE = re.compile(
    r"\d+(?:[.,]\d+)?(?:\s?-\s?\d+)? ?"
    r"(?:m?c?g|m[lL]|units?|%|tablets?|capsules?|puffs?|hours?|days?|weeks?|months?|years?)\b"
)
_LABEL = re.compile(r"[A-Z][\w/&() -]{0,40}:(?:\s|$)")
