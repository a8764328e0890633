"""Single letters on the margin of a note, S/O/A/P and the like: headings only where they make an ordered set."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import NamedTuple

from rubricator.nlp.hidden_text import hides_text
from rubricator.nlp.lexicon.lexicon import UNKNOWN
from rubricator.nlp.sections.candidates import LETTER_CATEGORY, Candidate, HeadingPhrase


@hides_text("under")
class _Letter(NamedTuple):
    """A letter on the margin, or a heading that stands for one; `phrase` is None for the latter."""

    name: str
    phrase: HeadingPhrase | None
    start: int
    under: str | None  # the category of the section that it stands in


def letters_of_sets(view: str, candidates: list[Candidate]) -> dict[int, str]:
    """Offsets of the single letters that make an ordered set, S/O/A/P or another one, with their categories."""
    letters: list[_Letter] = []
    under: str | None = None
    for phrase, line, _, _ in candidates:
        name = _CATEGORY_LETTER.get(phrase.category or "")
        letter: HeadingPhrase | None = None
        if phrase.rule == "soap_letter":
            if phrase.text in "Pp" and _NUMBER.match(view, line + phrase.after):  # a pulse
                continue
            name, letter = phrase.text.upper(), phrase
        elif phrase.category and not name:
            under = phrase.category
        if name is None and phrase.text.lower() == "focus":
            name = "F"
        if name is not None:
            letters.append(_Letter(name, letter, line + phrase.start, under))
    accepted: dict[int, str] = {}
    run: list[_Letter] = []
    before = ""  # the names of the run before
    at = 0
    while at < len(letters):
        names = "".join(each.name if len(each.name) == 1 else "+" for each in letters[at : at + _LONGEST_SET])
        other = next((known for known in _OTHER_SETS if names.startswith(known)), None)
        if other == _PLAN_THEN_ASSESSMENT and not _each_on_its_line(view, letters[at : at + len(other)]):
            other = None  # "G3 P: 2 A: 0"
        if other is not None and not (run and other == _PLAN_FIRST):  # "S O A P S O A P" is two notes
            _close_run(run, before, accepted)
            for each, category in zip(letters[at:], _OTHER_SETS[other], strict=False):
                if each.phrase is not None:
                    accepted[each.start] = category
            at += len(other)
            continue
        following = letters[at]
        at += 1
        if following.name not in _SOAP_NAMES:
            continue
        if run and "SOAP".index(following.name[0]) <= "SOAP".index(run[-1].name[-1]):
            before = _close_run(run, before, accepted)
        run.append(following)
    _close_run(run, before, accepted)
    return accepted


def _each_on_its_line(view: str, letters: list[_Letter]) -> bool:
    return all("\n" in view[one.start : other.start] for one, other in pairwise(letters))


def _close_run(run: list[_Letter], before: str, accepted: dict[int, str]) -> str:
    """Accepts the letters of a run in the order of S, O, A, P if they are no accident; returns their names."""
    names = "".join(letter.name for letter in run)
    # "A. ... P. ..." may be items of a list, and small letters anything: they need a third
    capital = all(letter.phrase is None or letter.phrase.caps for letter in run)
    sure = capital and not any(letter.phrase is not None and letter.phrase.item for letter in run)
    specimens = any(letter.under == "specimens" for letter in run)
    listed = specimens or (
        not set(names) & set("SO") and any(letter.under in _LISTED_BY_LETTER for letter in run)
    )
    assessed_first = names == "SO" and before.endswith("AP") and capital  # A/P/S/O, also as "S)"
    enough = len(set(names)) >= 3 and not specimens
    if len(set(names)) == 4 or enough or ((assessed_first or (sure and "AP" in names)) and not listed):
        accepted.update(
            (letter.start, LETTER_CATEGORY[letter.phrase.text.upper()])
            for letter in run
            if letter.phrase is not None
        )
    run.clear()
    return names


_CATEGORY_LETTER = {
    "subjective": "S",
    "objective": "O",
    "assessment": "A",
    "plan": "P",
    "assessment_and_plan": "AP",
}
_NUMBER = re.compile(
    r"\s*\d{2,3}\b(?!\.\s|\s*(?:m?c?g|m?L|units?|%|tabs?|min|hours?|days?|weeks?|months?)\b)"
)
_PLAN_FIRST = "APSO"
_PLAN_THEN_ASSESSMENT = "PASO"
_SOAP_NAMES = frozenset({"S", "O", "A", "P", "AP"})
# Sets of letters beside S/O/A/P. Of the letters that name what was seen or done only the end of a section is known.
_OTHER_SETS = {
    letters: tuple(named.get(letter, UNKNOWN) for letter in letters)
    for letters, named in (
        ("FDARP", {"P": "plan"}),
        ("FDAR", {}),
        ("DARP", {"P": "plan"}),
        ("DAR", {}),
        ("DAP", {"A": "assessment", "P": "plan"}),
        (
            "SBAR",
            {
                "S": "reason_for_visit",
                "B": "history_of_present_illness",
                "A": "assessment",
                "R": "recommendations",
            },
        ),
        ("BIRP", {"P": "plan"}),
        ("GIRP", {"P": "plan"}),
        ("PIE", {}),
        ("APSO", {**LETTER_CATEGORY}),
        (_PLAN_THEN_ASSESSMENT, {**LETTER_CATEGORY}),
        ("APIE", {"A": "assessment", "P": "plan"}),
        ("SOEP", {**LETTER_CATEGORY, "E": "assessment"}),  # of Dutch general practice
        ("SOAPIER", {**LETTER_CATEGORY}),
        ("SOAPIE", {**LETTER_CATEGORY}),
        ("SOAPER", {**LETTER_CATEGORY}),
        ("SOAPI", {**LETTER_CATEGORY}),
        ("SOAPE", {**LETTER_CATEGORY}),
    )
}
_LONGEST_SET = max(map(len, _OTHER_SETS))
_LISTED_BY_LETTER = frozenset({"specimens", "diagnosis", "findings", "procedure", "postoperative_diagnosis"})
