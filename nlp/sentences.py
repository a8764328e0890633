"""Sentences of clinical notes: wrapped prose is joined, list items and lines are kept apart.

All is read from the plain text of the note (nlp/plain_text.py), so that tags and escapes are no words. Lines are joined
into units where the text was hard-wrapped, by what stands on both sides of a line break. Units are cut at list markers
inside them ("1. Aspirin. 2. Follow up."). Sentencex sets the boundaries within a unit, and clinical abbreviations that
it gets wrong are mended.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from sentencex import get_sentence_boundaries

from rubricator.nlp.plain_text import ODD_CHARACTER, PlainText, plain_character, read_plain

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc

Span = tuple[int, int]


def split_sentences(text: str, start: int = 0, end: int | None = None) -> list[Span]:
    """Half-open offsets of the sentences and list items of text[start:end], in order.

    Spans hold no leading bullet or enumerator and no surrounding white space; a line of only those gives no
    span. Everything else of the range lies in exactly one span.
    """
    (spans,) = split_parts(text, [(start, len(text) if end is None else end)])
    return spans


def split_parts(text: str, parts: Iterable[Span]) -> list[list[Span]]:
    """The sentences of each part of one note; the wrap column is read from all parts together."""
    plain = read_plain(text)
    sentences = split_plain_parts(plain, [plain.span_plain(*part) for part in parts])
    if plain.is_given:
        return sentences
    return [[plain.span_given(*sentence) for sentence in part] for part in sentences]


def split_plain_parts(plain: PlainText, parts: Iterable[Span]) -> list[list[Span]]:
    """As split_parts, with parts and sentences as spans of the plain text."""
    view = _view(plain.text)
    blocks = [list(_blocks(view, start, end)) for start, end in parts]
    column = _wrap_column(line_block for part in blocks for line_block in part)
    return [
        [
            sentence
            for block in part
            for unit in _units(block, column)
            for item in _inline_items(view, unit)
            for sentence in _sentences(view, *item)
        ]
        for part in blocks
    ]


def _view(text: str) -> str:
    """The text with odd blanks, line ends and pictures plain, at the same length; a picture before an item is a bullet."""
    if "\r" in text:
        text = text.replace("\r\n", " \n").replace("\r", "\n")
    if "\x0b" in text or "\x0c" in text:
        text = text.replace("\x0b", "\n").replace("\x0c", "\n")
    if text.isascii():
        return text
    if "\u20e3" in text:
        text = _KEYCAP.sub(lambda keycap: (keycap[1] + ".").ljust(len(keycap[0])), text)
    text = _PICTURES.sub(lambda pictures: pictures[1] + "•".ljust(len(pictures[2])), text)
    return ODD_CHARACTER.sub(plain_character, text)


_KEYCAP = re.compile("([0-9])\ufe0f?\u20e3")
_PICTURES = re.compile(  # arrows, dingbats, private use and emoji where a line begins
    "(?m)(^[ \t]*)((?:[\u2190-\u2191\u2193-\u21d1\u21d3-\u21ff\u2300-\u23ff\u2600-\u260f\u2613-\u27a1\u27a3-\u27bf"
    "\u2900-\u297f\u2b00-\u2bff\ue000-\uf8ff\U0001f000-\U0001faff\U000f0000-\U0010ffff][\ufe0f\u200d ]*)+)"
)


# ---- lines and blocks ----------------------------------------------------------------------------


@dataclass(slots=True)
class _Line:
    start: int  # first non-blank character, the marker included
    end: int
    indent: int
    content: str  # stripped, the marker included
    marker: int  # length of the leading bullet or enumerator with its blanks; 0 for none
    number: int | None  # of an enumerator: 3 for "3." and "c)"

    @property
    def width(self) -> int:
        return self.indent + len(self.content)


_RULE = r"[-=_*~#.•+|<>]{2,}\s*$"  # a line that only draws
_BULLET = (
    r"[-–—*•·‣⁃▪▫◦●○■□▢☐☑☒✓➢►▶→]+(?:\s+|(?=[^\W\d_])|$)|[-=~]+>\s*|[•●▪■]\s*(?=\d)|\*\*(?=\d)"
    r"|>+\s+(?=[^\W\d_])|o\s+(?=[A-Z])"
    r"|\[[ xX✓]?\]\s*|\(\s\)\s*"
)
_NUMBER = (
    r"\(?(?P<number>\d{1,2})(?:[.:]?\)|\s?\.(?!\d)|/(?=\s)|\s*[-–](?=\s+[A-Z]))\s*"
    r"|\#\s*(?P<hash>\d{1,2})?(?:[.):](?!\d)|(?=\s|[^\W\d_]|$))\s*"
)
_LETTER = r"\((?P<letter>[A-Za-z]|[ivx]{2,4})\)\s+|(?P<letter2>[A-Za-z]|[ivx]{2,4}|[IVX]{2,4})[.)](?:\s+|$)"
_MARKER = re.compile(rf"(?:{_RULE}|(?:{_BULLET})*(?:{_NUMBER}|{_LETTER})?(?:{_BULLET})*)")


def _blocks(text: str, start: int, end: int) -> Iterator[list[_Line]]:
    """Runs of lines without a blank line between them."""
    block: list[_Line] = []
    at = start
    for raw in text[start:end].split("\n"):
        content = raw.strip()
        if content:
            indent = len(raw) - len(raw.lstrip())
            marker, number = _marker(content)
            block.append(_Line(at + indent, at + indent + len(content), indent, content, marker, number))
        elif block:
            yield _with_dashes(block)
            block = []
        at += len(raw) + 1
    if block:
        yield _with_dashes(block)


def _with_dashes(block: list[_Line]) -> list[_Line]:
    """In a list of dashes joined to their items ("-rest"), one before a digit is a dash too: no minus in "-2 tabs"."""
    joined = [line for line in block if line.content[0] in "-–" and line.content[1:2].isalnum()]
    if len(joined) > 1 and any(line.marker for line in joined):
        for line in joined:
            line.marker = max(line.marker, 1)
    return block


def _marker(content: str) -> tuple[int, int | None]:
    """Length of the leading bullet or enumerator, and its number."""
    if content[0].isalpha() and "." not in (head := content[1:5]) and ")" not in head and content[0] != "o":
        return 0, None
    if not (match := _MARKER.match(content)) or not match.end():
        return 0, None
    letter = match["letter2"]
    after = content[match.end() : match.end() + 1]
    if letter and letter.isupper() and after.islower():  # "E. coli", "A. fib"
        return 0, None
    if number := match["number"] or match["hash"]:
        return match.end(), int(number)
    letter = letter or match["letter"]
    return match.end(), ord(letter.lower()) - 96 if letter and len(letter) == 1 else None


def _words(listing: str) -> frozenset[str]:
    return frozenset(listing.split())


# ---- hard wraps ----------------------------------------------------------------------------------

_LONGEST_WRAP = 130
_SHORTEST_WRAP = 40
_RAGGED = 8
_TERMINAL = frozenset(".!?:;")
_DANGLING = _words(  # a line that ends with one of these runs on
    "a an the of and or nor but with without to for from in on at by as than that which who whose is are was "
    "were be been has have had will would should may can could his her their this these if when while into "
    "through between about until since because including per after before due not no x dr mr mrs ms"
)
_RUNNING_ON = _words(
    "of and or nor than that which who until unless with without for to in on at by from because as"
)
_INNER_END = re.compile(r"\.\s")
_DOSE = re.compile(
    r"\d+(?:[.,]\d+)?(?:\s?-\s?\d+)? ?"
    r"(?:m?c?g|m[lL]|units?|%|tablets?|capsules?|puffs?|hours?|days?|weeks?|months?|years?)\b"
)
_LABEL = re.compile(r"[A-Z][\w/&() -]{0,40}:(?:\s|$)")


def _wrap_column(blocks: Iterable[list[_Line]]) -> int | None:
    """The column at which the note's lines were broken, or None for lines that all stand for themselves.

    It is near the widest line that runs on: into a lower-case word, or after a word that cannot end a line.
    """
    widths = []
    widest = 0
    for block in blocks:
        for line, following in pairwise(block):
            width = line.width
            if _SHORTEST_WRAP <= width <= _LONGEST_WRAP and not following.marker:
                widths.append(width)
                if (
                    width > widest
                    and line.content[-1] not in _TERMINAL
                    and (following.content[0].islower() or (line.content.isupper() and _dangling(line)))
                ):
                    widest = width
    return max(width for width in widths if width <= widest + _RAGGED) if widest else None


def _units(block: list[_Line], column: int | None) -> Iterator[tuple[int, int, _Line]]:
    """Lines, joined where a break is a hard wrap: (start after the marker, end, first line)."""
    if len(block) == 1:
        line = block[0]
        yield line.start + line.marker, line.end, line
        return
    breaks = list(pairwise(block))
    longest = max(line.width for line in block)
    even = len(breaks) > 1 and _SHORTEST_WRAP <= longest <= _LONGEST_WRAP
    even = even and all(line.width + 1 + len(_first(following)) > longest for line, following in breaks)
    if even and (len(breaks) > 2 or not any(_capitalised(following) for _, following in breaks)):
        column = longest  # each line was filled up to the same column
    elif longest < _SHORTEST_WRAP and any(
        _dangling(line) and _lower(following) for line, following in breaks
    ):
        column = longest
    lower_case_list = block[0].content[block[0].marker : block[0].marker + 1].islower() and not even
    first, end = block[0], block[0].end
    for line, following in breaks:
        if _continues(first, line, following, column, lower_case_list=lower_case_list, even=even):
            end = following.end
        else:
            yield first.start + first.marker, end, first
            first, end = following, following.end
    yield first.start + first.marker, end, first


def _first(line: _Line) -> str:
    return line.content.split(None, 1)[0]


def _dangling(line: _Line) -> bool:
    return line.content[line.content.rfind(" ") + 1 :].rstrip(".").lower() in _DANGLING


def _lower(line: _Line) -> bool:
    return line.content[0].islower()


def _capitalised(line: _Line) -> bool:
    return line.content[0].isupper() and not line.content.isupper()


def _continues(
    first: _Line, line: _Line, following: _Line, column: int | None, *, lower_case_list: bool, even: bool
) -> bool:
    """Whether the break between two lines is a hard wrap; first is the first line of their unit."""
    last = line.content[-1]
    terminal = last in _TERMINAL
    full = column is not None and column >= line.width > column - 1 - len(_first(following))
    dangling = last in ",&/(" or _dangling(line)
    if (
        following.marker
    ):  # perhaps a number that the wrap has pushed to the start of a line: "GCS of / 15. She …"
        listed = first.number is not None and following.number == first.number + 1
        return (full or dangling) and not terminal and following.number is not None and not listed
    lower = _lower(following) or _DOSE.match(following.content) is not None
    if terminal and last != ".":
        return full and (lower or _INNER_END.search(line.content) is not None)
    if terminal:
        return full or dangling
    if dangling and (full or (lower and not lower_case_list)):
        return True
    if lower and line.width <= _LONGEST_WRAP:
        runs_on = line.width >= _SHORTEST_WRAP // 2 and _first(following) in _RUNNING_ON
        return full or even or (not lower_case_list and (line.width >= _SHORTEST_WRAP or runs_on))
    return full and not _LABEL.match(following.content)


# ---- inside a unit -------------------------------------------------------------------------------

_INLINE_BULLET = re.compile(r"[•‣⁃▪●■➢►]\s*")
_INLINE_DASH = re.compile(r"(?<=\s)[-–*]\s+(?=[A-Z])")
_INLINE_BOX = re.compile(r"(?:\[[ xX✓]?\]|\([ xX]\)|[☐☑☒])\s*")
_INLINE_HASH = re.compile(r"(?<!\S)#\s?(?=[A-Z])")
_INLINE_HASH_NUMBER = re.compile(r"(?<!\S)#\s?([0-9][0-9]?)[.):]?\s+(?=[^\W\d_])")
_INLINE_LETTER = re.compile(r"(?<!\S)\(?([a-h])\)\s+(?=\S)")
_INLINE_NUMBER = re.compile(r"([0-9][0-9]?)(?:\.|\.?\))\s+(?=[^\W\d_]|[\"“(\[])")
_NUMBERED_THING = re.compile(
    r"\b(?:of|to|is|was|at|by|than|about|day|days|grade|stage|type|level|number|no|score|class|para|gravida|phase|"
    r"times|x|and|or|over|age|week|step|dose|from|plus)$",
    re.IGNORECASE,
)


def _inline_items(text: str, unit: tuple[int, int, _Line]) -> Iterator[Span]:
    """Cuts a unit at markers inside it: "1. Aspirin. 2. Follow up.", "• aspirin • rest", "[x] Aspirin [ ] Statin"."""
    start, end, line = unit
    cuts = [] if text.isascii() else [match.span() for match in _INLINE_BULLET.finditer(text, start, end)]
    if (dash := text.find(" - ", start, end)) >= 0 or (line.marker and line.content[0] in "-–*"):
        cuts += _inline_dashes(text, unit, first=dash)
    listed = line.content[0]
    if listed in "[(☐☑☒" or text.find("]", start, end) >= 0 or not text.isascii():
        boxes = [match.span() for match in _INLINE_BOX.finditer(text, start, end)]
        if len(boxes) > 1 or (boxes and _INLINE_BOX.match(line.content)):
            cuts += boxes
    if listed == "#" or text.find("#", start, end) >= 0:
        cuts += _inline_hashes(text, unit)
    if text.find("b)", start, end) >= 0 or (line.number is not None and text.find(")", start, end) >= 0):
        cuts += _inline_letters(text, unit)
    expected = "1" if line.number is None else str(line.number + 1)
    if text.find(expected + ".", start, end) >= 0 or text.find(expected + ")", start, end) >= 0:
        cuts += _inline_numbers(text, start, end, int(expected))
    for cut_start, cut_end in sorted(cuts):
        if start < cut_start:
            yield start, cut_start
        start = max(start, cut_end)
    if start < end:
        yield start, end


def _inline_dashes(text: str, unit: tuple[int, int, _Line], first: int) -> list[Span]:
    """Dashes before capitals: in an item of dashes all of them, elsewhere two or more that set off whole phrases."""
    start, end, line = unit
    found = [match.span() for match in _INLINE_DASH.finditer(text, start, end)]
    if line.marker and line.content[0] in "-–*":
        return found
    found = [span for span in found if text[span[0]] != "*"] if first >= 0 else []
    edges = [start, *(edge for span in found for edge in span), end]
    phrases = [text[low:high].split() for low, high in zip(edges[2::2], edges[3::2], strict=True)]
    return found if len(found) > 1 and all(len(phrase) > 1 for phrase in phrases) else []


def _inline_hashes(text: str, unit: tuple[int, int, _Line]) -> list[Span]:
    """The marks of problems, "#HTN: … #DM: …", and those that count, "#1 … #2 …"."""
    start, end, line = unit
    counted: list[Span] = []
    expected = 1 if line.number is None else line.number + 1
    for match in _INLINE_HASH_NUMBER.finditer(text, start, end):
        if int(match[1]) == expected:
            counted.append(match.span())
            expected += 1
    listed = line.content[0] == "#"
    if len(counted) < 2 and not listed:
        counted = []
    named = [match.span() for match in _INLINE_HASH.finditer(text, start, end)]
    return counted + (named if listed or len(named) > 1 else [])


def _inline_letters(text: str, unit: tuple[int, int, _Line]) -> list[Span]:
    """Letters in brackets that count on from "a)"."""
    start, end, line = unit
    lettered = line.number if line.content[:1].isalpha() or line.content[:2][1:].isalpha() else None
    expected = 1 if lettered is None else lettered + 1
    cuts = []
    for match in _INLINE_LETTER.finditer(text, start, end):
        if ord(match[1]) - 96 == expected:
            cuts.append(match.span())
            expected += 1
    return cuts if lettered is not None or len(cuts) > 1 else []


def _inline_numbers(text: str, start: int, end: int, first: int) -> list[Span]:
    """Markers that count on from `first`; from 1, they are a list only when there is a second."""
    cuts = []
    expected = first
    for match in _INLINE_NUMBER.finditer(text, start, end):
        number = int(match[1])
        if number not in (expected, 1):
            continue
        at = match.start() - 1 if text[match.start() - 1] == "(" else match.start()
        before = text[max(start, at - 30) : at]
        if (
            before and not before[-1].isspace() and before[-2:] != ".,"
        ):  # ".,2." where lines were joined by commas
            continue
        before = before.rstrip()
        if number != expected and before[-1:] != ":":
            continue
        closed = not before or before[-1] in ".;:,)?!"
        if closed or (number > 1 and text[match.end()].isupper() and not _NUMBERED_THING.search(before)):
            cuts.append((at, match.end()))
            expected = number + 1
    return cuts if first > 1 or len(cuts) > 1 else []


_MAY_END = re.compile(r"[.!?…](?:[\"'”’)\]]*\s|[A-Z])")


# Abbreviations that the next word completes: always; before a number; where they open a phrase ("Tab. Amlodipine",
# but "2 tab. Then"); before a small letter, in a text that has capitals.
_TITLE = _words("dr drs mr mrs ms prof st vs v approx ca cf e.g i.e incl esp s/p r/o")
_BEFORE_NUMBER = _words("no nos fig figs wt ht temp resp bp hr rr vol gr")
_OPENING = _words(
    "tab tabs cap caps inj syr susp oint soln supp neb nebs amp gtt gtts cr lot drp cont hx rx tx dx sx fx pt pts "
    "f/u c/o d/c w"
)
_SHORTENED = _OPENING | _words(
    "hist abd neg pos est eval ref diff ext neuro card mod sev bilat lt rt sup inf ant post lat prox dist inc dec "
    "req rec recs sched appt disch adm amb assoc avg bx cult freq gen hosp immed irreg jt mgmt occ orig poss prev prob "
    "prog reg surg cx max min med meds resp temp wk mo yr hr sec rom wnl w/ w/o re b/c s/s h/o p/w y/o exam incr decr"
)
_CLOSING = _words(
    "p.o b.i.d t.i.d q.i.d q.d q.h q.s q.o.d q.h.s q.a.m q.p.m q.wk q.week p.r.n h.s a.c p.c i.v i.m s.c s.q b.d "
    "bid tid qid qd qhs prn po subq a.m p.m y.o yr yrs o.d o.s o.u mg mcg gm ml cc kg oz lb lbs ft in cm "
    "mm tab tabs cap caps tsp tbsp gtt sec min mins hr hrs wk wks mo mos etc"
)
_EVERY_HOURS = re.compile(r"(?:q\.?)?\d{1,2}h")
_CAPITALISED = re.compile(r"[\"'“(]?[A-Z]")
_RATHER_GOES_ON = re.compile(  # after a dose, whatever its case
    r"(?:daily|twice|once|every|each|per|for|with|and|or|to|x|(?:[bt]\.?i\.?d|q\.?i\.?d|p\.?r\.?n|p\.?o|i\.?[vm]|q(?:hs|d|am|pm)?)\b(?!\s[a-z]))\b",
    re.IGNORECASE,
)
_STARTER = re.compile(
    r"(?:he|she|they|it|we|i|the|this|that|these|there|patient|pt|no|on|in|his|her|will|continue|follow|f/u)\b",
    re.IGNORECASE,
)
_PERIOD = re.compile(r"\.(?:\s+(?=[A-Z])|(?=[A-Z](?:[a-z]+|\b)))")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_ASCII_MARKS = str.maketrans("‘’‚“”„–—…·", '\'\'""""--..')


