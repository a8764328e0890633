"""The view of a text for splitting sentences: plain characters replace unusual ones, bullets replace pictures."""

from __future__ import annotations

import re

from rubricator.nlp.plain_text.characters import ODD_CHARACTER, plain_character, plain_lines


def with_bullets(text: str) -> str:
    """The text with plain characters for unusual blanks and line ends, and bullets for pictures that begin a line.

    Its length does not change.
    """
    text = plain_lines(text)
    beyond_ascii = "" if text.isascii() else _beyond_ascii(text)
    if "\u20e3" in beyond_ascii:
        text = _KEYCAP.sub(lambda keycap: (keycap[1] + ".").ljust(len(keycap[0])), text)
    if _PICTURE.search(beyond_ascii):
        text = _PICTURE_LINE.sub(lambda line: line[1] + line[2].replace(line[1], "•"), text)
        text = _PICTURES.sub(lambda pictures: pictures[1] + "•".ljust(len(pictures[2])), text)
    return ODD_CHARACTER.sub(plain_character, text) if ODD_CHARACTER.search(beyond_ascii) else text


def _beyond_ascii(text: str) -> str:
    """The characters of the text that are not ASCII, in order."""
    return text.encode(errors="surrogatepass").translate(None, _ASCII).decode(errors="surrogatepass")


_ASCII = bytes(range(128))
_KEYCAP = re.compile("([0-9])\ufe0f?\u20e3")
_PICTURE = re.compile(  # arrows, dingbats, private use and emoji
    "[\u2190-\u2191\u2193-\u21d1\u21d3-\u21ff\u2300-\u23ff\u2600-\u260f\u2613-\u27a1\u27a3-\u27bf"
    "\u2900-\u297f\u2b00-\u2bff\ue000-\uf8ff\U0001f000-\U0001faff\U000f0000-\U0010ffff]"
)
_PICTURES = re.compile(rf"(?m)(^[ \t]*)((?:{_PICTURE.pattern}[\ufe0f\u200d ]*)+)")  # that begin a line
# a picture that begins a line marks another item where it is repeated in the line
_PICTURE_LINE = re.compile(rf"(?m)^({_PICTURE.pattern})(.*)$")
