"""Rich Text Format 1.9: control words become characters, line ends and bold type. Font tables etc. are removed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from rubricator.nlp.plain_text.edits import Edit, Edits
from rubricator.nlp.words.tokens import word_set


def rtf_edits(text: str) -> Sequence[Edit]:
    """The edits that turn RTF into plain text."""
    reader = _RtfReader(text)
    reader.read()
    return reader.edits.edits


class _Format(NamedTuple):
    """The format of the text of a group, until the group ends."""

    hidden: bool = False
    bold: bool = False
    fallbacks: int = 1  # how many fallback characters follow each \u, for readers that do not know it


class _RtfReader:
    def __init__(self, text: str) -> None:
        self.edits = Edits(text)
        self._format = _Format()
        self._outside: list[_Format] = []  # the formats around the group that is open
        # a group lost its end: it may be one that is hidden, which then ends where a paragraph begins
        self._torn = text.count("{") - text.count("\\{") > text.count("}") - text.count("\\}")
        self._codec = "cp1252"
        self._to_skip = 0  # fallback characters of the last \u that are still to come

    def read(self) -> None:
        text, at = self.edits.text, 0
        for token in _TOKEN.finditer(text):
            if token.start() > at:
                self._read_words(at, token.start())
            self._read_token(token)
            at = token.end()
        if self._format.hidden and at < len(text) and not self._torn:
            self.edits.replace(at, len(text), "")

    def _read_words(self, start: int, end: int) -> None:
        if self._format.hidden:
            self.edits.replace(start, end, "")
        elif self._to_skip:
            self.edits.replace(start, start + min(self._to_skip, end - start), "")
        self._to_skip = 0

    def _read_token(self, token: re.Match[str]) -> None:
        word, was_bold = token["word"], self._format.bold
        replacement = ""
        if token["open"]:
            self._outside.append(self._format)
        elif token["close"]:
            self._format = self._outside.pop() if self._outside else _Format()
        elif word == "ansicpg" and token["number"]:
            self._codec = f"cp{token['number']}"
        elif word in _DESTINATIONS or token["symbol"] == "*":
            self._format = self._format._replace(hidden=True)
        elif self._format.hidden:
            if self._torn and word in _PARAGRAPHS:
                self._format = self._format._replace(hidden=False)
                replacement = "\n"
        elif word in ("b", "plain"):
            self._format = self._format._replace(bold=word == "b" and token["number"] != "0")
            if word == "b":
                self.edits.bold(*token.span(), on=self._format.bold)
                return
        else:
            replacement = self._characters(token)
        if self._format.bold != was_bold:
            self.edits.bold(*token.span(), on=self._format.bold)
        else:
            self.edits.replace(*token.span(), replacement)

    def _characters(self, token: re.Match[str]) -> str:
        """The characters that a token stands for. \\uc and \\u also set how many fallback characters to skip."""
        word, number, symbol = token["word"], token["number"], token["symbol"]
        if word in _LINE_ENDS:
            return "\n"
        if word in _CHARACTERS:
            return _CHARACTERS[word]
        if word == "uc" and number:
            self._format = self._format._replace(fallbacks=max(0, int(number)))
        elif word == "u" and number:
            self._to_skip = self._format.fallbacks
            code = int(number) % 0x10000
            return chr(code) if not 0xD800 <= code < 0xE000 else "�"
        elif token["hex"]:
            if not self._to_skip:
                return _decoded(token["hex"], self._codec)
            self._to_skip -= 1
        elif symbol is not None:
            return _SYMBOLS.get(symbol, symbol)
        return ""


def _decoded(pair: str, codec: str) -> str:
    try:
        return bytes.fromhex(pair).decode(codec, "replace")
    except LookupError:
        return bytes.fromhex(pair).decode("cp1252", "replace")


_TOKEN = re.compile(
    r"\\(?:(?P<word>[a-zA-Z]{1,32})(?P<number>-?\d{1,10})?[ ]?|'(?P<hex>[0-9a-fA-F]{2})|(?P<symbol>[^a-zA-Z]))"
    r"|(?P<open>\{)|(?P<close>\})|(?P<newline>[\r\n]+)"
)
_DESTINATIONS = word_set(  # groups that hold no text of the note
    "fonttbl colortbl stylesheet info pict object header headerl headerr headerf footer footerl footerr footerf "
    "listtable listoverridetable revtbl rsidtbl generator xmlnstbl themedata colorschememapping datastore "
    "latentstyles pgptbl fldinst bkmkstart bkmkend filetbl listtext pntext pn"
)
_PARAGRAPHS = word_set("par pard sectd")
_CHARACTERS = {
    "tab": "\t", "emdash": "—", "endash": "–", "bullet": "•", "lquote": "‘", "rquote": "’", "ldblquote": "“",
    "rdblquote": "”", "emspace": " ", "enspace": " ", "cell": "\t",
}  # fmt: skip
_SYMBOLS = {"~": " ", "_": "-", "-": "", "\n": "\n", "\r": "\n"}
_LINE_ENDS = word_set("par line sect page row softline")