def _sentences(text: str, start: int, end: int) -> Iterator[Span]:
    while start < end and (text[start].isspace() or text.startswith("**", start, end)):
        start += 1 + (text[start] == "*")
    while start < end and (text[end - 1].isspace() or text.endswith("**", start, end)):
        end -= 1 + (text[end - 1] == "*")
    if start == end:
        return
    if not _MAY_END.search(text, start, end):
        yield start, end
        return
    unit = text[start:end].replace("\n", " ").replace("\t", " ")
    at = 0
    for cut in _boundaries(unit):
        yield start + at, start + at + len(unit[at:cut].rstrip())
        at = cut
    yield start + at, end


def _boundaries(unit: str) -> list[int]:
    """Where sentences start inside the unit: sentencex's boundaries, clinical abbreviations mended."""
    if not unit.isascii():  # its rules for English need no other letters, and some of them it cannot bear
        unit = _NOT_ASCII.sub(_ascii_letter, unit.translate(_ASCII_MARKS))
    found = [boundary["start_index"] for boundary in get_sentence_boundaries("en", unit)[1:]]
    known = set(found)
    cuts = [cut for cut in found if not _belongs_together(unit, cut)]
    missed = [
        cut
        for match in _PERIOD.finditer(unit)
        if (cut := match.end()) not in known and _ends_sentence(unit, match.start(), cut)
    ]
    return sorted(cuts + missed) if missed else cuts


