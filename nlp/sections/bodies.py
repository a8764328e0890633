"""Where the body of a section begins and ends: between its heading and the next, a signature or a rule."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from rubricator.nlp.lexicon.lexicon import Lexicon
from rubricator.nlp.sections.heading_phrase import EDGE, Candidate
from rubricator.nlp.sections.lines import is_rule
from rubricator.nlp.sections.section import CONFIDENCE, Section

# A candidate that is the heading of a section, its category, and the rule that recognised it.
Heading = tuple[Candidate, str, str]


def with_bodies(
    text: str,
    view: str,
    headings: Sequence[Heading],
    closings: Sequence[int],
    lexicon: Lexicon,
    by_problem: Collection[str],
) -> list[Section]:
    """The sections of a plain text. `view`: see candidates.py.

    `closings`: offsets where a signature, boilerplate or a drawn rule ends a section, in order. `by_problem`: the
    categories that are repeated under each problem in a note by problem.
    """
    sections: list[Section] = []
    leads = [line + phrase.lead for (phrase, line, _, _), _, _ in headings] + [len(text)]
    last = len(headings) - 1
    closing = 0  # the number of the next closing
    for number, ((phrase, line, _, _), category, rule) in enumerate(headings):
        start, end, after = line + phrase.start, line + phrase.end, line + phrase.after
        high = leads[number + 1]
        if closing < len(closings) and closings[closing] < high:
            after, high, closing = _up_to_closing(view, after, high, closings, closing)
        before_title = category in by_problem and number < last and headings[number + 1][1] in by_problem
        low, high = _body(view, after, high, before_title)
        if rule == "item" and (paragraph := _BLANK_LINE.search(view, low, high)) is not None:
            high = low + len(view[low : paragraph.start()].rstrip())
        loinc, confidence = lexicon.categories[category].loinc, CONFIDENCE[rule]
        sections.append(Section(category, loinc, text[start:end], start, end, low, high, rule, confidence))
    if sections and _is_title(sections[0], leads[0], view):
        del sections[0]
    return sections


def _up_to_closing(
    view: str, after: int, high: int, closings: Sequence[int], at: int
) -> tuple[int, int, int]:
    """The span of view[after:high] up to the first closing from closings[at] on, and the number of the next closing.

    A rule directly under the heading does not end the section.
    """
    while at < len(closings) and closings[at] < high:
        closing = closings[at]
        if closing > after:
            if view[after:closing].strip(EDGE):
                return after, closing, at
            if is_rule(view[closing : _line_end(view, closing)]):  # under the heading
                after = _line_end(view, closing)
        at += 1
    return after, high, at


def _body(view: str, after: int, high: int, before_title: bool) -> tuple[int, int]:
    """The span of the body in view[after:high], without blanks, colons, markup and rules around it.

    before_title: the last lines may be the title of the next problem.
    """
    body = view[after:high]
    if body[:2] == "- ":  # the rest of ":-", which is British style
        after, body = after + 1, body[1:]
    body = body.rstrip()
    while body[-1:] in _DRAWN and is_rule(last_line := body[body.rfind("\n") + 1 :]):
        body = body[: -len(last_line)].rstrip()  # a rule above the next heading
    if before_title:
        body = _without_next_title(body)
    high = after + len(body) if body else min(after, high)
    low = high - len(body.lstrip(EDGE))
    while view[low : low + 1] in _UNDERLINES and is_rule(
        view[low : (end_of_line := _line_end(view, low, high))]
    ):
        low = high - len(view[end_of_line:high].lstrip(EDGE))
    return low, high


def _without_next_title(body: str) -> str:
    """The body without the title of the next problem, which precedes the first heading of that problem."""
    blank = max(body.rfind("\n\n"), 0)
    for gap in _BLANK_LINE.finditer(body, blank):
        blank = gap.start()
    title = body[blank:].strip() if blank else ""
    if not title or "\n" in title or len(title) > _LONGEST_TITLE or title[-1] in ".;,!?":
        return body
    return body[:blank].rstrip()


def _is_title(first: Section, lead: int, view: str) -> bool:
    """Whether the first heading, whose line begins at `lead`, is only the title of the note: "OPERATIVE NOTE"."""
    return (
        first.body_start == first.body_end
        and first.rule in _RULES_OF_TITLES
        and not view[:lead].strip()
        and ":" not in view[first.heading_end : _line_end(view, first.heading_end)]
        and view[first.heading_start : first.heading_end].rsplit(None, 1)[-1].lower() in _TITLE_NOUNS
    )


def _line_end(text: str, start: int, limit: int | None = None) -> int:
    end = text.find("\n", start, limit)
    return end if end >= 0 else len(text) if limit is None else limit


_DRAWN = frozenset("-_=*~")
_UNDERLINES = frozenset("-=~")
_LONGEST_TITLE = 70
_RULES_OF_TITLES = frozenset({"line_alone", "markup", "qualified", "joined"})
_TITLE_NOUNS = frozenset(
    {"note", "report", "evaluation", "assessment", "summary", "consultation", "contrast", "views", "exam"}
)
_BLANK_LINE = re.compile(r"\n\s*\n")
