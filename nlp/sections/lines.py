"""Lines that are not content of a note: signatures, boilerplate, drawn rules, page headers and footers.

The patterns are data (lines.toml). A closing (signature or boilerplate) ends the section before it. A page line (page
header or footer) does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Any, NamedTuple

from rubricator.nlp.module_data import toml_of
from rubricator.nlp.words.accents import without_accents
from rubricator.nlp.words.tokens import LETTER

SIGNED_ENDS = frozenset(
    "ABCDLMNOPRSTW .)0123456789abcdefghijklmnopqrstuvwxyz"
)  # last characters of a signed line
LONGEST_SIGNED = 90  # characters of a signed line, with the date and the pager after the name
_LONGEST_INITIALS = 14


def is_closing(line: str, word: str, start: int, *, run_on: bool = False) -> bool:
    """Whether the line is a signature or boilerplate. word: its first word. start: the offset of this word.

    run_on: the text follows a sentence, in a note that lost its line breaks.
    """
    rules = _rules()
    closing = (rules.run_on if run_on else rules.closings).get(word)
    if closing is not None and closing.match(line, start) and _MARKS.fullmatch(line, 0, start):
        return True
    if len(line) >= LONGEST_SIGNED:
        return False
    # without a comma, only credentials that plans do not use: "Jane Roe MD", not "Consult PT"
    name = _name_alone(line)
    return _are_initials(line) or (ends_as_signed(name) and _SIGNED_NAME.match(name) is not None)


def is_signature(sentence: str) -> bool:
    """Whether the sentence is a signature: "J. Doe MD.", "Dra. Ruiz", "Kind regards, J. Doe".

    A name without a comma needs at least two words besides the credentials: "Consult LCSW" is not a signature.
    """
    plain = without_accents(sentence)
    word = _FIRST_WORD.match(plain)
    if word is None:
        return False
    signature = _rules().signatures.get(word[1])
    if signature is not None and signature.match(plain, word.start(1)):
        return True
    return (
        ends_as_signed(sentence)
        and ("," in sentence or sentence.count(" ") > 1)
        and _SIGNED_NAME.match(sentence) is not None
    )


def is_page_line(line: str, start: int) -> bool:
    """Whether the line is a page header or footer, with a page number or the identity of the patient.

    start: the offset of its first word.
    """
    if len(line) < _LONGEST_TITLE and _PAGE_AT_END.search(line) is not None:
        return True
    if len(line) >= _LONGEST_PAGE_LINE:
        return False
    page = _rules().page
    if page.match(line, start) is not None and _MARKS.fullmatch(line, 0, start) is not None:
        return True
    return line[1:2] == "." and page.match(line) is not None  # an initial: "Q. Doe MRN 0001"


@cache
def first_words() -> tuple[frozenset[str], frozenset[str]]:
    """The words that closings and page lines begin with, in lower case, capitalised and in upper case."""
    content = toml_of(__name__)
    closings, pages = (
        frozenset(form for entry in content[table] for form in _forms(entry["words"]))
        for table in ("closings", "page_lines")
    )
    return closings, pages


def _forms(words: Iterable[str]) -> Iterable[str]:
    return (form for word in words for form in (word, word.capitalize(), word.upper()))


def ends_as_signed(line: str) -> bool:
    """Whether the line ends like a signature ("Jane Roe, MD"), or is the initials of author and typist ("JR/kl")."""
    line = _name_alone(line)
    if len(line) >= _LONGEST_SIGNATURE:
        return False
    name = line.rstrip(" .)")
    if not name[-1:].isupper():
        return _are_initials(line)
    rules = _rules()
    signs = name.endswith(rules.credentials) and not name.endswith(rules.no_credentials)
    return signs or _are_initials(line)


def _are_initials(line: str) -> bool:
    return len(line) < _LONGEST_INITIALS and _INITIALS.match(line) is not None


def _name_alone(line: str) -> str:
    """The line without a date, a pager number or a year of training after the name."""
    return _AFTER_NAME.sub("", line) if line[-1:].isdigit() and len(line) < LONGEST_SIGNED else line


def is_rule(line: str) -> bool:
    """Whether the line is a drawn rule, such as "-----"."""
    return line[-1:] in _DRAWN and _RULE.match(line) is not None


def underlines(rule: str, above: str) -> bool:
    """Whether a rule underlines the words on the line above, as under a title or a table header."""
    title, drawn = above.strip(), rule.strip()
    if not title or len(title) > _LONGEST_TITLE or title[-1] in ".,;!?" or is_rule(title):
        return False
    alike = abs(len(title) - len(drawn)) <= max(3, len(title) // 3)
    return alike or drawn[0] in "=~" or (drawn[0] == "-" and len(title) < len(drawn))


class _Rules(NamedTuple):
    closings: dict[str, re.Pattern[str]]  # by the first word of the line
    run_on: dict[str, re.Pattern[str]]
    signatures: dict[str, re.Pattern[str]]
    page: re.Pattern[str]
    credentials: tuple[str, ...]  # "MD" after a name
    no_credentials: tuple[str, ...]  # abbreviations that end like credentials


@cache
def _rules() -> _Rules:
    """The patterns of closings, page lines and names."""
    content = toml_of(__name__)
    closings, names = content["closings"], content["names"]
    return _Rules(
        _by_first_word(closings),
        _by_first_word(entry for entry in closings if entry.get("run_on")),
        _by_first_word(entry for entry in closings if entry["reason"] in _SIGNING),
        _any_of(content["page_lines"]),
        tuple(names["credentials"]),
        tuple(names["no_credentials"]),
    )


def _by_first_word(entries: Iterable[dict[str, Any]]) -> dict[str, re.Pattern[str]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        for form in _forms(entry["words"]):
            found.setdefault(form, []).append(entry)
    return {form: _any_of(chosen) for form, chosen in found.items()}


def _any_of(entries: Iterable[dict[str, Any]]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{entry['line']})" for entry in entries), re.IGNORECASE)


_FIRST_WORD = re.compile(rf"[\W\d_]{{0,12}}({LETTER}+)")
_SIGNING = ("signature", "end_of_letter")
_LONGEST_SIGNATURE = 60
_LONGEST_PAGE_LINE = 160
_LONGEST_TITLE = 70
_MARKS = re.compile(r"(?:[\s/*_~—–=\[(<>\"]|-{2,}|\d{1,3}\+?[ -]|-(?=-|\s?[A-Z]))*")
_PAGE_AT_END = re.compile(
    r"(?:\s{2,}|\t|[|•·,-]\s*)[Pp](?:age|AGE)\s*:?\s*\d{1,3}(?:\s*(?:of|OF|/)\s*\d{1,3})?\s*$"
)
# a date and a time, a pager number, or the year of training
_AFTER_NAME = re.compile(
    r"[ ,/|-]{1,4}(?:(?:[Pp]ager|[Pp]gr|[Ee]xt|[Pp]hone|x|#)\.?\s?[:#]?\s?)?(?:PGY-?\s?)?"
    r"\d[\d/.-]{0,12}(?: {1,2}\d\d:?\d\d)?(?:\s?[AaPp][Mm])?$"
)
_DRAWN = frozenset("-_=*~ \t")
_RULE = re.compile(r"\s*(?:[-_=*~]\s?){4,}\s*$")
_INITIALS = re.compile(r"[A-Z]{2,4}/(?:[a-z]{2,4}|[A-Z]{2,4}\d*)(?: ?\d{1,6})?\s*$")
_SIGNED_NAME = re.compile(
    r"(?:[-–—~]{1,3}\s*)?(?:Dr\.? )?[A-Z][\w.'-]*(?: [A-Z][\w.'-]*){0,3}"
    r"(?:, [A-Z][A-Za-z.,/ -]{1,20}| (?:M\.?D|Ph\.?D|D\.O|PA-C|MBBS|PharmD|FACP|FACS|[A-Z]{3,4})"
    r"(?:[.,/ ]+[A-Z][A-Za-z.,/ -]{1,20})?)[ .)]*$"
)