def _ascii_letter(match: re.Match[str]) -> str:
    """A letter of the same case, or a mark, in the place of one that ASCII lacks."""
    plain = unicodedata.normalize("NFKD", match[0])[0]
    if plain.isascii() and plain.isprintable():
        return plain
    return ("X" if match[0].isupper() else "x") if match[0].isalpha() else "-"


def _last_word(unit: str, period: int) -> str:
    return unit[unit.rfind(" ", 0, period) + 1 : period].lstrip("(\"'").lower()


def _belongs_together(unit: str, cut: int) -> bool:
    """Whether an abbreviation stands before the cut that the word after it completes."""
    period = cut - 1
    while unit[period].isspace():
        period -= 1
    if unit[period] != ".":
        return False
    if period == cut - 1 and unit[period - 1].isupper():  # a dotted code, "B.H.HP.A7A0"
        return True
    if len(word := _last_word(unit, period)) > 7:
        return False
    if word in _TITLE or (word in _BEFORE_NUMBER and unit[cut].isdigit()):
        return True
    if word in _SHORTENED and not unit.islower():
        opens = _opens_phrase(unit, period - len(word))
        if unit[cut].islower() or (opens and (word in _OPENING or unit[cut].isdigit())):
            return opens or word not in _CLOSING or _STARTER.match(unit, cut) is None
    if not _closing(word):
        return False
    starts = _STARTER.match(unit, cut) if unit.islower() else _CAPITALISED.match(unit, cut)
    return starts is None or _RATHER_GOES_ON.match(unit, cut) is not None


