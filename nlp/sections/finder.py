"""Headed sections of a clinical note, found on the raw text: headings with their category and the body under each.

nlp/sections/candidates.py reads what looks like a heading; here the context decides: guards, S/O/A/P sets, what is part
of the section that is open, and where a body ends.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from rubricator.nlp.hidden_text import hides_text
from rubricator.nlp.lexicon.lexicon import UNKNOWN, Lexicon
from rubricator.nlp.plain_text.plain_text import PlainText, read_plain
from rubricator.nlp.sections.candidates import (
    EDGE,
    Candidate,
    HeadingPhrase,
    HeadingReader,
)
from rubricator.nlp.sections.letter_sets import letters_of_sets
from rubricator.nlp.sections.lines import is_rule

if TYPE_CHECKING:
    from spacy.tokens import Doc, Span

SECTIONS_SCHEMA = pa.schema(
    [
        pa.field("note_id", pa.string(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("loinc", pa.string()),
        pa.field("heading", pa.string(), nullable=False),
        pa.field("heading_start", pa.int32(), nullable=False),
        pa.field("heading_end", pa.int32(), nullable=False),
        pa.field("body_start", pa.int32(), nullable=False),
        pa.field("body_end", pa.int32(), nullable=False),
        pa.field("rule", pa.string(), nullable=False),
        pa.field("confidence", pa.float32(), nullable=False),
    ]
)


@hides_text("category", "loinc", "rule")
class Section(NamedTuple):
    """A heading and its body. Offsets are half-open string offsets into the note; `heading` is the text between them.

    `rule` says how the heading was recognised and `confidence` (0..1] how sure that form is, see CONFIDENCE.
    An empty body has body_start == body_end.
    """

    category: str
    loinc: str | None
    heading: str
    heading_start: int
    heading_end: int
    body_start: int
    body_end: int
    rule: str
    confidence: float


@dataclass(frozen=True, slots=True)
class RejectedHeading:
    """A heading-like phrase that is none: the reason code of a guard, or of the place where it stands."""

    start: int
    end: int
    reason: str


CONFIDENCE = {
    "line_colon": 1.0,  # "PLAN:" at the start of a line
    "line_alone": 0.95,  # "PLAN" alone on its line
    "markup": 0.95,  # "## Plan", "**Plan**", "<h3>Plan</h3>"
    "dated": 0.95,  # "Plan 4/12/2020:", "Assessment and plan (continued):"
    "qualified": 0.9,  # "Plan for tonight:", "Neurosurgery plan:"
    "joined": 0.9,  # "Impression, plan and follow-up:"
    "separator": 0.9,  # "PLAN - ", "Plan<tab>", "PLAN ....."
    "soap_letter": 0.85,  # "P:" in an S/O/A/P note
    "item": 0.85,  # "- Medical Treatment:" under a mixed heading
    "inline": 0.8,  # "... Plan: ..." inside a line
    "typo": 0.75,  # "ASSESMENT AND PLAN:"
    "lead_in": 0.8,  # "The plan is as follows:" alone on its line
    "caps_lead": 0.7,  # "PLAN Continue aspirin" without any separator
    "inline_caps": 0.6,  # the same inside a line of a note that lost its line breaks
    "unknown": 0.6,  # looks like a heading and is not in the lexicon
}


# a candidate that became a heading: where its lead, itself and what follows it begin, where it ends; category, rule
_Heading = tuple[int, int, int, int, str, str]


@dataclass(slots=True)
class _Open:
    """The section that the next heading stands in; an item under a mixed heading opens none."""

    phrase: HeadingPhrase
    category: str = ""
    role: str = ""
    after: int = 0  # where what stands under its heading begins
    line: int = 0  # where the line of its heading begins
    has_topics: bool = False  # names of body systems or problems were seen in it


class SectionFinder:
    """Finds the headed sections of notes. Cheap to pickle: what it remembers of seen notes stays behind."""

    def __init__(self, lexicon: Lexicon | None = None) -> None:
        self.lexicon = Lexicon.load() if lexicon is None else lexicon
        self._reader = HeadingReader(self.lexicon)
        self._roles = {name: category.role for name, category in self.lexicon.categories.items()}
        self._holders = _HOLDERS | {name for name, role in self._roles.items() if role in ("plan", "mixed")}

    def __reduce__(self) -> tuple[type[SectionFinder], tuple[Lexicon]]:
        return SectionFinder, (self.lexicon,)

    def find(self, text: str) -> list[Section]:
        """The sections of a note in order; they never overlap. Never raises on any text."""
        return self.find_with_rejected(text)[0]

    def find_with_rejected(self, text: str) -> tuple[list[Section], list[RejectedHeading]]:
        """The sections, and the headings of the lexicon that a guard or their place refused."""
        plain = read_plain(text)
        view = self._reader.view(plain.text)
        candidates, closings = self._reader.candidates(view)
        headings, rejected = self._resolve(view, candidates)
        sections = self._sections(plain.text, view, headings, closings)
        if plain.is_given:
            return sections, rejected
        return [_as_given(plain, section) for section in sections], [
            RejectedHeading(*plain.span_given(refused.start, refused.end), refused.reason)
            for refused in rejected
        ]

    def _resolve(
        self, view: str, candidates: list[Candidate]
    ) -> tuple[list[_Heading], list[RejectedHeading]]:
        """Decides from the context which candidates are headings of sections."""
        headings: list[_Heading] = []
        rejected: list[RejectedHeading] = []
        letters: dict[int, str] | None = None
        parent = _Open(_NO_PHRASE)
        holders = self._holders
        listed = -1  # where the last item of a list ends that is no heading
        for phrase, line, alone, after_blank in candidates:
            begin, end, after = line + phrase.start, line + phrase.end, line + phrase.after
            category, rule = phrase.category, phrase.rule
            if phrase.item and alone and not (phrase.colon or phrase.marked or after_blank):
                follows = listed >= 0 and _is_bare(view, listed, line)
                if follows or _begins_list(view, line, parent):
                    listed = end
                    continue
            if rule == "soap_letter":
                if letters is None:
                    letters = letters_of_sets(view, candidates)
                if begin not in letters:
                    continue
                category = letters[begin]
            may_begin = True
            if phrase.guards and (guard := phrase.guards.refusing(view, begin, after)):
                category = guard.becomes
                if category is None:
                    may_begin = len(phrase.text) > _LONGEST_ABBREVIATION  # "EF: 55 %" is a value
                    rejected.append(RejectedHeading(begin, end, guard.reason))
            if phrase.refused:
                rejected.append(RejectedHeading(begin, end, phrase.refused))
            if rule == "lead_in" and not alone:
                continue
            if category is None or (category == UNKNOWN and _is_problem(phrase, parent)):
                directly = not after_blank and _is_bare(view, parent.after, begin)
                if (
                    not may_begin
                    or _is_bold_text(phrase, parent, directly=directly)
                    or not _begins_unknown(phrase, parent, alone=alone, after_blank=after_blank)
                ):
                    parent.has_topics |= phrase.topic
                    continue
                category, rule = UNKNOWN, "unknown"
            elif (parent.category in holders or category == parent.category or parent.phrase.depth) and (
                _is_part_of(phrase, category, parent, alone=alone, after_blank=after_blank)
                or _stands_deeper(view, line, parent, category)
                or (
                    (category == parent.category or _names_procedure(phrase, category, parent))
                    and not after_blank
                    and _is_bare(view, parent.after, begin)
                )
            ):
                if parent.category:
                    rejected.append(RejectedHeading(begin, end, "part_of_" + parent.category))
                continue
            elif not alone and _holds_items(phrase, parent) and _is_weaker(phrase, parent.phrase):
                rule = "item"
            if rule != "item":
                parent.phrase, parent.category, parent.role = phrase, category, self._roles[category]
                parent.after, parent.has_topics, parent.line = after, False, line
            headings.append((line + phrase.lead, begin, end, after, category, rule))
        return headings, rejected

    def _sections(self, text: str, view: str, headings: list[_Heading], closings: list[int]) -> list[Section]:
        sections: list[Section] = []
        categories = self.lexicon.categories
        end_of_text = len(text)
        upcoming = iter(closings)
        closing = next(upcoming, end_of_text)
        for heading, following in pairwise([*headings, (end_of_text, 0, 0, 0, "", "")]):
            _, start, end, after_heading, category, rule = heading
            after, high = after_heading, following[0]
            while closing < high:
                if closing > after:
                    if view[after:closing].strip(EDGE):
                        high = closing
                        break
                    if is_rule(view[closing : _line_end(view, closing)]):  # under the heading
                        after = _line_end(view, closing)
                closing = next(upcoming, end_of_text)
            body = view[after:high]
            if body[:2] == "- ":  # the British ":-"
                after, body = after + 1, body[1:]
            body = body.rstrip()
            while body[-1:] in _DRAWN and is_rule(last_line := body[body.rfind("\n") + 1 :]):
                body = body[: -len(last_line)].rstrip()  # before what follows
            if category in _OF_A_PROBLEM and following[4] in _OF_A_PROBLEM:
                body = _without_next_title(body)
            high = after + len(body) if body else min(after, high)
            low = high - len(body.lstrip(EDGE))
            while view[low : low + 1] in _UNDERLINES and is_rule(
                view[low : (end_of_line := _line_end(view, low, high))]
            ):
                low = high - len(view[end_of_line:high].lstrip(EDGE))
            if rule == "item" and (paragraph := _BLANK_LINE.search(view, low, high)) is not None:
                high = low + len(view[low : paragraph.start()].rstrip())
            sections.append(
                Section(
                    category,
                    categories[category].loinc,
                    text[start:end],
                    start,
                    end,
                    low,
                    high,
                    rule,
                    CONFIDENCE[rule],
                )
            )
        if sections and _is_title(sections[0], headings[0], view):
            del sections[0]
        return sections


def _is_title(first: Section, heading: _Heading, view: str) -> bool:
    """Is the first heading only the title of the note: "OPERATIVE NOTE" above its sections?"""
    lead, start, end, _, _, rule = heading
    return (
        first.body_start == first.body_end
        and rule in _RULES_OF_TITLES
        and not view[:lead].strip()
        and ":" not in view[end : _line_end(view, end)]
        and view[start:end].rsplit(None, 1)[-1].lower() in _TITLE_NOUNS
    )


def _as_given(plain: PlainText, section: Section) -> Section:
    heading = plain.span_given(section.heading_start, section.heading_end)
    body = plain.span_given(section.body_start, section.body_end)
    return section._replace(
        heading=plain.given[slice(*heading)],
        heading_start=heading[0],
        heading_end=heading[1],
        body_start=max(body[0], heading[1]),
        body_end=max(body[1], heading[1]),
    )


def _without_next_title(body: str) -> str:
    """The body under one problem without the title of the next, which stands before its first heading."""
    blank = max(body.rfind("\n\n"), 0)
    for gap in _BLANK_LINE.finditer(body, blank):
        blank = gap.start()
    title = body[blank:].strip() if blank else ""
    if not title or "\n" in title or len(title) > _LONGEST_TITLE or title[-1] in ".;,!?":
        return body
    return body[:blank].rstrip()


def _is_problem(phrase: HeadingPhrase, parent: _Open) -> bool:
    """Is it a problem or a system of the section that is open, marked by "#" under a heading that is not?"""
    return phrase.depth > 0 and not parent.phrase.depth and bool(parent.category)


def _is_bare(view: str, start: int, end: int) -> bool:
    """Is there nothing but blanks, colons, markup and rules from `start` to `end`?"""
    return _BARE.fullmatch(view, start, end) is not None


def _begins_list(view: str, line: int, parent: _Open) -> bool:
    """Is the item the first of several, right under prose or a plan: "She will need:", "- Labs", "- TTE"?"""
    if _NEXT_LINE.match(view, line) is None:
        return False
    above = view[max(parent.after, view.rfind("\n", 0, max(line - 1, 0)) + 1) : line].strip()
    return above[0] != view[line] if above.strip(EDGE) else parent.role in ("plan", "mixed")


def _is_problem_of_course(phrase: HeadingPhrase, parent: _Open, *, alone: bool) -> bool:
    """Is it a problem of a hospital course that is called like a section: "# Dispo: to rehab."?"""
    return (
        parent.category == "hospital_course"
        and phrase.depth == 1
        and _is_problem(phrase, parent)
        and not (alone and phrase.rule in ("line_colon", "markup"))
    )


def _names_procedure(phrase: HeadingPhrase, category: str, parent: _Open) -> bool:
    """Is it what was done: "CT HEAD W/O CONTRAST" under "EXAMINATION:"?"""
    return category == "imaging" and parent.category == "procedure" and not phrase.colon


def _is_bold_text(phrase: HeadingPhrase, parent: _Open, *, directly: bool) -> bool:
    """Is it bold text: "**Allergic conjunctivitis**" under "## Assessment", or directly under "**Assessment**"?"""
    if not phrase.marked or phrase.depth or phrase.colon or parent.category in ("", UNKNOWN):
        return False
    return parent.phrase.depth > 0 or (parent.phrase.marked and directly)


def _begins_unknown(phrase: HeadingPhrase, parent: _Open, *, alone: bool, after_blank: bool) -> bool:
    """Does this heading, which the lexicon does not know, begin a section of its own?"""
    if (phrase.item and not phrase.depth) or _is_problem(phrase, parent):
        return False
    if phrase.text[-1] == "?" and parent.category in _INSTRUCTIONS:
        return False
    if not (phrase.colon or phrase.marked or after_blank):
        return False
    if not parent.category:
        return phrase.caps or phrase.marked or (alone and not phrase.topic)
    if phrase.topic:
        return (
            phrase.caps
            and (after_blank or (phrase.colon and parent.phrase.caps))
            and parent.category in _WITHOUT_TOPICS
        )
    if parent.role in ("plan", "mixed"):  # the titles of problems stay in the plan
        return after_blank and phrase.caps and parent.phrase.caps and phrase.ends_as_heading
    if parent.category in _WITH_SUBHEADINGS and not after_blank:
        return False
    return phrase.caps or phrase.marked or alone


def _is_weaker(phrase: HeadingPhrase, parent: HeadingPhrase) -> bool:
    """Is the heading set with less weight than the one it follows, as a sub-heading is?"""
    if phrase.item != parent.item:
        return phrase.item
    if phrase.depth or parent.depth:  # a single "#" under a plain heading is a bullet
        return phrase.depth > parent.depth if parent.depth else phrase.depth == 1
    if phrase.marked or parent.marked:
        return not phrase.marked
    return parent.caps and not phrase.caps and len(parent.text) > _LONGEST_ABBREVIATION


def _holds_items(phrase: HeadingPhrase, parent: _Open) -> bool:
    """May the open section hold a heading that is an item of it, whose body ends with its paragraph?"""
    return parent.role == "mixed" or (phrase.item and parent.category in _JUDGEMENTS)


def _is_part_of(
    phrase: HeadingPhrase, category: str, parent: _Open, *, alone: bool, after_blank: bool
) -> bool:
    """Is this heading of the lexicon a part of the section it stands in?"""
    if not parent.category:  # "Date: 4/12" above the first section
        return category == UNKNOWN and not (phrase.caps or phrase.marked or alone)
    if category in _NEVER_PARTS:
        return False
    if phrase.text[-1] == "?" and parent.category in _INSTRUCTIONS:  # of a letter to the patient
        return True
    if phrase.rule == "soap_letter" and category != parent.category:
        return False
    weaker = _is_weaker(phrase, parent.phrase)
    if _is_problem_of_course(phrase, parent, alone=alone):
        return True
    if category == "problem_list" and parent.category == "hospital_course":
        return True
    if phrase.item and parent.phrase.depth and not (phrase.colon or phrase.marked):  # a list under a title
        return True
    if parent.category == "physical_exam" and category in _PARTS_OF_EXAM:
        return weaker or not after_blank
    if category == parent.category and not after_blank:
        if (
            category == "plan"
            and parent.phrase.text.lower().endswith("plan")
            and "plan" not in phrase.text.lower()
        ):
            return True
        return weaker or category in ("diagnosis", "social_history")
    if not weaker or parent.role not in ("plan", "mixed"):
        return False
    if parent.role == "mixed" and (category in _PARTS_OF_MIXED or (category == UNKNOWN and after_blank)):
        return False
    if phrase.item or phrase.depth > 0:
        return True
    # no matter how the heading of the plan is set, a history does not stand in it, nor what a blank line sets apart
    own_line = phrase.colon or phrase.marked or alone
    if own_line and after_blank and category == "medications" and _TAKEN.search(phrase.text):
        return False
    if own_line and (category in _OUTSIDE_PLAN or (after_blank and not parent.has_topics)):
        return False
    return parent.has_topics or category not in _AFTER_PLAN


def _indent(view: str, line: int) -> int:
    """Blanks before the first word of a line, which stands at `line`; 0 inside a line."""
    before = view[max(0, line - _DEEPEST_INDENT) : line]
    start = line - len(before) + len(before.rstrip(" \t"))
    return line - start if start == 0 or view[start - 1] == "\n" else 0


def _stands_deeper(view: str, line: int, parent: _Open, category: str) -> bool:
    """Is the heading indented under the plan that is open, as "  LAB: CBC" is?"""
    return (
        parent.role in ("plan", "mixed")
        and category not in _OUTSIDE_PLAN
        and category not in _AFTER_PLAN
        and _indent(view, line) > _indent(view, parent.line)
    )


def _line_end(text: str, start: int, limit: int | None = None) -> int:
    end = text.find("\n", start, limit)
    return end if end >= 0 else len(text) if limit is None else limit


class HeadedSections:
    """spaCy component: `nlp.add_pipe("headed_sections", config={"lexicons": ["site.toml"]})`.

    doc.spans["sections"] runs from each heading to the end of its body, doc.spans["headings"] has the headings alone;
    the label is the category, the kb_id its LOINC code. Offsets that fall inside a token are widened to it.
    """

    def __init__(self, lexicon: Lexicon) -> None:
        self.finder = SectionFinder(lexicon)

    def __call__(self, doc: Doc) -> Doc:
        spans: dict[str, list[Span]] = {"sections": [], "headings": []}
        for section in self.finder.find(doc.text):
            start, end = section.heading_start, section.heading_end
            for group, stop in (("sections", max(end, section.body_end)), ("headings", end)):
                span = doc.char_span(
                    start, stop, section.category, kb_id=section.loinc or "", alignment_mode="expand"
                )
                if span is not None:
                    spans[group].append(span)
        doc.spans.update(spans)
        return doc

    def to_bytes(self, **_: Any) -> bytes:
        return json.dumps(self.finder.lexicon.extra_sources).encode()

    def from_bytes(self, data: bytes, **_: Any) -> HeadedSections:
        self.finder = SectionFinder(Lexicon((name, text) for name, text in json.loads(data)))
        return self

    def to_disk(self, path: str | Path, **_: Any) -> None:
        Path(path).write_bytes(self.to_bytes())

    def from_disk(self, path: str | Path, **_: Any) -> HeadedSections:
        return self.from_bytes(Path(path).read_bytes())


def __getattr__(name: str) -> Any:
    # spaCy asks for the factory by its entry point; the bulk path never loads spaCy
    if name != "make_headed_sections":
        raise AttributeError(name)
    from spacy.language import Language

    def make_headed_sections(nlp: Language, name: str, lexicons: list[str]) -> HeadedSections:  # noqa: ARG001
        return HeadedSections(Lexicon.load(*map(Path, lexicons)))

    return Language.factory("headed_sections", default_config={"lexicons": []}, func=make_headed_sections)


_NO_PHRASE = HeadingPhrase(
    0, 0, 0, 0, "", None, "", False, False, 0, False, False, False, False, False, None, None
)
_DRAWN = frozenset("-_=*~")
_UNDERLINES = frozenset("-=~")
_LONGEST_ABBREVIATION = 3  # "A/P" and "HPI" are in capitals whatever the style of the note
_EXAMINATION = frozenset({"physical_exam", "vital_signs", "mental_status_exam", "review_of_systems"})
_WITH_SUBHEADINGS = _EXAMINATION | {"findings"}
_PARTS_OF_EXAM = _EXAMINATION - {"review_of_systems"}
_WITHOUT_TOPICS = frozenset(
    {
        "unknown",
        "allergies",
        "medications",
        "discharge_medications",
        "goals",
        "indication",
        "social_history",
        "disposition",
    }
)
_INSTRUCTIONS = frozenset({"discharge_instructions", "patient_instructions"})
# sections that a heading of another category may be a part of, beside plans
_HOLDERS = _INSTRUCTIONS | {"", "hospital_course", "physical_exam", "procedure"}
_OUTSIDE_PLAN = frozenset(
    {
        *(
            "chief_complaint",
            "reason_for_visit",
            "history_of_present_illness",
            "interval_history",
            "subjective",
            "objective",
        ),
        *(
            "past_medical_history",
            "past_surgical_history",
            "family_history",
            "social_history",
            "review_of_systems",
        ),
        *(
            "vital_signs",
            "physical_exam",
            "mental_status_exam",
            "plan",
            "assessment_and_plan",
            "assessment",
            "hospital_course",
        ),
        *(
            "preoperative_diagnosis",
            "postoperative_diagnosis",
            "indication",
            "findings",
            "anesthesia",
            "specimens",
        ),
        *("estimated_blood_loss", "complications", "signature", "addendum"),
    }
)
_OF_A_PROBLEM = frozenset({"assessment", "plan", "assessment_and_plan", "subjective", "findings"})
_LONGEST_TITLE = 70
_RULES_OF_TITLES = frozenset({"line_alone", "markup", "qualified", "joined"})
_TITLE_NOUNS = frozenset(
    {"note", "report", "evaluation", "assessment", "summary", "consultation", "contrast", "views", "exam"}
)
_NEVER_PARTS = frozenset({"addendum", "signature"})
_AFTER_PLAN = frozenset(
    {"follow_up", "disposition", "recommendations", "patient_instructions", "discharge_instructions", "goals"}
)
_BARE = re.compile(rf"[\s{EDGE.strip()}=]*+")
_DEEPEST_INDENT = 40
_NEXT_LINE = re.compile(r"(?:(?P<mark>[^\w\s])|\d)[^\n]*\n[ \t]*(?(mark)(?P=mark)|\d)")  # with the same mark
_JUDGEMENTS = frozenset({"assessment", "impression"})
_PARTS_OF_MIXED = frozenset({"plan", "assessment", "assessment_and_plan"})
_TAKEN = re.compile(
    r"\b(?:current|home|outpatient|inpatient|facility|prior|admission|PTA|scheduled)\b", re.IGNORECASE
)
_BLANK_LINE = re.compile(r"\n\s*\n")
