"""Phrases in a note that look like headings, wherever they stand; nlp/sections/finder.py decides which of them are.

Works on a *view* of the plain text: same length, with no-break spaces, odd line ends and pictures rewritten to plain
ones, so that one line-by-line pass serves all styles and every offset stays what it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from rubricator.nlp.hidden_text import hides_text
from rubricator.nlp.lexicon.lexicon import UNKNOWN, Guards, Lexicon, Match
from rubricator.nlp.plain_text.plain_text import ODD_CHARACTER, plain_character, plain_lines
from rubricator.nlp.sections.lines import (
    LONGEST_SIGNED,
    SIGNED_ENDS,
    ends_as_signed,
    first_words,
    is_closing,
    is_page_line,
    is_rule,
    underlines,
)


@hides_text("category", "rule", "refused")
@dataclass(frozen=True, slots=True)
class HeadingPhrase:
    """What the beginning of a line says; offsets count from the start of the line."""

    lead: int  # where the bullet, enumerator or markup begins
    start: int
    end: int
    after: int
    text: str
    category: str | None  # None: not in the lexicon
    rule: str
    caps: bool
    item: bool  # stands behind a bullet or an enumerator
    depth: int  # level of a markdown heading, 0 for none
    marked: bool  # bold, markdown or HTML heading
    colon: bool
    topic: bool  # a body system or a usual problem
    ends_as_heading: bool  # its last word ends headings of the lexicon too
    begins_mark: bool  # perhaps a signature, boilerplate or the head of a page
    guards: Guards | None  # those that may still refuse it, by what stands around it
    refused: str | None  # a guard's reason code, for a phrase that only ends as a heading does: "Meal plan"


# what a line says by itself: its phrase, is nothing after it, the headings inside the line, by offset in it, and what
# of "rule", "page", "closing" and "title" it may be
_Line = tuple[HeadingPhrase | None, bool, tuple["Candidate", ...], tuple[str, ...]]
# a phrase, the offset its offsets count from, nothing after it on its line, stands after a blank line
Candidate = tuple[HeadingPhrase, int, bool, bool]


@hides_text()
@dataclass(slots=True)
class _Scan:
    """What the lines of a note have told so far."""

    found: list[Candidate] = field(default_factory=list)
    closings: list[int] = field(default_factory=list)
    after_blank: bool = True
    above: str = ""  # the line above, without what precedes its first word
    rule: int = -1  # the offset of a rule that ends a section unless the head of a page follows
    titles: set[str] = field(default_factory=set)  # lines that named no section

    def add_rule(self, content: str, start: int) -> None:
        """A rule marks the line that it underlines, or ends the section."""
        if not underlines(content, self.above):
            self.rule = start if self.rule < 0 else self.rule
        elif self.found:
            phrase, line, alone, after_blank = self.found[-1]
            if alone and start - line <= len(self.above) + 1:
                self.found[-1] = replace(phrase, marked=True), line, alone, after_blank
        self.above = content

    def end_at_rule(self) -> None:
        """No head of a page followed: the section ends where the rule is drawn."""
        self.closings.append(self.rule)
        self.rule = -1

    def close(self, start: int) -> None:
        """A signature or boilerplate ends the section, at the rule above it if there is one."""
        self.closings.append(start if self.rule < 0 else self.rule)
        self.rule, self.after_blank, self.above = -1, False, ""

    def turn_page(self) -> None:
        """The head or foot of a page is part of no section and ends none."""
        self.rule, self.after_blank, self.above = -1, True, ""

    def sets_aside(self, marks: tuple[str, ...], content: str, start: int) -> bool:
        """Is the line, given what it may be by itself, none of what the note says at this place?"""
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
        """Did a title that names no section stand before, as on the head of another page?"""
        if content in self.titles and self.found:
            return True
        self.titles.add(content)
        return False


class HeadingReader:
    """Finds what looks like a heading. Remembers lines and beginnings of lines that it has read, up to a bound."""

    def __init__(self, lexicon: Lexicon) -> None:
        self.lexicon = lexicon
        self._closing_words, self._page_words = first_words()
        self._beginnings = self._closing_words | self._page_words | lexicon.first_words
        self._lines: dict[str, _Line] = {}
        self._phrases: dict[str, HeadingPhrase | None] = {}
        self._inline_phrases: dict[tuple[str, bool, bool, bool, bool], HeadingPhrase | None] = {}

    def view(self, text: str) -> str:
        """The text with odd blanks, line ends and pictures rewritten at the same length."""
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
        flat = len(view) > _FLAT_LINE * (view.count("\n") + 1)
        one_line = flat or "\n" not in view.strip()
        shouting = _is_all_capitals(view)
        known = self._lines if not (one_line or shouting) else {}
        after = 0
        for line in view.split("\n"):
            start, after = after, after + len(line) + 1
            content = line.lstrip()
            if not content:
                scan.after_blank, scan.above = True, ""
                continue
            reading = known.get(content)
            if reading is None:
                reading = self._read_line(content, flat=flat, run_on=one_line, shouting=shouting)
                if len(content) < _LONGEST_KNOWN_LINE:
                    if len(known) > _CACHE_SIZE:
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
            if one_line:
                if not shouting:
                    self._inline_capitals(content, phrase.after if phrase else 0, begin, found)
                self._inline_columns(content, begin, found)
                scan.closings += self._inline_closings(content, begin)
            scan.after_blank, scan.above = False, content
        if scan.rule >= 0:
            scan.end_at_rule()
        if one_line:
            found = _without_overlaps(found)
        if shouting:
            found = [candidate for candidate in map(_in_plain_capitals, found) if candidate is not None]
        return found, scan.closings

    def _read_line(self, content: str, *, flat: bool, run_on: bool, shouting: bool) -> _Line:
        """What a line says by itself, in a note of that kind. run_on: the line holds several sections."""
        phrase: HeadingPhrase | None = None
        marks: tuple[str, ...] = ()
        colon = content.find(":", 0, _LONGEST_LEAD)
        if colon > 0 and content[colon - 1].isdigit() and content[colon + 1 : colon + 3].isdigit():  # a time
            colon = content.find(":", colon + 1, _LONGEST_LEAD)
        if colon >= 0:
            key = content[: colon + 1]
            phrase = self._phrases[key] if key in self._phrases else self._remember(key)
        if phrase is None or phrase.begins_mark:
            word = _FIRST_WORD.match(content)
            if word is None:
                marks = ("rule",) if is_rule(content) else ()
            elif phrase is not None or word[1] in self._beginnings or not _is_prose(content):
                phrase, marks = self._look_closely(content, word, phrase)
        if phrase is None:
            if ":" not in content:
                return (None, False, (), marks) if marks else _PROSE
            inline = self._inline(content, 0, flat=flat, run_on=run_on, shouting=shouting)
            if inline and "closing" in marks:  # "Thank you for this consult. Plan:"
                named, begin, *_ = inline[-1]
                if not content[begin + named.after :].strip(EDGE):
                    marks = tuple(mark for mark in marks if mark != "closing")
            return (None, False, inline, marks) if inline or marks else _PROSE
        if phrase.rule == "soap_letter" and len(content) - phrase.after < _LONGEST_PHRASE:
            phrase = self._with_its_name(phrase, content)
        after = phrase.after
        alone = not (content[after : after + 9].strip(EDGE) or content[after:].strip(EDGE))
        inline = self._inline(content, after, flat=flat, run_on=run_on, shouting=shouting)
        return phrase, alone, inline, marks

    def _look_closely(
        self, content: str, word: re.Match[str], phrase: HeadingPhrase | None
    ) -> tuple[HeadingPhrase | None, tuple[str, ...]]:
        """The heading that a line begins with, if it is one without a colon, and what else the line may be.

        `word`: the first word of the line; `phrase`: what stands before its colon, if that may be a heading.
        """
        width = len(content)
        first, first_start = word[1], word.start(1)
        marks: tuple[str, ...] = ()
        if (first in self._page_words or content[-1].isdigit()) and is_page_line(content, first_start):
            marks += ("page",)
        if phrase is None and self._may_begin_heading(content, width, first):
            phrase = self._parse_line(content, width, first, first_start)
        if (
            (phrase is None or phrase.begins_mark)
            and width < _LONGEST_CLOSING_LINE
            and (
                first in self._closing_words
                or (width < LONGEST_SIGNED and content[-1] in SIGNED_ENDS and ends_as_signed(content))
            )
            and is_closing(content, first, first_start)
        ):
            marks += ("closing",)
        if (
            _SHORTEST_TITLE <= width < _LONGEST_TITLE
            and content[-1] not in ".,;:"
            and (phrase is None or phrase.category is None)
        ):
            marks += ("title",)
        return phrase, marks

    def _with_its_name(self, letter: HeadingPhrase, content: str) -> HeadingPhrase:
        """A letter together with the name that alone follows it: "S: Subjective"."""
        name = content[letter.after :].strip(EDGE)
        match = self.lexicon.match(name, loose=False) if name.isalpha() else None
        if match is None or match.category != LETTER_CATEGORY.get(letter.text):
            return letter
        begin = content.index(name, letter.after)
        return self._phrase(
            name,
            lead=letter.lead,
            begin=begin,
            after=len(content),
            category=match.category,
            rule="line_colon",
            colon=True,
        )

    def _may_begin_heading(self, content: str, width: int, first: str) -> bool:
        """Is a line without a heading before a colon worth a closer look?"""
        return (
            first in self.lexicon.first_words
            or (not first[1:].islower() and first.lower() in self.lexicon.first_words)  # "PMHx"
            or (
                content[0] in _LETTER_STARTS
                and (content[0] in "[(" or not content[1:2].isalpha())
                and _LETTER_LEAD.match(content) is not None
            )
            or (
                width < _LONGEST_TITLE
                and (content.isupper() or (content[-1] != "." and _TITLE_LINE.match(content) is not None))
            )
        )

    def _remember(self, key: str) -> HeadingPhrase | None:
        if len(self._phrases) > _CACHE_SIZE:
            self._phrases.clear()
        phrase = self._phrases[key] = self._parse(key)
        return phrase

    def _parse_line(self, line: str, width: int, first: str, first_start: int) -> HeadingPhrase | None:
        """A line with no heading before a colon: a short line as a whole, else its beginning up to a separator."""
        letter = _LETTER_LEAD.match(line)
        whole: HeadingPhrase | None = None
        if width < _LONGEST_LEAD and (
            not line.rstrip().endswith(_ENDS_OF_PROSE) or line[0] in "*_" or line.isupper()
        ):
            whole = self._phrases[line] if line in self._phrases else self._remember(line)
            if whole is not None and (whole.category is not None or whole.rule == "soap_letter"):
                return whole
        if letter is not None:
            return self._phrase(
                letter["letter"],
                lead=0,
                begin=letter.start("letter"),
                after=letter.end(),
                category=None,
                rule="soap_letter",
                item=letter["item"] is not None,
            )
        separated = _SEPARATED.match(line, first_start)
        if separated is not None:
            separator = separated["separator"]
            blanks = separator.isspace() and "\t" not in separator and len(separator) < 4
            phrase = self._parse_weak(line[: separated.end("phrase")], separated.end(), visible=not blanks)
            if phrase is not None:
                return phrase
        if whole is not None:
            return whole
        named = _NAME_LEAD.match(line)
        if named is not None:
            return self._parse_weak(named["name"] or named["title"], named.end(), visible=True)
        capitals = _CAPITALS_LEAD.match(line) if first.isupper() else None
        if capitals is not None:
            return self._parse_weak(capitals[1], capitals.end(), visible=None)
        return None

    def _inline_closings(self, line: str, start: int) -> list[int]:
        """Where a signature or boilerplate begins, in a note that lost its line ends."""
        found = []
        for begin in _places(_CLAUSE, line):
            words = line[begin : begin + _LONGEST_CLOSING]
            word = _FIRST_WORD.match(words) if _CLAUSE_START.match(words) else None
            if (
                word is not None
                and word[1] in self._closing_words
                and is_closing(words, word[1], word.start(1), run_on=True)
            ):
                found.append(start + begin)
        return found

    def _inline_columns(self, line: str, start: int, found: list[Candidate]) -> None:
        """Names of sections between runs of blanks, in a note whose line ends became such."""
        for begin in _places(_BLANKS, line):
            column = _COLUMN.match(line, begin)
            if column is None:
                continue
            phrase = column[0].rstrip(":")
            if (
                phrase[-1] in _ENDS_OF_PROSE
                or phrase in LETTERS
                or not phrase[0].isupper()
                or self.lexicon.needs_colon(phrase)
            ):
                continue
            match = self.lexicon.match(phrase, loose=False)
            if match is not None:
                named = self._phrase(
                    phrase,
                    lead=begin,
                    begin=begin,
                    after=column.end(),
                    category=match.category,
                    rule="inline",
                )
                found.append((named, start, False, True))

    def _parse(self, key: str) -> HeadingPhrase | None:
        """Reads a line's beginning up to its colon, or a whole short line, as a heading phrase."""
        lead = _LEAD.match(key)
        assert lead is not None  # every part of it is optional
        bullet_end, begin = lead.end("bullet"), lead.end()
        if begin == len(key) or not (key[begin].isalnum() or key[begin] == "("):
            return None
        markup = lead["markup"]
        after = len(key)
        if (
            markup and (closing := key.find(_CLOSERS.get(markup[:2], markup[:2]), begin)) >= 0
        ):  # "**Plan** Continue": the phrase ends with its markup
            marks = _MARKS.match(key, closing)
            after = marks.end() if marks else after
        tail = _TAIL.search(key, begin, after)
        end = tail.start() if tail else after
        if end - begin > _LONGEST_PHRASE or (key.count(" ", begin, end) > _MOST_BLANKS and not key.isupper()):
            return None
        colon = ":" in key[end:after]
        depth = len(markup.strip()) if markup.startswith("#") else 0
        marked = depth > 0 or markup[:2] in _STRONG_MARKS
        end = _close_bracket(key, begin, end, after)
        found: Match | None = None
        if bullet_end < begin and not markup:  # "P.E." and "H.P.I." only look like enumerators
            found = self.lexicon.match(key[bullet_end:end], loose=False)
            if found is not None:
                begin = bullet_end
        phrase = key[begin:end]
        if not phrase:
            return None
        caps, capitalised = phrase.isupper(), phrase[0].isupper()
        if found is None and phrase not in LETTERS:
            short = phrase.count(" ") < _MOST_TITLE_WORDS
            dated = capitalised and phrase[-1] in _ENDS_OF_DATES and _DATE_AT_END.search(phrase) is not None
            bracketed = capitalised and phrase[-1] == ")" and 0 < phrase.find("(") < _LONGEST_BEFORE_BRACKET
            if not (colon or marked or caps or dated or bracketed) and key.endswith(_ENDS_OF_PROSE):
                return None
            if not (colon or marked or caps or dated or bracketed or short):
                found = self.lexicon.match(phrase, loose=False) if capitalised else None
                if found is None:
                    return None
            loose = (
                caps
                or marked
                or (short and (colon or (capitalised and _TITLE_LINE.match(phrase) is not None)))
            )
            found = self.lexicon.match(phrase, loose=loose or dated or bracketed)
            if found is not None and found.how not in ("exact", "dated") and not loose:
                return None
        if phrase in LETTERS:
            category, rule = None, "soap_letter"
        elif found is not None:
            if not (colon or marked) and (
                (self.lexicon.needs_colon(phrase) and not caps)
                or not (capitalised or begin == lead.end("blank"))
            ):
                return None
            if (
                not (colon or marked)
                and found.how == "qualified"
                and (not caps or found.category == "follow_up")
            ):
                return None
            category = found.category
            rule = (
                ("line_colon" if colon else "markup" if marked else "line_alone")
                if found.how == "exact"
                else found.how
            )
        elif colon and (opened := self.lexicon.lead_in(phrase)) is not None:
            category, rule = opened, "lead_in"
        elif "  " not in phrase and (
            _looks_like_heading(phrase, colon=colon, marked=marked, caps=caps)
            or (colon and self.lexicon.refusal(phrase))
        ):
            category, rule = None, "unknown"
        else:
            return None
        return self._phrase(
            phrase,
            lead=lead.end("blank"),
            begin=begin,
            after=after,
            category=category,
            rule=rule,
            item=bool(lead["bullet"] or (lead["number"] and begin == lead.end())),
            depth=depth,
            marked=marked,
            colon=colon,
        )

    def _parse_weak(self, lead: str, after: int, *, visible: bool | None) -> HeadingPhrase | None:
        """Reads "PLAN - ", "Plan<tab>", "PLAN .....", "PLAN Continue": only the lexicon's own variants count there.

        `visible`: the separator is more than blanks; None: there is none.
        """
        phrase = self._phrases[lead] if lead in self._phrases else self._remember(lead)
        if phrase is None or not (
            phrase.rule in ("line_alone", "markup", "soap_letter")
            or (phrase.rule == "joined" and phrase.caps and visible)
        ):
            return None
        short = len(phrase.text) < 4 and phrase.text not in _SHORT_NAMES
        set_off = (
            phrase.caps
            or phrase.marked
            or (visible is False and _SEVERAL_WORDS.search(phrase.text) is not None)
        )
        if not visible and (phrase.rule == "soap_letter" or short or not set_off):
            return None
        if self.lexicon.needs_colon(phrase.text) and not phrase.caps:
            return None
        if phrase.rule in ("line_alone", "joined"):
            return replace(phrase, after=after, rule="caps_lead" if visible is None else "separator")
        return replace(phrase, after=after)

    def _inline(
        self,
        line: str,
        position: int,
        *,
        flat: bool,
        run_on: bool,
        shouting: bool,
    ) -> tuple[Candidate, ...]:
        """Headings before the further colons of a line; unknown ones only where line breaks were lost.

        run_on: the line holds several sections, so that one begins without a full stop before it.
        """
        colon = line.find(":", position)
        if colon < 0:
            return ()
        found: list[Candidate] = []
        last_words = self.lexicon.last_words
        while colon >= 0:
            end = colon - 1 if line.startswith(" :", colon - 1) else colon
            low = max(position, colon - _LONGEST_PHRASE)
            word = line[max(line.rfind(" ", low, end) + 1, low) : end]
            known = word in last_words or word.lower() in last_words or (flat and word.isupper())
            if not known and word and not word.isalnum():
                known = word[-1] in ")*" or _last_letters(word) in last_words
            # only what follows the last sentence can be a heading
            low = max(
                low, line.rfind(". ", low, colon), line.rfind("  ", low, end), line.rfind("; ", low, colon)
            )
            if not known:
                first = _FIRST_LETTERS.match(line, low, colon)
                known = first is not None and first[1] in self.lexicon.first_words
            if known:
                key = (
                    line[low:colon],
                    low == 0 or line[low - 1] == ":",
                    flat,
                    run_on or position > 0,
                    shouting,
                )
                if key in self._inline_phrases:
                    phrase = self._inline_phrases[key]
                else:
                    if len(self._inline_phrases) > _CACHE_SIZE:
                        self._inline_phrases.clear()
                    phrase = self._inline_phrases[key] = self._parse_inline(*key)
                if phrase is not None:
                    after_blank = flat and line.endswith("  ", 0, low + phrase.start)
                    found.append((phrase, low, False, after_blank))
                    position = low + phrase.after
            colon = line.find(":", colon + 1)
        return tuple(found)

    def _parse_inline(
        self, chunk: str, at_start: bool, flat: bool, run_on: bool, shouting: bool
    ) -> HeadingPhrase | None:
        """The heading that ends at a colon inside a line: it begins after a sentence, a blank of two or in capitals."""
        inner = len(chunk.rstrip(_EDGE_AFTER))
        colon = len(chunk)
        starts = [0] if at_start else []
        after_sentence = False
        bracket = chunk.rfind("(") if chunk.endswith(")", 0, inner) else inner
        for mark in _BOUNDARY.finditer(chunk, 0, bracket):
            if mark.end() < inner:
                if not starts or mark[0].strip() not in _DASHES:  # what stands before a dash may belong to it
                    starts.clear()
                starts.append(mark.end())
                after_sentence = True

        def heading(begin: int, end: int, category: str | None, rule: str, after: int) -> HeadingPhrase:
            lead = len(chunk[:begin].rstrip(_EDGE_BEFORE))
            text = chunk[begin:end]
            return self._phrase(
                text, lead=lead, begin=begin, after=after, category=category, rule=rule, colon=True
            )

        last = chunk.rfind(" ", 0, inner) + 1
        if chunk[last:inner] in LETTERS and not _SPACED_LETTER.search(chunk, 0, inner):
            return heading(last, inner, None, "soap_letter", colon + 1)
        for boundary in starts:
            number = _ENUMERATOR.match(chunk, boundary, inner)
            begin = _skip_to_word(chunk, number.end() if number else boundary)
            phrase = chunk[begin:inner]
            if (
                phrase
                and (phrase[-1] != ")" or "(" in phrase)
                and (match := self.lexicon.match(phrase, loose=phrase[0].isupper())) is not None
            ):
                return heading(begin, inner, match.category, "inline", colon + 1)
        capitals = None if shouting else _CAPITALS_BEFORE.search(chunk, 0, inner)
        if capitals is None:
            found = self._titled_end(chunk, inner) if run_on else None
            return found and heading(found[0], inner, found[1], "inline", colon + 1)
        begin = capitals.start()
        if (
            after_sentence and begin in starts
        ):  # the run is one heading, known or not, or one that stands before another
            for word in reversed(list(_WORD.finditer(chunk, begin, inner))[1:]):
                phrase, rest = chunk[begin : word.start() - 1].rstrip(), chunk[word.start() : inner]
                match = self.lexicon.match(phrase, loose=False)
                if match is not None and (
                    self.lexicon.is_topic(rest) or self.lexicon.match(rest, loose=False)
                ):
                    return heading(begin, begin + len(phrase), match.category, "inline_caps", word.start())
            if flat and sum(map(str.isalpha, chunk[begin:inner])) > 3:
                return heading(begin, inner, None, "unknown", colon + 1)
            return None
        if self.lexicon.refusal(chunk[begin:inner]):
            return None
        for word in _WORD.finditer(chunk, begin, inner):  # the longest end of the run that is a heading
            match = self.lexicon.match(chunk[word.start() : inner], loose=word.start() == begin)
            if match is not None and (
                inner - word.start() > 2 or chunk[word.start() : inner] in _SHORT_NAMES
            ):
                return heading(word.start(), inner, match.category, "inline", colon + 1)
        return None

    def _titled_end(self, chunk: str, inner: int) -> tuple[int, str] | None:
        """The longest run of capitalised words before a colon that names a section: where it begins, its category."""
        words = list(_WORD.finditer(chunk, 0, inner))
        for number in range(max(0, len(words) - _MOST_TITLE_WORDS), len(words)):
            begin = words[number].start()
            phrase = chunk[begin:inner]
            if not phrase[0].isupper() or self.lexicon.needs_colon(phrase):
                continue
            match = self.lexicon.match(phrase, loose=False)
            if match is None or match.category == UNKNOWN:
                continue
            before = words[number - 1][0] if number else ""
            if before.lower() in _DETERMINERS or self.lexicon.refusal(f"{before} {phrase}"):
                return None
            return begin, match.category
        return None

    def _inline_capitals(self, line: str, position: int, start: int, found: list[Candidate]) -> None:
        """Headings in capitals without a colon, in a note that lost its line breaks."""
        for capitals in _CAPITALS_INSIDE.finditer(line, position):
            phrase, (begin, after) = capitals[0], capitals.span()
            if phrase in LETTERS:
                category, rule = None, "soap_letter"
            elif (match := self.lexicon.match(phrase, loose=False)) and not self.lexicon.needs_colon(phrase):
                category, rule = match.category, "inline_caps"
            else:
                continue
            inline = self._phrase(phrase, lead=begin, begin=begin, after=after, category=category, rule=rule)
            found.append((inline, start, False, True))

    def _phrase(
        self,
        text: str,
        *,
        lead: int,
        begin: int,
        after: int,
        category: str | None,
        rule: str,
        item: bool = False,
        depth: int = 0,
        marked: bool = False,
        colon: bool = False,
    ) -> HeadingPhrase:
        named = category or LETTER_CATEGORY.get(text.upper())
        return HeadingPhrase(
            lead=lead,
            start=begin,
            end=begin + len(text),
            after=after,
            text=text,
            category=category,
            rule=rule,
            caps=text.isupper(),
            item=item,
            depth=depth,
            marked=marked,
            colon=colon,
            topic=category is None and self.lexicon.is_topic(text),
            ends_as_heading=text.rsplit(None, 1)[-1].lower() in self.lexicon.heading_nouns,
            begins_mark=(category is None or (category == UNKNOWN and not text.isupper()))
            and self._begins_mark(text),
            guards=self.lexicon.guards_of(named, text) if named else None,
            refused=None if named else self.lexicon.refusal(text),
        )

    def _begins_mark(self, text: str) -> bool:
        word = _FIRST_WORD.match(text)
        return word is not None and (word[1] in self._closing_words or word[1] in self._page_words)


