"""Headings at the beginning of a line: before a colon, alone on the line, or before another separator."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import NamedTuple

from rubricator.nlp.lexicon.compound import Match
from rubricator.nlp.sections.heading_phrase import (
    EDGE,
    ENDS_OF_PROSE,
    LETTER_CLASS,
    LETTERS,
    LONGEST_PHRASE,
    MOST_TITLE_WORDS,
    SHORT_NAMES,
    HeadingPhrase,
    Named,
    PhraseReader,
    Setting,
)
from rubricator.nlp.sections.letter_sets import letter_categories
from rubricator.nlp.words.tokens import word_set

LONGEST_TITLE = 90  # characters of a line that may be a heading as a whole
LETTER_STARTS = frozenset("SOAPIERDBFG[(")


class LineStarts:
    """Reads the headings at the beginning of lines. Readings are cached, up to a bound."""

    def __init__(self, phrases: PhraseReader) -> None:
        self._phrases = phrases
        self._lexicon = phrases.lexicon
        self._known: dict[str, HeadingPhrase | None] = {}

    def before_colon(self, line: str) -> HeadingPhrase | None:
        """The heading before the first colon of a line. The colon of a time ("14:30") does not count."""
        colon = line.find(":", 0, _LONGEST_LEAD)
        if colon > 0 and line[colon - 1].isdigit() and line[colon + 1 : colon + 3].isdigit():  # a time
            colon = line.find(":", colon + 1, _LONGEST_LEAD)
        if colon < 0:
            return None
        key = line[: colon + 1]
        return self._known[key] if key in self._known else self._remember(key)

    def with_its_name(self, letter: HeadingPhrase, line: str) -> HeadingPhrase:
        """The name after a single letter, if it is the rest of the line ("S: Subjective"); else the letter."""
        if len(line) - letter.after >= LONGEST_PHRASE:
            return letter
        name = line[letter.after :].strip(EDGE)
        match = self._lexicon.match(name, loose=False) if name.isalpha() else None
        if match is None or match.category != letter_categories().get(letter.text):
            return letter
        return self._phrases.read(
            name,
            Named(match.category, "line_colon"),
            lead=letter.lead,
            begin=line.index(name, letter.after),
            after=len(line),
            setting=Setting(colon=True),
        )

    def may_begin_heading(self, line: str, first: str) -> bool:
        """Whether a line may begin with a heading without a colon: a fast check. `first`: its first word."""
        first_words = self._lexicon.first_words
        return (
            first in first_words
            or (not first[1:].islower() and first.lower() in first_words)  # "PMHx"
            or (
                line[0] in LETTER_STARTS
                and (line[0] in "[(" or not line[1:2].isalpha())
                and _LETTER_LEAD.match(line) is not None
            )
            or (
                len(line) < LONGEST_TITLE
                and (line.isupper() or (line[-1] != "." and _TITLE_LINE.match(line) is not None))
            )
        )

    def without_colon(self, line: str, first: str, first_start: int) -> HeadingPhrase | None:
        """A heading without a colon: a short line as a whole, or the beginning of a line up to a separator.

        `first`: the first word of the line. `first_start`: its offset.
        """
        whole = self._whole_line(line)
        if whole is not None and (whole.category is not None or whole.rule == "soap_letter"):
            return whole
        letter = _LETTER_LEAD.match(line)
        if letter is not None:
            return self._phrases.read(
                letter["letter"],
                Named(None, "soap_letter"),
                lead=0,
                begin=letter.start("letter"),
                after=letter.end(),
                setting=Setting(item=letter["item"] is not None),
            )
        separated = _SEPARATED.match(line, first_start)
        if separated is not None:
            separator = separated["separator"]
            blanks = separator.isspace() and "\t" not in separator and len(separator) < 4
            phrase = self._before_weak_separator(
                line[: separated.end("phrase")], separated.end(), visible=not blanks
            )
            if phrase is not None:
                return phrase
        return whole or self._name_or_capitals(line, first)

    def _whole_line(self, line: str) -> HeadingPhrase | None:
        if len(line) >= _LONGEST_LEAD or (
            line.rstrip().endswith(ENDS_OF_PROSE) and line[0] not in "*_" and not line.isupper()
        ):
            return None
        return self._known[line] if line in self._known else self._remember(line)

    def _name_or_capitals(self, line: str, first: str) -> HeadingPhrase | None:
        """A heading without a separator, which only its own form shows: "HPI 54 y/o", "PLAN Continue"."""
        named = _NAME_LEAD.match(line)
        if named is not None:
            return self._before_weak_separator(named["name"] or named["title"], named.end(), visible=True)
        capitals = _CAPITALS_LEAD.match(line) if first.isupper() else None
        return (
            None
            if capitals is None
            else self._before_weak_separator(capitals[1], capitals.end(), visible=None)
        )

    def _before_weak_separator(self, lead: str, after: int, *, visible: bool | None) -> HeadingPhrase | None:
        """Reads "PLAN - ", "Plan<tab>", "PLAN .....", "PLAN Continue". Only variants of the lexicon count there.

        `visible`: whether the separator is more than a few blanks; None: there is no separator.
        """
        phrase = self._known[lead] if lead in self._known else self._remember(lead)
        if phrase is None or not (
            phrase.rule in ("line_alone", "markup", "soap_letter")
            or (phrase.rule == "joined" and phrase.caps and visible)
        ):
            return None
        short = len(phrase.text) < 4 and phrase.text not in SHORT_NAMES
        set_off = (
            phrase.caps
            or phrase.marked
            or (visible is False and _SEVERAL_WORDS.search(phrase.text) is not None)
        )
        if not visible and (phrase.rule == "soap_letter" or short or not set_off):
            return None
        if self._lexicon.needs_colon(phrase.text) and not phrase.caps:
            return None
        if phrase.rule in ("line_alone", "joined"):
            return replace(phrase, after=after, rule="caps_lead" if visible is None else "separator")
        return replace(phrase, after=after)

    def _remember(self, key: str) -> HeadingPhrase | None:
        if len(self._known) > _MOST_KNOWN:
            self._known.clear()
        phrase = self._known[key] = self._read(key)
        return phrase

    def _read(self, key: str) -> HeadingPhrase | None:
        """Reads the beginning of a line up to its colon, or a whole short line, as a heading phrase."""
        parts = _parts(key)
        if parts is None:
            return None
        begin, found = parts.begin, None
        if (
            parts.after_bullet < begin and not parts.has_markup
        ):  # "P.E." and "H.P.I." only look like enumerators
            found = self._lexicon.match(key[parts.after_bullet : parts.end], loose=False)
            if found is not None:
                begin = parts.after_bullet
        text = key[begin : parts.end]
        if not text:
            return None
        if text in LETTERS:
            named: Named | None = Named(None, "soap_letter")
        else:
            may_be_heading = True
            if found is None:
                found, may_be_heading = self._look_up(key, text, parts)
            if not may_be_heading:
                return None
            named = (
                self._unknown(text, parts) if found is None else self._known_name(text, found, parts, begin)
            )
        if named is None:
            return None
        item = parts.bulleted or (parts.numbered and begin == parts.begin)
        setting = Setting(item, parts.depth, parts.marked, parts.colon)
        return self._phrases.read(
            text, named, lead=parts.lead, begin=begin, after=parts.after, setting=setting
        )

    def _look_up(self, key: str, text: str, parts: _Parts) -> tuple[Match | None, bool]:
        """The lexicon's match of a phrase, and whether the phrase may be a heading at all.

        The more clearly a phrase is set off, the more loosely it is matched.
        """
        caps, capitalised = text.isupper(), text[0].isupper()
        short = text.count(" ") < MOST_TITLE_WORDS
        remark = capitalised and (_ends_with_date(text) or _ends_with_bracket(text))
        if not (parts.colon or parts.marked or caps or remark) and (
            key.endswith(ENDS_OF_PROSE)
            or not (short or (capitalised and self._lexicon.match(text, loose=False)))
        ):
            return None, False
        loose = (
            caps
            or parts.marked
            or (short and (parts.colon or (capitalised and _TITLE_LINE.match(text) is not None)))
        )
        found = self._lexicon.match(text, loose=loose or remark)
        if found is not None and found.how not in ("exact", "dated") and not loose:
            return None, False
        return found, True

    def _known_name(self, text: str, found: Match, parts: _Parts, begin: int) -> Named | None:
        """The category and rule of a phrase that the lexicon knows; None where it is not set off clearly enough."""
        if not (parts.colon or parts.marked):
            caps = text.isupper()
            if self._lexicon.needs_colon(text) and not caps:
                return None
            if not text[0].isupper() and begin != parts.lead:
                return None
            if found.how == "qualified" and (not caps or found.category == "follow_up"):
                return None
        if found.how != "exact":
            return Named(found.category, found.how)
        return Named(
            found.category, "line_colon" if parts.colon else "markup" if parts.marked else "line_alone"
        )

    def _unknown(self, text: str, parts: _Parts) -> Named | None:
        """The category and rule of a phrase that the lexicon does not know: a sentence that opens a section, or a
        possible heading; else None."""
        if parts.colon and (opened := self._lexicon.lead_in(text)) is not None:
            return Named(opened, "lead_in")
        if "  " not in text and (
            _looks_like_heading(text, parts) or (parts.colon and self._lexicon.refusal(text))
        ):
            return Named(None, "unknown")
        return None


class _Parts(NamedTuple):
    """Offsets of the parts of a line's beginning: blanks, bullet, markup, enumerator, phrase, colon or markup."""

    lead: int  # the end of the blanks
    after_bullet: int
    begin: int  # the phrase
    end: int
    after: int  # the end of the colon or the markup after the phrase
    bulleted: bool
    numbered: bool
    has_markup: bool
    depth: int  # level of a markdown heading, 0 for none
    marked: bool
    colon: bool


