"""The text in which sentences are looked for: odd characters are plain ones, and pictures are bullets."""

from __future__ import annotations

import re

from rubricator.nlp.plain_text.characters import ODD_CHARACTER, plain_character, plain_lines


def with_bullets(text: str) -> str:
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
# the picture that a line begins with marks a further item where it stands again
_PICTURE_LINE = re.compile(rf"(?m)^({_PICTURE.pattern})(.*)$")
