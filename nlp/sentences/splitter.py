"""Sentences of clinical notes: hard-wrapped prose is joined, list items and lines stay separate.

Sentences are read from the plain text of the note (nlp/plain_text), without tags and escapes. Lines are joined into
units where a line break is a hard wrap, which the text on both sides of the break shows. Units are cut at list markers
inside them ("1. Aspirin. 2. Follow up."). sentencex sets the boundaries within a unit. Its errors at clinical
abbreviations are corrected.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from rubricator.nlp.contexts import Context, neighbours
from rubricator.nlp.plain_text.plain import PlainText, read_plain
from rubricator.nlp.sentences.ends import SentenceEnds
from rubricator.nlp.sentences.lines import Line, blocks_of, settle_letters
from rubricator.nlp.sentences.list_items import InnerMarks
from rubricator.nlp.sentences.view import with_bullets
from rubricator.nlp.sentences.wraps import units_of, wrap_column
from rubricator.nlp.words.tokens import HAS_LETTER_OR_DIGIT

Span = tuple[int, int]


def split_sentences(text: str, start: int = 0, end: int | None = None) -> list[Span]:
    """Half-open offsets of the sentences and list items of text[start:end], in order.

    Spans do not include leading bullets and enumerators, or white space, bars of tables and drawn rules around the
    text. A line with nothing else gives no span; neither does punctuation alone, if its line has a letter or a digit.
    All other text of the range is in exactly one span.
    """
    (spans,) = split_parts(text, [(start, len(text) if end is None else end)])
    return spans


def split_parts(text: str, parts: Iterable[Span]) -> list[list[Span]]:
    """The sentences of each part (span) of one note. The wrap column is estimated from all parts together."""
    plain = read_plain(text)
    sentences = split_plain_parts(plain, [plain.span_plain(*part) for part in parts])
    if plain.is_given:
        return sentences
    return [[plain.span_given(*sentence) for sentence in part] for part in sentences]


def sentence_contexts(text: str, spans: Sequence[Span]) -> list[Context]:
    """The context of each sentence. spans: the sentences of one note, in order.

    A context crosses the ends of sections, so that it does not leak where sections begin. Headings are never in it,
    because they are not sentences.
    """
    plain = read_plain(text)
    if plain.is_given:
        return neighbours([text[start:end] for start, end in spans])
    return neighbours([plain.of(start, end) for start, end in spans])


def split_plain_parts(plain: PlainText, parts: Iterable[Span]) -> list[list[Span]]:
    """The same as split_parts, but parts and sentences are spans of the plain text."""
    view = with_bullets(plain.text)
    blocks = [blocks_of(view, start, end) for start, end in parts]
    settle_letters([line for part in blocks for block in part for line in block])
    column = wrap_column(block for part in blocks for block in part if len(block) > 1)
    marks, ends = InnerMarks(view), SentenceEnds(view)
    return [
        [
            sentence
            for block in part
            for unit in units_of(block, column)
            for item in _items(view, marks, *unit)
            for sentence in ends.sentences(*item)
        ]
        for part in blocks
    ]


def _items(text: str, marks: InnerMarks, start: int, end: int, line: Line) -> list[Span]:
    """A unit, cut at the list markers inside it."""
    lead = line.content[: line.marker]
    found = [] if marks.none and not lead else marks.inside(start, end, lead, line.number)
    if not found and start < end and text[start].isalnum() and text[end - 1] not in "|*-=~#":
        return [(start, end)]
    items = []
    for mark_start, mark_end in found:
        items.append(_stripped(text, start, mark_start))
        start = max(start, mark_end)
    items.append(_stripped(text, start, end))
    worded = [item for item in items if HAS_LETTER_OR_DIGIT.search(text, *item)]
    if worded or HAS_LETTER_OR_DIGIT.search(text, text.rfind("\n", 0, line.start) + 1, _line_end(text, end)):
        return worded
    return [item for item in items if item[0] < item[1]]


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def _stripped(text: str, start: int, end: int) -> Span:
    """The span text[start:end] without blanks, bold markup and separators around it."""
    start = _EDGE.match(text, start, end).end()  # type: ignore[union-attr]  # the pattern can match an empty string
    while start < end:
        last = text[end - 1]
        at = end - 1
        if last in _RULES:
            while at > start and text[at - 1] == last:
                at -= 1
            if end - at < _RULES[last]:
                break
        elif not last.isspace() and last != "|":
            break
        end = at
    return start, end


_RULES = {"*": 2, "-": 3, "=": 3, "~": 3, "#": 3}  # this many or more in a row are not text
_EDGE = re.compile(r"(?:\s|\*\*+|---+|===+|~~~+|###+|\||[:.,;](?=\s))*")
