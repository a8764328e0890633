"""Headed sections of a clinical note, found on the raw text: headings with their category and the body under each.

Works on a *view* of the text: same length, with HTML tags, no-break spaces and odd line ends rewritten to plain ones, so
that one line-by-line pass serves all styles and every offset is an offset into the untouched text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from rubricator.nlp.headings import UNKNOWN, Lexicon

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc

SECTIONS_SCHEMA = pa.schema(
    [
        pa.field("note_id", pa.string(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("loinc", pa.string()),
        pa.field("heading", pa.string(), nullable=False),
        pa.field("heading_start", pa.int32(), nullable=False),
        pa.field("heading_end", pa.int32(), nullable=False),
        pa.field("body_start", pa.int32(), nullable=False),
        pa.field("body_end", pa.int32(), nullable=False),
        pa.field("rule", pa.string(), nullable=False),
        pa.field("confidence", pa.float32(), nullable=False),
    ]
)


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and its body. Offsets are half-open string offsets into the note; `heading` is the text between them.

    `rule` says how the heading was recognised and `confidence` (0..1] how sure that form is, see CONFIDENCE.
    An empty body has body_start == body_end.
    """

    category: str
    loinc: str | None
    heading: str
    heading_start: int
    heading_end: int
    body_start: int
    body_end: int
    rule: str
    confidence: float


@dataclass(frozen=True, slots=True)
class RejectedHeading:
    """A heading-like phrase that is none: the reason code of a guard, or of the place where it stands."""

    start: int
    end: int
    reason: str


CONFIDENCE = {
    "line_colon": 1.0,  # "PLAN:" at the start of a line
    "line_alone": 0.95,  # "PLAN" alone on its line
    "markup": 0.95,  # "## Plan", "**Plan**", "<h3>Plan</h3>"
    "qualified": 0.9,  # "Plan for 4/12/2020:"
    "joined": 0.9,  # "Impression, plan and follow-up:"
    "separator": 0.9,  # "PLAN - ", "Plan<tab>", "PLAN ....."
    "soap_letter": 0.85,  # "P:" in an S/O/A/P note
    "item": 0.85,  # "- Medical Treatment:" under a mixed heading
    "inline": 0.8,  # "... Plan: ..." inside a line
    "typo": 0.75,  # "ASSESMENT AND PLAN:"
    "caps_lead": 0.7,  # "PLAN Continue aspirin" without any separator
    "inline_caps": 0.6,  # the same inside a line of a note that lost its line breaks
    "unknown": 0.6,  # looks like a heading and is not in the lexicon
}


class _Phrase(NamedTuple):
    """What the first characters of a line say; offsets count from the start of the line."""

    lead: int  # where enumerator, bullet or markup begins
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
    letter: str  # S, O, A or P
    topic: bool


class _Candidate(NamedTuple):
    phrase: _Phrase
    line: int  # offset of the line (or of the inline phrase) that the phrase's offsets count from
    alone: bool
    after_blank: bool


