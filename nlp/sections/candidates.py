"""Candidates: phrases in a note that look like headings. finder.py decides which of them are headings.

Candidates are read line by line from a *view* of the plain text, in which plain characters replace no-break spaces,
unusual line ends and pictures. The view has the same length, so that its offsets are those of the plain text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from rubricator.nlp.hidden_text import hides_text
from rubricator.nlp.lexicon.lexicon import Lexicon
from rubricator.nlp.plain_text.characters import ODD_CHARACTER, plain_character, plain_lines
from rubricator.nlp.sections.heading_phrase import EDGE, FIRST_WORD, Candidate, HeadingPhrase, PhraseReader
from rubricator.nlp.sections.inline import InlineHeadings, Layout
from rubricator.nlp.sections.line_starts import LETTER_STARTS, LONGEST_TITLE, LineStarts
from rubricator.nlp.sections.lines import (
    LONGEST_SIGNED,
    SIGNED_ENDS,
    ends_as_signed,
    is_closing,
    is_page_line,
    is_rule,
    underlines,
)

# What can be read from a line alone: the heading that it begins with; whether nothing follows this heading; the
# headings inside the line, by their offsets in it; which of "rule", "page", "closing" and "title" the line may be.
_Line = tuple[HeadingPhrase | None, bool, tuple[Candidate, ...], tuple[str, ...]]


class HeadingReader:
    """Finds heading candidates. Readings of lines and of line beginnings are cached, up to a bound."""

    def __init__(self, lexicon: Lexicon) -> None:
        phrases = PhraseReader(lexicon)
        self._starts, self._inline = LineStarts(phrases), InlineHeadings(phrases)
        self._closing_words, self._page_words = phrases.closing_words, phrases.page_words
        self._beginnings = self._closing_words | self._page_words | lexicon.first_words
        self._lines: dict[str, _Line] = {}

    def view(self, text: str) -> str:
        """The text with plain characters for unusual blanks, line ends and pictures. Its length does not change."""
        text = plain_lines(text)
        if "___" in text:
            text = _REDACTED.sub(_WORD_OF_THREE, text)
        return text if text.isascii() else ODD_CHARACTER.sub(plain_character, text)

    def candidates(self, view: str) -> tuple[list[Candidate], list[int]]:
        """Heading candidates in order, and the offsets of signatures, boilerplate and rules that end a section."""
        if not view.isascii() and _ACCENTED.search(view):
            view = view.translate(_WITHOUT_ACCENTS)
        scan = _Scan()
        found = scan.found
        layout = _layout(view)
        # a line reads differently in a note that lost its line breaks or is typed in capitals
        known = self._lines if not (layout.one_line or layout.all_capitals) else {}
        after = 0
        for line in view.split("\n"):
            start, after = after, after + len(line) + 1
            content = line.lstrip()
            if not content:
                scan.after_blank, scan.above = True, ""
                continue
            reading = known.get(content)
            if reading is None:
                reading = self._read_line(content, layout)
                if len(content) < _LONGEST_KNOWN_LINE:
                    if len(known) > _MOST_KNOWN:
                        known.clear()
                    known[content] = reading
            phrase, alone, inline, marks = reading
            if marks and scan.sets_aside(marks, content, start):
                continue
            if scan.rule >= 0:
                scan.end_at_rule()
            begin = after - 1 - len(content)
            if phrase is not None:
                found.append((phrase, begin, alone, scan.after_blank))
            for named, offset, _, after_blank in inline:
                found.append((named, begin + offset, False, after_blank))
            if layout.one_line:
                self._read_lost_lines(content, phrase.after if phrase else 0, begin, layout, scan)
            scan.after_blank, scan.above = False, content
        if scan.rule >= 0:
            scan.end_at_rule()
        return _as_they_count(found, layout), scan.closings

    def _read_lost_lines(self, content: str, position: int, begin: int, layout: Layout, scan: _Scan) -> None:
        """The headings and closings that had a line of their own before the note lost its line breaks."""
        if not layout.all_capitals:
            scan.found += self._inline.in_capitals(content, position, begin)
        scan.found += self._inline.in_columns(content, begin)
        scan.closings += self._inline.closings(content, begin)

    def _read_line(self, content: str, layout: Layout) -> _Line:
        """Reads a line alone, in a note with this layout."""
        marks: tuple[str, ...] = ()
        phrase = self._starts.before_colon(content)
        if phrase is None or phrase.may_begin_closing:
            word = FIRST_WORD.match(content)
            if word is None:
                marks = ("rule",) if is_rule(content) else ()
            elif phrase is not None or word[1] in self._beginnings or not _is_prose(content):
                phrase, marks = self._look_closely(content, word, phrase)
        if phrase is None:
            if ":" not in content:
                return (None, False, (), marks) if marks else _PROSE
            inline = self._inline.before_colons(content, 0, layout)
            if inline and "closing" in marks:  # "Thank you for this consult. Plan:"
                named, begin, *_ = inline[-1]
                if not content[begin + named.after :].strip(EDGE):
                    marks = tuple(mark for mark in marks if mark != "closing")
            return (None, False, inline, marks) if inline or marks else _PROSE
        if phrase.rule == "soap_letter":
            phrase = self._starts.with_its_name(phrase, content)
        after = phrase.after
        alone = not (content[after : after + 9].strip(EDGE) or content[after:].strip(EDGE))
        return phrase, alone, self._inline.before_colons(content, after, layout), marks

    def _look_closely(
        self, content: str, word: re.Match[str], phrase: HeadingPhrase | None
    ) -> tuple[HeadingPhrase | None, tuple[str, ...]]:
        """The heading that a line begins with, also one without a colon, and what else the line may be.

        `word`: the first word of the line. `phrase`: the phrase before its colon, if that may be a heading.
        """
        width = len(content)
        first, first_start = word[1], word.start(1)
        marks: tuple[str, ...] = ()
        if (first in self._page_words or content[-1].isdigit()) and is_page_line(content, first_start):
            marks += ("page",)
        if phrase is None and self._starts.may_begin_heading(content, first):
            phrase = self._starts.without_colon(content, first, first_start)
        if (
            (phrase is None or phrase.may_begin_closing)
            and width < _LONGEST_CLOSING_LINE
            and (
                first in self._closing_words
                or (width < LONGEST_SIGNED and content[-1] in SIGNED_ENDS and ends_as_signed(content))
            )
            and is_closing(content, first, first_start)
        ):
            marks += ("closing",)
        if (
            _SHORTEST_TITLE <= width < LONGEST_TITLE
            and content[-1] not in ".,;:"
            and (phrase is None or phrase.category is None)
        ):
            marks += ("title",)
        return phrase, marks


@hides_text()
@dataclass(slots=True)
class _Scan:
    """The state of reading a note line by line."""

    found: list[Candidate] = field(default_factory=list)
    closings: list[int] = field(default_factory=list)
    after_blank: bool = True
    above: str = ""  # the line above, without its leading blanks
    rule: int = -1  # the offset of a rule that ends the section unless a page header follows; -1 for none
    titles: set[str] = field(default_factory=set)  # lines that may be titles and name no section

    def add_rule(self, content: str, start: int) -> None:
        """A rule underlines the heading on the line above, or ends the section."""
        if not underlines(content, self.above):
            self.rule = start if self.rule < 0 else self.rule
        elif self.found:
            phrase, line, alone, after_blank = self.found[-1]
            if alone and start - line <= len(self.above) + 1:
                self.found[-1] = replace(phrase, marked=True), line, alone, after_blank
        self.above = content

    def end_at_rule(self) -> None:
        """Ends the section at the rule, because no page header followed it."""
        self.closings.append(self.rule)
        self.rule = -1

    def close(self, start: int) -> None:
        """Ends the section at a signature or boilerplate, or at the rule above it."""
        self.closings.append(start if self.rule < 0 else self.rule)
        self.rule, self.after_blank, self.above = -1, False, ""

    def turn_page(self) -> None:
        """Skips a page header or footer. It does not end the section."""
        self.rule, self.after_blank, self.above = -1, True, ""

    def sets_aside(self, marks: tuple[str, ...], content: str, start: int) -> bool:
        """Whether the line is a rule, a closing, or a page header or footer at this place. Handles it if so."""
        if "rule" in marks:
            self.add_rule(content, start)
        elif "page" in marks and self.found:
            self.turn_page()
        elif "closing" in marks:
            self.close(start)
        elif "title" in marks and self.repeats_title(content):
            self.turn_page()
        else:
            return False
        return True

    def repeats_title(self, content: str) -> bool:
        """Whether the same title came before, as in a page header. Remembers the title."""
        if content in self.titles and self.found:
            return True
        self.titles.add(content)
        return False


def _layout(view: str) -> Layout:
    flat = len(view) > _FLAT_LINE * (view.count("\n") + 1)
    return Layout(flat, flat or "\n" not in view.strip(), _is_all_capitals(view))


def _is_all_capitals(view: str) -> bool:
    """Whether the note is typed in capitals, so that capitals do not mark headings."""
    word = _SMALL_LETTERS.search(view)
    return word is None or (word.start() > 200 and len(_SMALL_LETTERS.findall(view)) < len(view) / 300)


def _is_prose(line: str) -> bool:
    """Whether the line ends like a sentence. Then it has no heading, unless its first word may begin one."""
    return line[-1] == "." and line[-2:-1].islower() and (line[0] not in LETTER_STARTS or line[:2].isalpha())


def _as_they_count(found: list[Candidate], layout: Layout) -> list[Candidate]:
    """The candidates that remain in a note with this layout, in order."""
    if layout.one_line:
        found = _without_overlaps(found)
    if layout.all_capitals:
        found = [candidate for candidate in map(_in_plain_capitals, found) if candidate is not None]
    return found


def _in_plain_capitals(candidate: Candidate) -> Candidate | None:
    """The candidate in a note typed in capitals; None where only its capitals made it a candidate."""
    phrase, line, alone, after_blank = candidate
    if not (phrase.colon or phrase.marked or phrase.rule in _RULES_OF_CAPITALS):
        return None
    return replace(phrase, caps=False) if phrase.caps else phrase, line, alone, after_blank


def _without_overlaps(candidates: list[Candidate]) -> list[Candidate]:
    """The candidates in order, without overlaps: the first of two is kept; of two with one start, the longer."""
    kept: list[Candidate] = []
    last = 0
    for candidate in sorted(
        candidates, key=lambda found: (found[1] + found[0].start, -found[1] - found[0].end)
    ):
        phrase, line, _, _ = candidate
        if line + phrase.start >= last:
            kept.append(candidate)
            last = line + phrase.end
    return kept


_PROSE: _Line = None, False, (), ()
_MOST_KNOWN = 50_000
_LONGEST_KNOWN_LINE = 1000  # characters; notes are copied from earlier ones line by line
_SHORTEST_TITLE = 8
_LONGEST_CLOSING_LINE = 400
_FLAT_LINE = 800  # characters; a note with a longer average line has lost its line breaks
# "___" replaces names and numbers in MIMIC: it is a word of its sentence, not a rule or markup
_REDACTED = re.compile(
    r"___(?<![^\s:(,/-]___)(?!_)(?:(?=[^\S\n]?[^\s_])(?!\S[^\n_]{0,60}\S___(?!\w))|(?<=[^\s_] ___)(?!\w))"
)
_WORD_OF_THREE = "xxx"
_ACCENTED = re.compile("[À-ÖØ-öø-ÿ]")
_WITHOUT_ACCENTS = str.maketrans(
    "áàâãäåéèêëíìîïóòôõöúùûüýÿñçÁÀÂÃÄÅÉÈÊËÍÌÎÏÓÒÔÕÖÚÙÛÜÝÑÇ",
    "aaaaaaeeeeiiiiooooouuuuyyncAAAAAAEEEEIIIIOOOOOUUUUYNC",
)
_SMALL_LETTERS = re.compile(r"[a-z]{4}")
_RULES_OF_CAPITALS = frozenset({"line_alone", "dated", "separator", "soap_letter"})
