"""The lexicon of section headings: the category of a phrase, and other facts about it.

Its files are headings.toml, the files of other languages next to it, and the user's own files in the same format.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from rubricator.nlp.lexicon.categories import UNKNOWN, Kind
from rubricator.nlp.lexicon.compound import CompoundHeadings, Match
from rubricator.nlp.lexicon.contents import Contents
from rubricator.nlp.lexicon.file_format import LexiconError, parse_lexicon
from rubricator.nlp.lexicon.guards import Guard, Guards
from rubricator.nlp.lexicon.normal_form import normalise
from rubricator.nlp.lexicon.spellings import SOAP_LETTERS
from rubricator.nlp.lexicon.typos import Corrections
from rubricator.nlp.module_data import text_beside
from rubricator.nlp.words.tokens import word_set

# other folders import these names from here
__all__ = ["UNKNOWN", "Lexicon", "LexiconError", "Match", "normalise"]


class Lexicon:
    """Categories of heading phrases. Build with `Lexicon.load`. Its pickle holds only the user's files as text.

    A user's file has priority: its variants belong to its categories, whatever the built-in files say. No guard, topic
    or `with_colon` of the built-in files refuses these variants; guards of the user's files do.
    """

    def __init__(self, sources: Iterable[tuple[str, str]] = ()) -> None:
        """`sources`: (name, TOML text) of the user's files, read after the built-in ones. Raises LexiconError."""
        self.extra_sources = tuple(sources)
        contents, self._spelt = _read(self.extra_sources)
        self.categories = contents.categories
        self.variants = contents.variants
        self.guards = contents.guards
        self.topics = contents.topics
        self._lead_ins = contents.lead_ins
        self._with_colon = contents.with_colon
        self._named = contents.named
        self._compounds = CompoundHeadings(contents)
        self._corrections = Corrections(" ".join(self._spelt).split(), contents.real_words)
        last_words = {key.rpartition(" ")[2] for key in self.variants}
        self.last_words = last_words | SOAP_LETTERS
        self.heading_nouns = {word for word in last_words if word.isalpha()} - contents.problem_nouns
        self.first_words = _first_words(contents)
        self._guard_numbers = {
            name: [
                n for n, guard in enumerate(self.guards) if not guard.categories or name in guard.categories
            ]
            for name in self.categories
        }
        self._guards_together: dict[tuple[int, ...], Guards] = {}
        self._exact_matches: dict[str, Match | None] = {}
        self._loose_matches: dict[str, Match | None] = {}

    @classmethod
    def load(cls, *extra: Path) -> Lexicon:
        """The built-in lexicon, extended by the user's TOML files. Raises LexiconError (names file and key)."""
        if not extra:
            return _built_in()
        sources = []
        for path in extra:
            try:
                sources.append((str(path), path.read_text("utf-8-sig")))
            except FileNotFoundError:
                raise LexiconError(f"{path}: there is no such file") from None
            except (OSError, UnicodeDecodeError) as error:
                raise LexiconError(f"{path}: cannot be read as UTF-8 text ({type(error).__name__})") from None
        return cls(sources)

    def __reduce__(self) -> tuple[Any, ...]:
        return (Lexicon, (self.extra_sources,)) if self.extra_sources else (_built_in, ())

    def match(self, phrase: str, *, loose: bool = True) -> Match | None:
        """The category of a heading phrase, and how it was recognised; None for a phrase that is not known.

        `loose` also allows dates and brackets ("Plan 4/12", "Plan (cont.)"), qualifiers ("Plan for tonight"), joined
        headings ("Impression, plan and follow-up") and typos in long words ("ASSESMENT"). Without it, only the variants
        themselves match.
        """
        if len(phrase) > _LONGEST_PHRASE:
            return None
        memory = self._loose_matches if loose else self._exact_matches
        if phrase not in memory:
            if len(memory) > _CACHE_SIZE:
                memory.clear()
            memory[phrase] = self._match(phrase, loose)
        return memory[phrase]

    def _match(self, phrase: str, loose: bool) -> Match | None:
        key = normalise(phrase)
        category = self.variants.get(key)
        if category is not None:
            return Match(category, "exact")
        if _SPACED_CAPITALS.fullmatch(phrase):
            spelled = self._squashed.get(key.replace(" ", ""))
            return Match(self.variants[spelled], "exact") if spelled else None
        return self._match_loosely(phrase, key) if loose and key else None

    def _match_loosely(self, phrase: str, key: str) -> Match | None:
        plain, dated = _without_remarks(phrase)
        if plain is not phrase:
            key = normalise(plain)
            if (category := self.variants.get(key)) is not None:
                return Match(category, "dated")
            if (category := self._spelled_out(phrase, key)) is not None:
                return Match(category, "qualified")
        found = self._compounds.match(key, plain)
        if found is not None:
            beside_date = dated or key.endswith(_CONTINUED)
            return Match(found.category, "dated") if beside_date and found.how == "qualified" else found
        corrected = self._corrections.correct(key)
        if corrected == key:
            return None
        if (category := self.variants.get(corrected)) is not None:
            return Match(category, "typo")
        found = self._compounds.match(corrected, "")
        return found and Match(found.category, "typo")

    def _spelled_out(self, phrase: str, key: str) -> str | None:
        """The category that is named in brackets after an abbreviation: "S (Subjective)"."""
        named = _IN_BRACKETS.search(phrase) if len(key) < _LONGEST_ABBREVIATION else None
        return self.variants.get(normalise(named[1])) if named else None

    @cached_property
    def _squashed(self) -> dict[str, str]:
        """Variants by their spelling without blanks."""
        return {key.replace(" ", ""): key for key in self.variants if len(key) > 3 and key in self._spelt}

    def of_kind(self, kind: Kind) -> set[str]:
        """The names of the categories of this kind."""
        return {name for name, category in self.categories.items() if category.has(kind)}

    def is_topic(self, phrase: str) -> bool:
        """Whether the phrase names a body system or a common problem: content of an examination or a plan."""
        key = normalise(phrase)
        if key in self.topics:
            return True
        parts = key.split(" and ")
        return len(parts) > 1 and all(part in self.topics for part in parts)

    def needs_colon(self, phrase: str) -> bool:
        """Whether the phrase is too common to be a heading without a colon, capitals or markup."""
        return normalise(phrase) in self._with_colon

    def is_named(self, phrase: str) -> bool:
        """Whether the phrase is a variant of the user's own files."""
        return normalise(phrase) in self._named

    def lead_in(self, phrase: str) -> str | None:
        """The category of the section that a sentence such as "The plan is as follows" opens; else None."""
        key = normalise(phrase, keep_the=True)
        return next((category for category, sentence in self._lead_ins if sentence.fullmatch(key)), None)

    def refusal(self, phrase: str) -> str | None:
        """The reason of the guard that refuses a phrase which only ends like a heading ("Meal plan"); else None."""
        if _SENTENCE_END.search(phrase):
            return None
        words = normalise(phrase, keep_the=True).split()
        if not 1 < len(words) <= _MOST_REFUSED_WORDS or words[-1] not in self.last_words:
            return None
        heading = " ".join(words)
        for skip in range(1, len(words)):
            category = self.variants.get(" ".join(words[skip:]))
            if category is not None:
                guards = (self.guards[number] for number in self._guard_numbers[category])
                reasons = (
                    guard.reason for guard in guards if guard.is_final and self._concerns(guard, heading)
                )
                return next(reasons, None)
        return None

    def guards_of(self, category: str, phrase: str) -> Guards | None:
        """The guards that may refuse a heading of this category, by the heading or by the text around it."""
        heading = normalise(phrase, keep_the=True)
        numbers = tuple(n for n in self._guard_numbers[category] if self._concerns(self.guards[n], heading))
        if not numbers:
            return None
        if numbers not in self._guards_together:
            self._guards_together[numbers] = Guards([self.guards[number] for number in numbers])
        return self._guards_together[numbers]

    def _concerns(self, guard: Guard, heading: str) -> bool:
        """Whether a guard may refuse this normalised heading. A built-in one never refuses a variant of the user's."""
        if not guard.concerns(heading):
            return False
        if guard.is_own or not self._named:
            return True
        named = self._named_variant(heading)
        return not (named and guard.concerns(named))

    def _named_variant(self, heading: str) -> str | None:
        """The longest variant of the user's files inside a heading."""
        key = normalise(heading)
        for form in dict.fromkeys((key, self._corrections.correct(key))):
            words = form.split()
            for length in range(len(words), 0, -1):
                for start in range(len(words) - length + 1):
                    part = " ".join(words[start : start + length])
                    if part in self._named:
                        return part
        return None