def _opens_phrase(unit: str, start: int) -> bool:
    """Does a word begin the unit, or what follows a mark?"""
    before = unit[:start].rstrip(" (\"'")
    return not before or before[-1] in ".:;,!?-/"


def _ends_sentence(unit: str, period: int, cut: int) -> bool:
    """Whether a sentence ends at a period that sentencex takes for an abbreviation's."""
    word = _last_word(unit, period)
    if cut == period + 1:  # no blank after it: "Na 140.Afebrile"
        return word[-1:].isdigit() or word[-1:] == ")"
    if word in _TITLE or not word[-1:].isalpha() or _RATHER_GOES_ON.match(unit, cut):
        return False
    if word in _OPENING and _opens_phrase(unit, period - len(word)):
        return False
    if cut - period > 2:  # two blanks, as transcriptionists type them
        return True
    if len(word) == 1:  # "hepatitis C. He …" and "2 L. Then …", but "J. Smith"
        return unit[period - 3 : period - 1].strip().isdigit() or _STARTER.match(unit, cut) is not None
    return _closing(word) and _CAPITALISED.match(unit, cut) is not None


def _closing(word: str) -> bool:
    return word in _CLOSING or (word[-1:] == "h" and _EVERY_HOURS.fullmatch(word) is not None)


# ---- spaCy ---------------------------------------------------------------------------------------