class SectionFinder:
    """Finds the headed sections of notes. Cheap to pickle: the cache of seen headings stays behind."""

    def __init__(self, lexicon: Lexicon | None = None) -> None:
        self.lexicon = Lexicon.load() if lexicon is None else lexicon
        self._phrases: dict[str, _Phrase | None] = {}
        self._last_words = {key.rsplit(" ", 1)[-1] for key in self.lexicon.variants}

    def __reduce__(self) -> tuple[type[SectionFinder], tuple[Lexicon]]:
        return SectionFinder, (self.lexicon,)

    def find(self, text: str) -> list[Section]:
        """The sections of a note in order; they never overlap. Never raises on any text."""
        return self.find_with_rejected(text)[0]

    def find_with_rejected(self, text: str) -> tuple[list[Section], list[RejectedHeading]]:
        """The sections, and the headings that a guard or their place refused."""
        view = _view(text)
        rejected: list[RejectedHeading] = []
        headings = self._resolve(view, self._candidates(view), rejected)
        return self._with_bodies(text, view, headings), rejected

    def _candidates(self, view: str) -> list[_Candidate]:
        found: list[_Candidate] = []
        phrases = self._phrases
        if len(phrases) > _CACHE_SIZE:
            phrases.clear()
        start = 0
        after_blank = True
        flat = len(view) > _FLAT_LINE * (view.count("\n") + 1)
        for line in view.split("\n"):
            length = len(line)
            if length < 2 or line.isspace():
                letter = line.strip()
                if letter in _LETTERS:
                    found.append(_Candidate(self._parse(line), start, True, after_blank))
                elif not letter or length > 1:
                    after_blank = True
                start += length + 1
                continue
            colon = line.find(":", 0, _LONGEST_LEAD)
            phrase: _Phrase | None = None
            if colon > 0:
                key = line[: colon + 1]
                try:
                    phrase = phrases[key]
                except KeyError:
                    phrase = phrases[key] = self._parse(key)
            if phrase is None and length <= _LONGEST_LEAD and (colon < 0 or line[colon - 1].isdigit()):
                try:
                    phrase = phrases[line]
                except KeyError:
                    phrase = phrases[line] = self._parse(line)
            if phrase is None and (weak := _WEAK_SEPARATOR.match(line)) is not None:
                key = weak[0]
                try:
                    phrase = phrases[key]
                except KeyError:
                    phrase = phrases[key] = self._parse_weak(key)
            position = 0
            if phrase is not None:
                alone = phrase.after >= length or not line[phrase.after :].strip(_EDGE)
                found.append(_Candidate(phrase, start, alone, after_blank))
                position = phrase.after
            if length - position > 4 and line.find(":", position) >= 0:
                self._inline(line, position, start, found)
            if flat and length > _FLAT_LINE:
                self._inline_capitals(line, position, start, found)
            after_blank = False
            start += length + 1
        if flat:
            found.sort(key=lambda candidate: candidate.line + candidate.phrase.start)
        return found

    def _parse(self, key: str) -> _Phrase | None:
        """Reads a line's beginning up to its colon, or a whole short line, as a heading phrase."""
        lead = _LEAD.match(key)
        assert lead is not None  # every part of it is optional
        first = lead.end("blank")
        marked = lead["markup"] or ""
        tail = _TAIL.search(key)
        end = tail.start() if tail else len(key)
        colon = ":" in key[end:]
        depth = len(marked.strip()) if marked.lstrip().startswith("#") else 0
        bold = (
            depth > 1 or any(mark in marked for mark in ("**", "__", "==")) or (depth == 1 and " " in marked)
        )
        bullet = bool(lead["bullet"])
        for begin, numbered in ((lead.end("bullet"), False), (lead.end(), True)):
            if numbered and begin == lead.end("bullet"):
                break
            stop = _close_bracket(key, begin, end)
            phrase = key[begin:stop]
            if not 0 < len(phrase) <= _LONGEST_PHRASE or not phrase[0].isalnum():
                continue
            letter = phrase if phrase in _LETTERS else ""
            found = None if letter else self.lexicon.match(phrase, loose=colon or bold or phrase.isupper())
            if found is not None or letter or begin == lead.end():
                break
        else:
            return None
        if not 0 < len(phrase) <= _LONGEST_PHRASE or not phrase[0].isalnum():
            return None
        caps = phrase.isupper()
        item = bullet or (numbered and lead.end() > lead.end("bullet"))
        if letter:
            rule = "soap_letter"
        elif found is not None:
            if not (colon or bold or caps or phrase[0].isupper()):
                if found.how != "exact" or key.strip() != phrase:
                    return None
            form = "line_colon" if colon else "markup" if bold else "line_alone"
            rule = form if found.how == "exact" else found.how
        elif self._looks_like_heading(phrase, colon=colon, bold=bold, caps=caps):
            rule = "unknown"
        else:
            return None
        return _Phrase(
            lead=first,
            start=begin,
            end=stop,
            after=len(key),
            text=phrase,
            category=found.category if found else None,
            rule=rule,
            caps=caps,
            item=item,
            depth=depth,
            marked=bold,
            letter=letter,
            topic=found is None and self.lexicon.is_topic(phrase),
        )

    def _looks_like_heading(self, phrase: str, *, colon: bool, bold: bool, caps: bool) -> bool:
        words = phrase.split()
        if len(words) > 12 or sum(map(str.isalpha, phrase)) < max(2, len(phrase) // 2):
            return False
        if caps:
            return True
        if bold:
            return phrase[0].isupper() and phrase[-1] not in ".,;" and len(words) <= 10
        return colon and len(words) <= 8 and all(word[0].isupper() or word in _SMALL_WORDS for word in words)

    def _parse_weak(self, key: str) -> _Phrase | None:
        """Reads "PLAN - ", "Plan<tab>", "PLAN ....": only phrases of the lexicon count before such a separator."""
        separator = _SEPARATOR_TAIL.search(key)
        stop = separator.start() if separator else len(key.rstrip())
        phrase = self._parse(key[:stop])
        if phrase is None or phrase.rule == "unknown" or phrase.after - phrase.end > 6:
            return None
        if phrase.rule not in ("line_alone", "markup", "soap_letter"):
            return None
        blank = not separator or not separator[0].strip()
        if phrase.rule == "soap_letter" and blank:
            return None
        if blank and not (phrase.caps or phrase.marked or "\t" in key):
            return None
        rule = phrase.rule if phrase.rule != "line_alone" else "separator" if separator else "caps_lead"
        return phrase._replace(after=len(key), rule=rule)

    def _inline(self, line: str, position: int, start: int, found: list[_Candidate]) -> None:
        """Headings before the further colons of a line."""
        colon = line.find(":", position)
        while colon >= 0:
            word = line[max(line.rfind(" ", position, colon) + 1, position) : colon]
            if len(word) <= 24 and (
                word.isupper() or word.strip("*_()/").lower() in self._last_words or word.endswith(")")
            ):
                candidate = self._parse_inline(line, max(position, colon - _LONGEST_PHRASE), colon)
                if candidate is not None:
                    found.append(_Candidate(candidate, start, False, False))
                    position = colon + 1
            colon = line.find(":", colon + 1)

    def _parse_inline(self, line: str, low: int, colon: int) -> _Phrase | None:
        chunk = line[low:colon]
        inner = len(chunk.rstrip("*_ "))
        boundary = 0 if low == 0 or line[low - 1] == ":" else -1
        double = False
        for match in _BOUNDARY.finditer(chunk, 0, inner):
            if match.end() < inner:
                boundary = match.end()
        if boundary >= 0:
            phrase = chunk[boundary:inner]
            letter = phrase if phrase in _LETTERS else ""
            match_ = None if letter else self.lexicon.match(phrase, loose=phrase[:1].isupper())
            if letter or match_ is not None:
                return self._inline_phrase(
                    phrase, low + boundary, colon, match_.category if match_ else None, letter
                )
        capitals = _CAPITALS_BEFORE.search(chunk, 0, inner)
        if capitals is None:
            return None
        begin = capitals.start()
        words = list(re.finditer(r"\S+", chunk[begin:inner]))
        for word in words:
            phrase = chunk[begin + word.start() : inner]
            match_ = self.lexicon.match(phrase, loose=word.start() == 0)
            if match_ is not None and len(phrase) > 2:
                return self._inline_phrase(phrase, low + begin + word.start(), colon, match_.category, "")
        if begin == boundary and sum(map(str.isalpha, chunk[begin:inner])) > 3 and not double:
            return self._inline_phrase(chunk[begin:inner], low + begin, colon, None, "")
        return None

    def _inline_phrase(
        self, phrase: str, begin: int, colon: int, category: str | None, letter: str
    ) -> _Phrase:
        return _Phrase(
            lead=begin,
            start=begin,
            end=begin + len(phrase),
            after=colon + 1,
            text=phrase,
            category=category,
            rule="soap_letter" if letter else "inline" if category else "unknown",
            caps=phrase.isupper(),
            item=False,
            depth=0,
            marked=False,
            letter=letter,
            topic=category is None and self.lexicon.is_topic(phrase),
        )

    def _inline_capitals(self, line: str, position: int, start: int, found: list[_Candidate]) -> None:
        """Headings in capitals without a colon, in a note that lost its line breaks."""
        for match in _CAPITALS_INSIDE.finditer(line, position):
            phrase = match[0]
            if len(phrase) > 3 and (known := self.lexicon.match(phrase, loose=False)) is not None:
                inline = self._inline_phrase(phrase, match.start(), match.end(), known.category, "")
                found.append(
                    _Candidate(inline._replace(after=match.end(), rule="inline_caps"), start, False, False)
                )

    def _resolve(
        self, view: str, candidates: list[_Candidate], rejected: list[RejectedHeading]
    ) -> list[_Candidate]:
        """Decides from the context which candidates are headings of sections."""
        letters = _soap_letters(view, candidates)
        kept: list[_Candidate] = []
        current: _Candidate | None = None
        role = ""
        for candidate in candidates:
            phrase = candidate.phrase
            if phrase.letter:
                category = letters.get(candidate.line + phrase.start)
                if category is None:
                    continue
                phrase = phrase._replace(category=category)
            category = phrase.category
            begin, after = candidate.line + phrase.start, candidate.line + phrase.after
            if category is not None:
                reason = self.lexicon.refusal(category, phrase.text, view, begin, after)
                if reason is not None:
                    rejected.append(RejectedHeading(begin, candidate.line + phrase.end, reason))
                    category = None
            if category is None:
                if not self._ends_section(phrase, candidate, current, role):
                    continue
                category = UNKNOWN
            elif self._is_content(phrase, candidate, current, role):
                rejected.append(
                    RejectedHeading(
                        begin, candidate.line + phrase.end, "part_of_" + (current.phrase.category or "")
                    )
                )  # type: ignore[union-attr]
                continue
            current = candidate._replace(phrase=phrase._replace(category=category))
            role = self.lexicon.categories[category].role
            kept.append(current)
        return kept

    def _ends_section(
        self, phrase: _Phrase, candidate: _Candidate, current: _Candidate | None, role: str
    ) -> bool:
        """Does this heading, which the lexicon does not know, begin a section of its own?"""
        if phrase.topic:
            return False
        if phrase.item and not phrase.depth:
            return False
        if role in ("plan", "mixed"):
            assert current is not None
            return candidate.after_blank and phrase.caps and current.phrase.caps
        return phrase.caps or phrase.marked or candidate.alone

    def _is_content(
        self, phrase: _Phrase, candidate: _Candidate, current: _Candidate | None, role: str
    ) -> bool:
        """Is this heading of the lexicon a part of the section it stands in?"""
        if current is None:
            return False
        if phrase.item and not current.phrase.item:
            if role == "mixed":
                return phrase.category not in ("plan", "assessment", "assessment_and_plan")
            return not (phrase.caps and candidate.after_blank)
        return False

    def _with_bodies(self, text: str, view: str, headings: list[_Candidate]) -> list[Section]:
        sections = []
        categories = self.lexicon.categories
        for n, heading in enumerate(headings):
            phrase = heading.phrase
            begin, end = heading.line + phrase.start, heading.line + phrase.end
            limit = len(text)
            if n + 1 < len(headings):
                following = headings[n + 1]
                limit = following.line + following.phrase.lead
            low, high = _body(view, heading.line + phrase.after, limit)
            category = phrase.category or UNKNOWN
            sections.append(
                Section(
                    category,
                    categories[category].loinc,
                    text[begin:end],
                    begin,
                    end,
                    low,
                    high,
                    phrase.rule,
                    CONFIDENCE[phrase.rule],
                )
            )
        return sections


def _view(text: str) -> str:
    """The text with odd blanks, line ends and HTML tags rewritten at the same length."""
    if "\r" in text:
        text = text.replace("\r\n", " \n").replace("\r", "\n")
    if not text.isascii():
        for odd, plain in _ODD_CHARACTERS:
            text = text.replace(odd, plain)
    if "\x0b" in text or "\x0c" in text:
        text = text.replace("\x0b", "\n").replace("\x0c", "\n")
    if "<" in text:
        text = _TAG.sub(_plain_tag, text)
    if "&nbsp;" in text:
        text = text.replace("&nbsp;", "      ")
    return text


def _plain_tag(tag: re.Match[str]) -> str:
    name, width = tag["name"].lower(), len(tag[0])
    if name in _BOLD_TAGS:
        return ("**" if tag["slash"] else " **").ljust(width) if width > 2 else tag[0]
    if name in _HEADING_TAGS and not tag["slash"]:
        return "\n##".ljust(width)
    return ("\n" if name in _BLOCK_TAGS or name in _HEADING_TAGS else " ").ljust(width)


def _close_bracket(key: str, begin: int, end: int) -> int:
    """The end of the phrase, with the bracket that closes one opened inside it."""
    if key[end : end + 1] in (")", "]") and {")": "(", "]": "["}[key[end]] in key[begin:end]:
        return end + 1
    return end


def _soap_letters(view: str, candidates: list[_Candidate]) -> dict[int, str]:
    """Offsets of the single letters that make an ordered S/O/A/P set, with their categories."""
    accepted: dict[int, str] = {}
    run: list[tuple[str, int]] = []

    def close() -> None:
        names = "".join(name for name, _ in run)
        if len(set(names)) >= 3 or "AP" in names:
            accepted.update((offset, _LETTER_CATEGORY[name]) for name, offset in run if offset >= 0)
        run.clear()

    for candidate in candidates:
        phrase = candidate.phrase
        if phrase.letter:
            after = candidate.line + phrase.after
            if phrase.letter == "P" and _NUMBER.match(view, after):
                continue
            name, offset = phrase.letter, candidate.line + phrase.start
        elif phrase.category in _CATEGORY_LETTER:
            name, offset = _CATEGORY_LETTER[phrase.category], -1
        else:
            continue
        if run and "SOAP".index(name[0]) <= "SOAP".index(run[-1][0][-1]):
            close()
        run.append((name, offset))
    close()
    return accepted


def _body(view: str, low: int, high: int) -> tuple[int, int]:
    """The body between two headings: blanks set aside, cut at a signature or an end rule."""
    body = view[low:high]
    closing = _CLOSING.search(body)
    if closing is not None and closing.start() > 0:
        body = body[: closing.start()]
    stripped = body.lstrip(_EDGE)
    low += len(body) - len(stripped)
    return low, low + len(stripped.rstrip())


def make_headed_sections(nlp: Language, name: str, lexicon_files: list[str]) -> HeadedSections:
    """The spaCy factory "headed_sections"; `lexicon_files` are the user's own lexicons (TOML)."""
    return HeadedSections(Lexicon.load(*map(Path, lexicon_files)))


class HeadedSections:
    """spaCy component: sections go to doc.spans["sections"] (label = category), headings to doc.spans["headings"]."""

    def __init__(self, lexicon: Lexicon) -> None:
        self.finder = SectionFinder(lexicon)

    def __call__(self, doc: Doc) -> Doc:
        bodies, headings = [], []
        for section in self.finder.find(doc.text):
            label = section.category
            bodies.append(
                doc.char_span(
                    section.heading_start,
                    max(section.heading_end, section.body_end),
                    label,
                    alignment_mode="expand",
                )
            )
            headings.append(
                doc.char_span(section.heading_start, section.heading_end, label, alignment_mode="expand")
            )
        doc.spans["sections"] = bodies
        doc.spans["headings"] = headings
        return doc


_CACHE_SIZE = 50_000
_LONGEST_LEAD = 100
_LONGEST_PHRASE = 80
_FLAT_LINE = 800  # characters a line on average, above which a note has lost its line breaks
_EDGE = " \t\n:*_"
_LETTERS = frozenset("SOAP")
_LETTER_CATEGORY = {"S": "subjective", "O": "objective", "A": "assessment", "P": "plan"}
_CATEGORY_LETTER = {
    "subjective": "S",
    "objective": "O",
    "assessment": "A",
    "plan": "P",
    "assessment_and_plan": "AP",
}
_SMALL_WORDS = frozenset("a an and at by during for from in of on or per the to with".split())
_LEAD = re.compile(
    r"(?P<blank>\s*)(?P<bullet>(?:[-–—+•·●▪◦○■□►➢✓✔→>|*](?=\s|[•·●▪◦○■□►➢])\s*)*)"
    r"(?P<markup>(?:[#*_=~\-<>{\[\"“(|.]+\s*)?)(?P<number>(?:\(?(?:\d{1,2}(?:\.\d{1,2})*|[ivxIVX]{1,5}|[A-Za-z])[.)]\s*)?)(?:[*_]+\s*)?"
)
_TAIL = re.compile(r"[\s:;.,*_=~#\-–—|<>}\])\"”…]+$")
_WEAK_SEPARATOR = re.compile(
    r"\s*(?:[^\s:]+[ ]){0,7}?[^\s:]+?(?:\s*\t\s*|[ ]+[-–—=|>~]+[ ]+|[ ]*(?:--+|\.{3,}|…|[–—])[ ]*|[ ]{2,}(?=\S)|;[ ])"
    r"|\s*(?:[A-Z]{3,}[A-Z/&,\-]*[ ]){1,6}(?=[A-Z][a-z]|\d|-|\()"
)
_SEPARATOR_TAIL = re.compile(r"(?:\s*\t\s*|\s+[-–—=|>~]+\s+|\s*(?:--+|\.{3,}|…|[–—])\s*|\s{2,}|;\s)$")
_BOUNDARY = re.compile(r"[.!?;)\]>|•*_]\s*|--+\s*|\s{2,}|\t|\s[-–—]\s+")
_CAPITALS_BEFORE = re.compile(r"(?<![A-Za-z])[A-Z][A-Z/&,()' \-]*$")
_CAPITALS_INSIDE = re.compile(
    r"(?<=[.!?:;)] |  )[A-Z]{2}[A-Z/&]*(?: (?:[A-Z/&]{2,}|&|/))*(?=\s+(?:\d|[A-Z][a-z]|[-–—]))"
)
_NUMBER = re.compile(r"\s*\d{2,3}\b(?!\.\s)")
_CLOSING = re.compile(
    r"^[ \t]*(?:[-_=*~]{4,}[ \t]*$|(?:(?:electronically|digitally) signed|signed(?: by)?:|dictated (?:by|but)|sincerely|"
    r"(?:kind|best|warm|with) (?:\w+ )?(?:regards|wishes)|yours (?:sincerely|faithfully|truly)|thank you for (?:allowing|referring|asking)|"
    r"D:\s|T:\s|DD:|DT:|cc:\s))",
    re.IGNORECASE | re.MULTILINE,
)
_ODD_CHARACTERS = (
    ("\xa0", " "), ("\u2007", " "), ("\u2009", " "), ("\u202f", " "), ("\u3000", " "), ("\u200b", " "), ("\ufeff", " "),
    ("\u2028", "\n"), ("\u2029", "\n"), ("\x85", "\n"), ("：", ":"),
)  # fmt: skip
_TAG = re.compile(r"<(?P<slash>/?)(?P<name>[A-Za-z][A-Za-z0-9]*)(?:\s[^<>]{0,200})?/?>")
_BOLD_TAGS = frozenset("b strong u i em th font".split())
_HEADING_TAGS = frozenset("h1 h2 h3 h4 h5 h6 title caption legend dt".split())
_BLOCK_TAGS = frozenset("p br div li ul ol td tr table section text hr dd span body html".split())
