"""The codes of a note, as sites write them in a cell: lists, codes with their names, numbers, words for missing values.

- A list is separated by ; | , / white space or line ends, or is written as in JSON, Python, numpy or SQL.
- Words beside a code (`E11.9 - Type 2 diabetes`, `Hypertension (I10)`) are its description. They are never labels.
- Labels of the site's own, which have no form of ICD, are single words in a clean list (`Fever;PLAN_A`). Labels of
  several words need a list with quotes (`["chest pain", "fever"]`).
- A cell that is neither cannot be understood; so text of notes is not taken for codes.
"""

from __future__ import annotations

import ast
import functools
import json
import re
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

from rubricator.nlp.code_spelling import bare_code, plain_cell
from rubricator.nlp.hidden_text import hides_text
from rubricator.nlp.icd import code_system, is_billable, is_valid, normal_codes
from rubricator.nlp.null_words import is_missing
from rubricator.nlp.readers.files import is_unicode

LONGEST_CELL = 20_000  # characters
LONGEST_LABEL = 100
LONGEST_ITEM = 300  # a code with its description

NOT_UNDERSTOOD = "the codes cannot be told from other text: write codes alone, separated by ; (E11.9;I10)"
NOT_STRINGS = "the codes are not a list of strings"
CHANGED_NUMBER = (
    "a code was made a number and has lost digits (4019.0, 5.00E+10): keep codes as text, in Excel or by dtype=str in "
    "pandas"
)


@hides_text()
class SystemCode(NamedTuple):
    """A code whose code system the source knows. systems: keys of `icd.RELEASE` that it can be of."""

    text: str
    systems: tuple[str, ...]


@hides_text()
class Codes(NamedTuple):
    """The codes of a note in their normal spelling, without repetitions, and as they are written.

    words_left_out: whether a word in a list of codes was taken for a description, and is no label.
    """

    normal: list[str]
    written: list[str]
    words_left_out: bool = False


class CellError(ValueError):
    """A cell cannot be used. Its message is the reason, without the content."""


class NumbersError(CellError):
    """The codes of a cell are numbers, not text."""


def read_codes(value: object) -> Codes | None:
    """The codes in a cell, in order; None where they are missing. Raises CellError and NumbersError."""
    found = _items(value)
    if found is None or (found and all(item is None for item in found)):
        return None
    codes = [item for item in found if item is not None and item is not _DESCRIPTION]
    normal = normal_codes([code.text for code in codes], [code.systems or None for code in codes])
    first: dict[str, str] = {}
    for spelt, code in zip(normal, codes, strict=True):
        first.setdefault(spelt, code.text)
    return Codes(list(first), list(first.values()), _DESCRIPTION in found)


Item = SystemCode | None  # None: a word for a missing value
_DESCRIPTION = SystemCode("", ())  # stands for a word that is the description of a code


def _items(value: object) -> list[Item] | None:
    """The codes as they are written; None for a missing value."""
    if value is None or value == "" or is_missing(value):
        return None
    if isinstance(value, bool | int | float):
        raise NumbersError(NOT_STRINGS)
    if isinstance(value, str):
        return _of_string(value)
    if isinstance(value, dict):
        return [_of_object(value)]
    if isinstance(value, list | tuple | set | frozenset):
        return [item for each in value for item in _of_element(each)]
    raise CellError(NOT_STRINGS)


def _of_element(value: object) -> list[Item]:
    """The codes in an element of a list."""
    if isinstance(value, SystemCode):
        return [SystemCode(bare_code(value.text).code, value.systems)]
    if isinstance(value, dict):
        return [_of_object(value)]
    if isinstance(value, bool | int | float):
        raise NumbersError(NOT_STRINGS)
    if value is None or is_missing(value):
        return [None]
    if not isinstance(value, str) or not is_unicode(value):
        raise CellError(NOT_STRINGS)
    text = plain_cell(value)
    if not text:
        return []
    found = _flat(text)
    if found is not None:
        return found
    if len(text) > LONGEST_LABEL or "\n" in text:
        raise CellError(NOT_UNDERSTOOD)
    return [_written(text)]  # a label of several words


_CODE_KEYS = ("code", "icd_code", "icdcode", "icd", "icd10", "icd9", "icd10_code", "icd9_code", "icd10cm",
              "diagnosis_code", "dx_code", "dx", "value")  # fmt: skip
