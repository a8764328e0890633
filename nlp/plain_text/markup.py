"""HTML and C-CDA narrative: tags and character references become line ends, headings, bold type and characters.

Only a complete tag, comment, declaration, script or style sheet is removed, and only by itself. So tags that are never
closed, and "<" for "less than", cost no word of the note. Libraries that convert HTML to text do not give the offset
that each character comes from, and that of the standard library differs between versions of Python.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import Literal

from rubricator.nlp.plain_text.edits import Edit, Edits
from rubricator.nlp.plain_text.section_names import is_section_name
from rubricator.nlp.plain_text.table_heads import TableHeads, table_heads
from rubricator.nlp.plain_text.tags import (
    BOLD_TAGS,
    BOOLEAN_ATTRIBUTES,
    CELL_TAGS,
    HIDDEN_TAGS,
    HTML_TAGS,
    INLINE_TAGS,
    ITEM_TAGS,
    LINE_TAGS,
    PARAGRAPH_TAGS,
    ROW_TAGS,
    TITLE_TAGS,
)

NO_MARK = "‹"  # for a "<" that is no mark
MOST_ESCAPED = 2  # how often tags may be escaped: "&lt;b&gt;Plan:&lt;/b&gt;" once


def has_markup(text: str) -> bool:
    """Whether the text has a tag or a character reference."""
    return ("<" in text and _MARKUP.search(text) is not None) or (
        "&" in text and _REFERENCE.search(text) is not None
    )


def has_escaped_markup(text: str) -> bool:
    """Whether a text whose character references are resolved still has an HTML tag."""
    return "<" in text and _ESCAPED_MARKUP.search(text) is not None


def markup_edits(text: str) -> Sequence[Edit]:
    """The edits that turn HTML or C-CDA narrative into plain text. Never raises."""
    reader = _MarkupReader(text)
    reader.read()
    return reader.edits.edits


class _MarkupReader:
    """Replaces tags and character references by line ends, bold type and characters."""

    def __init__(self, text: str) -> None:
        self.edits = Edits(text)
        self._closed = {name.lower() for name in re.findall(r"</([A-Za-z][\w.:-]*)", text)}
        self._bold_spans: list[bool] = []
        self._sections = 0  # how many nested sections are open
        self._cdata = False  # whether <![CDATA[ is open
        self._titled = "</title>" in text  # C-CDA: only titles name sections
        self._table = _TableWriter(self.edits, table_heads("" if self._titled else text), self._titled)

    def read(self) -> None:
        text, at = self.edits.text, 0
        while (token := _TOKEN.search(text, at)) is not None:
            at = token.end()
            if token["reference"]:
                self._read_reference(token)
            elif (tag := token["tag"]) is None:
                self._read_mark(token)
            elif _is_less_than(token):
                at = token.start() + 1
            elif token["closing"]:
                self._end_tag(token.start(), at, tag.lower())
            elif tag.lower() in HIDDEN_TAGS:
                at = self._hide(token.start(), at, tag)
            else:
                self._start_tag(token.start(), at, tag.lower())

    def _read_reference(self, token: re.Match[str]) -> None:
        character = html.unescape(token[0])
        if character != token[0]:
            self.edits.replace(*token.span(), " " if character == "\xa0" else character)

    def _read_mark(self, token: re.Match[str]) -> None:
        """Removes a comment or declaration, and the marks around the words of <![CDATA[ words ]]>."""
        if token["cdata_end"]:
            if not self._cdata:
                return
            self._cdata = False
        self._cdata |= token["cdata"] is not None
        self.edits.replace(*token.span(), "")

    def _hide(self, start: int, end: int, tag: str) -> int:
        """Removes a script or style sheet, and returns where it ends. If it has no end, removes only its tag."""
        other = re.compile(rf"<(/?){tag}\b[^<>]*>", re.IGNORECASE).search(self.edits.text, end)
        if other is not None and other[1] and self.edits.text[end - 2] != "/":
            end = other.end()
        self.edits.replace(start, end, "")
        return end

    def _start_tag(self, start: int, end: int, tag: str) -> None:
        raw = self.edits.text[start:end]
        attributes = _attributes(raw)
        self._sections += tag == "section"
        if (named := _name_of_section(tag, attributes)) is not None:
            self.edits.title(start, end, named)
        elif tag == "span" or tag in BOLD_TAGS:
            self._start_span(start, end, tag, attributes)
        elif tag in TITLE_TAGS:
            self.edits.end_line(start, end, blank_line=True, then="## ")
        elif tag in CELL_TAGS:
            self._table.start_cell(start, end, tag)
        elif tag in ITEM_TAGS or (self._titled and tag in ("text", "paragraph")):
            self.edits.end_line(start, end, then="- ")
        elif tag == "br":
            self.edits.replace(start, end, "\n")
        elif tag in PARAGRAPH_TAGS or tag in LINE_TAGS:
            self._table.start_line(tag)
            self.edits.end_line(start, end, blank_line=tag in PARAGRAPH_TAGS)
        elif tag in INLINE_TAGS:
            self.edits.replace(start, end, "")
        elif tag in self._closed and not self._titled and is_section_name(tag.replace("_", " ")):
            self.edits.title(start, end, raw[1 : 1 + len(tag)])
        elif tag in self._closed or raw.endswith("/>"):
            self.edits.replace(start, end, "")

    def _end_tag(self, start: int, end: int, tag: str) -> None:
        edits = self.edits
        if tag in BOLD_TAGS or self._table.ends_head(tag) or self._ends_bold_span(tag):
            edits.bold(start, end, on=False)
        elif tag == "section" and self._titled:
            self._sections -= 1
            edits.end_line(start, end, blank_line=True, then="" if self._sections else "-----\n")
        elif tag in TITLE_TAGS or tag in LINE_TAGS - {"td"} or tag in PARAGRAPH_TAGS:
            if tag == "table":
                self._table.end_table()
            edits.end_line(start, end, blank_line=tag in PARAGRAPH_TAGS)
        elif not self._titled and tag not in HTML_TAGS and is_section_name(tag.replace("_", " ")):
            edits.end_line(start, end, blank_line=True)
        else:
            edits.replace(start, end, "")

    def _start_span(self, start: int, end: int, tag: str, attributes: dict[str, str]) -> None:
        """A tag of bold type, or a span with or without a bold style."""
        bold = tag in BOLD_TAGS or any(map(_BOLD_STYLE.search, attributes.values()))
        if tag == "span":
            self._bold_spans.append(bold)
        if bold and not self._table.names_columns:
            self.edits.bold(start, end, on=True)
        else:
            self.edits.replace(start, end, "")

    def _ends_bold_span(self, tag: str) -> bool:
        return tag == "span" and bool(self._bold_spans) and self._bold_spans.pop()


class _TableWriter:
    """Writes each table cell on its own line, but the cells of tables with column heads on one line a row."""

    def __init__(self, edits: Edits, heads: TableHeads, titled: bool) -> None:
        self._edits = edits
        self._heads = heads
        self._titled = titled
        self._has_heads: list[bool] = []  # for each open table, whether it has column heads
        self._began = False  # whether a cell of this row was written
        # "headed": the row begins with a heading; "mixed": it has the heads of mixed columns
        self._row: Literal["headed", "mixed"] | None = None

    @property
    def names_columns(self) -> bool:
        """Whether the row has the heads of columns for problems and plans."""
        return self._row == "mixed"

    def start_line(self, tag: str) -> None:
        """A tag that begins a table, a row, or another line."""
        if tag == "table":
            self._has_heads.append(False)
        if tag in ROW_TAGS:
            self._row = None
        self._began = False

    def end_table(self) -> None:
        if self._has_heads:
            self._has_heads.pop()

    def ends_head(self, tag: str) -> bool:
        """Whether this end tag ends the heading that a row begins with."""
        return tag == "th" and self._row == "headed"

    def start_cell(self, start: int, end: int, tag: str) -> None:
        edits = self._edits
        if self._row is None and start in self._heads.of_rows:
            self._row, self._began = "headed", True
            edits.end_line(start, start)
            edits.bold(start, end, on=True)
        elif self._row == "headed":
            edits.end_line(start, end)
        else:
            self._start_plain_cell(start, end, tag)
            self._began = True

    def _start_plain_cell(self, start: int, end: int, tag: str) -> None:
        edits, names_columns = self._edits, start in self._heads.of_mixed_columns
        if (tag == "th" or names_columns) and self._has_heads:
            self._has_heads[-1] = True
        if names_columns:
            self._row = "mixed"
        if self._row == "mixed":
            if self._began:
                edits.replace(start, end, " | ")
            else:
                edits.end_line(start, end)
        elif tag == "td" and not self._titled and not (self._has_heads and self._has_heads[-1]):
            edits.end_line(start, end)
        elif self._began:
            edits.replace(start, end, _CELL)
        else:
            edits.end_line(start, end, then=_CELL.lstrip() if tag == "th" else "- " if self._titled else "")


def _is_less_than(tag: re.Match[str]) -> bool:
    """Whether "<" means "less than", as in "BP <b and HR >": a tag has no words but its attributes."""
    inside = tag["attributes"]
    if not inside or inside.isspace() or '"' in inside or "'" in inside:
        return False
    words = _VALUE.sub(" ", inside).replace("/", " ").lower().split()
    return not BOOLEAN_ATTRIBUTES.issuperset(words)


def _attributes(tag: str) -> dict[str, str]:
    return {
        name.lower(): html.unescape(value.strip("\"'"))
        for name, value in reversed(_ATTRIBUTE.findall(tag))  # the first of the same name counts
    }


def _name_of_section(tag: str, attributes: dict[str, str]) -> str | None:
    """The section name in an attribute of the tag; None where there is none."""
    if tag in _NEVER_NAMED:
        return None
    named = next((value for key, value in attributes.items() if key in _NAMING_ATTRIBUTES and value), None)
    return named if named and is_section_name(named) else None


_MARKUP = re.compile(r"<[/!?]?[A-Za-z][^<>]{0,2000}>")
_REFERENCE = re.compile(r"&(?:#\d{1,6}|#[xX][0-9A-Fa-f]{1,5}|[A-Za-z]{2,8}\d{0,2});")
_ESCAPED_MARKUP = re.compile(
    r"</?(?:b|strong|i|u|em|p|br|div|span|h[1-6]|li|ul|ol|table|t[rdh]|title|text|paragraph)"
    r"(?:[ /][^<>]{0,300})?>",
    re.IGNORECASE,
)
# No part of a token crosses the "<" of another one: a mark that is never closed hides nothing after it, and each
# character is read a bounded number of times.
_TOKEN = re.compile(
    r"""
    <(?P<closing>/?)(?P<tag>[A-Za-z][\w.:-]*+)
        (?P<attributes>(?:[^<>"']*(?:(?:"[^"<]{0,2000}"|'[^'<]{0,2000}')[^<>"']*)*|[^<>]{0,2000}))>
    | (?P<reference>&(?:\#\d{1,7}|\#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});)
    | <!--(?:-?>|[^<-]*(?:(?:<(?!!--(?!>))|-(?!->))[^<-]*)*-->)  # Python 3.11.2 errs in a possessive group
    | (?P<cdata><!\[CDATA\[) | (?P<cdata_end>\]\]>)
    | <!(?:--)?\[[^\[\]<>]{0,300}\](?:--)?>
    | <!(?:DOCTYPE|ENTITY|ELEMENT|ATTLIST|NOTATION)\b[^<>]{0,2000}>
    | <\?[A-Za-z][^<>]{0,2000}>
    """,
    re.VERBOSE | re.IGNORECASE,
)
_ATTRIBUTE = re.compile(r"""(?<=[\s"'/])([^\s<>"'/=]+)\s*=\s*("[^"<]*"|'[^'<]*'|[^\s<>"']+)""")
_VALUE = re.compile(r"[^\s=/]+\s*=\s*\S*")
_BOLD_STYLE = re.compile(r"font-weight\s*:\s*(?:bold|[6-9]00)", re.IGNORECASE)
_NAMING_ATTRIBUTES = ("title", "name", "label", "heading", "displayname")
_NEVER_NAMED = ("a", "img", "code")
_CELL = " ¦ "  # between cells of a table with column heads: a mark that sets off no heading
