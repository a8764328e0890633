"""Character encodings of files: reading other ones than UTF-8, and guessing for error messages."""

from __future__ import annotations

import codecs
import io
import re

MARKS = (  # longer ones first: the mark of UTF-32 begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_NO_CHARSETS = {"idna", "punycode", "undefined", "unicode_escape", "raw_unicode_escape"}
SINGLE_BYTE = ("cp1252", "mac_roman", "cp850", "cp1250", "cp1251")  # guessed, in order of preference
GUESSED_FROM = 1 << 20  # bytes
_INVALID = "\udcff"  # in place of what cannot be decoded: encoded as one byte that UTF-8 never has

codecs.register_error("rubricator.invalid", lambda error: (_INVALID, getattr(error, "end", 0)))


class Transcoded(io.RawIOBase):
    """A stream of bytes in an encoding, as UTF-8. What cannot be decoded becomes the byte FF, which is not UTF-8."""

    def __init__(self, stream: io.BufferedReader, encoding: str) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(encoding)("rubricator.invalid")
        self._ready = b""
        self._at_start = True

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        while not self._ready:
            chunk = self._stream.read(1 << 16)
            text = self._decoder.decode(chunk, not chunk)
            if self._at_start and text:
                text, self._at_start = text.removeprefix("\ufeff"), False
            self._ready = text.encode("utf-8", "surrogateescape")
            if not chunk:
                break
        count = min(len(view), len(self._ready))
        view[:count], self._ready = self._ready[:count], self._ready[count:]
        return count


def is_encoding(name: str) -> bool:
    """Whether Python can decode text in it."""
    try:
        found = codecs.lookup(name)
        return found._is_text_encoding and found.name.replace("-", "_") not in _NO_CHARSETS
    except (LookupError, ValueError):
        return False


def wide_encoding(start: bytes) -> str | None:
    """UTF-32 or UTF-16, by the byte order mark at the start, or UTF-16 by its zero bytes; None for other encodings."""
    if mark := next((name for mark, name in MARKS if start.startswith(mark)), None):
        return mark
    even, odd = start[::2].count(0), start[1::2].count(0)
    if even + odd <= len(start) // 5 or min(even, odd) * 4 > max(even, odd):
        return None
    return "utf-16-le" if odd > even else "utf-16-be"


def guessed_encoding(data: bytes) -> str | None:
    """The encoding of bytes that are not valid UTF-8, as a name of Python; None where no guess is sound.

    A guess is for a message to a person, who can look at the text. A single-byte encoding is the one that gives the
    most letters within words and usual signs.
    """
    data = data[:GUESSED_FROM]
    if wide := wide_encoding(data):
        return wide
    places = [match.start() for match in re.finditer(rb"[\x80-\xff]", data)][:2000]
    if not places or len(places) * 2 > len(data) or 0 in data:
        return None
    names = SINGLE_BYTE if len(places) > 2 else SINGLE_BYTE[:1]
    scores = {name: _score(data, places, name) / len(places) for name in names}
    best = max(scores, key=lambda name: scores[name])
    return best if scores[best] >= 0.6 else None


def _score(data: bytes, places: list[int], encoding: str) -> float:
    """How well the bytes above 127 read as words: +1 for each usual sign in its place, -1 for each that is not."""
    score = 0.0
    for place in places:
        before, sign, after = (
            data[at : at + 1].decode(encoding, "replace") if at >= 0 else ""
            for at in (place - 1, place, place + 1)
        )
        in_word = before.isalpha() or after.isalpha()
        if sign.islower() and in_word and not (before.islower() and after.isupper()):
            score += 1 if sign in "äöüßéèêëàâçîïôûùñáíóúìòåøæœ" else 0.5
        elif sign.isupper() and not before.islower():
            score += 0.5
        elif sign in "–—‘’“”…•°±µ²³½¼«»·§€£®©×¿¡\xa0":
            score += 0.7
        else:
            score -= 1
    return score