_VERSION_KEYS = ("icd_version", "version", "system", "code_system", "vocabulary", "vocabulary_id")


def _of_object(value: dict[Any, Any]) -> Item:
    """The code of an object such as {"code": "E11.9", "description": …}, or of a CodeableConcept of FHIR."""
    keys = {str(key).lower(): each for key, each in value.items()}
    codings = keys.get("coding")
    if isinstance(codings, list) and codings and isinstance(codings[0], dict):
        return _of_object(codings[0])
    code = next((keys[key] for key in _CODE_KEYS if keys.get(key) is not None), None)
    if isinstance(code, int | float):
        raise NumbersError(NOT_STRINGS)
    if not isinstance(code, str) or not is_unicode(code):
        raise CellError(NOT_STRINGS)
    if is_missing(code):
        return None
    text = plain_cell(code)
    if not _is_label(text):
        raise CellError(NOT_STRINGS)
    version = next((str(keys[key]) for key in _VERSION_KEYS if keys.get(key) is not None), "")
    named = re.search(r"(?:ICD[-_ ]?|^)(9|10)(?!\d)", version, re.IGNORECASE)
    return _written(plain_cell(f"ICD-{named[1]}:{code}") if named else text)


_WRAPPER = re.compile(
    r"(?:set|frozenset|tuple|list|(?:np\.)?array|Index)\((?P<inner>.*?)(?:,\s*dtype=[^()]*)?\)", re.DOTALL
)
_BRACKETS = {"[": "]", "{": "}", "(": ")"}
_QUOTED = re.compile(r"\"([^\"]*)\"|(?<![^\s\[({,;|:])'([^']*)'")


def _of_string(value: str) -> list[Item] | None:
    if len(value) > LONGEST_CELL:
        raise CellError(f"the cell of codes has more than {LONGEST_CELL:,} characters")
    if not is_unicode(value):
        raise CellError(NOT_STRINGS)
    text = plain_cell(value)
    if text.startswith("="):  # Excel's text mark: ="E11.9;I10"
        text = text[1:].strip().strip('"').strip()
    if wrapped := _WRAPPER.fullmatch(text):
        text = wrapped["inner"].strip()
    if not text or is_missing(text):
        return None
    if _is_in_brackets(text):
        return _bracketed(text)
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" and text[0] not in text[1:-1]:
        text = text[1:-1].strip()
    elif text[0] == '"' and text[-1] == '"':  # "E11.9","I10"
        return _bracketed(f"[{text}]")
    if not text:
        return None
    if text[0] == "'" and text.count("'") == 1:  # Excel's text mark: 'E11.9
        text = text[1:]
    found = _flat(text)
    if found is None:
        raise CellError(NOT_UNDERSTOOD)
    return found


def _is_in_brackets(text: str) -> bool:
    """Whether the first bracket closes at the end; not so in (I10) hypertension (E11.9)."""
    closing = _BRACKETS.get(text[0])
    if closing != text[-1]:
        return False
    depth = 0
    for place, character in enumerate(text):
        depth += (character == text[0]) - (character == closing)
        if depth == 0:
            return place == len(text) - 1
    return False


def _bracketed(text: str) -> list[Item] | None:
    """A list as JSON, Python, numpy or SQL writes it."""
    inner = text[1:-1].strip()
    if not inner:
        return []
    if ":" in inner and "{" in text:
        parsed = _parsed(text)
        if isinstance(parsed, list | tuple | dict):
            if isinstance(parsed, dict) and not any(str(key).lower() in _CODE_KEYS for key in parsed):
                return [item for key in parsed for item in _of_element(key)]  # {"E11.9": "Type 2 diabetes"}
            return _items(parsed)
    if re.fullmatch(r"[\d.,\s]+", inner) and text[0] == "[":
        raise NumbersError(NOT_STRINGS)  # as JSON, these are numbers
    if "[" in inner or "(" in inner:
        parsed = _parsed(text)  # [["E11.9", "Type 2 diabetes"]]
        if isinstance(parsed, list | tuple) and all(
            isinstance(each, list | tuple) and each for each in parsed
        ):
            return [item for each in parsed for item in _of_element(each[0])]
    quoted = [double or single for double, single in _QUOTED.findall(inner)]
    if not quoted:
        found = _flat(inner)
        if found is None:
            raise CellError(NOT_UNDERSTOOD)
        return found
    rest = _QUOTED.sub(" ", inner)
    others = [each for each in re.split(r"[,;|\s]+", rest) if each]
    if not all(is_missing(each) or code_system(each) for each in others):
        raise CellError(NOT_STRINGS)
    return [item for each in [*quoted, *others] for item in _of_element(each)]


