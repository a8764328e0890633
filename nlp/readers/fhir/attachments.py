"""The text of attachments: which of several is read, base64, charsets, attachments in Binary resources."""

from __future__ import annotations

import base64
import codecs
import hashlib
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from rubricator.nlp.hidden_text import hides_text
from rubricator.nlp.readers.encodings import is_encoding
from rubricator.nlp.readers.fhir.resources import Resource

READABLE = (  # content types of attachments, in order of preference
    "text/plain",
    "text/html",
    "application/xhtml+xml",
    "text/rtf",
    "application/rtf",
    "application/x-rtf",
    "application/hl7-cda+xml",
    "application/cda+xml",
    "text/cda+xml",
    "application/xml",
    "text/xml",
)
UNKNOWN = ("", "text", "application/octet-stream")  # types that say nothing: what is text is read
FILES = {  # how files that are not text begin
    b"%PDF": "a PDF",
    b"PK\x03\x04": "a zip or Office file",
    b"\xd0\xcf\x11\xe0": "an Office file",
    b"\x89PNG": "an image",
    b"\xff\xd8\xff": "an image",
    b"GIF8": "an image",
    b"II*\0": "an image",
    b"MM\0*": "an image",
}
LONGEST_UNZIPPED = LONGEST_FILE = 1 << 26  # bytes
URL_SAFE = str.maketrans("-_", "+/")

_MEDIA_TYPE = re.compile(r"(?:application|audio|image|message|model|multipart|text|video)/[a-z0-9.+-]{1,80}")
_BASE64_WORD = re.compile(r"[A-Za-z0-9+/\s]+={0,2}\s*")
_BINARY = re.compile(r"(?:^|/)(Binary/[^/?#\s]+?)(?:/_history/[^/?#]+)?/?(?:[?#].*)?$")


@hides_text()
@dataclass(frozen=True)
class Attached:
    """The text of an attachment. twice: it was encoded twice. others: further attachments of its type."""

    text: str
    creation: Any
    twice: bool = False
    others: bool = False


class Unreadable(Exception):  # noqa: N818
    """An attachment without readable text; the message says why, and never quotes it."""


class Damaged(Unreadable):
    """An attachment of a readable type whose text is damaged; the message says how to mend it."""


def read_attachment(attachments: list[Resource], binary: Callable[[str], Resource | None]) -> Attached | str:
    """The text of the attachment whose type comes first in READABLE; where it has none, of the next one.

    binary: the Binary resource of a URL in an attachment, or None. Where none can be read, gives the reason.
    """
    full = [_filled(attachment, binary) for attachment in attachments]
    kinds = [_content_type(attachment) for attachment in full]
    order = sorted(range(len(full)), key=lambda place: (_preference(kinds[place]), place))
    unread: dict[str, None] = {}
    damaged: list[str] = []
    empty = False
    for place in order:
        attachment, kind = full[place], kinds[place]
        try:
            text, twice = _text(attachment, kind)
        except Damaged as error:
            damaged.append(str(error))
        except Unreadable as error:
            unread[str(error)] = None
        else:
            if has_words(text) or (text and kind == "text/plain"):
                return Attached(text, attachment.get("creation"), twice, _has_others(full, kinds, place))
            empty = True
    if damaged:
        return f"its attachment {damaged[0]}"
    if empty:
        return "the text is empty"
    what = ", ".join(unread) or "there is none"
    return f"no attachment can be read ({what}): put plain text, HTML, RTF or C-CDA into attachment.data"


def has_words(markup: str) -> bool:
    return bool(re.sub(r"<[^<>]*>", "", markup).strip())


def is_readable(attachment: Resource) -> bool:
    """Whether the type of an attachment or a Binary is read; where it has none, that is seen from its data."""
    return _content_type(attachment) in (*READABLE, *UNKNOWN)


def digest(attachment: Resource) -> bytes | None:
    """A key of the content of an attachment, which is the same for two resources that attach one text."""
    what = attachment.get("data") or attachment.get("url")
    if not isinstance(what, str):
        return None
    return hashlib.blake2b("".join(what.split()).encode("utf-8", "replace"), digest_size=12).digest()


