"""Marks of list items (bullets, enumerators), at the beginning of a line and inside one ("1. Aspirin. 2. Rest.")."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from rubricator.nlp.words.tokens import LETTER

Span = tuple[int, int]


def leading_mark(content: str) -> tuple[int, int | None]:
    """The length of the mark at the start of a stripped line, with the blanks after it; and its number, if any."""
    if content[0].isalpha() and "." not in (head := content[1:5]) and ")" not in head and content[0] != "o":
        return 0, None
    if not (match := _MARK.match(content)) or not match.end():
        return 0, None
    letter = match["letter2"]
    after = content[match.end() : match.end() + 1]
    if letter and letter.isupper() and after.islower():  # "E. coli", "A. fib"
        return 0, None
    if number := match["number"] or match["hash"]:
        if len(number) == 2 and number > "30" and content[match.end() - 1] == "." and after.isalpha():
            return 0, None  # a value: "HR: 88.Afebrile"
        return match.end(), int(number)
    if digit := match["circled"]:
        return match.end(), "①②③④⑤⑥⑦⑧⑨⑩⑪⑫⑬⑭⑮⑯⑰⑱⑲⑳".index(digit) + 1
    letter = letter or match["letter"]
    return match.end(), ord(letter.lower()) - 96 if letter and len(letter) == 1 else None


class InnerMarks:
    """Finds the marks inside the units of one text. Marks that the whole text lacks are not searched for in its units.

    none: whether only a unit that begins with a mark can have marks inside.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        # these characters are marks at every place
        self._always = not text.isascii() and any(mark in text for mark in _ALWAYS)
        self._bracketed = ")" in text
        self._hashed = "#" in text
        self._boxed = "]" in text
        self._dashed = "*" in text or _SET_OFF_DASH.search(text) is not None
        self._series = [series for series in _SERIES if series.second.search(text)]
        self._marked = bool(self._always or self._boxed or self._dashed or self._series)
        self.none = not (self._marked or self._hashed or _NUMBER_ONE.search(text))

    def inside(self, start: int, end: int, lead: str, number: int | None) -> list[Span]:
        """The spans of the marks inside text[start:end], in order. Each begins another item.

        lead: the mark before the text on its line, or "". number: the number of this mark.
        """
        text = self._text
        found: list[Span] = []
        if (
            self._marked
            or (self._hashed and text.find("#", start, end) >= 0)
            or (lead and (lead[0] in _REPEATED or _led_series(lead)))
        ):
            found = self._unnumbered(start, end, lead, number)
        expected = 1 if number is None else number + 1
        full_stop, bracket = _NUMBERED[expected]
        if text.find(full_stop, start, end) >= 0 or (self._bracketed and text.find(bracket, start, end) >= 0):
            found += _numbers(text, start, end, expected, lead)
        return sorted(found) if found else found

    def _unnumbered(self, start: int, end: int, lead: str, number: int | None) -> list[Span]:
        text, first = self._text, lead[:1]
        found: list[Span] = []
        if self._always:
            found += [match.span() for match in _BULLET_INSIDE.finditer(text, start, end)]
            found += [match.span() for match in _BOX_INSIDE.finditer(text, start, end)]
        if lead and first in _ARROWS and (arrow := _ARROW.match(lead)):  # elsewhere: a change of value
            found += _every(text, start, end, arrow[0].strip())
        if first in _DASHES or (
            self._dashed and (text.find(" - ", start, end) >= 0 or text.find(" * ", start, end) >= 0)
        ):
            found += _dashes(text, start, end, listed=first in _DASHES)
        if first in _BOXES or (self._boxed and text.find("]", start, end) >= 0):
            boxes = [match.span() for match in _BOX_INSIDE.finditer(text, start, end)]
            found += boxes if len(boxes) > 1 or _BOX_INSIDE.match(lead) else []
        if first == "#" or (self._hashed and text.find("#", start, end) >= 0):
            found += _hashes(text, start, end, lead, number)
        for series in _led_series(lead) if lead else self._series:
            if lead or series.second.search(text, start, end):
                found += _counted(text, start, end, lead, series)
        return found