def _parts(key: str) -> _Parts | None:
    """The parts of a line's beginning; None where it is too long for a heading, or does not begin with a word."""
    lead = _LEAD.match(key)
    assert lead is not None  # the pattern can match an empty string
    begin = lead.end()
    if begin == len(key) or not (key[begin].isalnum() or key[begin] == "("):
        return None
    markup = lead["markup"]
    after = _end_of_markup(key, markup, begin) if markup else len(key)
    tail = _TAIL.search(key, begin, after)
    end = tail.start() if tail else after
    if end - begin > LONGEST_PHRASE or (key.count(" ", begin, end) > _MOST_BLANKS and not key.isupper()):
        return None
    depth = len(markup.strip()) if markup.startswith("#") else 0
    return _Parts(
        lead=lead.end("blank"),
        after_bullet=lead.end("bullet"),
        begin=begin,
        end=_close_bracket(key, begin, end, after),
        after=after,
        bulleted=bool(lead["bullet"]),
        numbered=bool(lead["number"]),
        has_markup=bool(markup),
        depth=depth,
        marked=depth > 0 or markup[:2] in _STRONG_MARKS,
        colon=":" in key[end:after],
    )


def _end_of_markup(key: str, markup: str, begin: int) -> int:
    """Where the text after a phrase and its closing markup begins: "**Plan** Continue"."""
    closing = key.find(_CLOSERS.get(markup[:2], markup[:2]), begin)
    marks = _MARKS.match(key, closing) if closing >= 0 else None
    return marks.end() if marks else len(key)


