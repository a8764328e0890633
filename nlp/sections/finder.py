"""Headed sections of a clinical note: headings with their category, and the body under each heading.

candidates.py reads heading candidates. This module decides by their context which of them are headings: by guards,
S/O/A/P sets, and the section that is open at the candidate (placement.py). bodies.py finds the bodies.
"""

from __future__ import annotations

from rubricator.nlp.lexicon.categories import UNKNOWN
from rubricator.nlp.lexicon.lexicon import Lexicon
from rubricator.nlp.plain_text.plain import PlainText, read_plain
from rubricator.nlp.sections.bodies import Heading, with_bodies
from rubricator.nlp.sections.candidates import HeadingReader
from rubricator.nlp.sections.heading_phrase import Candidate
from rubricator.nlp.sections.letter_sets import letters_of_sets
from rubricator.nlp.sections.placement import (
    LONGEST_ABBREVIATION,
    OpenSection,
    begins_unknown,
    is_item,
    is_listed,
    is_part,
    is_problem,
)
from rubricator.nlp.sections.section import CONFIDENCE, SECTIONS_SCHEMA, RejectedHeading, Section

__all__ = ["CONFIDENCE", "SECTIONS_SCHEMA", "RejectedHeading", "Section", "SectionFinder"]


class SectionFinder:
    """Finds the headed sections of notes. Its pickle is small, because its caches are left out."""

    def __init__(self, lexicon: Lexicon | None = None) -> None:
        self.lexicon = Lexicon.load() if lexicon is None else lexicon
        self._reader = HeadingReader(self.lexicon)
        self._categories = self.lexicon.categories
        self._lettered = self.lexicon.of_kind("lettered")
        self._by_problem = self.lexicon.of_kind("by_problem")

    def __reduce__(self) -> tuple[type[SectionFinder], tuple[Lexicon]]:
        return SectionFinder, (self.lexicon,)

    def find(self, text: str) -> list[Section]:
        """The sections of a note in order, without overlaps. Offsets point into the text as given. Never raises."""
        return self.find_with_rejected(text)[0]

    def find_with_rejected(self, text: str) -> tuple[list[Section], list[RejectedHeading]]:
        """The sections, and the headings of the lexicon that were refused, by a guard or as a part of a section."""
        plain = read_plain(text)
        view = self._reader.view(plain.text)
        candidates, closings = self._reader.candidates(view)
        headings, rejected = self._decide(view, candidates)
        sections = with_bodies(plain.text, view, headings, closings, self.lexicon, self._by_problem)
        if plain.is_given:
            return sections, rejected
        return [_as_given(plain, section) for section in sections], [
            RejectedHeading(*plain.span_given(refused.start, refused.end), refused.reason)
            for refused in rejected
        ]

    def _decide(self, view: str, candidates: list[Candidate]) -> tuple[list[Heading], list[RejectedHeading]]:
        """The candidates that are headings of sections, and the refused ones that the lexicon knows."""
        headings: list[Heading] = []
        rejected: list[RejectedHeading] = []
        letters: dict[int, str] | None = None
        open_section = OpenSection()
        listed = -1  # where the last list item that is not a heading ends; -1 for none
        for candidate in candidates:
            phrase, line, alone, after_blank = candidate
            category, rule = phrase.category, phrase.rule
            maybe_listed = phrase.item and alone and not (phrase.colon or phrase.marked or after_blank)
            if maybe_listed and is_listed(view, line, open_section, listed):
                listed = line + phrase.end
                continue
            if rule == "soap_letter":
                if letters is None:
                    letters = letters_of_sets(view, candidates, self._lettered)
                category = letters.get(line + phrase.start)
                if category is None:
                    continue
            may_begin = True
            if phrase.guards or phrase.refused:
                category, may_begin = _ask_guards(view, candidate, category, rejected)
            if rule == "lead_in" and not alone:
                continue
            if category is None or (category == UNKNOWN and is_problem(phrase, open_section)):
                if not (may_begin and begins_unknown(view, candidate, open_section)):
                    open_section.has_topics |= phrase.topic
                    continue
                category, rule = UNKNOWN, "unknown"
            elif is_part(view, candidate, self._categories[category], open_section):
                if open_section.category.name:
                    reason = f"part_of_{open_section.category.name}"
                    rejected.append(RejectedHeading(line + phrase.start, line + phrase.end, reason))
                continue
            elif not alone and is_item(phrase, open_section):
                rule = "item"
            if rule != "item":
                open_section.begin(phrase, self._categories[category], line)
            headings.append((candidate, category, rule))
        return headings, rejected


def _ask_guards(
    view: str, candidate: Candidate, category: str | None, rejected: list[RejectedHeading]
) -> tuple[str | None, bool]:
    """The category of a candidate after its guards, and whether it may begin an unknown section if it has none."""
    phrase, line, *_ = candidate
    begin, end = line + phrase.start, line + phrase.end
    may_begin = True
    if phrase.guards and (guard := phrase.guards.refusing(view, begin, line + phrase.after)):
        category = guard.becomes
        if category is None:
            may_begin = len(phrase.text) > LONGEST_ABBREVIATION  # "EF: 55 %" is a value
            rejected.append(RejectedHeading(begin, end, guard.reason))
    if phrase.refused:
        rejected.append(RejectedHeading(begin, end, phrase.refused))
    return category, may_begin


def _as_given(plain: PlainText, section: Section) -> Section:
    """A section of the plain text, with offsets into the text as given."""
    heading = plain.span_given(section.heading_start, section.heading_end)
    body = plain.span_given(section.body_start, section.body_end)
    return section._replace(
        heading=plain.given[slice(*heading)],
        heading_start=heading[0],
        heading_end=heading[1],
        body_start=max(body[0], heading[1]),
        body_end=max(body[1], heading[1]),
    )