def _places(gaps: re.Pattern[str], line: str) -> list[int]:
    """Where the line begins, and what follows each gap."""
    return [0, *(gap.end() for gap in gaps.finditer(line))]


def _is_all_capitals(view: str) -> bool:
    """Is the note typed in capitals, so that capitals set nothing off?"""
    word = _SMALL_LETTERS.search(view)
    return word is None or (word.start() > 200 and len(_SMALL_LETTERS.findall(view)) < len(view) / 300)


def _is_prose(line: str) -> bool:
    """Does the line end as a sentence does? No heading, signature or page line, unless its first word is one's."""
    return line[-1] == "." and line[-2:-1].islower() and (line[0] not in _LETTER_STARTS or line[:2].isalpha())


def _in_plain_capitals(candidate: Candidate) -> Candidate | None:
    """The candidate as it counts in a note typed in capitals, if it still does."""
    phrase, line, alone, after_blank = candidate
    if not (phrase.colon or phrase.marked or phrase.rule in _RULES_OF_CAPITALS):
        return None
    return replace(phrase, caps=False) if phrase.caps else phrase, line, alone, after_blank


def _without_overlaps(candidates: list[Candidate]) -> list[Candidate]:
    """In order of their offsets; of two that overlap the first, of two that start together the longer one."""
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