def _close_bracket(key: str, begin: int, end: int, limit: int) -> int:
    """The end of the phrase, with the closing bracket after it (before `limit`) of a bracket opened inside it."""
    opened = max(key.rfind(bracket, begin, end) for bracket in "([{")
    if opened < 0:
        return end
    closing = key.find({"(": ")", "[": "]", "{": "}"}[key[opened]], opened, limit)
    return closing + 1 if closing >= end else end


def _ends_with_date(text: str) -> bool:
    return text[-1] in _ENDS_OF_DATES and _DATE_AT_END.search(text) is not None


def _ends_with_bracket(text: str) -> bool:
    return text[-1] == ")" and 0 < text.find("(") < _LONGEST_BEFORE_BRACKET


def _looks_like_heading(phrase: str, parts: _Parts) -> bool:
    """Whether a phrase that the lexicon does not know may be a heading."""
    words = phrase.split()
    if (
        len(words) > _MOST_WORDS
        or words[0].lower() == "dear"
        or sum(map(str.isalpha, phrase)) < max(4, len(phrase) // 2)
        or _SENTENCE_BEFORE.search(phrase) is not None
    ):
        return False
    if phrase.isupper():
        return True
    if parts.marked:
        return phrase[0].isupper() and len(words) <= _MOST_WORDS_MARKED
    return (
        parts.colon
        and len(words) <= _MOST_WORDS_BEFORE_COLON
        and all(word[0].isupper() or word in _SMALL_WORDS for word in words)
    )


_MOST_KNOWN = 50_000
_LONGEST_LEAD = 100  # characters of a line in which a heading before a colon is looked for
_LONGEST_BEFORE_BRACKET = 40
_MOST_BLANKS = 14
_MOST_WORDS, _MOST_WORDS_MARKED, _MOST_WORDS_BEFORE_COLON = 12, 10, 8  # of an unknown heading
_SMALL_WORDS = word_set("a an and at by during for from in of on or per the to with")
_LEAD = re.compile(
    r"(?P<blank>\s*)(?:\[[\d/:.,\s-]{4,24}(?:[AaPp][Mm])?\]\s*|"  # a time stamp
    r"(?:\d{1,2}/\d{1,2}/\d{2,4}|\d{4}-\d\d-\d\d)(?:[ ,@T-]+\d{1,2}:?\d\d(?::\d\d)?(?: ?[AaPp][Mm])?)?"
    r"(?:\s*[-–:])?\s+(?=[A-Z*#<]))?"
    r"(?P<bullet>(?:(?:[-–—+*|]|>+)(?=\s)\s*|[•·●▪◦○■□►➢➤▶▸‣⁃∙✓✔✗☐☑☒◆◇→⇒]\s*)*)(?P<markup>[#*_=~+\-<{\[\"“'‘(|.]*)\s*"
    r"(?P<number>(?:" + LETTER_CLASS + r"\s?[-–—/=:]\s?(?=[A-Z][a-z]{3})|"
    r"\(?(?:\d{1,2}(?:\.\d{1,2})*|[ivxIVX]{1,5}|[A-Za-z])[.)](?!\w)\s*|\d{1,2}(?:\s?[-–:])?\s+(?=[A-Z\W])"
    r"|(?:[Ss]ection|SECTION|[Pp]art|PART)\s+\w{1,4}\s*[-–.:)]\s*)?)[*_]*"
)
_MARKS = re.compile(r"[*_=~#>\]})\"”|+-]+[\s:]*")
_TAIL = re.compile(r"[\s:;.,*_=~#+/\\\-–—|<>}\])\"”'’…]+$")
_ENDS_OF_DATES = frozenset("0123456789Mm")
_DATE_AT_END = re.compile(
    r"(?:\b\d{1,4}[/.:-]\d{1,2}(?:[/.:-]\d{2,4})?(?:[ ,@]+\d{1,2}:?\d{2})?(?: ?[AaPp][Mm])?|#\s?\d{1,2}"
    r"|\b(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)[a-z]*\.? \d{1,2}(?:,? \d{4})?)$"
)
_CLOSERS = {"[": "]", "<<": ">>", "{": "}"}
_STRONG_MARKS = frozenset({"**", "__", "==", "--", "[", "<<", "{", "~~", "++", "_", "*"})
_TITLE_LINE = re.compile(
    r"\W{0,6}[A-Z][a-z]+(?:[ /&,-]{1,3}(?:[A-Z][a-z]*|and|of|for|the|to|with|\([^()]*\)|[\d/:]+)){0,6}\W{0,6}$"
)
_SEPARATED = re.compile(  # at most eight words, matched without backtracking, and a separator
    # atomic groups: possessive quantifiers of groups match too little before Python 3.11.5 (CPython issue 106052)
    r"(?P<phrase>(?>[^\s;.:…–—_=|>~-]+(?:-(?=\w)[^\s;.:…–—_=|>~-]*)*"
    r"(?:[ ](?>[^\s;.:…–—_=|>~-]+(?:(?<=\w)-(?=\w)[^\s;.:…–—_=|>~-]*)*)){0,7}))"
    r"(?P<separator>[ ]?\t\s*|[ ]+(?:[-–—=|>~]+[ ]+|[-–—](?=\w)|(?:--+|\.[ ]?\.[ ]?\.[. ]*|[–—])[ ]*)|[ ]{2,}"
    r"|(?:-[ ]|[=|>]+|--+|\.[ ]?\.[ ]?\.[. ]*|_{3,}|…[….]*|[–—])[ ]*|[ ]?;[ ]*(?=\S))"
)
_LETTER_LEAD = re.compile(
    r"(?:[\[(](?=\w[\])]))?(?P<letter>" + LETTER_CLASS + r")"
    r"(?:(?:\]|\)(?<=\(\w\))|[ ]?[-–—=/;])[ ]+|(?P<item>[.)][ ]+|[ ]?[-–—](?=[A-Za-z])))"
)
_CAPITALS_LEAD = re.compile(
    r"([^a-z]{0,8}(?:[A-Z]{3}[A-Z/&,\- ]*[A-Z]|[A-Z][/&+][A-Z]|PLAN))(?:\.? (?=[A-Z][a-z]|\d|-|\(|#))"
)
_SENTENCE_BEFORE = re.compile(r"[a-z]{3}[.!?;]\s")
# names that are headings at the beginning of a line without a separator
_NAME_LEAD = re.compile(
    r"(?P<name>\W{0,4}(?:HPI|PMHx?|PSHx?|ROS|A[/&+]P|FHx|SHx|CC(?= [a-z])|PE(?= [a-z]+ [a-z]|: )))\)? (?=\S)"
    r"|(?P<title>\W{0,4}(?:Subjective|Objective|Assessment|Plan|Impression))(?:\. +(?=[A-Z])| (?=#))"
)
_SEVERAL_WORDS = re.compile(r"\w[ /&+]+\w")
