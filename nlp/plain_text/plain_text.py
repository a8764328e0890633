"""The words of a note without the format they came in: RTF, HTML, C-CDA narrative, HL7 v2 and JSON escapes, dictation.

Every step down the street (sections, sentences, features) reads the plain text, and every offset that leaves it points
into the text that the user gave. A note that is plain already costs a few look-ups and is returned as it is.
No library that reads RTF or HTML tells where each character came from, so the conversion is done here; tags and
character references are found by the standard library's parser.
"""

from __future__ import annotations

import contextlib
import html
import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from functools import lru_cache
from html.parser import HTMLParser

from rubricator.nlp.lexicon.lexicon import UNKNOWN, Lexicon

Span = tuple[int, int]


class PlainText:
    """The plain text of a note, and where each of its characters stands in the note as given."""

    __slots__ = ("_ends", "_starts", "given", "text")

    def __init__(self, given: str) -> None:
        self.given = given
        self.text = given
        self._starts: array[int] | None = None  # None: nothing was changed
        self._ends: array[int] | None = None

    def __repr__(self) -> str:
        return f"PlainText({len(self.given)} characters given, {len(self.text)} plain)"

    @property
    def is_given(self) -> bool:
        """Is the plain text the text as given?"""
        return self._starts is None

    def span_given(self, start: int, end: int) -> Span:
        """The span of the given text that text[start:end] came from."""
        if self._starts is None or self._ends is None:
            return start, end
        first = self._starts[start] if start < len(self._starts) else len(self.given)
        return first, self._ends[end - 1] if start < end else first

    def span_plain(self, start: int, end: int) -> Span:
        """The span of the plain text that given[start:end] became."""
        if self._starts is None:
            return start, end
        return bisect_left(self._starts, start), bisect_left(self._starts, end)

    def of(self, start: int, end: int) -> str:
        """What given[start:end] says in plain text."""
        if self._starts is None:
            return self.given[start:end]
        return self.text[slice(*self.span_plain(start, end))]

    def _rewrite(self, edits: Iterable[tuple[int, int, str]]) -> None:
        """Replaces spans of the plain text, given in order, and keeps the way back to the text as given."""
        old_starts = self._starts or range(len(self.text))
        old_ends = self._ends or range(1, len(self.text) + 1)
        starts, ends = array("q"), array("q")
        pieces: list[str] = []
        at = 0
        for start, end, replacement in edits:
            pieces += (self.text[at:start], replacement)
            starts.extend(old_starts[at:start])
            ends.extend(old_ends[at:start])
            if replacement:
                first = old_starts[start] if start < len(self.text) else len(self.given)
                starts.extend([first] * len(replacement))
                ends.extend([old_ends[end - 1] if end > start else first] * len(replacement))
            at = end
        if at == 0 and not pieces:
            return
        pieces.append(self.text[at:])
        starts.extend(old_starts[at:])
        ends.extend(old_ends[at:])
        self.text, self._starts, self._ends = "".join(pieces), starts, ends


@lru_cache(maxsize=4)
def read_plain(given: str) -> PlainText:
    """The plain text of a note; never raises. The last few notes are remembered, as each step asks for its own."""
    plain = PlainText(given)
    if "\\" in given and given.lstrip("\ufeff \t\r\n").startswith("{\\rtf"):
        plain._rewrite(_rtf(plain.text))
    if "\\" in plain.text or ("_" in plain.text and "_x000" in plain.text):
        plain._rewrite(_escapes(plain.text))
    if ("<" in plain.text and _MARKUP.search(plain.text)) or (
        "&" in plain.text and _REFERENCE.search(plain.text)
    ):
        plain._rewrite(_html(plain.text))
        for _ in range(_MOST_ESCAPED):
            if "<" not in plain.text or not _ESCAPED_MARKUP.search(plain.text):
                break
            plain._rewrite(_html(plain.text))
    if "\n" not in plain.text:
        if "~" in plain.text:
            plain._rewrite((match.start(), match.end(), "\n") for match in _REPETITION.finditer(plain.text))
        if _NEW_PARAGRAPH.search(plain.text):
            plain._rewrite(_dictation(plain.text))
    if _BRACKETED_INITIAL.search(plain.text):
        plain._rewrite(
            (match.start(), match.end(), match[0][1]) for match in _BRACKETED_INITIAL.finditer(plain.text)
        )
    if ("*" in plain.text and "**" in plain.text) or ("_" in plain.text and "__" in plain.text):
        plain._rewrite((match.start(), match.end(), match[2]) for match in _BOLD_INITIAL.finditer(plain.text))
    if ">" in plain.text and (quotes := _quotes(plain.text)):
        plain._rewrite(quotes)
    if wraps := _wraps_in_headings(plain.text):
        plain._rewrite(wraps)
    return plain


