"""The plain text of a note: the note without its file format.

Sections, sentences and features are read from the plain text. Every offset in a result points into the text as given.
A note that is already plain is returned as it is, after a few fast checks.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from functools import lru_cache

from rubricator.nlp.plain_text.broken_headings import bold_initial_edits, bracketed_initial_edits, wrap_edits
from rubricator.nlp.plain_text.dictation import dictation_edits, says_new_paragraph
from rubricator.nlp.plain_text.edits import Edit
from rubricator.nlp.plain_text.escapes import escape_edits, repetition_edits
from rubricator.nlp.plain_text.markup import (
    MOST_ESCAPED,
    NO_MARK,
    has_escaped_markup,
    has_markup,
    markup_edits,
)
from rubricator.nlp.plain_text.quotes import quote_edits
from rubricator.nlp.plain_text.rtf import rtf_edits

Span = tuple[int, int]


class PlainText:
    """The plain text of a note, and the span of the note as given that each of its characters comes from.

    All offsets are half-open string offsets.
    """

    __slots__ = ("_ends", "_starts", "given", "text")

    def __init__(self, given: str) -> None:
        self.given = given
        self.text = given
        self._starts: array[int] | None = None  # None: nothing was changed
        self._ends: array[int] | None = None

    def __repr__(self) -> str:
        return f"PlainText({len(self.given)} characters given, {len(self.text)} plain)"

    @property
    def is_given(self) -> bool:
        """Whether the plain text is the text as given."""
        return self._starts is None

    def span_given(self, start: int, end: int) -> Span:
        """The span of the given text that text[start:end] comes from."""
        if self._starts is None or self._ends is None:
            return start, end
        first = self._starts[start] if start < len(self._starts) else len(self.given)
        return first, self._ends[end - 1] if start < end else first

    def span_plain(self, start: int, end: int) -> Span:
        """The span of the plain text that given[start:end] became."""
        if self._starts is None:
            return start, end
        return bisect_left(self._starts, start), bisect_left(self._starts, end)

    def of(self, start: int, end: int) -> str:
        """The plain text of given[start:end]."""
        if self._starts is None:
            return self.given[start:end]
        return self.text[slice(*self.span_plain(start, end))]

    def with_escaped(self, character: str, *, otherwise: str) -> str:
        """The plain text with another character for each one that the text as given has too: that was not escaped."""
        if self._starts is None or character not in self.text:
            return self.text
        pieces: list[str] = []
        at = 0
        while (found := self.text.find(character, at)) >= 0:
            is_given = self.given[self._starts[found]] == character
            pieces += (self.text[at:found], otherwise if is_given else character)
            at = found + 1
        return "".join([*pieces, self.text[at:]])

    def rewrite(self, edits: Iterable[Edit]) -> None:
        """Applies edits, in order of their offsets in `text`. Offsets can still be mapped to the text as given."""
        old_starts = self._starts or range(len(self.text))
        old_ends = self._ends or range(1, len(self.text) + 1)
        starts, ends = array("q"), array("q")
        pieces: list[str] = []
        at = 0
        for start, end, replacement in edits:
            pieces += (self.text[at:start], replacement)
            starts.extend(old_starts[at:start])
            ends.extend(old_ends[at:start])
            if replacement:
                first = old_starts[start] if start < len(self.text) else len(self.given)
                starts.extend([first] * len(replacement))
                ends.extend([old_ends[end - 1] if end > start else first] * len(replacement))
            at = end
        if not pieces:
            return
        pieces.append(self.text[at:])
        starts.extend(old_starts[at:])
        ends.extend(old_ends[at:])
        self.text, self._starts, self._ends = "".join(pieces), starts, ends


@lru_cache(maxsize=4)
def read_plain(given: str) -> PlainText:
    """The plain text of a note. Never raises. The last few notes are cached, because several steps need each note."""
    plain = PlainText(given)
    _read_format(plain)
    if "\n" not in plain.text:
        _read_lost_lines(plain)
    _mend_headings(plain)
    return plain


def _read_format(plain: PlainText) -> None:
    """Converts RTF, escape sequences and HTML."""
    if "\\" in plain.given and plain.given.lstrip("\ufeff \t\r\n").startswith("{\\rtf"):
        plain.rewrite(rtf_edits(plain.text))
    if "\\" in plain.text or ("_" in plain.text and "_x000" in plain.text):
        plain.rewrite(escape_edits(plain.text))
    if has_markup(plain.text):
        plain.rewrite(markup_edits(plain.text))
        for _ in range(MOST_ESCAPED):
            text = plain.with_escaped("<", otherwise=NO_MARK)
            if not has_escaped_markup(text):
                break
            plain.rewrite(markup_edits(text))


def _read_lost_lines(plain: PlainText) -> None:
    """Restores the line ends of a text of one line."""
    if "~" in plain.text:
        plain.rewrite(repetition_edits(plain.text))
    if says_new_paragraph(plain.text):
        plain.rewrite(dictation_edits(plain.text))


def _mend_headings(plain: PlainText) -> None:
    """Removes marks and line ends inside or before headings."""
    if "(" in plain.text and (edits := bracketed_initial_edits(plain.text)):
        plain.rewrite(edits)
    may_be_bold = ("*" in plain.text and "**" in plain.text) or ("_" in plain.text and "__" in plain.text)
    if may_be_bold and (edits := bold_initial_edits(plain.text)):
        plain.rewrite(edits)
    if ">" in plain.text and (edits := quote_edits(plain.text)):
        plain.rewrite(edits)
    if edits := wrap_edits(plain.text):
        plain.rewrite(edits)