class ClinicalSentences:
    """spaCy component: doc.sents as of split_sentences; a bullet opens the sentence that it stands before."""

    def __call__(self, doc: Doc) -> Doc:
        ends = [end for _, end in split_sentences(doc.text)]
        passed, upcoming = True, iter(ends)
        end = next(upcoming, None)
        for token in doc:
            token.is_sent_start = passed and (token.i == 0 or not token.is_space)
            passed = passed and not token.is_sent_start
            while end is not None and token.idx + len(token) >= end:
                passed, end = True, next(upcoming, None)
        return doc

    def to_bytes(self, **_: Any) -> bytes:
        return b""

    def from_bytes(self, _: bytes, **__: Any) -> ClinicalSentences:
        return self

    def to_disk(self, *_: Any, **__: Any) -> None:
        """Nothing is kept: the component has no settings."""

    def from_disk(self, *_: Any, **__: Any) -> ClinicalSentences:
        return self


def __getattr__(name: str) -> Any:
    # spaCy asks for the factory by its entry point; the bulk path never loads spaCy
    if name != "make_clinical_sentences":
        raise AttributeError(name)
    from spacy.language import Language

    def make_clinical_sentences(nlp: Language, name: str) -> ClinicalSentences:  # noqa: ARG001
        return ClinicalSentences()

    return Language.factory(
        "clinical_sentences", assigns=["token.is_sent_start"], func=make_clinical_sentences
    )
