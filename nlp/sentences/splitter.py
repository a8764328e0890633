"""Sentences of clinical notes: wrapped prose is joined, list items and lines are kept apart.

All is read from the plain text of the note (nlp/plain_text), so that tags and escapes are no words. Lines are joined
into units where the text was hard-wrapped, by what stands on both sides of a line break. Units are cut at list markers
inside them ("1. Aspirin. 2. Follow up."). Sentencex sets the boundaries within a unit, and clinical abbreviations that
it gets wrong are mended.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from rubricator.nlp.contexts import Context, neighbours
from rubricator.nlp.hidden_text import hides_text
from rubricator.nlp.plain_text.plain_text import (
    ODD_CHARACTER,
    PlainText,
    plain_character,
    plain_lines,
    read_plain,
)
from rubricator.nlp.sentences.ends import SentenceEnds, words
from rubricator.nlp.sentences.list_items import InnerMarks, leading_mark

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc

Span = tuple[int, int]


def split_sentences(text: str, start: int = 0, end: int | None = None) -> list[Span]:
    """Half-open offsets of the sentences and list items of text[start:end], in order.

    Spans hold no leading bullet or enumerator, no surrounding white space and no bars of a table around the text. A
    line of only those gives no span, nor does punctuation alone where its line has a letter or a digit. Everything
    else of the range lies in exactly one span.
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


def sentence_contexts(text: str, spans: Sequence[Span]) -> list[Context]:
    """The context of each sentence, given as spans of one note in order.

    The window looks across section ends, so that it does not tell where a section begins; headings are no sentences
    and never in it.
    """
    plain = read_plain(text)
    if plain.is_given:
        return neighbours([text[start:end] for start, end in spans])
    return neighbours([plain.of(start, end) for start, end in spans])


def split_plain_parts(plain: PlainText, parts: Iterable[Span]) -> list[list[Span]]:
    """As split_parts, with parts and sentences as spans of the plain text."""
    view = _view(plain.text)
    blocks = [_blocks(view, start, end) for start, end in parts]
    _settle_letters([line for part in blocks for block in part for line in block])
    column = _wrap_column(block for part in blocks for block in part if len(block) > 1)
    marks, ends = InnerMarks(view), SentenceEnds(view)
    return [
        [
            sentence
            for block in part
            for unit in _units(block, column)
            for item in _items(view, marks, *unit)
            for sentence in ends.sentences(*item)
        ]
        for part in blocks
    ]


def _view(text: str) -> str:
    """The text with odd blanks, line ends and pictures made plain, at the same length. Pictures become bullets."""
    text = plain_lines(text)
    beyond_ascii = "" if text.isascii() else _beyond_ascii(text)
    if "\u20e3" in beyond_ascii:
        text = _KEYCAP.sub(lambda keycap: (keycap[1] + ".").ljust(len(keycap[0])), text)
    if _PICTURE.search(beyond_ascii):
        text = _PICTURE_LINE.sub(lambda line: line[1] + line[2].replace(line[1], "•"), text)
        text = _PICTURES.sub(lambda pictures: pictures[1] + "•".ljust(len(pictures[2])), text)
    return ODD_CHARACTER.sub(plain_character, text) if ODD_CHARACTER.search(beyond_ascii) else text


def _beyond_ascii(text: str) -> str:
    """The characters of the text that ASCII lacks, in order."""
    return text.encode(errors="surrogatepass").translate(None, _ASCII).decode(errors="surrogatepass")


_ASCII = bytes(range(128))
_KEYCAP = re.compile("([0-9])\ufe0f?\u20e3")
_PICTURE = re.compile(  # arrows, dingbats, private use and emoji
    "[\u2190-\u2191\u2193-\u21d1\u21d3-\u21ff\u2300-\u23ff\u2600-\u260f\u2613-\u27a1\u27a3-\u27bf"
    "\u2900-\u297f\u2b00-\u2bff\ue000-\uf8ff\U0001f000-\U0001faff\U000f0000-\U0010ffff]"
)
_PICTURES = re.compile(rf"(?m)(^[ \t]*)((?:{_PICTURE.pattern}[\ufe0f\u200d ]*)+)")  # where a line begins
_PICTURE_LINE = re.compile(
    rf"(?m)^({_PICTURE.pattern})(.*)$"
)  # the same picture further on marks a further item


# ---- lines and blocks ----------------------------------------------------------------------------


@hides_text()
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