def _parsed(text: str) -> object:
    for parse in (json.loads, ast.literal_eval):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of an escape: it would quote the cell
                return parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
    return None


def _flat(text: str) -> list[Item] | None:
    """The codes of a list without quotes; None where it cannot be understood. Raises CellError for changed numbers."""
    text = _DECIMAL_COMMA.sub(r"\1.\2", text)
    if text.startswith(("1.", "1)")):
        text = _NUMBERING.sub(";", text)
    for separators in (r"[;|,\s]+", r"(?:[;|,/&\s+~^:_]|\\[nrt]|<br\s*/?>|\band\b)+"):
        tokens = [token for token in re.split(separators, text) if token.strip("+*†-")]
        if tokens and all(is_missing(token) or _is_code(token) for token in tokens):
            return [None if is_missing(token) else _written(token) for token in tokens]
    if any(map(is_changed_number, re.split(r"[;|,\s]+", text))) and not re.search(r"[A-Za-z]{3}", text):
        raise CellError(CHANGED_NUMBER)
    return _with_words(text)


def _with_words(text: str) -> list[Item] | None:
    """The codes of a list whose items may have blanks: codes with descriptions, or the site's own labels."""
    parts = [part for part in re.split(r"[;|\n\t]+", text) if part.strip()]
    entries = [entry for part in parts for entry in _entries(part)]
    kinds = {kind for kind, _ in entries}
    if "unclear" in kinds:
        return None
    if "code" in kinds:
        if "text" in kinds:  # then single words are of descriptions too
            return [item for kind, item in entries if kind in ("code", "missing")]
        return [
            item if kind != "label" or (item and _is_identifier(item.text)) else _DESCRIPTION
            for kind, item in entries
        ]
    if "text" in kinds or not kinds:
        tokens = re.split(r"[;|,\s]+", text)
        own = all(_is_identifier(token) or is_missing(token) for token in tokens)
        return [None if is_missing(token) else _written(token) for token in tokens] if own else None
    return [item for _, item in entries]


def _entries(part: str) -> Iterator[tuple[str, Item]]:
    """The items of a part between strong separators: what each is (code, label, text, missing, unclear), and its code.

    A comma separates items, or stands in a description.
    """
    for item in filter(None, (piece.strip() for piece in part.split(","))):
        if is_missing(item):
            yield "missing", None
        elif len(item) > LONGEST_ITEM or _NOT_GIVEN.search(item):
            yield "unclear", None
        elif _is_code(item):
            yield "code", _written(item)
        elif found := _code_of(item):
            clear = not _codes_in(item.replace(found, " ", 1))
            yield ("code", _written(found)) if clear else ("unclear", None)
        elif _is_label(item):
            yield "label", _written(item)
        else:
            yield "unclear" if _codes_in(item) else "text", None


