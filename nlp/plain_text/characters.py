"""Unusual characters and the plain ones that replace them: blanks, line ends, colons, lines drawn in text, pictures."""

import re

# Blanks of any width, line ends beyond ASCII, characters without width, private use, lines drawn in text, arrows and
# pictures. Bullets and check boxes are left out.
ODD_CHARACTER = re.compile(
    "[\u2500-\u257f\u2215\u2236\u3010\u3011\x85\xa0\xad\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u20e3"
    "\u2190-\u2191\u2193-\u21d1\u21d3-\u21ff\u2300-\u23ff"
    "\u2600-\u260f\u2613-\u2712\u2714\u2716\u2719-\u27a1\u27a3-\u27bf\u2900-\u297f\u2b00-\u2bff\u3000\ue000-\uf8ff"
    "\ufe00-\ufe0f\ufeff\uff1a\U0001f000-\U0001faff\U000f0000-\U0010ffff]"
)


def plain_lines(text: str) -> str:
    """The text with a line feed for every kind of line end. Its length does not change."""
    if "\r" in text:
        text = text.replace("\r\n", " \n").replace("\r", "\n")
    if "\x0b" in text or "\x0c" in text:
        text = text.replace("\x0b", "\n").replace("\x0c", "\n")
    return text


def plain_character(match: re.Match[str]) -> str:
    """The plain character that replaces a match of ODD_CHARACTER."""
    character = match[0]
    if character in "\x85\u2028\u2029":
        return "\n"
    if "\u2500" <= character <= "\u257f":  # box drawing
        return "|" if character in "│┃║" else "="
    return _PLAIN.get(character, " ")


_PLAIN = {"：": ":", "\u2236": ":", "\u2215": "/", "【": "[", "】": "]"}
