"""HTML and C-CDA narrative: tags and character references become line ends, headings, bold type and characters.

The parser of the standard library finds tags and references. The plain text is made here, because libraries that
convert HTML to text do not give the offset that each character comes from.
"""

from __future__ import annotations

import contextlib
import html
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from typing import Literal

from rubricator.nlp.plain_text.edits import Edit, Edits
from rubricator.nlp.plain_text.section_names import is_section_name
from rubricator.nlp.plain_text.table_heads import TableHeads, table_heads
from rubricator.nlp.plain_text.tags import (
    BOLD_TAGS,
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
    # raised for a broken declaration, which is kept with all text after it
    with contextlib.suppress(AssertionError):
        reader.feed(_without_strays(text))
        reader.close()
    return reader.edits.edits


class _MarkupReader(HTMLParser):
    """Replaces tags and character references by line ends, bold type and characters."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=False)
        self.edits = Edits(text)
        self._line_starts = [0]
        for match in re.finditer("\n", text):
            self._line_starts.append(match.end())
        self._closed = {name.lower() for name in re.findall(r"</([A-Za-z][\w.:-]*)", text)}
        self._bold_spans: list[bool] = []
        self._hidden = 0
        self._sections = 0  # how many nested sections are open
        self._titled = "</title>" in text  # C-CDA: only titles name sections
        self._table = _TableWriter(self.edits, table_heads("" if self._titled else text), self._titled)

    def _here(self) -> int:
        line, column = self.getpos()
        return self._line_starts[line - 1] + column

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        raw = self.get_starttag_text() or ""
        start = self._here()
        end = start + len(raw)
        self._sections += tag == "section"
        if (named := _name_of_section(tag, attrs)) is not None:
            self.edits.title(start, end, named)
        elif tag in HIDDEN_TAGS:
            self._hidden += 1
            self._hide(start, end)
        elif tag == "span" or tag in BOLD_TAGS:
            self._start_span(start, end, tag, attrs)
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

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag in HIDDEN_TAGS:  # <script src="…"/> hides nothing
            self._hidden -= 1

    def handle_endtag(self, tag: str) -> None:
        start = self._here()
        end = self.edits.text.find(">", start) + 1 or len(self.edits.text)
        edits = self.edits
        if tag in HIDDEN_TAGS and self._hidden:
            self._hidden -= 1
            self._hide(start, end)
        elif tag in BOLD_TAGS or self._table.ends_head(tag) or self._ends_bold_span(tag):
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

    def _start_span(self, start: int, end: int, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A tag of bold type, or a span with or without a bold style."""
        bold = tag in BOLD_TAGS or any(_BOLD_STYLE.search(value or "") for _, value in attrs)
        if tag == "span":
            self._bold_spans.append(bold)
        if bold and not self._table.names_columns:
            self.edits.bold(start, end, on=True)
        else:
            self.edits.replace(start, end, "")

    def _ends_bold_span(self, tag: str) -> bool:
        return tag == "span" and bool(self._bold_spans) and self._bold_spans.pop()

    def handle_data(self, data: str) -> None:
        if self._hidden:
            self._hide(self._here(), self._here() + len(data))

    def handle_comment(self, data: str) -> None:
        self._hide_declaration(len("<!--") + len(data))

    def handle_decl(self, decl: str) -> None:
        self._hide_declaration(len("<!") + len(decl))

    def handle_pi(self, data: str) -> None:
        self._hide_declaration(len("<?") + len(data))

    def unknown_decl(self, data: str) -> None:
        """Keeps the words of <![CDATA[ words ]]> and removes a condition such as <![if !vml]>."""
        start = self._here()
        if not data.upper().startswith("CDATA["):
            self._hide_declaration(len("<![") + len(data))
            return
        words = self.edits.text.find(data, start)
        if words >= 0:
            self.edits.replace(start, words + len("CDATA["), "")
            closing = self.edits.text.find("]]>", words)
            if closing >= 0:
                self.edits.replace(closing, closing + 3, "")

    def handle_entityref(self, name: str) -> None:
        self._reference(f"&{name}")

    def handle_charref(self, name: str) -> None:
        self._reference(f"&#{name}")

    def _reference(self, reference: str) -> None:
        start = self._here()
        end = start + len(reference)
        end += self.edits.text.startswith(";", end)
        character = html.unescape(reference + ";")
        if end - start > len(reference) and character != reference + ";":
            self.edits.replace(start, end, " " if character == "\xa0" else character)

    def _hide_declaration(self, length: int) -> None:
        start = self._here()
        self._hide(start, self.edits.text.find(">", start + length) + 1 or len(self.edits.text))

    def _hide(self, start: int, end: int) -> None:
        self.edits.replace(start, end, "")


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


def _name_of_section(tag: str, attrs: list[tuple[str, str | None]]) -> str | None:
    """The section name in an attribute of the tag; None where there is none."""
    if tag in _NEVER_NAMED:
        return None
    named = next((value for key, value in attrs if key in _NAMING_ATTRIBUTES and value), None)
    return named if named and is_section_name(named) else None


def _without_strays(text: str) -> str:
    """The text with another character for each "<" that does not begin a complete tag, as in "BP <b mmHg".

    Its length does not change. The parser would search the rest of the text for the end of each of them.
    """
    text = _STRAY.sub(_NO_MARK, text)
    for opening, closing in _UNBOUNDED:
        last = text.rfind(closing) + 1
        text = text[:last] + text[last:].replace(opening, _NO_MARK + opening[1:])
    return text


_MARKUP = re.compile(r"<[/!?]?[A-Za-z][^<>]{0,2000}>")
_REFERENCE = re.compile(r"&(?:#\d{1,6}|#[xX][0-9A-Fa-f]{1,5}|[A-Za-z]{2,8}\d{0,2});")
_ESCAPED_MARKUP = re.compile(
    r"</?(?:b|strong|i|u|em|p|br|div|span|h[1-6]|li|ul|ol|table|t[rdh]|title|text|paragraph)"
    r"(?:[ /][^<>]{0,300})?>",
    re.IGNORECASE,
)
_STRAY = re.compile(r"<(?![/!]?[A-Za-z](?:[^<>\"']|\"[^\"]{0,300}\"|'[^']{0,300}'){0,2000}>|!--|!\[|\?)")
_UNBOUNDED = (("<!--", "-->"), ("<![", "]"), ("<?", ">"))  # begin and end; markup may be between
_NO_MARK = "‹"
_BOLD_STYLE = re.compile(r"font-weight\s*:\s*(?:bold|[6-9]00)", re.IGNORECASE)
_NAMING_ATTRIBUTES = ("title", "name", "label", "heading", "displayname")
_NEVER_NAMED = ("a", "img", "code")
_CELL = " ¦ "  # between cells of a table with column heads: a mark that sets off no heading