def _looks_like_heading(phrase: str, *, colon: bool, marked: bool, caps: bool) -> bool:
    """Could a phrase that the lexicon does not know be a heading?"""
    words = phrase.split()
    if (
        len(words) > 12
        or words[0].lower() == "dear"
        or sum(map(str.isalpha, phrase)) < max(4, len(phrase) // 2)
        or _SENTENCE_BEFORE.search(phrase) is not None
    ):
        return False
    if caps:
        return True
    if marked:
        return phrase[0].isupper() and len(words) <= 10
    return colon and len(words) <= 8 and all(word[0].isupper() or word in _SMALL_WORDS for word in words)


def _close_bracket(key: str, begin: int, end: int, limit: int) -> int:
    """The end of the phrase, with the bracket before `limit` that closes one opened inside it."""
    opened = max(key.rfind(bracket, begin, end) for bracket in "([{")
    if opened < 0:
        return end
    closing = key.find({"(": ")", "[": "]", "{": "}"}[key[opened]], opened, limit)
    return closing + 1 if closing >= end else end


def _last_letters(word: str) -> str:
    letters = _LAST_LETTERS.search(word)
    return letters[1].lower() if letters else ""


def _skip_to_word(text: str, start: int) -> int:
    word = _WORD_START.search(text, start)
    return word.start() if word else len(text)


_PROSE: _Line = None, False, (), ()
_CACHE_SIZE = 50_000
_LONGEST_KNOWN_LINE = 1000  # characters; notes are copied from earlier ones line by line
_LONGEST_LEAD = 100  # characters of a line in which a heading before a colon is looked for
_LONGEST_TITLE = 90  # characters of a line that may be a heading as a whole
_SHORTEST_TITLE = 8
_LONGEST_BEFORE_BRACKET = 40
_LONGEST_CLOSING = 200
_LONGEST_CLOSING_LINE = 400
_LONGEST_PHRASE = 80
_MOST_TITLE_WORDS = 7
_MOST_BLANKS = 14
_FLAT_LINE = 800  # characters a line on average, above which a note has lost its line breaks
EDGE = " \t\n:*_"
LETTER_CATEGORY = {"S": "subjective", "O": "objective", "A": "assessment", "P": "plan"}
LETTERS = frozenset("SOAPIERDBFGsoapierdbfg")  # of S/O/A/P, B/I/R/P, D/A/R notes and the like
_LETTER_STARTS = frozenset("SOAPIERDBFG[(")
_SHORT_NAMES = frozenset(
    {"A/P", "A&P", "A+P", "I/P", "HPI", "PMH", "PSH", "ROS", "CC", "PE", "FH", "SH", "IMP"}
)
_DETERMINERS = frozenset(
    [
        "the",
        "a",
        "an",
        "this",
        "that",
        "these",
        "those",
        "his",
        "her",
        "their",
        "our",
        "my",
        "your",
        "no",
        "any",
        "new",
        "same",
        "per",
        "see",
        "for",
        "of",
        "and",
        "or",
        "with",
        "in",
        "on",
    ]
)
_SMALL_WORDS = frozenset(
    {
        "a",
        "an",
        "and",
        "at",
        "by",
        "during",
        "for",
        "from",
        "in",
        "of",
        "on",
        "or",
        "per",
        "the",
        "to",
        "with",
    }
)
_LEAD = re.compile(
    r"(?P<blank>\s*)(?:\[[\d/:.,\s-]{4,24}(?:[AaPp][Mm])?\]\s*|"  # a time stamp
    r"(?:\d{1,2}/\d{1,2}/\d{2,4}|\d{4}-\d\d-\d\d)(?:[ ,@T-]+\d{1,2}:?\d\d(?::\d\d)?(?: ?[AaPp][Mm])?)?"
    r"(?:\s*[-–:])?\s+(?=[A-Z*#<]))?"
    r"(?P<bullet>(?:(?:[-–—+*|]|>+)(?=\s)\s*|[•·●▪◦○■□►➢➤▶▸‣⁃∙✓✔✗☐☑☒◆◇→⇒]\s*)*)(?P<markup>[#*_=~+\-<{\[\"“'‘(|.]*)\s*"
    r"(?P<number>(?:[SOAPIERDBFG]\s?[-–—/=:]\s?(?=[A-Z][a-z]{3})|"
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
_SPACED_LETTER = re.compile(r"\b[A-Z] [A-Z]$")
_FIRST_WORD = re.compile(r"[\W\d_]{0,80}(?:\(?(?:\d{1,2}|[ivxIVX]{1,5}|[A-Za-z])[.)]\W{0,4})?([^\W\d_]+)")
_TITLE_LINE = re.compile(
    r"\W{0,6}[A-Z][a-z]+(?:[ /&,-]{1,3}(?:[A-Z][a-z]*|and|of|for|the|to|with|\([^()]*\)|[\d/:]+)){0,6}\W{0,6}$"
)
_SEPARATED = re.compile(  # at most eight words, never given back, and what sets them off from the rest of the line
    # atomic groups: possessive quantifiers of groups match too little before Python 3.11.5 (CPython issue 106052)
    r"(?P<phrase>(?>[^\s;.:…–—_=|>~-]+(?:-(?=\w)[^\s;.:…–—_=|>~-]*)*"
    r"(?:[ ](?>[^\s;.:…–—_=|>~-]+(?:(?<=\w)-(?=\w)[^\s;.:…–—_=|>~-]*)*)){0,7}))"
    r"(?P<separator>[ ]?\t\s*|[ ]+(?:[-–—=|>~]+[ ]+|[-–—](?=\w)|(?:--+|\.[ ]?\.[ ]?\.[. ]*|[–—])[ ]*)|[ ]{2,}"
    r"|(?:-[ ]|[=|>]+|--+|\.[ ]?\.[ ]?\.[. ]*|_{3,}|…[….]*|[–—])[ ]*|[ ]?;[ ]*(?=\S))"
)
_LETTER_LEAD = re.compile(
    r"(?:[\[(](?=\w[\])]))?(?P<letter>[SOAPIERDBFG])"
    r"(?:(?:\]|\)(?<=\(\w\))|[ ]?[-–—=/;])[ ]+|(?P<item>[.)][ ]+|[ ]?[-–—](?=[A-Za-z])))"
)
_CAPITALS_LEAD = re.compile(
    r"([^a-z]{0,8}(?:[A-Z]{3}[A-Z/&,\- ]*[A-Z]|[A-Z][/&+][A-Z]|PLAN))(?:\.? (?=[A-Z][a-z]|\d|-|\(|#))"
)
_SENTENCE_BEFORE = re.compile(r"[a-z]{3}[.!?;]\s")
# a search for what begins with one of a set of characters is the quickest: what stands before it is looked at after
_CLAUSE = re.compile(r"\s(?:(?<=[.!?)]\s)\s*|\s+)")
_CLAUSE_START = re.compile("[A-Za-z/*_–—-]")
_BLANKS = re.compile(r"\s\s+")
# names that begin a line without a separator that could be one of anything else
_NAME_LEAD = re.compile(
    r"(?P<name>\W{0,4}(?:HPI|PMHx?|PSHx?|ROS|A[/&+]P|FHx|SHx|CC(?= [a-z])|PE(?= [a-z]+ [a-z]|: )))\)? (?=\S)"
    r"|(?P<title>\W{0,4}(?:Subjective|Objective|Assessment|Plan|Impression))(?:\. +(?=[A-Z])| (?=#))"
)
_SEVERAL_WORDS = re.compile(r"\w[ /&+]+\w")
_COLUMN = re.compile(r"[^\s:]+(?: [^\s:]+){0,6}:?(?=\s\s|$)")
_LAST_LETTERS = re.compile(r"([A-Za-z]+)[^A-Za-z]*$")
_BOUNDARY = re.compile(r"[.!?;)\]>|•*_]\s*(?:[-–—•]\s+)?|--+\s*|\s{2,}|\t|\s[-–—/]\s+")
_ENDS_OF_PROSE = (".", ",", ";")
_EDGE_AFTER = "*_ \t\x1c\x1d\x1e\x1f"
_EDGE_BEFORE = " \t-–—•*_/"
_DASHES = frozenset({"-", "–", "—", "--", "/"})
_ENUMERATOR = re.compile(r"\(?(?:\d{1,2}|[ivxIVX]{1,5}|[A-Za-z])[.)]\s+")
_FIRST_LETTERS = re.compile(r"[^\w:]{0,8}([A-Za-z]+)")
_WORD_START = re.compile(r"[^\W_]|\(")
_WORD = re.compile(r"\S+")
_CAPITALS_BEFORE = re.compile(r"(?<![A-Za-z])[A-Z][A-Z/&,()' \-]*$")
_CAPITALS_INSIDE = re.compile(
    r"[A-Z](?:(?<=[.!?;)] [A-Z])|(?<=  [A-Z]))"
    r"(?:[A-Z]{2}[A-Z/&]*(?: (?:[A-Z/&]{2,}|&|/))*(?=\s+(?:\d|[A-Z][a-z]|[-–—]))|(?<=[SOAP])(?=\s?[-–—] ))"
)
# "___" where a name or number was taken out of MIMIC's notes: neither a rule nor markup, but a word of its sentence
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