# ---- a text that is written piece by piece -------------------------------------------------------


class _Edits:
    """Edits in the order of the text; knows what its line holds so far, for line ends and bold type."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.edits: list[tuple[int, int, str]] = []
        self._at = 0  # up to here the text is taken care of
        self._line = ""  # the end of what was written so far
        self._bold = False

    def keep(self, end: int) -> None:
        """The text up to `end` stays as it is."""
        if end > self._at:
            self._write(self.text[self._at : end])
            self._at = end

    def replace(self, start: int, end: int, replacement: str) -> None:
        """The text up to `start` stays, text[start:end] becomes the replacement."""
        self.keep(start)
        self.edits.append((start, end, replacement))
        self._write(replacement)
        self._at = end

    def end_line(self, start: int, end: int, *, blank_line: bool = False, then: str = "") -> None:
        """text[start:end] ends a line, or a paragraph, that holds anything."""
        self.keep(start)
        ends = self._line[len(self._line.rstrip(" \t\n")) :].count("\n") if self._line else 2
        wanted = (2 if blank_line else 1) - ends
        self.replace(start, end, "\n" * max(0, wanted) + then)

    def bold(self, start: int, end: int, *, on: bool) -> None:
        """Bold type, which tells a heading where a line begins with it and nothing elsewhere."""
        self.keep(start)
        if on and not self._bold:
            self._bold = not self._line or _LINE_START.search(self._line) is not None
            self.replace(start, end, "**" if self._bold else "")
        elif not on and self._bold:
            self._bold = False
            self.replace(start, end, "**")
        else:
            self.replace(start, end, "")

    def title(self, start: int, end: int, name: str) -> None:
        """text[start:end] is a tag that names a section: the name becomes a heading on a line of its own."""
        at = self.text.find(name, start, end)
        if at < 0:  # written with character references
            self.end_line(start, end)
            return
        self.end_line(start, at, blank_line=True, then="## ")
        for blank in re.finditer("_", name):
            self.replace(at + blank.start(), at + blank.end(), " ")
        self.replace(at + len(name), end, "\n")

    def _write(self, text: str) -> None:
        if text:
            self._line = (self._line + text)[-80:]


_LINE_START = re.compile(r"\n[\s•*+#>-]*$|^[\s•*+#>-]*$")

# ---- HTML and C-CDA ------------------------------------------------------------------------------

_BOLD_TAGS = frozenset({"b", "strong", "u", "i", "em", "font", "content"})
_TITLE_TAGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6", "title", "caption", "legend", "dt"})
_PARAGRAPH_TAGS = frozenset(
    {
        "p",
        "ul",
        "ol",
        "list",
        "table",
        "section",
        "body",
        "html",
        "hr",
        "dl",
        "pre",
        "blockquote",
        "paragraph",
    }
)
_LINE_TAGS = frozenset(
    {
        "br",
        "div",
        "li",
        "item",
        "tr",
        "td",
        "text",
        "dd",
        "thead",
        "tbody",
        "tfoot",
        "head",
        "header",
        "footer",
    }
)
_HIDDEN_TAGS = frozenset({"script", "style"})
_INLINE_TAGS = frozenset(
    {"span", "a", "sup", "sub", "small", "th", "code", "img", "col", "colgroup", "center", "s"}
)
_HTML_TAGS = _BOLD_TAGS | _TITLE_TAGS | _PARAGRAPH_TAGS | _LINE_TAGS | _HIDDEN_TAGS | _INLINE_TAGS
_ESCAPED_MARKUP = re.compile(
    r"</?(?:b|strong|i|u|em|p|br|div|span|h[1-6]|li|ul|ol|table|t[rdh]|title|text|paragraph)"
    r"(?:[ /][^<>]{0,300})?>",
    re.IGNORECASE,
)
_MOST_ESCAPED = 2  # times: "&lt;b&gt;Plan:&lt;/b&gt;" are tags that were escaped before they were stored
_MARKUP = re.compile(r"<[/!?]?[A-Za-z][^<>]{0,2000}>")
_STRAY = re.compile(r"<(?![/!]?[A-Za-z](?:[^<>\"']|\"[^\"]{0,300}\"|'[^']{0,300}'){0,2000}>|!--|!\[|\?)")
_UNBOUNDED = (("<!--", "-->"), ("<![", "]"), ("<?", ">"))  # what may hold markup, and how it ends
_NO_MARK = "‹"
_REFERENCE = re.compile(r"&(?:#\d{1,6}|#[xX][0-9A-Fa-f]{1,5}|[A-Za-z]{2,8}\d{0,2});")
_BOLD_STYLE = re.compile(r"font-weight\s*:\s*(?:bold|[6-9]00)", re.IGNORECASE)
_NAMING_ATTRIBUTES = ("title", "name", "label", "heading", "displayname")
_CELL = " ¦ "  # between cells of a table with column heads: no mark that sets a heading off


class _HtmlReader(HTMLParser):
    """Writes line ends, bold type and characters for tags and character references."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=False)
        self.edits = _Edits(text)
        self._line_starts = [0]
        for match in re.finditer("\n", text):
            self._line_starts.append(match.end())
        self._closed = {name.lower() for name in re.findall(r"</([A-Za-z][\w.:-]*)", text)}
        self._bold_spans: list[bool] = []
        self._has_heads: list[bool] = []  # of each table that is open: were there column heads?
        self._hidden = 0
        self._sections = 0  # that are open, one in another
        self._row = False  # a cell of this row was written
        self._row_kind: str | None = (
            None  # "head": begins with a heading; "mixed": column heads of problems and plans
        )
        self._titled = "</title>" in text  # C-CDA: titles name the sections, and nothing below them does
        self._row_heads, self._mixed_heads = _table_heads("" if self._titled else text)

    def _here(self) -> int:
        line, column = self.getpos()
        return self._line_starts[line - 1] + column

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        raw = self.get_starttag_text() or ""
        start = self._here()
        self._sections += tag == "section"
        end = start + len(raw)
        named = next((value for key, value in attrs if key in _NAMING_ATTRIBUTES and value), None)
        edits = self.edits
        if named and tag not in ("a", "img", "code") and _is_heading(named):
            edits.title(start, end, named)
        elif tag in _HIDDEN_TAGS:
            self._hidden += 1
            self._hide(start, end)
        elif tag in _BOLD_TAGS or (
            tag == "span" and any(_BOLD_STYLE.search(value or "") for _, value in attrs)
        ):
            if self._row_kind == "mixed":
                edits.replace(start, end, "")
            else:
                edits.bold(start, end, on=True)
            if tag == "span":
                self._bold_spans.append(True)
        elif tag in _TITLE_TAGS:
            edits.end_line(start, end, blank_line=True, then="## ")
        elif tag in ("th", "td") and self._row_kind is None and start in self._row_heads:
            self._row_kind, self._row = "head", True
            edits.end_line(start, start)
            edits.bold(start, end, on=True)
        elif tag in ("th", "td") and self._row_kind == "head":
            edits.end_line(start, end)
        elif tag in ("th", "td"):
            if (tag == "th" or start in self._mixed_heads) and self._has_heads:
                self._has_heads[-1] = True
            if start in self._mixed_heads:
                self._row_kind = "mixed"
            if self._row_kind == "mixed":
                if self._row:
                    edits.replace(start, end, " | ")
                else:
                    edits.end_line(start, end)
            elif tag == "td" and not self._titled and not (self._has_heads and self._has_heads[-1]):
                edits.end_line(start, end)
            elif self._row:
                edits.replace(start, end, _CELL)
            else:
                edits.end_line(
                    start, end, then=_CELL.lstrip() if tag == "th" else "- " if self._titled else ""
                )
            self._row = True
        elif tag in ("li", "item") or (self._titled and tag in ("text", "paragraph")):
            edits.end_line(start, end, then="- ")
        elif tag == "br":
            edits.replace(start, end, "\n")
        elif tag in _PARAGRAPH_TAGS or tag in _LINE_TAGS:
            if tag == "table":
                self._has_heads.append(False)
            if tag in ("table", "tr", "thead", "tbody", "tfoot"):
                self._row_kind = None
            self._row = False
            edits.end_line(start, end, blank_line=tag in _PARAGRAPH_TAGS)
        elif tag in _INLINE_TAGS:
            if tag == "span":
                self._bold_spans.append(False)
            edits.replace(start, end, "")
        elif tag in self._closed and not self._titled and _is_heading(tag.replace("_", " ")):
            edits.title(start, end, raw[1 : 1 + len(tag)])
        elif tag in self._closed or raw.endswith("/>"):
            edits.replace(start, end, "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag in _HIDDEN_TAGS:  # <script src="…"/> hides nothing
            self._hidden -= 1

    def handle_endtag(self, tag: str) -> None:
        start = self._here()
        end = self.edits.text.find(">", start) + 1 or len(self.edits.text)
        edits = self.edits
        if tag in _HIDDEN_TAGS and self._hidden:
            self._hidden -= 1
            self._hide(start, end)
        elif (
            tag in _BOLD_TAGS
            or (tag == "th" and self._row_kind == "head")
            or (tag == "span" and self._bold_spans and self._bold_spans.pop())
        ):
            edits.bold(start, end, on=False)
        elif tag == "section" and self._titled:
            self._sections -= 1
            edits.end_line(start, end, blank_line=True, then="" if self._sections else "-----\n")
        elif tag in _TITLE_TAGS or tag in _LINE_TAGS - {"td"} or tag in _PARAGRAPH_TAGS:
            if tag == "table" and self._has_heads:
                self._has_heads.pop()
            edits.end_line(start, end, blank_line=tag in _PARAGRAPH_TAGS)
        elif not self._titled and tag not in _HTML_TAGS and _is_heading(tag.replace("_", " ")):
            edits.end_line(start, end, blank_line=True)
        else:
            edits.replace(start, end, "")

    def handle_data(self, data: str) -> None:
        if self._hidden:
            self._hide(self._here(), self._here() + len(data))

    def handle_comment(self, data: str) -> None:
        self._hide_declaration(len("<!--") + len(data))

    def handle_decl(self, decl: str) -> None:
        self._hide_declaration(len("<!") + len(decl))

    def handle_pi(self, data: str) -> None:
        self._hide_declaration(len("<?") + len(data))

    def _hide_declaration(self, length: int) -> None:
        start = self._here()
        self._hide(start, self.edits.text.find(">", start + length) + 1 or len(self.edits.text))

    def unknown_decl(self, data: str) -> None:
        """The words of <![CDATA[ words ]]> stay; a condition, <![if !vml]>, goes."""
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

    def _hide(self, start: int, end: int) -> None:
        self.edits.replace(start, end, "")


def _html(text: str) -> Sequence[tuple[int, int, str]]:
    reader = _HtmlReader(text)
    # raised for a declaration that is none, which stays with all that follows
    with contextlib.suppress(AssertionError):
        reader.feed(_without_strays(text))
        reader.close()
    return reader.edits.edits


def _table_heads(text: str) -> tuple[frozenset[int], frozenset[int]]:
    """Offsets of cells: those that begin a row as a heading does, in tables where the lexicon knows one of them
    ("<th>Plan</th><td>Rest</td>"), and the first of column heads that name problems and plans."""
    row_heads: set[int] = set()
    mixed: set[int] = set()
    pending: list[int] = []  # heads of rows in this table, while none of them is known
    known, first = False, True  # no row of this table was seen
    for row in _ROW.finditer(text):
        if row["table"]:
            pending, known, first = [], False, True
            continue
        inside = text[row.end() : row.end() + _LONGEST_HEAD_ROW]
        inside = inside[: ends.start()] if (ends := _ROW_END.search(inside)) else inside
        cells = list(_CELL_TAG.finditer(inside))
        is_first, first = first, False
        kinds = {cell[1].lower() for cell in cells}
        if len(cells) < 2 or not (is_first or cells[0][1].lower() == "th"):
            continue
        at = row.end() + cells[0].start()
        stops = [cell.start() for cell in cells[1:]] + [len(inside)]
        names = [
            html.unescape(_TAG.sub("", inside[cell.end() : stop])).strip(" \t\n\r:")
            for cell, stop in zip(cells, stops, strict=True)
        ]
        if kinds == {"th", "td"}:
            if cells[0][1].lower() == "td" or cells[1][1].lower() == "th":
                continue
            pending.append(at)
            known = known or _is_heading(names[0])
            if known:
                row_heads.update(pending)
                pending = []
        elif (is_first or kinds == {"th"}) and _mix_problems_and_plans(names):
            mixed.add(at)
    return frozenset(row_heads), frozenset(mixed)


def _mix_problems_and_plans(names: Sequence[str]) -> bool:
    lexicon = Lexicon.load()
    if (whole := lexicon.match(" ".join(names), loose=False)) is not None:
        return whole.category == "assessment_and_plan"
    found = {match.category for name in names if (match := lexicon.match(name, loose=False)) is not None}
    return bool(found & _PROBLEMS) and bool(found & _PLANS)


_ROW = re.compile(r"<(?:(?P<table>table)|tr)\b[^<>]{0,300}>", re.IGNORECASE)
_ROW_END = re.compile(r"</?t(?:r|able)\b", re.IGNORECASE)
_CELL_TAG = re.compile(r"<(t[hd])\b[^<>]{0,300}>", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]*>")
_LONGEST_HEAD_ROW = 1000
_PROBLEMS = frozenset({"problem_list", "diagnosis", "assessment", "impression"})
_PLANS = frozenset({"plan", "recommendations", "follow_up"})


def _without_strays(text: str) -> str:
    """The text, at the same length, without each "<" that begins nothing which ends: "BP <b mmHg".

    The parser looks for such an end as far as the text goes, again for each of them.
    """
    text = _STRAY.sub(_NO_MARK, text)
    for opening, closing in _UNBOUNDED:
        last = text.rfind(closing) + 1
        text = text[:last] + text[last:].replace(opening, _NO_MARK + opening[1:])
    return text


@lru_cache(maxsize=4096)
def _is_heading(phrase: str) -> bool:
    """Is it the name of a section: an element or an attribute may carry one."""
    if not 1 < len(phrase) < 60 or phrase in _HTML_TAGS:
        return False
    lexicon = Lexicon.load()
    match = lexicon.match(phrase, loose=False)
    return match is not None and match.category != UNKNOWN and not lexicon.needs_colon(phrase)


# ---- RTF -----------------------------------------------------------------------------------------

_RTF_TOKEN = re.compile(
    r"\\(?:(?P<word>[a-zA-Z]{1,32})(?P<number>-?\d{1,10})?[ ]?|'(?P<hex>[0-9a-fA-F]{2})|(?P<symbol>[^a-zA-Z]))"
    r"|(?P<open>\{)|(?P<close>\})|(?P<newline>[\r\n]+)"
)
_RTF_DESTINATIONS = frozenset(  # groups that hold no text of the note
    [
        "fonttbl",
        "colortbl",
        "stylesheet",
        "info",
        "pict",
        "object",
        "header",
        "headerl",
        "headerr",
        "headerf",
        "footer",
        "footerl",
        "footerr",
        "footerf",
        "listtable",
        "listoverridetable",
        "revtbl",
        "rsidtbl",
        "generator",
        "xmlnstbl",
        "themedata",
        "colorschememapping",
        "datastore",
        "latentstyles",
        "pgptbl",
        "fldinst",
        "bkmkstart",
        "bkmkend",
        "filetbl",
        "listtext",
        "pntext",
        "pn",
    ]
)
_RTF_CHARACTERS = {
    "tab": "\t", "emdash": "—", "endash": "–", "bullet": "•", "lquote": "‘", "rquote": "’", "ldblquote": "“",
    "rdblquote": "”", "emspace": " ", "enspace": " ", "cell": "\t",
}  # fmt: skip
_RTF_LINES = frozenset({"par", "line", "sect", "page", "row", "softline"})


def _rtf(text: str) -> Sequence[tuple[int, int, str]]:
    """Rich Text Format 1.9: control words to characters and line ends; tables of fonts and the like are left out."""
    edits = _Edits(text)
    codec = "cp1252"
    groups: list[
        tuple[int, bool, int]
    ] = []  # depth of hiding, bold type and bytes after \u outside of each group
    hidden, bold, skipped = 0, False, 1
    to_skip = 0  # characters that stand in for a \u before them
    at = 0
    for token in _RTF_TOKEN.finditer(text):
        start, end = token.span()
        if start > at:
            stand_in = min(to_skip, start - at)
            if hidden:
                edits.replace(at, start, "")
            elif stand_in:
                edits.replace(at, at + stand_in, "")
            to_skip = 0
        at = end
        word, number = token["word"], token["number"]
        replacement = ""
        if token["open"]:
            groups.append((hidden, bold, skipped))
            hidden += bool(hidden)
        elif token["close"]:
            outer = groups.pop() if groups else (0, False, 1)
            if outer[1] != bold:
                edits.bold(start, end, on=outer[1])
                hidden, bold, skipped = outer
                continue
            hidden, bold, skipped = outer
        elif word == "ansicpg" and number:
            codec = f"cp{number}"
        elif word in _RTF_DESTINATIONS or token["symbol"] == "*":
            hidden = hidden or 1
        elif hidden:
            pass
        elif word == "b":
            bold = number != "0"
            edits.bold(start, end, on=bold)
            continue
        elif word == "plain" and bold:
            bold = False
            edits.bold(start, end, on=False)
            continue
        elif word in _RTF_LINES:
            replacement = "\n"
        elif word in _RTF_CHARACTERS:
            replacement = _RTF_CHARACTERS[word]
        elif word == "uc" and number:
            skipped = max(0, int(number))
        elif word == "u" and number:
            code = int(number) % 0x10000
            replacement = chr(code) if not 0xD800 <= code < 0xE000 else "�"
            to_skip = skipped
        elif token["hex"]:
            if to_skip:
                to_skip -= 1
            else:
                replacement = _decoded(token["hex"], codec)
        elif (symbol := token["symbol"]) is not None:
            replacement = {"~": " ", "_": "-", "-": "", "\n": "\n", "\r": "\n"}.get(symbol, symbol)
        edits.replace(start, end, replacement)
    if hidden and at < len(text):
        edits.replace(at, len(text), "")
    return edits.edits


def _decoded(pair: str, codec: str) -> str:
    try:
        return bytes.fromhex(pair).decode(codec, "replace")
    except LookupError:
        return bytes.fromhex(pair).decode("cp1252", "replace")


# ---- escapes -------------------------------------------------------------------------------------

_ESCAPE = re.compile(
    r"\\(?P<hl7>\.br|\.sp\d*|\.ce|\.(?:in|ti|sk|fi|nf)[+-]?\d*|[FSTREHN]|X[0-9A-Fa-f]{2,8})\\|\\{1,2}(?P<end>r\\{1,2}n|n|r)|(?P<excel>_x000[dDaA]_)|\\(?P<tab>t)"
)
_HL7_CHARACTERS = {"F": "|", "S": "^", "T": "&", "R": "~", "E": "\\", "H": "", "N": ""}
_PATH = re.compile(
    r"(?:\b[A-Za-z]:\\|(?<!\S)\\\\)[^\s\\]+(?:\\[^\s\\]+)*\.[A-Za-z]{2,4}\b|\b[B-NQRT-Z]:\\[\w.$\\-]+|(?<!\S)\\\\[\w$-][\w.$-]*\\[\w.$\\-]+"
)
_REPETITION = re.compile(r"(?<=\S)~(?=[A-Za-z#*•-])")


def _escapes(text: str) -> Iterable[tuple[int, int, str]]:
    """HL7 v2 escape sequences (chapter 2, 2.7), and line ends and tabs that stand as a backslash and a letter.

    A lone backslash-n is a line end where the text has no fewer of them than true ones, and never inside a path.
    """
    paths = [match.span() for match in _PATH.finditer(text)]
    starts = [start for start, _ in paths]
    found = []
    for match in _ESCAPE.finditer(text):
        path = bisect_right(starts, match.start()) - 1
        if path < 0 or match.start() >= paths[path][1]:
            found.append(match)
    ends = sum(match["end"] is not None for match in found)
    lost = ends >= max(1, text.count("\n"))
    for match in found:
        if (escape := match["hl7"]) is not None:
            yield *match.span(), _hl7(escape)
        elif lost or match["excel"] or (match["end"] and len(match["end"]) > 1):
            yield *match.span(), "\t" if match["tab"] else "\n"


def _hl7(escape: str) -> str:
    if escape[0] == ".":
        return "\n" if escape[1:3] in ("br", "sp", "ce", "sk") else ""
    if escape[0] == "X":
        return (
            bytes.fromhex(escape[1 : len(escape) - (len(escape) - 1) % 2])
            .decode("latin-1")
            .replace("\r", "\n")
        )
    return _HL7_CHARACTERS[escape]


# ---- dictation -----------------------------------------------------------------------------------

_NEW_PARAGRAPH = re.compile(r"\b(?:next|new) (?:paragraph|line)\b[.,]?[ \t]*", re.IGNORECASE)
_SPOKEN_COLON = re.compile(r"\w colon\b", re.IGNORECASE)
_SPOKEN_MARK = re.compile(
    r"[ \t]{1,3}(?P<name>colon|period|comma|full stop|new line|next line)\b[ \t]*", re.IGNORECASE
)
_SPOKEN = {
    "colon": ": ",
    "period": ". ",
    "comma": ", ",
    "full stop": ". ",
    "new line": "\n",
    "next line": "\n",
}


def _dictation(text: str) -> Iterable[tuple[int, int, str]]:
    """Punctuation that was dictated and typed as words, in a text that says where its paragraphs begin."""
    breaks = list(_NEW_PARAGRAPH.finditer(text))
    if (
        all("line" in match[0].lower() for match in breaks)
        and len(breaks) < 2
        and not _SPOKEN_COLON.search(text)
    ):
        return  # "a new line was placed"
    marks = [(*match.span(), "\n\n") for match in breaks]
    if marks and ":" not in text:
        marks += [(*match.span(), _SPOKEN[match["name"].lower()]) for match in _SPOKEN_MARK.finditer(text)]
    at = 0
    for start, end, mark in sorted(marks):
        if end > at:
            yield max(start, at), end, mark
            at = end


# ---- lines ---------------------------------------------------------------------------------------


def _quotes(text: str) -> list[tuple[int, int, str]]:
    """The marks of quoted lines ("> Exam: pale"), where one of these lines begins what is no item of a plan."""
    found = list(_QUOTE.finditer(text))
    if not any(_begins_history(text[match.end() : match.end() + _LONGEST_QUOTED_HEADING]) for match in found):
        return []
    return [(*match.span(), "") for match in found]


def _begins_history(words: str) -> bool:
    line = words.split("\n", 1)[0]
    match = Lexicon.load().match(line.partition(":")[0].strip(" \t*#_"), loose=False)
    return match is not None and match.category in _OUTSIDE_PLANS


def _wraps_in_headings(text: str) -> list[tuple[int, int, str]]:
    """Line ends inside the name of a section: "Assessment &", then "Plan:"."""
    found = []
    for wrap in _SECOND_LINE.finditer(text):
        line = text[max(0, wrap.start() - _LONGEST_FIRST_LINE) : wrap.start()]
        above = line[line.rfind("\n") + 1 :].strip()
        first = above.strip("*#_ \t")
        if (
            not first[:1].isupper()
            or _NO_HEADING.search(first)
            or (len(line) == _LONGEST_FIRST_LINE and "\n" not in line)
        ):
            continue
        second = wrap["name"]
        whole = Lexicon.load().match(f"{first} {second}", loose=False)
        if whole is None or whole.category == UNKNOWN:
            continue
        if first.endswith(_JOINING) or wrap["joined"] or not (_is_heading(first) or _is_more(second)):
            end_of_line = wrap.start() - (len(line) - len(line.rstrip()))
            found.append((end_of_line, wrap.end(), " "))
    return found


def _is_more(name: str) -> bool:
    """Is it a heading by itself, and no end of a longer one, as "History" is?"""
    return name.lower() != "history" and _is_heading(name)


_QUOTE = re.compile(r"^[ \t]{0,3}(?:>[ \t]?)+(?=[A-Za-z#*•\d-]|$)", re.MULTILINE)
_LONGEST_QUOTED_HEADING = 60
_OUTSIDE_PLANS = frozenset(
    {"chief_complaint", "reason_for_visit", "history_of_present_illness", "interval_history", "subjective", "objective",
     "past_medical_history", "past_surgical_history", "family_history", "review_of_systems", "vital_signs",
     "physical_exam", "mental_status_exam"}
)  # fmt: skip
_SECOND_LINE = re.compile(
    r"\n(?<=[\w&/+*) \t]\n)[ \t]{0,20}(?=[&/A-Za])(?=(?P<joined>(?:&|and|AND|/)[ ]?)?"
    r"(?P<name>(?:(?:[A-Z][A-Za-z]{1,12} )?(?:Plan|PLAN|Recommendations|RECOMMENDATIONS"
    r"|Illness|ILLNESS|History|HISTORY|Systems|SYSTEMS|Complaint|COMPLAINT|Exam|EXAM|Examination|EXAMINATION"
    r"|Medications|MEDICATIONS|Instructions|INSTRUCTIONS|Diagnos[ie]s|DIAGNOS[IE]S)))[*_ \t]{0,4}(?::|$))",
    re.MULTILINE,
)
_LONGEST_FIRST_LINE = 50
_NO_HEADING = re.compile(r"[:.;,!?\d]")
_JOINING = ("&", "/", "+", " and", " AND", " And", " of", " OF", " Of")
_BOLD_INITIAL = re.compile(r"([*_])\1([A-Za-z])\1\1(?=[a-z])")
_BRACKETED_INITIAL = re.compile(r"\((?:S\)(?=ubjective)|O\)(?=bjective)|A\)(?=ssessment)|P\)(?=lan))")

# ---- characters ----------------------------------------------------------------------------------

# Blanks of any width, line ends that are none in ASCII, characters without width, private use, arrows and pictures
# (bullets of text and check boxes are none of them).
ODD_CHARACTER = re.compile(
    "[\u2500-\u257f\u2215\u2236\u3010\u3011\x85\xa0\xad\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u20e3\u2190-\u2191\u2193-\u21d1\u21d3-\u21ff\u2300-\u23ff"
    "\u2600-\u260f\u2613-\u2712\u2714\u2716\u2719-\u27a1\u27a3-\u27bf\u2900-\u297f\u2b00-\u2bff\u3000\ue000-\uf8ff"
    "\ufe00-\ufe0f\ufeff\uff1a\U0001f000-\U0001faff\U000f0000-\U0010ffff]"
)


def plain_lines(text: str) -> str:
    """The text with every kind of line end as a line feed, at the same length."""
    if "\r" in text:
        text = text.replace("\r\n", " \n").replace("\r", "\n")
    if "\x0b" in text or "\x0c" in text:
        text = text.replace("\x0b", "\n").replace("\x0c", "\n")
    return text


def plain_character(match: re.Match[str]) -> str:
    """One plain character in the place of an odd one."""
    character = match[0]
    if character in "\x85\u2028\u2029":
        return "\n"
    if "\u2500" <= character <= "\u257f":  # drawn in characters
        return "|" if character in "│┃║" else "="
    return _PLAIN.get(character, " ")


_PLAIN = {"：": ":", "\u2236": ":", "\u2215": "/", "【": "[", "】": "]"}
