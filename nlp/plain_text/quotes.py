"""Quoted mail in a note: removes the ">" before its lines."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rubricator.nlp.lexicon.lexicon import Lexicon
from rubricator.nlp.plain_text.edits import Edit


def quote_edits(text: str) -> Sequence[Edit]:
    """The edits that remove the ">" before quoted lines ("> Exam: pale").

    There are no edits unless a quoted line has a heading of a section that precedes the plan. Without one, ">" may be a
    bullet in the plan.
    """
    found = list(_QUOTE.finditer(text))
    if not any(_begins_before_plan(text[match.end() : match.end() + _LONGEST_HEADING]) for match in found):
        return []
    return [(*match.span(), "") for match in found]


def _begins_before_plan(text: str) -> bool:
    line = text.split("\n", 1)[0]
    lexicon = Lexicon.load()
    match = lexicon.match(line.partition(":")[0].strip(" \t*#_"), loose=False)
    return match is not None and lexicon.categories[match.category].place == "before_plan"


_QUOTE = re.compile(r"^[ \t]{0,3}(?:>[ \t]?)+(?=[A-Za-z#*•\d-]|$)", re.MULTILINE)
_LONGEST_HEADING = 60
