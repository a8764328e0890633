"""Lines of a note that are no part of what it says: signatures, boilerplate, rules, heads and feet of pages.

The rules are data (lines.toml). A closing ends the section that it stands in; a page line does not.
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
    """Does the line, whose first word begins at `start`, sign the note, or say what every note says?

    run_on: the line is what follows a sentence in a note that lost its line ends.
    """
    rules = _rules()
    closing = (rules.run_on if run_on else rules.closings).get(word)
    if closing is not None and closing.match(line, start) and _MARKS.fullmatch(line, 0, start):
        return True
    if len(line) >= LONGEST_SIGNED:
        return False
    # of a name without a comma only what is no word of a plan: "Jane Roe MD", not "Consult PT"
    name = _name_alone(line)
    return _are_initials(line) or (ends_as_signed(name) and _SIGNED_NAME.match(name) is not None)


def is_signature(sentence: str) -> bool:
    """Does the sentence sign: "J. Doe MD.", "Dra. Ruiz", "Kind regards, J. Doe"?

    Of a name without a comma it asks for two words beside the credentials: "Consult LCSW" is none.
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
    """Is the line, whose first word begins at `start`, the head of a page: its number, or who the patient is?"""
    if len(line) < _LONGEST_TITLE and _PAGE_AT_END.search(line) is not None:
        return True
    if len(line) >= _LONGEST_PAGE_LINE:
        return False
    page = _rules().page
    if page.match(line, start) is not None and _MARKS.fullmatch(line, 0, start) is not None:
        return True
    return line[1:2] == "." and page.match(line) is not None  # an initial, no enumerator: "Q. Doe MRN 0001"


@cache
def first_words() -> tuple[frozenset[str], frozenset[str]]:
    """The words that closings and page lines begin with, in small letters, capitalised and in capitals."""
    content = toml_of(__name__)
    closings, pages = (
        frozenset(form for entry in content[table] for form in _forms(entry["words"]))
        for table in ("closings", "page_lines")
    )
    return closings, pages


def _forms(words: Iterable[str]) -> Iterable[str]:
    return (form for word in words for form in (word, word.capitalize(), word.upper()))


def ends_as_signed(line: str) -> bool:
    """Does the line end as a signature does ("Jane Roe, MD"), or is it the initials of who dictated and who typed?"""
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
    """A line that signs without the date, the pager or the year of training after the name."""
    return _AFTER_NAME.sub("", line) if line[-1:].isdigit() and len(line) < LONGEST_SIGNED else line


def is_rule(line: str) -> bool:
    """Does the line only draw?"""
    return line[-1:] in _DRAWN and _RULE.match(line) is not None


def underlines(rule: str, above: str) -> bool:
    """Does a rule set off the words on the line above, as under a title or the head of a table?"""
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
    credentials: tuple[str, ...]  # what a name may end with, and what only looks like it
    no_credentials: tuple[str, ...]


@cache
def _rules() -> _Rules:
    """What closings, page lines and names look like."""
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
# a date and a time, a pager, the year of training
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
