"""Phrases in a note that look like headings, wherever they stand; nlp/sections.py decides which of them are.

Works on a *view* of the text: same length, with HTML tags, no-break spaces and odd line ends rewritten to plain ones,
so that one line-by-line pass serves all styles and every offset is an offset into the untouched text.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from rubricator.nlp.headings import UNKNOWN, Guard, Lexicon, Match, normalise


class HeadingPhrase(NamedTuple):
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
    guards: tuple[Guard, ...]  # those that may still refuse it, by what stands around it
    refused: str | None  # a guard's reason code, for a phrase that only ends as a heading does: "Meal plan"


# a phrase, the offset its offsets count from, nothing after it on its line, stands after a blank line
Candidate = tuple[HeadingPhrase, int, bool, bool]


class HeadingReader:
    """Finds what looks like a heading. Remembers the beginnings of lines that it has read, up to a bound."""

    def __init__(self, lexicon: Lexicon) -> None:
        self.lexicon = lexicon
        self._phrases: dict[str, HeadingPhrase | None] = {}
        self._inline_phrases: dict[tuple[str, bool, bool, bool], HeadingPhrase | None] = {}

    def view(self, text: str) -> str:
        """The text with odd blanks, line ends and HTML tags rewritten at the same length."""
        if "\r" in text:
            text = text.replace("\r\n", " \n").replace("\r", "\n")
        if not text.isascii():
            for odd, plain in _ODD_CHARACTERS:
                text = text.replace(odd, plain)
        if "\x0b" in text or "\x0c" in text:
            text = text.replace("\x0b", "\n").replace("\x0c", "\n")
        if "<" in text:
            text = _TAG.sub(self._plain_tag, text)
        if "&" in text:
            text = text.replace("&nbsp;", "      ").replace("&amp;", "&    ")
        return text

    def _plain_tag(self, tag: re.Match[str]) -> str:
        name, width = tag["name"].lower(), len(tag[0])
        named = _NAMED_TAG.search(tag[0])
        if named is not None and self._is_known(named[1]):
            return "\n".ljust(named.start(1)) + (named[1] + ":").ljust(width - named.start(1))
        if name in _BOLD_TAGS:
            return ("**" if tag["slash"] else "**".rjust(width)).ljust(width)
        if name in _HEADING_TAGS:
            return ("\n" if tag["slash"] else "\n##").ljust(width)
        if name not in _BLOCK_TAGS and self._is_known(name):
            return "\n".ljust(width) if tag["slash"] else f"\n{tag['name'].replace('_', ' ')}:".ljust(width)
        return ("\n" if name in _BLOCK_TAGS else " ").ljust(width)

    def _is_known(self, phrase: str) -> bool:
        match = self.lexicon.match(phrase, loose=False)
        return match is not None and match.category != UNKNOWN and not self.lexicon.needs_colon(phrase)

    def candidates(self, view: str) -> tuple[list[Candidate], list[int]]:
        """Heading candidates in order, and the offsets of signatures and end rules."""
        found: list[Candidate] = []
        closings: list[int] = []
        known = self._phrases
        first_words = self.lexicon.first_words
        flat = len(view) > _FLAT_LINE * (view.count("\n") + 1)
        shouting = _is_all_capitals(view)
        start = -1
        length = 0
        after_blank = True
        for line in view.split("\n"):
            start += length + 1
            length = len(line)
            content = line.lstrip()
            if not content:
                after_blank = True
                continue
            width = len(content)
            begin = start + length - width
            phrase: HeadingPhrase | None = None
            position = 0
            colon = content.find(":", 0, _LONGEST_LEAD)
            if (
                colon > 0 and content[colon - 1].isdigit() and content[colon + 1 : colon + 3].isdigit()
            ):  # a time
                colon = content.find(":", colon + 1, _LONGEST_LEAD)
            if colon >= 0:
                key = content[: colon + 1]
                phrase = known[key] if key in known else self._remember(key)
            if phrase is None:
                word = _FIRST_WORD.match(content)
                if word is None:
                    if _END_RULE.match(content):
                        closings.append(start)
                else:
                    first = word[1]
                    if (
                        first in first_words
                        or (content[0] in "SOAP[" and _LETTER_LEAD.match(content))
                        or (
                            width < _LONGEST_TITLE
                            and (content.isupper() or (content[-1] != "." and _TITLE_LINE.match(content)))
                        )
                    ):
                        phrase = self._parse_line(content, width, word.start(1))
                    if phrase is None and (
                        (first in _CLOSING_WORDS and _CLOSING.match(content))
                        or (
                            width < _LONGEST_WORD * 2
                            and content.endswith(_CREDENTIALS)
                            and _SIGNED_NAME.match(content)
                        )
                    ):
                        closings.append(start)
            if phrase is not None:
                position = phrase.after
                alone = position >= width or not content[position : position + 9].strip(EDGE)
                if alone and position < width:
                    alone = not content[position:].strip(EDGE)
                found.append((phrase, begin, alone, after_blank))
            if content.find(":", position) >= 0:
                self._inline(content, position, begin, found, flat=flat, shouting=shouting)
            if flat and width > _FLAT_LINE:
                self._inline_capitals(content, position, begin, found)
            after_blank = False
        if flat:
            found = _without_overlaps(found)
        if shouting:
            found = [candidate for candidate in map(_in_plain_capitals, found) if candidate is not None]
        return found, closings

    def _remember(self, key: str) -> HeadingPhrase | None:
        if len(self._phrases) > _CACHE_SIZE:
            self._phrases.clear()
        phrase = self._phrases[key] = self._parse(key)
        return phrase

    def _parse_line(self, line: str, width: int, word_start: int) -> HeadingPhrase | None:
        """A line with no heading before a colon: a short line as a whole, else its beginning up to a separator."""
        if width < _LONGEST_LEAD and (
            not line.rstrip().endswith(_ENDS_OF_PROSE) or line[0] in "*_" or line.isupper()
        ):
            phrase = self._phrases[line] if line in self._phrases else self._remember(line)
            if phrase is not None:
                return phrase
        if (letter := _LETTER_LEAD.match(line)) is not None:
            return self._phrase(
                letter[1],
                lead=0,
                begin=letter.start(1),
                after=letter.end(),
                category=None,
                rule="soap_letter",
                item=bool(letter[2]),
            )
        separated = _SEPARATED.match(line, word_start)
        if separated is not None:
            separator = separated["separator"]
            blanks = separator.isspace() and "\t" not in separator and len(separator) < 4
            phrase = self._parse_weak(line[: separated.end("phrase")], separated.end(), visible=not blanks)
            if phrase is not None:
                return phrase
        capitals = _CAPITALS_LEAD.match(line)
        if capitals is not None:
            return self._parse_weak(capitals[1], capitals.end(), visible=None)
        return None

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
            markup and (closing := key.find(markup[:2], begin)) >= 0
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
        if found is None and phrase not in LETTER_CATEGORY:
            short = phrase.count(" ") < _MOST_TITLE_WORDS
            if not (colon or marked or caps) and (not short or key.endswith(_ENDS_OF_PROSE)):
                return None
            loose = (
                caps
                or marked
                or (short and (colon or (capitalised and _TITLE_LINE.match(phrase) is not None)))
            )
            found = self.lexicon.match(phrase, loose=loose)
        if phrase in LETTER_CATEGORY:
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
        elif _looks_like_heading(phrase, colon=colon, marked=marked, caps=caps) or (
            colon and self.lexicon.refusal(phrase)
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
        if phrase is None or phrase.rule not in ("line_alone", "markup", "soap_letter"):
            return None
        if not visible and (
            phrase.rule == "soap_letter" or len(phrase.text) < 4 or not (phrase.caps or phrase.marked)
        ):
            return None
        if self.lexicon.needs_colon(phrase.text) and not phrase.caps:
            return None
        if phrase.rule == "line_alone":
            return phrase._replace(after=after, rule="caps_lead" if visible is None else "separator")
        return phrase._replace(after=after)

    def _inline(
        self, line: str, position: int, start: int, found: list[Candidate], *, flat: bool, shouting: bool
    ) -> None:
        """Headings before the further colons of a line; unknown ones only where line breaks were lost."""
        last_words = self.lexicon.last_words
        colon = line.find(":", position)
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
                key = (line[low:colon], low == 0 or line[low - 1] == ":", flat, shouting)
                if key in self._inline_phrases:
                    phrase = self._inline_phrases[key]
                else:
                    if len(self._inline_phrases) > _CACHE_SIZE:
                        self._inline_phrases.clear()
                    phrase = self._inline_phrases[key] = self._parse_inline(*key)
                if phrase is not None:
                    after_blank = flat and line.endswith("  ", 0, low + phrase.start)
                    found.append((phrase, start + low, False, after_blank))
                    position = low + phrase.after
            colon = line.find(":", colon + 1)

    def _parse_inline(self, chunk: str, at_start: bool, flat: bool, shouting: bool) -> HeadingPhrase | None:
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
        if chunk[last:inner] in LETTER_CATEGORY and not _SPACED_LETTER.search(chunk, 0, inner):
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
            return None
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
            if match is not None and inner - word.start() > 2:
                return heading(word.start(), inner, match.category, "inline", colon + 1)
        return None

    def _inline_capitals(self, line: str, position: int, start: int, found: list[Candidate]) -> None:
        """Headings in capitals without a colon, in a note that lost its line breaks."""
        for capitals in _CAPITALS_INSIDE.finditer(line, position):
            phrase, (begin, after) = capitals[0], capitals.span()
            if phrase in LETTER_CATEGORY:
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
        named = category or LETTER_CATEGORY.get(text)
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
            guards=self._guards(named, text) if named else (),
            refused=None if named else self.lexicon.refusal(text),
        )

    def _guards(self, category: str, phrase: str) -> tuple[Guard, ...]:
        heading = normalise(phrase, keep_the=True)
        return tuple(guard for guard in self.lexicon.guards if guard.concerns(category, heading))


def _is_all_capitals(view: str) -> bool:
    """Is the note typed in capitals, so that capitals set nothing off?"""
    word = _SMALL_LETTERS.search(view)
    return word is None or (word.start() > 200 and len(_SMALL_LETTERS.findall(view)) < len(view) / 300)


def _in_plain_capitals(candidate: Candidate) -> Candidate | None:
    """The candidate as it counts in a note typed in capitals, if it still does."""
    phrase, line, alone, after_blank = candidate
    if not (phrase.colon or phrase.marked or phrase.rule in _RULES_OF_CAPITALS):
        return None
    return phrase._replace(caps=False), line, alone, after_blank


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


_CACHE_SIZE = 50_000
_LONGEST_LEAD = 100  # characters of a line in which a heading before a colon is looked for
_LONGEST_TITLE = 90  # characters of a line that may be a heading as a whole
_LONGEST_PHRASE = 80
_LONGEST_WORD = 30
_MOST_TITLE_WORDS = 7
_MOST_BLANKS = 14
_FLAT_LINE = 800  # characters a line on average, above which a note has lost its line breaks
EDGE = " \t\n:*_"
LETTER_CATEGORY = {
    "S": "subjective", "O": "objective", "A": "assessment", "P": "plan",
    "s": "subjective", "o": "objective", "a": "assessment", "p": "plan",
}  # fmt: skip
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
    r"(?P<blank>\s*)(?:\[[\d/:.,\s-]{4,24}(?:[AaPp][Mm])?\]\s*)?"  # a time stamp
    r"(?P<bullet>(?:(?:[-–—+*|]|>+)(?=\s)\s*|[•·●▪◦○■□►➢➤▶▸‣⁃∙✓✔✗☐☑☒◆◇→⇒]\s*)*)(?P<markup>[#*_=~+\-<{\[\"“'‘(|.]*)\s*"
    r"(?P<number>(?:\(?(?:\d{1,2}(?:\.\d{1,2})*|[ivxIVX]{1,5}|[A-Za-z])[.)](?!\w)\s*|\d{1,2}(?:\s?[-–:])?\s+(?=[A-Z\W])"
    r"|(?:[Ss]ection|SECTION|[Pp]art|PART)\s+\w{1,4}\s*[-–.:)]\s*)?)[*_]*"
)
_MARKS = re.compile(r"[*_=~#>\]})\"”|+-]+[\s:]*")
_TAIL = re.compile(r"[\s:;.,*_=~#+/\\\-–—|<>}\])\"”'’…]+$")
_STRONG_MARKS = frozenset({"**", "__", "==", "--", "[", "<<", "{", "~~", "++", "_", "*"})
_SPACED_LETTER = re.compile(r"\b[A-Z] [A-Z]$")
_FIRST_WORD = re.compile(r"[^A-Za-z]{0,80}(?:\(?(?:\d{1,2}|[ivxIVX]{1,5}|[A-Za-z])[.)]\W{0,4})?([A-Za-z]+)")
_TITLE_LINE = re.compile(
    r"\W{0,6}[A-Z][a-z]+(?:[ /&,-]{1,3}(?:[A-Z][a-z]*|and|of|for|the|to|with|\([^()]*\)|[\d/:]+)){0,6}\W{0,6}$"
)
_SEPARATED = re.compile(  # at most eight words, never given back, and what sets them off from the rest of the line
    # atomic groups: possessive quantifiers of groups match too little before Python 3.11.5 (CPython issue 106052)
    r"(?P<phrase>(?>(?:[^\s;.:…–—_=|>~-]|-(?=\w))+(?:[ ](?>(?:[^\s;.:…–—_=|>~-]|(?<=\w)-(?=\w))+)){0,7}))"
    r"(?P<separator>[ ]?\t\s*|[ ]+(?:[-–—=|>~]+[ ]+|[-–—](?=\w)|(?:--+|\.[ ]?\.[ ]?\.[. ]*|[–—])[ ]*)|[ ]{2,}"
    r"|(?:-[ ]|[=|>]+|--+|\.[ ]?\.[ ]?\.[. ]*|_{3,}|…[….]*|[–—])[ ]*|;[ ])"
)
_LETTER_LEAD = re.compile(r"\[?([SOAP])(?:([.)])|\]|[ ]?[-–—=])[ ]+")
_CAPITALS_LEAD = re.compile(r"([^a-z]{0,8}[A-Z]{3}[A-Z/&,\- ]*[A-Z]) (?=[A-Z][a-z]|\d|-|\()")
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
    r"(?<=[.!?:;)] |  )(?:[A-Z]{3}[A-Z/&]*(?: (?:[A-Z/&]{2,}|&|/))*(?=\s+(?:\d|[A-Z][a-z]|[-–—]))|[SOAP](?=\s?[-–—] ))"
)
_SMALL_LETTERS = re.compile(r"[a-z]{4}")
_RULES_OF_CAPITALS = frozenset({"line_alone", "dated", "separator", "soap_letter"})
_END_RULE = re.compile(r"\s*(?:[-_=*~]\s?){4,}\s*$")
_CLOSINGS = (
    *(
        "electronically",
        "digitally",
        "signed",
        "dictated",
        "sincerely",
        "respectfully",
        "kind",
        "kindest",
        "best",
    ),
    *("warm", "warmest", "with", "yours", "thank"),
)
_CLOSING_WORDS = frozenset(form for word in _CLOSINGS for form in (word, word.capitalize(), word.upper()))
_CLOSING = re.compile(
    r"\s*(?:(?:electronically|digitally) (?:signed|authenticated)|signed\b|dictated (?:by|but)|sincerely|respectfully|"
    r"(?:kind|best|warm|warmest|with)(?: \w+){0,2} (?:regards|wishes)|yours (?:sincerely|faithfully|truly)|"
    r"thank you (?:for|very much for) (?:allowing|referring|asking|involving|this))",
    re.IGNORECASE,
)
_CREDENTIALS = (
    "MD",
    "M.D.",
    "DO",
    "D.O.",
    "NP",
    "PA",
    "PA-C",
    "RN",
    "PhD",
    "Ph.D.",
    "DPM",
    "CRNP",
    "FNP",
    "FACP",
    "FACS",
)
_SIGNED_NAME = re.compile(r"(?:Dr\.? )?[A-Z][\w.'-]*(?: [A-Z][\w.'-]*){0,3},? [A-Z][A-Za-z.,/ -]{1,20}$")
_ODD_CHARACTERS = (
    ("\xa0", " "), ("\u2007", " "), ("\u2009", " "), ("\u202f", " "), ("\u3000", " "), ("\u200b", " "), ("\ufeff", " "),
    ("\u2028", "\n"), ("\u2029", "\n"), ("\x85", "\n"), ("：", ":"),
)  # fmt: skip
_TAG = re.compile(r"<(?P<slash>/?)(?P<name>[A-Za-z][A-Za-z0-9_]*)(?:\s[^<>]{0,200})?/?>")
_NAMED_TAG = re.compile(r"\s(?:title|name|label|heading|displayName)\s*=\s*[\"']([^\"']{2,60})[\"']")
_BOLD_TAGS = frozenset({"b", "strong", "u", "i", "em", "th", "font"})
_HEADING_TAGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6", "title", "caption", "legend", "dt"})
_BLOCK_TAGS = frozenset(
    {"p", "br", "div", "li", "ul", "ol", "td", "tr", "table", "section", "text", "hr", "dd", "body", "html"}
)