def binary_name(url: str) -> str | None:
    """ "Binary/1" of a URL of a Binary, relative, absolute or with a version."""
    found = _BINARY.search(url)
    return found[1] if found else None


def attached_file(folder: Path, url: str) -> Resource | None:
    """The content of a file beside the export, as of clients that download attachments; None outside of the folder."""
    if re.match(r"[a-z][a-z0-9+.-]*:|#", url, re.IGNORECASE) or "\0" in url:
        return None
    file = (folder / unquote(url)).resolve()
    if not file.is_relative_to(folder.resolve()) or not file.is_file() or file.stat().st_size > LONGEST_FILE:
        return None
    return {"data": base64.b64encode(file.read_bytes()).decode()}


def _filled(attachment: Resource, binary: Callable[[str], Resource | None]) -> Resource:
    """The attachment with the data of the Binary that its URL names."""
    url = attachment.get("url")
    if attachment.get("data") or not isinstance(url, str):
        return attachment
    found = binary(url)
    if found is None:
        return attachment
    kind = attachment.get("contentType") or found.get("contentType")
    data = found.get("data") or found.get("content")  # content: in STU3
    return {**attachment, "data": data, "contentType": kind}


def _content_type(attachment: Resource) -> str:
    kind = attachment.get("contentType") or ""
    return kind.partition(";")[0].strip().lower() if isinstance(kind, str) else ""


def _preference(kind: str) -> int:
    return READABLE.index(kind) if kind in READABLE else len(READABLE)


def _has_others(attachments: list[Resource], kinds: list[str], read: int) -> bool:
    """Whether other attachments of the type of the one read have other data."""
    same = {digest(each) for each, kind in zip(attachments, kinds, strict=True) if kind == kinds[read]}
    return len(same - {None}) > 1


def _text(attachment: Resource, kind: str) -> tuple[str, bool]:
    """The text, and whether it was encoded twice. Raises Unreadable."""
    named = kind if _MEDIA_TYPE.fullmatch(kind) else "of no known type"  # it could hold note text
    if not is_readable(attachment):
        raise Unreadable(named)
    if not attachment.get("data"):
        url = attachment.get("url")
        raise Unreadable(f"{named} by url only: {_url_kind(url)}" if url else f"{named} without data")
    raw = _unzipped(_from_base64(attachment))
    if file := next((what for start, what in FILES.items() if raw.startswith(start)), None):
        raise Unreadable(f"{named} around {file}")
    text = _decoded(raw, str(attachment.get("contentType")))
    if kind in UNKNOWN and not _is_text(text):
        raise Unreadable(named)
    inner = _second_layer(text)
    if _is_embedded_file(text if inner is None else inner):
        raise Unreadable(f"{named} around a file")
    return (text, False) if inner is None else (inner, True)


def _url_kind(url: Any) -> str:
    """What a URL points at, without the URL, which may name a patient."""
    if not isinstance(url, str):
        return "it is not a string"
    if url.startswith("#"):
        return "a contained resource that is not there"
    if binary_name(url):
        return "a Binary that is not in this export"
    if re.match(r"https?:", url):
        return "a web address that is no Binary"
    return (
        "a file that is not in this export"
        if not re.match(r"[a-z][a-z0-9+.-]*:", url)
        else "neither a Binary nor a web address"
    )


def _from_base64(attachment: Resource) -> bytes:
    """The bytes in `data`. White space and the URL-safe alphabet are read; of R4, base64Binary may be wrapped.

    Where the padding is missing, the end may be missing too: the bytes are taken only if `size` or `hash` confirms
    them.
    """
    data = attachment["data"]
    if not isinstance(data, str):
        raise Damaged("is not a string of base64")
    packed = re.sub(r"^data:[^,]{0,100};base64,", "", "".join(data.split())).translate(URL_SAFE)
    missing = -len(packed) % 4
    try:
        raw = base64.b64decode(packed + "=" * missing, validate=True)
    except ValueError:
        raise Damaged("is not valid base64: is it complete, and encoded at all?") from None
    if missing and attachment.get("size") != len(raw) and not _is_hash(attachment.get("hash"), raw):
        raise Damaged(
            "has base64 without its padding, which may be cut off: give its size, or export it again"
        )
    return raw


