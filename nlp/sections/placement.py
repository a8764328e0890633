"""What a candidate is in the open section: a part of it, an item, or the heading of another section.

The open section is the one of the last heading before the candidate.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from rubricator.nlp.hidden_text import hides_text
from rubricator.nlp.lexicon.categories import UNKNOWN, Category
from rubricator.nlp.sections.heading_phrase import EDGE, Candidate, HeadingPhrase

# before the first heading
_NO_CATEGORY = Category("", kinds=frozenset({"holds_parts"}))
_NO_PHRASE = HeadingPhrase(
    0, 0, 0, 0, "", None, "", False, False, 0, False, False, False, False, False, None, None
)

LONGEST_ABBREVIATION = 3  # characters; "A/P" and "HPI" are in capitals in every note


@hides_text()
@dataclass(slots=True)
class OpenSection:
    """The section that the next candidate is in. Before the first heading, the name of its category is empty."""

    phrase: HeadingPhrase = _NO_PHRASE
    category: Category = _NO_CATEGORY
    after: int = 0  # where the text after its heading begins
    line: int = 0  # where the line of its heading begins
    has_topics: bool = False  # it has names of body systems or problems so far

    def begin(self, phrase: HeadingPhrase, category: Category, line: int) -> None:
        """Opens another section, with its heading on the line that begins at `line`."""
        self.phrase, self.category, self.line, self.after = phrase, category, line, line + phrase.after
        self.has_topics = False


def is_listed(view: str, line: int, open_section: OpenSection, last: int) -> bool:
    """Whether the line is an item of a list, not a heading. last: the end of the item before it, -1 for none."""
    return (last >= 0 and _is_bare(view, last, line)) or _begins_list(view, line, open_section)


def is_part(view: str, candidate: Candidate, category: Category, open_section: OpenSection) -> bool:
    """Whether this heading of the lexicon is a part of the open section."""
    phrase, line, alone, after_blank = candidate
    again = category.name == open_section.category.name
    if not (open_section.category.may_hold_parts or again or open_section.phrase.depth):
        return False
    return (
        _is_part(phrase, category, open_section, alone=alone, after_blank=after_blank)
        or _stands_deeper(view, line, category, open_section)
        or (
            (again or _names_procedure(phrase, category, open_section))
            and not after_blank
            and _is_bare(view, open_section.after, line + phrase.start)
        )
    )


def is_item(phrase: HeadingPhrase, open_section: OpenSection) -> bool:
    """Whether it is an item of the open section, so that its body ends with its paragraph."""
    holds_items = open_section.category.role == "mixed" or (
        phrase.item and open_section.category.has("holds_items")
    )
    return holds_items and _is_weaker(phrase, open_section.phrase)


def is_problem(phrase: HeadingPhrase, open_section: OpenSection) -> bool:
    """Whether it is a problem or a body system in the open section, marked by "#" under a heading without "#"."""
    return phrase.depth > 0 and not open_section.phrase.depth and bool(open_section.category.name)


def begins_unknown(view: str, candidate: Candidate, open_section: OpenSection) -> bool:
    """Whether this heading, which the lexicon does not know, begins a section of its own."""
    phrase, _, alone, after_blank = candidate
    if (
        (phrase.item and not phrase.depth)
        or is_problem(phrase, open_section)
        or (phrase.text[-1] == "?" and open_section.category.has("instructions"))
        or not (phrase.colon or phrase.marked or after_blank)
        or _is_bold_text(view, candidate, open_section)
    ):
        return False
    if not open_section.category.name:
        return phrase.caps or phrase.marked or (alone and not phrase.topic)
    if phrase.topic:
        set_off = phrase.caps and (after_blank or (phrase.colon and open_section.phrase.caps))
        return set_off and open_section.category.has("no_topics")
    if open_section.category.holds_plan:  # the titles of problems stay in the plan
        return after_blank and phrase.caps and open_section.phrase.caps and phrase.ends_as_heading
    if open_section.category.has("holds_unknown") and not after_blank:
        return False
    return phrase.caps or phrase.marked or alone


def _is_part(
    phrase: HeadingPhrase, category: Category, open_section: OpenSection, *, alone: bool, after_blank: bool
) -> bool:
    if not open_section.category.name:  # "Date: 4/12" above the first section
        return category.name == UNKNOWN and not (phrase.caps or phrase.marked or alone)
    again = category.name == open_section.category.name
    if category.has("never_part"):
        return False
    if phrase.text[-1] == "?" and open_section.category.has("instructions"):  # of a letter to the patient
        return True
    if phrase.rule == "soap_letter" and not again:
        return False
    if _is_problem_of_hospital_course(phrase, category, open_section, alone=alone):
        return True
    if (
        phrase.item and open_section.phrase.depth and not (phrase.colon or phrase.marked)
    ):  # a list under a title
        return True
    weaker = _is_weaker(phrase, open_section.phrase)
    if open_section.category.name == "physical_exam" and category.has("examination"):
        return weaker or not after_blank
    if again and not after_blank:
        return weaker or category.has("repeated") or _names_part_of_plan(phrase, open_section)
    if not weaker or not open_section.category.holds_plan:
        return False
    return _is_part_of_plan(phrase, category, open_section, own_line=alone, after_blank=after_blank)


def _is_part_of_plan(
    phrase: HeadingPhrase, category: Category, open_section: OpenSection, *, own_line: bool, after_blank: bool
) -> bool:
    """Whether a heading of lower level than that of a plan is a part of this plan.

    A history is not, whatever its level. A heading after a blank line is not, unless the plan has topics.
    """
    if open_section.category.role == "mixed" and (
        category.has("own_in_mixed") or (category.name == UNKNOWN and after_blank)
    ):
        return False
    if phrase.item or phrase.depth > 0:
        return True
    own_line = own_line or phrase.colon or phrase.marked
    if own_line and after_blank and category.name == "medications" and _TAKEN.search(phrase.text):
        return False
    if own_line and (category.is_never_in_plan or (after_blank and not open_section.has_topics)):
        return False
    return open_section.has_topics or category.place != "after_plan"


def _names_part_of_plan(phrase: HeadingPhrase, open_section: OpenSection) -> bool:
    """Whether it names a part of a plan, under a heading that ends in "plan": "Medical treatment:" under "Plan:"."""
    return (
        open_section.category.name == "plan"
        and open_section.phrase.text.lower().endswith("plan")
        and "plan" not in phrase.text.lower()
    )


def _is_problem_of_hospital_course(
    phrase: HeadingPhrase, category: Category, open_section: OpenSection, *, alone: bool
) -> bool:
    """Whether it is a problem of a hospital course with the name of a section ("# Dispo: to rehab."), or a problem list
    in it."""
    if open_section.category.name != "hospital_course":
        return False
    on_own_line = alone and phrase.rule in ("line_colon", "markup")
    return category.name == "problem_list" or (
        phrase.depth == 1 and is_problem(phrase, open_section) and not on_own_line
    )


def _names_procedure(phrase: HeadingPhrase, category: Category, open_section: OpenSection) -> bool:
    """Whether it is the name of the procedure: "CT HEAD W/O CONTRAST" under "EXAMINATION:"."""
    return category.name == "imaging" and open_section.category.name == "procedure" and not phrase.colon


def _is_bold_text(view: str, candidate: Candidate, open_section: OpenSection) -> bool:
    """Whether it is bold text: "**Allergic conjunctivitis**" under "## Assessment", or right under "**Assessment**"."""
    phrase, line, _, after_blank = candidate
    if not phrase.marked or phrase.depth or phrase.colon or open_section.category.name in ("", UNKNOWN):
        return False
    if open_section.phrase.depth:
        return True
    return (
        open_section.phrase.marked
        and not after_blank
        and _is_bare(view, open_section.after, line + phrase.start)
    )


def _is_weaker(phrase: HeadingPhrase, above: HeadingPhrase) -> bool:
    """Whether the heading has a lower level than the one before it, as a sub-heading has."""
    if phrase.item != above.item:
        return phrase.item
    if phrase.depth or above.depth:  # a single "#" under a plain heading is a bullet
        return phrase.depth > above.depth if above.depth else phrase.depth == 1
    if phrase.marked or above.marked:
        return not phrase.marked
    return above.caps and not phrase.caps and len(above.text) > LONGEST_ABBREVIATION


def _begins_list(view: str, line: int, open_section: OpenSection) -> bool:
    """Whether the item is the first of several, directly under prose or a plan: "She will need:", "- Labs", "- TTE"."""
    if _NEXT_LINE.match(view, line) is None:
        return False
    above = view[max(open_section.after, view.rfind("\n", 0, max(line - 1, 0)) + 1) : line].strip()
    return above[0] != view[line] if above.strip(EDGE) else open_section.category.holds_plan


def _stands_deeper(view: str, line: int, category: Category, open_section: OpenSection) -> bool:
    """Whether the heading is indented more than the open plan: "  LAB: CBC"."""
    return (
        open_section.category.holds_plan
        and category.place is None
        and _indent(view, line) > _indent(view, open_section.line)
    )


def _indent(view: str, line: int) -> int:
    """The number of blanks before the first word of a line, which is at offset `line`; 0 inside a line."""
    before = view[max(0, line - _DEEPEST_INDENT) : line]
    start = line - len(before) + len(before.rstrip(" \t"))
    return line - start if start == 0 or view[start - 1] == "\n" else 0


def _is_bare(view: str, start: int, end: int) -> bool:
    """Whether there are only blanks, colons, markup and rules from `start` to `end`."""
    return _BARE.fullmatch(view, start, end) is not None


_BARE = re.compile(rf"[\s{EDGE.strip()}=]*+")
_DEEPEST_INDENT = 40
_NEXT_LINE = re.compile(r"(?:(?P<mark>[^\w\s])|\d)[^\n]*\n[ \t]*(?(mark)(?P=mark)|\d)")  # with the same mark
_TAKEN = re.compile(
    r"\b(?:current|home|outpatient|inpatient|facility|prior|admission|PTA|scheduled)\b", re.IGNORECASE
)