@cache
def _built_in() -> Lexicon:
    return Lexicon()


def _read(extra: tuple[tuple[str, str], ...]) -> tuple[Contents, set[str]]:
    """The contents of all files, and the phrases in which typos are corrected.

    These are the English phrases and those of the user's files. Words of other built-in languages are left out, because
    they are too often similar to English words.
    """
    contents = Contents()
    contents.add(_BUILT_IN, parse_lexicon(_BUILT_IN, text_beside(__name__, _BUILT_IN), ()), own=False)
    spelt = contents.phrases
    for name in _OTHER_LANGUAGES:
        contents.add(name, parse_lexicon(name, text_beside(__name__, name), ()), own=False)
    if extra:
        built_in = contents.phrases
        for name, text in extra:
            contents.add(name, parse_lexicon(name, text, contents.categories), own=True)
        spelt |= (contents.phrases - built_in) | contents.named
        contents.topics -= contents.named
    return contents, spelt


def _first_words(contents: Contents) -> set[str]:
    """The words that may begin a heading without a colon, in lower case, capitalised and in upper case.

    A line that begins with "The" or "No" is prose, unless a variant of the user's files begins so.
    """
    starts = {key.split(" ", 1)[0] for key in contents.variants.keys() | contents.before}
    # "24 hour events"
    starts |= {key.split(" ", 2)[1] for key in contents.variants if key[0].isdigit() and " " in key}
    prose = _STARTS_OF_PROSE - {key.split(" ", 1)[0] for key in contents.named}
    return {
        form
        for word in starts
        for form in ((word, word.capitalize(), word.upper()) if word not in prose else (word.upper(),))
    }


