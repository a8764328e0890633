"""A phrase that looks like a heading: its form and place in the line, and what the lexicon says about it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from rubricator.nlp.hidden_text import hides_text
from rubricator.nlp.lexicon.categories import UNKNOWN
from rubricator.nlp.lexicon.guards import Guards
from rubricator.nlp.lexicon.lexicon import Lexicon
from rubricator.nlp.sections.letter_sets import letter_categories
from rubricator.nlp.sections.lines import first_words
from rubricator.nlp.words.tokens import LETTER


@hides_text("category", "rule", "refused")
@dataclass(frozen=True, slots=True)
class HeadingPhrase:
    """A phrase at the beginning of a line or of a clause. Offsets count from the start of the line or the clause."""

    lead: int  # where the bullet, enumerator or markup begins
    start: int
    end: int
    after: int  # where the text that follows the phrase and its colon or markup begins
    text: str
    category: str | None  # None: not in the lexicon, or a single letter
    rule: str  # how it was recognised, a key of section.CONFIDENCE
    caps: bool  # in capitals
    item: bool  # follows a bullet or an enumerator
    depth: int  # level of a markdown heading, 0 for none
    marked: bool  # bold, markdown or HTML heading
    colon: bool
    topic: bool  # a body system or a common problem
    ends_as_heading: bool  # its last word is the last word of some heading of the lexicon
    may_begin_closing: bool  # perhaps a signature, boilerplate or a page header
    guards: Guards | None  # the guards that may refuse it, by the text around it
    refused: str | None  # the reason code of a guard, for a phrase that only ends like a heading: "Meal plan"


# A phrase; the offset in the note that its offsets count from; whether nothing follows it on its line; whether it
# follows a blank line.
Candidate = tuple[HeadingPhrase, int, bool, bool]


class Named(NamedTuple):
    """The category that a phrase names, and the rule that recognised it."""

    category: str | None  # None: not in the lexicon, or a single letter
    rule: str


class Setting(NamedTuple):
    """How a phrase is set off from the text around it."""

    item: bool = False
    depth: int = 0
    marked: bool = False
    colon: bool = False


NOT_SET_OFF, BEFORE_COLON = Setting(), Setting(colon=True)


class PhraseReader:
    """Looks up in the lexicon what can be said about a phrase alone."""

    def __init__(self, lexicon: Lexicon) -> None:
        self.lexicon = lexicon
        self.closing_words, self.page_words = first_words()

    def read(
        self, text: str, named: Named, *, lead: int, begin: int, after: int, setting: Setting = NOT_SET_OFF
    ) -> HeadingPhrase:
        """The phrase `text` at offset `begin`. The text after it begins at `after`, its bullet or markup at `lead`."""
        category = named.category
        guarded = category or letter_categories().get(text.upper())
        caps = text.isupper()
        return HeadingPhrase(
            lead=lead,
            start=begin,
            end=begin + len(text),
            after=after,
            text=text,
            category=category,
            rule=named.rule,
            caps=caps,
            item=setting.item,
            depth=setting.depth,
            marked=setting.marked,
            colon=setting.colon,
            topic=category is None and self.lexicon.is_topic(text),
            ends_as_heading=text.rsplit(None, 1)[-1].lower() in self.lexicon.heading_nouns,
            may_begin_closing=(category is None or (category == UNKNOWN and not caps))
            and self._begins_mark(text),
            guards=self.lexicon.guards_of(guarded, text) if guarded else None,
            refused=None if guarded else self.lexicon.refusal(text),
        )

    def _begins_mark(self, text: str) -> bool:
        word = FIRST_WORD.match(text)
        return word is not None and (word[1] in self.closing_words or word[1] in self.page_words)


EDGE = " \t\n:*_"  # characters around a heading or a body that are not part of it
LETTERS = frozenset("SOAPIERDBFGsoapierdbfg")  # single letters that may be headings; see letter_sets.toml
LETTER_CLASS = "[SOAPIERDBFG]"
SHORT_NAMES = frozenset(
    {"A/P", "A&P", "A+P", "I/P", "HPI", "PMH", "PSH", "ROS", "CC", "PE", "FH", "SH", "IMP"}
)
LONGEST_PHRASE = 80  # characters
MOST_TITLE_WORDS = 7
ENDS_OF_PROSE = (".", ",", ";")
FIRST_WORD = re.compile(
    rf"[\W\d_]{{0,80}}(?:\(?(?:\d{{1,2}}|[ivxIVX]{{1,5}}|[A-Za-z])[.)]\W{{0,4}})?({LETTER}+)"
)