# A code in running text is in upper case, or has a dot: in "a 45 year old" there is none.
_TOKEN = r"[\ue009\ue00a]?(?:[A-Z]\d[0-9AB](?:\.[0-9A-Za-z]{1,4})|[A-Z]\d[0-9AB][0-9A-Z]{0,4}|[a-z]\d[0-9ab]\.[0-9a-z]{1,4}|\d{2,3}\.\d{1,2}|\d{3,5}|[VE]\d{2,3}\.\d{1,2}|[0-9BCDFGHX][0-9A-HJ-NP-Z]{6})"  # noqa: E501
_MARKS = r"(?:[*+†‡.]|[-(\[](?:POA[-:= ]?)?[YNUW][)\]]?(?=[\s:,-]|$))?"
_LEADING = re.compile(
    rf"[\[(]?(?P<code>{_TOKEN}{_MARKS})[\])]?(?:\s*[-:=]+\s*|\s+|\s*(?=[(\[]))(?P<text>.*)", re.DOTALL
)
_TRAILING = re.compile(
    rf"(?P<text>.*?)(?:\s*[\[(]\s*|\s*[-:=]+\s*|\s+)(?P<code>{_TOKEN}{_MARKS})\s*[\])]?", re.DOTALL
)
_WORD = re.compile(r"[^\W\d_]{2}")
# A code that is denied or scored is not one of the note. Titles of ICD may have "not" inside, and of Z03 "ruled out".
_NOT_GIVEN = re.compile(
    r"^(?:denie[sd]|rule[ds]? out|r/o|negative for|no evidence of)\b.*\d"
    r"|^(?:no|not|family history of)\s+[A-Z]?\d[\dA-Z.]*$"
    r"|^(?!.*\b(?:Z0[35]|Z17|V71|V15))"
    r".*\d.*\b(?:ruled out|rule out|excluded|denied|negative|r/o|not confirmed)$"
    r"|^[A-Z]?\d[\dA-Z.]*\s*[=:]\s*-?\d+(?:[.,]\d+)?\s*%?$",
    re.IGNORECASE | re.DOTALL,
)
_NUMBERING = re.compile(r"(?:^|(?<=\s))\d{1,2}[.)]\s+(?=\S)")
_DECIMAL_COMMA = re.compile(r"(?<![\w.])([A-Z]\d[0-9AB]),(\d{1,2})(?![\w.,])")


def _code_of(item: str) -> str | None:
    """The code of an item that is a code with its description before or after it."""
    for pattern in (_LEADING, _TRAILING):
        found = pattern.fullmatch(item)
        if found and _WORD.search(found["text"]) and _is_code(found["code"]):
            code, text = found["code"], found["text"]
            if "." in code.rstrip(".") or _is_sure(code):
                return code if pattern is _LEADING or code[0].isalpha() or _closes(item) else None
            if not text:
                return code
    return None


def _closes(item: str) -> bool:
    return item[-1] in ")]"


def _codes_in(text: str) -> bool:
    """Whether there are further codes in the words of a description."""
    return any(
        ("." in token or token[0].isalpha()) and _is_code(token) and is_valid(token)
        for token in re.findall(rf"(?<![\w.-]){_TOKEN}(?![\w-])", text)
    )


def _is_sure(code: str) -> bool:
    """Whether a code without a dot is one: the tables know it. B12 and T12 are no codes, but vitamins and vertebrae."""
    bare = bare_code(code).code
    return bool(is_valid(code)) and (bare[0].isalpha() or len(bare) > 2)


@functools.lru_cache(1 << 16)
def _written(text: str) -> SystemCode:
    if is_changed_number(text):
        raise CellError(CHANGED_NUMBER)
    code, systems = bare_code(text)
    return SystemCode(code, systems or ())


@functools.lru_cache(1 << 16)
def _is_code(token: str) -> bool:
    return code_system(token) is not None and not is_changed_number(token)


def _is_label(text: str) -> bool:
    """Whether it is one word, which can be a label."""
    return 0 < len(text) <= LONGEST_LABEL and not re.search(r"[\s;|,]", text) and bool(re.search(r"\w", text))


def _is_identifier(token: str) -> bool:
    """Whether a word cannot be of a description, as PLAN_A or COVID-19."""
    return (
        bool(re.search(r"\w", token))
        and bool(re.search(r"\d|_", token))
        and bool(re.search(r"[^\W\d]", token))
    )


def is_changed_number(token: str) -> bool:
    """Whether a number cannot be a code: 4019.0, 5.00E+10, or 486.0 where the table has 486 but no 486.0."""
    if re.fullmatch(r"\d+(?:\.\d+)?[eE]\+\d+|\d+\.\d+[eE]\d+", token):
        return True
    whole = re.fullmatch(r"(\d+)\.0", token)
    if whole is None:
        return False
    return len(whole[1]) not in (2, 3) or (not is_valid(token) and bool(is_valid(whole[1])))


def may_lack_zeros(code: str) -> bool:
    """Whether an undotted number cannot be billed, but could be with zeros before it: 42 for 042, 5 for 00.5."""
    if not re.fullmatch(r"\d{1,4}", code) or is_billable(code):
        return False
    return any(is_billable(code.zfill(width)) for width in range(len(code) + 1, 6))
