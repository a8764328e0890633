"""Cells of HTML tables that are headings: of rows, or of columns for problems and plans."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rubricator.nlp.hidden_text import hides_text
from rubricator.nlp.lexicon.lexicon import Lexicon
from rubricator.nlp.plain_text.section_names import is_section_name


class TableHeads(NamedTuple):
    """Offsets of the tags of heading cells."""

    of_rows: frozenset[int]  # in tables where the lexicon knows one of them: "<th>Plan</th><td>Rest</td>"
    of_mixed_columns: frozenset[int]  # the first cell of a row of column heads that name problems and plans


def table_heads(text: str) -> TableHeads:
    """The heads of the rows and of the mixed columns in all tables of a text."""
    of_rows: set[int] = set()
    of_mixed_columns: set[int] = set()
    for rows in _tables(text):
        pairs = [row for row in rows if row.kinds == {"th", "td"} and row.begins_with_head]
        if any(is_section_name(row.names[0]) for row in pairs):
            of_rows.update(row.start for row in pairs)
        of_mixed_columns.update(
            row.start
            for row in rows
            if (row.is_first and row.kinds != {"th", "td"}) or row.kinds == {"th"}
            if _mix_problems_and_plans(row.names)
        )
    return TableHeads(frozenset(of_rows), frozenset(of_mixed_columns))


@hides_text()
class _Row(NamedTuple):
    """A table row of several cells that is the first row or begins with a "th" cell."""

    start: int  # offset of its first cell
    kinds: set[str]  # the tags of its cells, "th" and "td"
    begins_with_head: bool  # the first cell is "th", the second "td"
    names: list[str]  # the texts of its cells
    is_first: bool


def _tables(text: str) -> Iterator[list[_Row]]:
    """The rows of each table that may have headings."""
    rows: list[_Row] = []
    first = True
    for match in _ROW.finditer(text):
        if match["table"]:
            yield rows
            rows, first = [], True
            continue
        row = _row(text, match.end(), is_first=first)
        first = False
        if row is not None:
            rows.append(row)
    yield rows


def _row(text: str, start: int, *, is_first: bool) -> _Row | None:
    inside = text[start : start + _LONGEST_HEAD_ROW]
    inside = inside[: end.start()] if (end := _ROW_END.search(inside)) else inside
    cells = list(_CELL_TAG.finditer(inside))
    tags = [cell[1].lower() for cell in cells]
    if len(cells) < 2 or not (is_first or tags[0] == "th"):
        return None
    stops = [cell.start() for cell in cells[1:]] + [len(inside)]
    names = [
        html.unescape(_TAG.sub("", inside[cell.end() : stop])).strip(" \t\n\r:")
        for cell, stop in zip(cells, stops, strict=True)
    ]
    return _Row(start + cells[0].start(), set(tags), tags[:2] == ["th", "td"], names, is_first)


def _mix_problems_and_plans(names: Sequence[str]) -> bool:
    lexicon = Lexicon.load()
    if (whole := lexicon.match(" ".join(names), loose=False)) is not None:
        return whole.category == "assessment_and_plan"
    found = {match.category for name in names if (match := lexicon.match(name, loose=False)) is not None}
    return bool(found & lexicon.of_kind("problem_column")) and bool(found & lexicon.of_kind("plan_column"))


_ROW = re.compile(r"<(?:(?P<table>table)|tr)\b[^<>]{0,300}>", re.IGNORECASE)
_ROW_END = re.compile(r"</?t(?:r|able)\b", re.IGNORECASE)
_CELL_TAG = re.compile(r"<(t[hd])\b[^<>]{0,300}>", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]*>")
_LONGEST_HEAD_ROW = 1000