def _every(text: str, start: int, end: int, mark: str) -> list[Span]:
    return [
        match.span() for match in re.compile(rf"(?<!\S){re.escape(mark)}\s*(?=\S)").finditer(text, start, end)
    ]


def _dashes(text: str, start: int, end: int, *, listed: bool) -> list[Span]:
    """Dashes before capitals. listed: the text follows a dash, and all of them count; else only two or more between
    phrases of several words."""
    found = [match.span() for match in _DASH_INSIDE.finditer(text, start, end)]
    if listed:
        return found
    edges = [start, *(edge for span in found for edge in span), end]
    phrases = [text[low:high].split() for low, high in zip(edges[2::2], edges[3::2], strict=True)]
    return found if len(found) > 1 and all(len(phrase) > 1 for phrase in phrases) else []


def _hashes(text: str, start: int, end: int, lead: str, number: int | None) -> list[Span]:
    """The marks of problems, "#HTN: … #DM: …", and numbered ones, "#1 … #2 …"."""
    counted: list[Span] = []
    expected = 1 if number is None else number + 1
    for match in _HASH_NUMBER.finditer(text, start, end):
        if int(match[1]) == expected:
            counted.append(match.span())
            expected += 1
    listed = lead[:1] == "#"
    if len(counted) < 2 and not listed:
        counted = []
    named = [match.span() for match in _HASH_NAME.finditer(text, start, end)]
    return counted + (named if listed or len(named) > 1 else [])


@lru_cache(maxsize=256)
def _led_series(lead: str) -> list[_Series]:
    """The series that a leading mark belongs to."""
    return [series for series in _SERIES if series.pattern.fullmatch(lead)]


def _counted(text: str, start: int, end: int, lead: str, series: _Series) -> list[Span]:
    """Marks that continue the series of the leading mark. Without one, a series needs at least two marks."""
    leading = series.pattern.fullmatch(lead)
    expected = series.ordinal(leading[1]) + 1 if leading else 1
    found = []
    for match in series.pattern.finditer(text, start, end):
        if match.end() < end and series.ordinal(match[1]) == expected:
            found.append(match.span())
            expected += 1
    return found if leading or len(found) > 1 else []


def _numbers(text: str, start: int, end: int, first: int, lead: str) -> list[Span]:
    """Numbers that count on from `first`. A list that begins with 1 inside the text needs at least two numbers.

    After a leading "(1)" or "1)", the next number counts before any word: "(1) x-ray (2) rest".
    """
    opening, bracketed = lead[:1] == "(", lead.rstrip()[-1:] == ")"
    found = []
    expected = first
    for match in _NUMBER_INSIDE.finditer(text, start, end):
        number = int(match[1])
        if number not in (expected, 1):
            continue
        at = match.start() - 1 if text[match.start() - 1] == "(" else match.start()
        before = text[max(start, at - 30) : at]
        if (
            before and not before[-1].isspace() and before[-2:] not in (".,", ":,")
        ):  # ".,2." where commas joined lines
            continue
        before = before.rstrip()
        if number != expected and before[-1:] != ":":
            continue
        closed = not before or before[-1] in ".;:,)?!"
        if bracketed and match[0].rstrip()[-1] == ")" and (text[at] == "(") == opening:
            closed = closed or "(" not in before[before.rfind(")") + 1 :]
        if closed or (number > 1 and text[match.end()].isupper() and not _NUMBERED_THING.search(before)):
            found.append((at, match.end()))
            expected = number + 1
    return found if first > 1 or len(found) > 1 else []


def _letter(mark: str) -> int:
    return ord(mark.lower()) - 96


def _roman(mark: str) -> int:
    return {"i": 1, "ii": 2, "iii": 3, "iv": 4, "v": 5, "vi": 6, "vii": 7, "viii": 8}.get(mark.lower(), 0)


