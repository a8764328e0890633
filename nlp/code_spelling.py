"""How sites write a code: what stands around it, and which characters stand for its own. No code table is needed."""

from __future__ import annotations

import functools
import re
import unicodedata
from typing import NamedTuple

from rubricator.nlp.hidden_text import hides_text

ICD_9 = ("ICD-9-CM", "ICD-9-CM procedures")
ICD_10 = ("ICD-10-CM", "ICD-10-PCS")


@hides_text()
class BareCode(NamedTuple):
    """A code without what stands around it. systems: the code systems that its prefix allows, None without a prefix."""

    code: str
    systems: tuple[str, ...] | None


# How the version of a code is written before or after it: "ICD-10-CM: I10", "icd9:401.9", "I10 (ICD-10)".
_VERSION = r"ICD[-_\s]?(?P<{0}>9|10)(?:[-_\s]?(?:CM|PCS|GM|WHO|AM|CA|PROC|DX))?"
_PREFIX = re.compile(
    r"(?<![\w.])(?:" + _VERSION.format("named") + r"\s*(?:[:=|#/-]\s*|\s+)"
    r"|(?:https?://|urn:)[^\s|;,]*?(?:icd-?(?P<url>9|10)[^\s|;,]*)?\|)(?=[\"'\w])",
    re.IGNORECASE,
)
_SUFFIX = re.compile(r"\s*[\[(]\s*" + _VERSION.format("after") + r"\s*[\])]", re.IGNORECASE)
_MARK = {
    "9": "\ue009",
    "10": "\ue00a",
}  # of the private use area: stands for a prefix, so that it has no blanks
_SYSTEMS = {"\ue009": ICD_9, "\ue00a": ICD_10}

_LOOK_ALIKES = str.maketrans(
    dict.fromkeys("\u00b7\u2022\u2027\u2219\u22c5\u2024\u3002\uff61\u066b", ".")
    | dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63", "-")
    | dict.fromkeys("\u2018\u2019\u201a\u201b\u00b4\u02bc`", "'")
    | dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb", '"')
    | dict.fromkeys("\u200b\u200c\u200d\u200e\u200f\u2060\u00ad\ufeff\u180e")
    | {"\u061b": ";", "\u060c": ","}
)
_LATIN = str.maketrans("АВСЕНІЈКМОРЅТХΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "ABCEHIJKMOPSTXABEZHIKMNOPTYX")
_CODE_IN_OTHER_LETTERS = re.compile(r"[^\W\d_]\d[\dA-Za-z](?:\.?\w{1,4})?")

# What may stand around one code: quotes, Excel's text mark, brackets, dagger and asterisk, a dot, and an indicator of
# presence on admission (Y, N, U, W, 1; https://www.cms.gov/medicare/coding-billing/hospital-acquired-conditions/coding).
_BEFORE = "'\"=[({<†‡*+#- "
_AFTER = "'\"])}>.,;:†‡*+#!?- "
_PRESENT_ON_ADMISSION = re.compile(
    r"(?<=[0-9A-Za-z])[*+]?(?:[-:^~_/ ](?:POA[-:= ]?)?[YNUW1]|[-:^~_/ ]POA|[\[(](?:POA[-:= ]?)?[YNUWE1]?[\])])$",
    re.IGNORECASE,
)
_BLANKS = re.compile(r"[^\S\n]{2,}")  # so that patterns stay linear in long cells
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
_DIGIT = re.compile(r"(?![0-9])\d")  # of other scripts
_CORE = re.compile(r"[A-Z]?\d[0-9A-Z.]*|[0-9A-Z]{7}", re.IGNORECASE)


def plain_cell(text: str) -> str:
    """The text of a cell with usual characters for their look-alikes. Each prefix becomes a mark of `bare_code`."""
    text = _BLANKS.sub(" ", _CONTROLS.sub("", text))
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text.translate(_LOOK_ALIKES)).translate(_LOOK_ALIKES)
        text = _DIGIT.sub(lambda found: str(unicodedata.decimal(found[0])), text)
    if "icd" not in text.lower() and "|" not in text:
        return text.strip()
    text = _SUFFIX.sub("", text)
    return _PREFIX.sub(lambda found: _MARK.get(found["named"] or found["url"] or "", ""), text).strip()


@functools.lru_cache(1 << 16)
def bare_code(written: str) -> BareCode:
    """One code without quotes, brackets, prefix, dagger and asterisk, trailing dot, present-on-admission indicator."""
    text = plain_cell(written).strip(_BEFORE)
    systems = _SYSTEMS.get(text[:1])
    text = text.lstrip("\ue009\ue00a").strip(_BEFORE)
    marked = _PRESENT_ON_ADMISSION.sub("", text)
    if _CORE.fullmatch(marked.rstrip(_AFTER)):
        text = marked
    bare = text.rstrip(_AFTER)
    if not bare.isascii() and _CODE_IN_OTHER_LETTERS.fullmatch(bare):
        bare = bare.translate(_LATIN)
    return BareCode(bare, systems) if _CORE.fullmatch(bare) else BareCode(_unquoted(written), systems)


def _unquoted(written: str) -> str:
    """A label that is no code, as it is written, but without the quotes around it."""
    text = written.strip()
    while len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1].strip()
    return text
