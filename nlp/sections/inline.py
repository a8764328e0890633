"""Headings inside a line: before a colon, and in notes that lost their line breaks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from rubricator.nlp.hidden_text import hides_text
from rubricator.nlp.lexicon.categories import UNKNOWN
from rubricator.nlp.sections.heading_phrase import (
    BEFORE_COLON,
    ENDS_OF_PROSE,
    FIRST_WORD,
    LETTERS,
    LONGEST_PHRASE,
    MOST_TITLE_WORDS,
    SHORT_NAMES,
    Candidate,
    HeadingPhrase,
    Named,
    PhraseReader,
)
from rubricator.nlp.sections.lines import is_closing
from rubricator.nlp.words.tokens import LETTER_OR_DIGIT, word_set


class Layout(NamedTuple):
    """The layout of a note, which decides what may be a heading in it."""

    flat: bool  # it lost its line breaks: a line holds whole sections
    one_line: bool  # it is flat, or has a single line
    all_capitals: bool  # it is typed in capitals, so that capitals do not mark headings


class InlineHeadings:
    """Reads the headings inside lines. Readings of clauses are cached, up to a bound."""

    def __init__(self, phrases: PhraseReader) -> None:
        self._phrases = phrases
        self._lexicon = phrases.lexicon
        self._known: dict[tuple[str, bool, bool, Layout], HeadingPhrase | None] = {}

    def before_colons(self, line: str, position: int, layout: Layout) -> tuple[Candidate, ...]:
        """The headings before colons of a line, from `position` on, where the heading that begins the line ends.

        Headings that the lexicon does not know count only where line breaks were lost.
        """
        colon = line.find(":", position)
        if colon < 0:
            return ()
        found: list[Candidate] = []
        while colon >= 0:
            low = self._clause(line, position, colon, layout)
            if low >= 0:
                at_start = low == 0 or line[low - 1] == ":"
                phrase = self._heading(line[low:colon], at_start, layout.one_line or position > 0, layout)
                if phrase is not None:
                    after_blank = layout.flat and line.endswith("  ", 0, low + phrase.start)
                    found.append((phrase, low, False, after_blank))
                    position = low + phrase.after
            colon = line.find(":", colon + 1)
        return tuple(found)

    def _clause(self, line: str, position: int, colon: int, layout: Layout) -> int:
        """Where the clause before a colon begins, if a heading may begin with its first or end with its last word.

        Else -1.
        """
        end = colon - 1 if line.startswith(" :", colon - 1) else colon
        low = max(position, colon - LONGEST_PHRASE)
        last_words = self._lexicon.last_words
        word = line[max(line.rfind(" ", low, end) + 1, low) : end]
        known = word in last_words or word.lower() in last_words or (layout.flat and word.isupper())
        if not known and word and not word.isalnum():
            known = word[-1] in ")*" or _last_letters(word) in last_words
        # a heading begins after the last sentence
        low = max(low, line.rfind(". ", low, colon), line.rfind("  ", low, end), line.rfind("; ", low, colon))
        if not known:
            first = _FIRST_LETTERS.match(line, low, colon)
            known = first is not None and first[1] in self._lexicon.first_words
        return low if known else -1

    def _heading(self, clause: str, at_start: bool, run_on: bool, layout: Layout) -> HeadingPhrase | None:
        key = (clause, at_start, run_on, layout)
        if key in self._known:
            return self._known[key]
        if len(self._known) > _MOST_KNOWN:
            self._known.clear()
        phrase = self._known[key] = self._read(_clause_before_colon(clause, at_start), run_on, layout)
        return phrase

    def _read(self, clause: _Clause, run_on: bool, layout: Layout) -> HeadingPhrase | None:
        """The heading at the end of a clause. It begins after a sentence or two blanks, or is in capitals.

        run_on: the line has several sections, so that a heading may follow a text without a full stop.
        """
        text, end = clause.text, clause.end
        last = text.rfind(" ", 0, end) + 1
        if text[last:end] in LETTERS and not _SPACED_LETTER.search(text, 0, end):
            return self._before_colon(clause, last, end, Named(None, "soap_letter"))
        for boundary in clause.starts:
            number = _ENUMERATOR.match(text, boundary, end)
            begin = _skip_to_word(text, number.end() if number else boundary)
            phrase = text[begin:end]
            if (
                phrase
                and (phrase[-1] != ")" or "(" in phrase)
                and (match := self._lexicon.match(phrase, loose=phrase[0].isupper())) is not None
            ):
                return self._before_colon(clause, begin, end, Named(match.category, "inline"))
        capitals = None if layout.all_capitals else _CAPITALS_BEFORE.search(text, 0, end)
        if capitals is not None:
            return self._in_capitals(clause, capitals.start(), flat=layout.flat)
        return self._titled_end(clause) if run_on else None

    def _in_capitals(self, clause: _Clause, begin: int, *, flat: bool) -> HeadingPhrase | None:
        """The heading in a run of capitals at the end of the clause.

        A run after a sentence is the first of two headings, or a single heading that the lexicon need not know.
        """
        text, end = clause.text, clause.end
        if clause.after_sentence and begin in clause.starts:
            found = self._first_of_two(clause, begin)
            if found is None and flat and sum(map(str.isalpha, text[begin:end])) > 3:
                return self._before_colon(clause, begin, end, Named(None, "unknown"))
            return found
        if self._lexicon.refusal(text[begin:end]):
            return None
        for word in _WORD.finditer(text, begin, end):  # the longest heading that ends the run
            phrase = text[word.start() : end]
            match = self._lexicon.match(phrase, loose=word.start() == begin)
            if match is not None and (len(phrase) > 2 or phrase in SHORT_NAMES):
                return self._before_colon(clause, word.start(), end, Named(match.category, "inline"))
        return None

    def _first_of_two(self, clause: _Clause, begin: int) -> HeadingPhrase | None:
        """The first of two headings in capitals: "PLAN LABS: CBC"."""
        text, end = clause.text, clause.end
        for word in reversed(list(_WORD.finditer(text, begin, end))[1:]):
            phrase, rest = text[begin : word.start() - 1].rstrip(), text[word.start() : end]
            match = self._lexicon.match(phrase, loose=False)
            if match is not None and (self._lexicon.is_topic(rest) or self._lexicon.match(rest, loose=False)):
                named = Named(match.category, "inline_caps")
                return self._before_colon(clause, begin, begin + len(phrase), named, after=word.start())
        return None

    def _titled_end(self, clause: _Clause) -> HeadingPhrase | None:
        """The longest run of capitalised words at the end of a clause that names a section."""
        words = list(_WORD.finditer(clause.text, 0, clause.end))
        for number in range(max(0, len(words) - MOST_TITLE_WORDS), len(words)):
            begin = words[number].start()
            phrase = clause.text[begin : clause.end]
            if not phrase[0].isupper() or self._lexicon.needs_colon(phrase):
                continue
            match = self._lexicon.match(phrase, loose=False)
            if match is None or match.category == UNKNOWN:
                continue
            before = words[number - 1][0] if number else ""
            if before.lower() in _DETERMINERS or self._lexicon.refusal(f"{before} {phrase}"):
                return None
            return self._before_colon(clause, begin, clause.end, Named(match.category, "inline"))
        return None

    def _before_colon(
        self, clause: _Clause, begin: int, end: int, named: Named, *, after: int | None = None
    ) -> HeadingPhrase:
        lead = len(clause.text[:begin].rstrip(_EDGE_BEFORE))
        after = len(clause.text) + 1 if after is None else after
        return self._phrases.read(
            clause.text[begin:end], named, lead=lead, begin=begin, after=after, setting=BEFORE_COLON
        )

    def in_capitals(self, line: str, position: int, start: int) -> Iterator[Candidate]:
        """Headings in capitals without a colon, from `position` on, in a note that lost its line breaks."""
        for capitals in _CAPITALS_INSIDE.finditer(line, position):
            phrase, (begin, after) = capitals[0], capitals.span()
            if phrase in LETTERS:
                named = Named(None, "soap_letter")
            elif (match := self._lexicon.match(phrase, loose=False)) and not self._lexicon.needs_colon(
                phrase
            ):
                named = Named(match.category, "inline_caps")
            else:
                continue
            yield self._phrases.read(phrase, named, lead=begin, begin=begin, after=after), start, False, True

    def in_columns(self, line: str, start: int) -> Iterator[Candidate]:
        """Names of sections between runs of blanks, in a note whose line ends became blanks."""
        for begin in _places(_BLANKS, line):
            column = _COLUMN.match(line, begin)
            if column is None:
                continue
            phrase = column[0].rstrip(":")
            if (
                phrase[-1] in ENDS_OF_PROSE
                or phrase in LETTERS
                or not phrase[0].isupper()
                or self._lexicon.needs_colon(phrase)
            ):
                continue
            match = self._lexicon.match(phrase, loose=False)
            if match is not None:
                named = Named(match.category, "inline")
                found = self._phrases.read(phrase, named, lead=begin, begin=begin, after=column.end())
                yield found, start, False, True

    def closings(self, line: str, start: int) -> Iterator[int]:
        """Where signatures and boilerplate begin, in a note that lost its line breaks."""
        for begin in _places(_GAP, line):
            words = line[begin : begin + _LONGEST_CLOSING]
            word = FIRST_WORD.match(words) if _CLAUSE_START.match(words) else None
            if (
                word is not None
                and word[1] in self._phrases.closing_words
                and is_closing(words, word[1], word.start(1), run_on=True)
            ):
                yield start + begin


@hides_text()
class _Clause(NamedTuple):
    """The text before a colon inside a line, and where in it a heading may begin."""

    text: str
    end: int  # where its words end
    starts: list[int]
    after_sentence: bool  # a sentence ends inside it, or another mark separates its parts


def _clause_before_colon(text: str, at_start: bool) -> _Clause:
    """The clause. at_start: a heading may begin at its start."""
    end = len(text.rstrip(_EDGE_AFTER))
    starts = [0] if at_start else []
    after_sentence = False
    bracket = text.rfind("(") if text.endswith(")", 0, end) else end
    for mark in _BOUNDARY.finditer(text, 0, bracket):
        if mark.end() < end:
            if not starts or mark[0].strip() not in _DASHES:  # the heading may begin before a dash
                starts.clear()
            starts.append(mark.end())
            after_sentence = True
    return _Clause(text, end, starts, after_sentence)


def _places(gaps: re.Pattern[str], line: str) -> list[int]:
    """The offsets of the beginning of the line and of the text after each gap."""
    return [0, *(gap.end() for gap in gaps.finditer(line))]


def _last_letters(word: str) -> str:
    letters = _LAST_LETTERS.search(word)
    return letters[1].lower() if letters else ""


def _skip_to_word(text: str, start: int) -> int:
    word = _WORD_START.search(text, start)
    return word.start() if word else len(text)


_MOST_KNOWN = 50_000
_LONGEST_CLOSING = 200
_DETERMINERS = word_set(
    "the a an this that these those his her their our my your no any new same per see for of and or with in on"
)
_WORD_START = re.compile(rf"{LETTER_OR_DIGIT}|\(")
_SPACED_LETTER = re.compile(r"\b[A-Z] [A-Z]$")
_BLANKS = re.compile(r"\s\s+")
_COLUMN = re.compile(r"[^\s:]+(?: [^\s:]+){0,6}:?(?=\s\s|$)")
_LAST_LETTERS = re.compile(r"([A-Za-z]+)[^A-Za-z]*$")
_BOUNDARY = re.compile(r"[.!?;)\]>|•*_]\s*(?:[-–—•]\s+)?|--+\s*|\s{2,}|\t|\s[-–—/]\s+")
_EDGE_AFTER = "*_ \t\x1c\x1d\x1e\x1f"
_EDGE_BEFORE = " \t-–—•*_/"
_DASHES = frozenset({"-", "–", "—", "--", "/"})
_ENUMERATOR = re.compile(r"\(?(?:\d{1,2}|[ivxIVX]{1,5}|[A-Za-z])[.)]\s+")
_FIRST_LETTERS = re.compile(r"[^\w:]{0,8}([A-Za-z]+)")
_WORD = re.compile(r"\S+")
_CAPITALS_BEFORE = re.compile(r"(?<![A-Za-z])[A-Z][A-Z/&,()' \-]*$")
_CAPITALS_INSIDE = re.compile(
    r"[A-Z](?:(?<=[.!?;)] [A-Z])|(?<=  [A-Z]))"
    r"(?:[A-Z]{2}[A-Z/&]*(?: (?:[A-Z/&]{2,}|&|/))*(?=\s+(?:\d|[A-Z][a-z]|[-–—]))|(?<=[SOAP])(?=\s?[-–—] ))"
)
# The lookbehind comes after the first character, because a search for a set of first characters is fastest.
_GAP = re.compile(r"\s(?:(?<=[.!?)]\s)\s*|\s+)")
_CLAUSE_START = re.compile("[A-Za-z/*_–—-]")