def _without_remarks(phrase: str) -> tuple[str, bool]:
    """The phrase without bracketed remarks and dates, and whether a date with words before it was removed.

    Words before a date are removed with it: "ED course as of 3/4/20".
    """
    plain, dated = phrase, False
    if "(" in plain or "[" in plain or "{" in plain:
        plain = _BRACKETS.sub(" ", plain)
    if any(map(str.isdigit, plain)):
        plain, times = _DATED_BY.subn(" ", _DATES.sub("\0", plain))
        dated = times > 0
        plain = plain.replace("\0", " ")
    return plain, dated


_BUILT_IN = "headings.toml"
# All languages are used for every note. A word with another meaning in another language has a guard.
_OTHER_LANGUAGES = ["headings_es.toml", "headings_fr.toml", "headings_nl.toml", "headings_de.toml"]
_LONGEST_PHRASE = 100  # characters; a longer phrase is prose
_LONGEST_ABBREVIATION = 6  # characters; a bracket after it may spell it out
_MOST_REFUSED_WORDS = 8
_CACHE_SIZE = 50_000
_SENTENCE_END = re.compile(r"[.!?;:]\s")
_BRACKETS = re.compile(r"[(\[{][^()\[\]{}]*(?:[(\[{][^()\[\]{}]*[)\]}][^()\[\]{}]*)*[)\]}]?")
_IN_BRACKETS = re.compile(r"[(\[{]([^()\[\]{}]+)[)\]}]?")
_CONTINUED = (" continued", " cont", " contd", " cont d")
_DATED_BY = re.compile(
    r"(?:\s+(?:as of|at|on|from|dated|of|date|for|updated|reviewed|,|-)|,)+[\s.,:@-]*\0(?:[\s.,:@\0-]|\bat\b)*",
    re.IGNORECASE,
)
_SPACED_CAPITALS = re.compile(r"[A-Za-z&/](?:[ \t.-]{1,4}[A-Za-z&/]){2,}\.?")
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sept?|oct|nov|dec)[a-z]*\.?"
_DATES = re.compile(
    r"\b(?:mon|tues|wednes|thurs|fri|satur|sun)day\b,?|\b\d{1,4}[/.-]\d{1,2}(?:[/.-]\d{2,4})?\b"
    rf"|\b{_MONTH}\s+\d{{1,2}}(?:st|nd|rd|th)?(?:,?\s*\d{{4}})?\b"
    rf"|\b\d{{1,2}}(?:st|nd|rd|th)?\s+{_MONTH}(?:,?\s*\d{{4}})?\b|\b\d{{1,2}}:\d{{2}}(?::\d\d)?(?:\s*[ap]\.?m\b\.?)?"
    r"|\b\d{3,4}\s?(?:h|hrs?|hours)\b|(?<=\d\s)\d{4}\b|#\s?\d+|\b(?:19|20)\d\d\b",
    re.IGNORECASE,
)
_STARTS_OF_PROSE = word_set(
    "the a an i we no in on after to for it de la le el les los las die der das het een en"
)