def _is_hash(given: Any, raw: bytes) -> bool:
    sha1 = hashlib.sha1(raw, usedforsecurity=False).digest()
    return bool(given == base64.b64encode(sha1).decode())


def _unzipped(raw: bytes) -> bytes:
    if not raw.startswith(b"\x1f\x8b"):
        return raw
    unzip = zlib.decompressobj(31)
    try:
        content = unzip.decompress(raw, LONGEST_UNZIPPED)
    except zlib.error:
        raise Damaged("is damaged gzip") from None
    if not unzip.eof:
        raise Damaged(f"is gzip that is not complete, or of more than {LONGEST_UNZIPPED >> 20} MB")
    return content


def _decoded(raw: bytes, content_type: str) -> str:
    """The text, by the charset of the content type, a byte order mark, UTF-8, or the charset that the text names."""
    if charset := re.search(r"charset\s*=\s*[\"']?([\w.:-]{1,40})", content_type, re.IGNORECASE):
        text = _in_charset(raw, charset[1])
        if text is None:
            text = _in_charset(raw, "utf-8")  # such as UTF-8 that is called US-ASCII
        if text is None:
            raise Damaged("is not in the charset that its contentType names: name the right one")
    elif raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = _in_charset(raw, "utf-16")
    elif b"\0" in raw[:2048]:
        raise Damaged(
            "is not text: it has NUL bytes; if it is UTF-16, say so in contentType (text/plain; charset=utf-16le)"
        )
    else:
        text = _in_charset(raw, "utf-8")
        if text is None:
            text = _in_charset(raw, _own_charset(raw[:2048]))
    if text is None:
        raise Damaged(
            "is not UTF-8: name its encoding in contentType, such as text/plain; charset=windows-1252"
        )
    return text.removeprefix("\ufeff")


def _in_charset(raw: bytes, charset: str) -> str | None:
    """None where the bytes are not in this charset. Raises Damaged where there is no such charset."""
    if not is_encoding(charset):
        raise Damaged("names a charset that does not exist: name the right one in contentType")
    try:
        return raw.decode(charset)
    except ValueError:
        return None


def _own_charset(head: bytes) -> str:
    """The charset that an RTF, XML or HTML document names at its start; else cp1252 for RTF, UTF-8 for others."""
    if head.lstrip().startswith(b"{\\rtf"):
        page = re.search(rb"\\ansicpg(\d{1,5})", head)
        return f"cp{page[1].decode()}" if page else "cp1252"
    named = re.search(rb"(?:encoding|charset)\s*=\s*[\"']?([\w.:-]{1,40})", head, re.IGNORECASE)
    return named[1].decode("ascii", "replace") if named else "utf-8"


def _second_layer(text: str) -> str | None:
    """The text within a text that is base64 again; None where it is not. Raises Damaged where that is no text.

    It is taken only where it is certainly text: of 12 characters or more, all printable, with a blank.
    """
    if len(text) < 16 or not _BASE64_WORD.fullmatch(text):
        return None
    packed = "".join(text.split())
    words = text.split()
    if len(packed) % 4 or any(len(word) != len(words[0]) for word in words[:-1]):  # prose, not wrapped base64
        return None
    raw = base64.b64decode(packed)
    try:
        inner = raw.decode().removeprefix("\ufeff")
    except ValueError:
        inner = ""
    if len(inner) >= 12 and _is_text(inner) and re.search(r"\s", inner.strip()):
        return inner
    if (
        len(packed) >= 60
        and re.search(r"\d", packed)
        and re.search(r"[a-z]", packed)
        and re.search(r"[A-Z]", packed)
    ):
        raise Damaged("is base64 that was encoded twice, and not around text in UTF-8")
    return None


def _is_text(text: str) -> bool:
    return all(character.isprintable() or character in "\t\r\n\f\v\xa0\xad" for character in text)


def _is_embedded_file(text: str) -> bool:
    """Whether the text is a C-CDA whose body is a file in base64, mostly a PDF, instead of XML."""
    body = text.find("nonXMLBody")
    return body >= 0 and 'representation="B64"' in text[body : body + 500]