_RULE = r"[-=_*~#.•+|<>]{2,}\s*$"  # a drawn rule
_BULLET = (
    rf"[-–—*•·‣⁃▪▫◦●○■□▢☐☑☒✓➢►▶→❶-❿]+(?:\s+|(?={LETTER})|$)|[-=~]+>\s*|[•●▪■]\s*(?=\d)|\*\*(?=\d)"
    rf"|>+\s+(?={LETTER})|o\s+(?=[A-Z])|\+\s+(?=\S)"
    r"|\[[ xX✓_]?\]\s*|\(\s\)\s*"
)
_NUMBER = (
    r"\(?(?P<number>\d{1,2})(?:[.:]?\)|\s?\.(?!\d)|/(?=\s)|\s*[-–](?=\s+[A-Z]))\s*|\[\d{1,2}\]\s+|(?P<circled>[①-⑳])\s*"
    rf"|\#\s*(?P<hash>\d{{1,2}})?(?:[.):](?!\d)|(?=\s|{LETTER}|$))\s*"
)
_LETTER = r"\((?P<letter>[A-Za-z]|[ivx]{2,4})\)\s+|(?P<letter2>[A-Za-z]|[ivx]{2,4}|[IVX]{2,4})[.)](?:\s+|$)"
_MARK = re.compile(rf"(?:{_RULE}|(?:{_BULLET})*(?:{_NUMBER}|{_LETTER})?(?:{_BULLET})*)")
_ALWAYS = (*"•‣⁃▪●■➢►☐☑☒]", "( )", "(x)", "(X)")
_ARROWS = frozenset("-→·")
_DASHES = frozenset("-–*")
_BOXES = frozenset("[(☐☑☒")
_REPEATED = _ARROWS | _DASHES | _BOXES | {"#"}
# The lookbehind comes after the first characters, because a pattern that begins with characters is much faster.
_SET_OFF_DASH = re.compile(r"- (?<= - )")
_ARROW = re.compile(r"(?:-+>|→|·)\s*")
_BULLET_INSIDE = re.compile(r"[•‣⁃▪●■➢►]\s*")
_DASH_INSIDE = re.compile(r"(?<=\s)[-–*]\s+(?=[A-Z])")
_BOX_INSIDE = re.compile(r"(?:\[[ xX✓_]?\]|\([ xX]\)|[☐☑☒])\s*")
_HASH_NAME = re.compile(r"#(?<!\S#)\s?(?=[A-Z])")
_HASH_NUMBER = re.compile(rf"#(?<!\S#)\s?([0-9][0-9]?)[.):]?\s+(?={LETTER})")
_NUMBER_ONE = re.compile(r"1(?:\.|\.?\))\s")
_NUMBER_INSIDE = re.compile(rf"([0-9][0-9]?)(?:\.|\.?\))\s+(?={LETTER}|[\"“(\[])")


class _Series(NamedTuple):
    """A series of enumerators: the end of its second mark, the pattern of a mark, and the number of a mark."""

    second: re.Pattern[str]
    pattern: re.Pattern[str]
    ordinal: Callable[[str], int]


_NUMBERED = [(f"{number}.", f"{number})") for number in range(101)]
_SERIES = (
    _Series(re.compile(r"b\)\s"), re.compile(r"(?<!\S)\(?([a-h])\)\s+"), _letter),
    _Series(re.compile(r"B\)\s"), re.compile(r"(?<!\S)\(?([A-H])\)\s+"), _letter),
    _Series(
        re.compile(r"B\.\s"),
        re.compile(r"([A-H])(?<!\S.)(?<!\band .)(?<!\s[A-Z]\. .)\.\s+(?=[A-Z]|$)"),
        _letter,
    ),
    _Series(re.compile(r"ii[.)]\s"), re.compile(r"(?<!\S)\(?([ivx]{1,4})[.)]\s+"), _roman),
    _Series(re.compile(r"2-\s"), re.compile(rf"([0-9](?<!\S.)[0-9]?)-\s+(?={LETTER}|$)"), int),
    _Series(re.compile(r"2/\s"), re.compile(rf"([0-9](?<!\S.)[0-9]?)/\s+(?={LETTER}|$)"), int),
)
_NUMBERED_THING = re.compile(
    r"\b(?:of|to|is|was|at|by|than|about|day|days|grade|stage|type|level|number|no|score|class|para|gravida|phase|"
    r"times|x|and|or|over|age|week|step|dose|from|plus)$",
    re.IGNORECASE,
)