def _blocks(text: str, start: int, end: int) -> list[list[_Line]]:
    """Runs of lines without a blank line between them."""
    blocks: list[list[_Line]] = []
    block: list[_Line] = []
    at = start
    for raw in text[start:end].split("\n"):
        content = raw.strip()
        if content:
            indent = 0 if len(content) == len(raw) else len(raw) - len(raw.lstrip())
            marker, number = leading_mark(content)
            if not block:
                blocks.append(block)
            block.append(_Line(at + indent, at + indent + len(content), indent, content, marker, number))
        elif block:
            block = []
        at += len(raw) + 1
    for block in blocks:
        if len(block) > 1:
            _join_marks(block)
    return blocks


def _join_marks(block: list[_Line]) -> None:
    """In a list of marks joined to their items ("-rest"), one before a digit is a mark too: no minus in "-2 tabs"."""
    joined = [line for line in block if line.content[0] in "-–*" and line.content[1:2].isalnum()]
    if len(joined) > 1 and any(line.marker or line.content[0] == "*" for line in joined):
        for line in joined:
            line.marker = max(line.marker, 1)


def _settle_letters(lines: Sequence[_Line]) -> None:
    """A capital and a full stop mark an item only beside another that counts on; else it begins a name: "M. Dupont"."""
    lettered = [
        line
        for line in lines
        if line.number
        and line.content[0].isupper()
        and line.content[1:2] == "."
        and line.marker < len(line.content)
    ]
    roman = bool(lettered) and any(line.content.startswith("II.") for line in lines)
    for at, line in enumerate(lettered):
        number = line.number or 0
        before = lettered[at - 1].number if at else None
        after = lettered[at + 1].number if at + 1 < len(lettered) else None
        counts_on = before == number - 1 or after == number + 1
        if line.content[0] == "A":
            set_off = line.marker > len("A. ")
            counts_on = counts_on or after == _LETTER_P or set_off or _ITEM_B.search(line.content) is not None
        elif line.content[0] == "I":
            counts_on = counts_on or roman
        if not counts_on:
            line.marker, line.number = 0, None


_LETTER_P = 16  # "A. … P. …" of SOAP
_ITEM_B = re.compile(r"\sB\.\s(?<!\band\sB\.\s)")


# ---- hard wraps ----------------------------------------------------------------------------------

_LONGEST_WRAP = 130
_SHORTEST_WRAP = 40
_RAGGED = 8
_TERMINAL = frozenset(".!?:;")
_DANGLING = words(  # a line that ends with one of these runs on
    "a an the of and or nor but with without to for from in on at by as than that which who whose is are was "
    "were be been has have had will would should may can could his her their this these if when while into "
    "through between about until since because including per after before due not no x dr mr mrs ms"
)
_RUNNING_ON = words(
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
    if line is first and _hangs(line, following):
        return True
    if terminal:
        return full or dangling
    if dangling and (full or (lower and not lower_case_list)):
        return True
    if lower and line.width <= _LONGEST_WRAP:
        runs_on = line.width >= _SHORTEST_WRAP // 2 and _first(following) in _RUNNING_ON
        return full or even or (not lower_case_list and (line.width >= _SHORTEST_WRAP or runs_on))
    return full and not _LABEL.match(following.content)


def _hangs(item: _Line, following: _Line) -> bool:
    """Is a line that begins with a digit set under the text of the item above it?"""
    text_at = item.indent + item.marker
    return item.indent < text_at <= following.indent and following.content[0].isdigit()


# ---- inside a unit -------------------------------------------------------------------------------


def _items(text: str, marks: InnerMarks, start: int, end: int, line: _Line) -> list[Span]:
    """A unit, cut at the marks of items inside it."""
    lead = line.content[: line.marker]
    found = [] if marks.none and not lead else marks.inside(start, end, lead, line.number)
    if not found and start < end and text[start].isalnum() and text[end - 1] not in "|*-=~#":
        return [(start, end)]
    items = []
    for mark_start, mark_end in found:
        items.append(_stripped(text, start, mark_start))
        start = max(start, mark_end)
    items.append(_stripped(text, start, end))
    worded = [item for item in items if _WORD.search(text, *item)]
    if worded or _WORD.search(text, text.rfind("\n", 0, line.start) + 1, _line_end(text, end)):
        return worded
    return [item for item in items if item[0] < item[1]]


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def _stripped(text: str, start: int, end: int) -> Span:
    """text[start:end] without the blanks, the marks of bold type and the separators around it."""
    start = _EDGE.match(text, start, end).end()  # type: ignore[union-attr]  # it matches nothing too
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


_WORD = re.compile(r"[^\W_]")
_RULES = {"*": 2, "-": 3, "=": 3, "~": 3, "#": 3}  # how many in a row are no text
_EDGE = re.compile(r"(?:\s|\*\*+|---+|===+|~~~+|###+|\||[:.,;](?=\s))*")


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
