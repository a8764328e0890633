"""Repairs headings that have a line end, bold type or brackets inside the name of the section."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rubricator.nlp.lexicon.lexicon import UNKNOWN, Lexicon
from rubricator.nlp.plain_text.edits import Edit
from rubricator.nlp.plain_text.section_names import is_section_name


def bracketed_initial_edits(text: str) -> Sequence[Edit]:
    """The edits that remove the brackets around the first letter of a heading: "(P)lan"."""
    return [(*match.span(), match[0][1]) for match in _BRACKETED_INITIAL.finditer(text)]


def bold_initial_edits(text: str) -> Sequence[Edit]:
    """The edits that remove the bold type of a single first letter: "**P**lan"."""
    return [(*match.span(), match[2]) for match in _BOLD_INITIAL.finditer(text)]


def wrap_edits(text: str) -> Sequence[Edit]:
    """The edits that remove line ends inside the names of sections: "Assessment &" on a line, "Plan:" on the next."""
    found = []
    for wrap in _SECOND_LINE.finditer(text):
        above = text[max(0, wrap.start() - _LONGEST_FIRST_LINE) : wrap.start()]
        if len(above) == _LONGEST_FIRST_LINE and "\n" not in above:
            continue
        first = above[above.rfind("\n") + 1 :].strip().strip("*#_ \t")
        if _is_one_name(first, wrap["name"], joined=wrap["joined"] is not None):
            end_of_line = wrap.start() - (len(above) - len(above.rstrip()))
            found.append((end_of_line, wrap.end(), " "))
    return found


def _is_one_name(first: str, second: str, *, joined: bool) -> bool:
    """Whether two lines together are the name of one section. `joined`: the second begins with "and", "&" or "/"."""
    if not first[:1].isupper() or _NO_HEADING.search(first):
        return False
    whole = Lexicon.load().match(f"{first} {second}", loose=False)
    if whole is None or whole.category == UNKNOWN:
        return False
    return first.endswith(_JOINING) or joined or not (is_section_name(first) or _stands_alone(second))


def _stands_alone(name: str) -> bool:
    """Whether it is a complete heading. "History" may be the end of a longer one."""
    return name.lower() != "history" and is_section_name(name)


_BOLD_INITIAL = re.compile(r"([*_])\1([A-Za-z])\1\1(?=[a-z])")
_BRACKETED_INITIAL = re.compile(r"\((?:S\)(?=ubjective)|O\)(?=bjective)|A\)(?=ssessment)|P\)(?=lan))")
_SECOND_LINE = re.compile(
    r"\n(?<=[\w&/+*) \t]\n)[ \t]{0,20}(?=[&/A-Za])(?=(?P<joined>(?:&|and|AND|/)[ ]?)?"
    r"(?P<name>(?:(?:[A-Z][A-Za-z]{1,12} )?(?:Plan|PLAN|Recommendations|RECOMMENDATIONS"
    r"|Illness|ILLNESS|History|HISTORY|Systems|SYSTEMS|Complaint|COMPLAINT|Exam|EXAM|Examination|EXAMINATION"
    r"|Medications|MEDICATIONS|Instructions|INSTRUCTIONS|Diagnos[ie]s|DIAGNOS[IE]S)))[*_ \t]{0,4}(?::|$))",
    re.MULTILINE,
)
_LONGEST_FIRST_LINE = 50
_NO_HEADING = re.compile(r"[:.;,!?\d]")
_JOINING = ("&", "/", "+", " and", " AND", " And", " of", " OF", " Of")
