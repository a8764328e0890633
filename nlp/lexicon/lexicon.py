"""The lexicon of section headings: categories, variants, guards (headings.toml and a user's files of its shape)."""

from __future__ import annotations

import re
import string
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache, cached_property, lru_cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from rapidfuzz import process
from rapidfuzz.distance import OSA

from rubricator.nlp.errors import RubricatorError
from rubricator.nlp.words.accents import without_accents

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Role = Literal["plan", "mixed", "not-plan", "neutral"]
How = Literal["exact", "dated", "qualified", "joined", "typo"]
UNKNOWN = "unknown"

_BUILT_IN = Path(__file__).with_name("headings.toml")
# On every note: a site writes in one language, and a word that means something else in another stands behind a guard.
_OTHER_LANGUAGES = [_BUILT_IN.with_name(f"headings_{language}.toml") for language in ("es", "fr", "nl", "de")]
_SHORTEST_TYPO_ALONE = 7  # letters; a shorter word with another letter is too often another word
_SHORTEST_TYPO = 5  # beside words that are right
_SHORTEST_DOUBLE_TYPO = 12
_LONGEST_PHRASE = 100  # characters; a longer phrase is prose
_SEEN_BEFORE, _SEEN_AFTER = 100, 160  # characters before and after a heading that guards look at
_LONGEST_ABBREVIATION = 6  # characters, of what a bracket after it may spell out
_MOST_WORDS_AFTER = 6  # of "for tonight", "by Jane Roe, MD"
_LONGEST_VARIANT = 80  # characters; what is longer is not looked at as a heading, nor is what has more words
_MOST_WORDS = 15

_LETTERS = frozenset("soap")  # S: O: A: P: are headings too
_CACHE_SIZE = 50_000


class LexiconError(RubricatorError):
    """A lexicon file is not usable; says which file, which key, and what to change."""


@dataclass(frozen=True, slots=True)
class Category:
    name: str
    loinc: str | None
    role: Role


@dataclass(frozen=True, slots=True)
class Guard:
    """A false friend: where all the given patterns match, the heading is refused for this reason."""

    reason: str
    categories: frozenset[str]  # empty: any heading
    heading: re.Pattern[str] | None
    body: re.Pattern[str] | None
    before: re.Pattern[str] | None
    becomes: str | None  # the category it is instead
    alone: bool | None = None  # asked only of a heading with nothing after it on its line, or only of others
    named: Callable[[str], str | None] | None = None  # the user's variant that a heading is a form of

    @property
    def is_final(self) -> bool:
        """Does the heading alone decide?"""
        return self.body is None and self.before is None and self.alone is None

    def concerns(self, heading: str) -> bool:
        """May it refuse this normalised heading of its categories? Not one that the user named in spite of it."""
        if not self._says(heading):
            return False
        named = self.named and self.named(heading)
        return not (named and self._says(named))

    def _says(self, heading: str) -> bool:
        return self.heading is None or self.heading.fullmatch(heading) is not None

    def refuses(self, text: str, start: int, after: int) -> bool:
        """Does what stands before `start` and from `after` on make a heading it concerns a false friend?"""
        if self.alone is not None and self.alone is not _is_line_end(text, after):
            return False
        return (
            self.body is None
            or self.body.match(text, _blanks_end(text, after), after + _SEEN_AFTER) is not None
        ) and (self.before is None or self.before.search(_line_before(text, start)) is not None)


class Guards:
    """The guards that concern one heading. Most headings are none of theirs: they are asked together first."""

    def __init__(self, guards: Sequence[Guard]) -> None:
        self._guards = guards
        self._always = any(guard.body is None and guard.before is None for guard in guards)
        self._body = _any_of(guard.body for guard in guards)
        self._before = _any_of(guard.before for guard in guards if guard.body is None)

    def refusing(self, text: str, start: int, after: int) -> Guard | None:
        """The first guard that refuses the heading which stands from `start` to `after`."""
        if not (
            self._always
            or (self._body and self._goes_on(text, _blanks_end(text, after), after + _SEEN_AFTER))
            or (self._before and self._stands_after(_line_before(text, start)))
        ):
            return None
        return next((guard for guard in self._guards if guard.refuses(text, start, after)), None)

    def _goes_on(self, text: str, start: int, end: int) -> bool:
        return any(pattern.match(text, start, end) for pattern in self._body)

    def _stands_after(self, before: str) -> bool:
        return any(pattern.search(before) for pattern in self._before)


def _any_of(patterns: Iterable[re.Pattern[str] | None]) -> list[re.Pattern[str]]:
    """Fewer patterns that match where one of these does. Those with groups or flags of their own stay by themselves."""
    wanted = [pattern for pattern in patterns if pattern is not None]
    alone = [pattern for pattern in wanted if pattern.groups or _OWN_FLAGS.match(pattern.pattern)]
    joined = [f"(?:{pattern.pattern})" for pattern in wanted if pattern not in alone]
    return ([re.compile("|".join(joined), re.IGNORECASE)] if joined else []) + alone


class Match(NamedTuple):
    category: str
    how: How


class Lexicon:
    """Headings by normalised name. Build with `Lexicon.load`; pickles as its source texts.

    What a user's file names wins: a variant of it belongs to its category whatever the built-in file says, and no
    guard, topic or `with_colon` of the built-in file refuses it. Its own guards do.
    """

    def __init__(self, sources: Iterable[tuple[str, str]] = ()) -> None:
        """`sources`: (name, TOML text) of the user's files, read after the built-in one. Raises LexiconError."""
        self.extra_sources = tuple(sources)
        self.categories: dict[str, Category] = {}
        self.variants: dict[str, str] = {}
        self.guards: list[Guard] = []
        self.topics: set[str] = set()
        self._lead_ins: list[tuple[str, re.Pattern[str]]] = []
        self._problem_nouns: set[str] = set()
        self._real_words: set[str] = set()
        self._with_colon: set[str] = set()
        self._before: set[str] = set()
        self._after: set[str] = set()
        self._prepositions: set[str] = set()
        self._variant_files: dict[str, str] = {}
        self._named: set[str] = set()  # by the user
        self._add(_BUILT_IN.name, _parse(_BUILT_IN.name, _BUILT_IN.read_text("utf-8"), ()), own=False)
        # misspellings are of English, or of what the user named: words of other languages are too often near those
        self._spelt = self._phrases()
        for path in _OTHER_LANGUAGES:
            self._add(path.name, _parse(path.name, path.read_text("utf-8"), ()), own=False)
        if self.extra_sources:
            built_in = self._phrases()
            for name, text in self.extra_sources:
                self._add(name, _parse(name, text, self.categories), own=True)
            self._spelt |= (self._phrases() - built_in) | self._named
            self.topics -= self._named
        self._words = set(" ".join(self._spelt).split())
        self._long_words = sorted(word for word in self._words if len(word) >= _SHORTEST_TYPO)
        self._undoubled = {_undouble(word): word for word in sorted(self._long_words, key=len, reverse=True)}
        # a word one letter away shares with it a form that has one letter less
        self._by_initial: dict[str, list[str]] = {}
        self._shortened: dict[str, list[str]] = {}
        for word in self._long_words:
            self._by_initial.setdefault(word[0], []).append(word)
            for short in (word, *_shorten(word)):
                self._shortened.setdefault(short, []).append(word)
        self._first = {key.partition(" ")[0] for key in self.variants}
        self._before_starts = {
            key[: blank.start()] for key in self._before for blank in re.finditer(" ", key)
        }
        self._guard_numbers = {
            name: [
                n for n, guard in enumerate(self.guards) if not guard.categories or name in guard.categories
            ]
            for name in self.categories
        }
        self._guards_together: dict[tuple[int, ...], Guards] = {}
        self._corrections: dict[str, str] = {}
        self._exact_matches: dict[str, Match | None] = {}
        self._loose_matches: dict[str, Match | None] = {}
        self.last_words = {key.rpartition(" ")[2] for key in self.variants}
        self.heading_nouns = {word for word in self.last_words if word.isalpha()} - self._problem_nouns
        self.last_words |= _LETTERS
        starts = self._first | {key.split(" ", 1)[0] for key in self._before}
        # "24 hour events"
        starts |= {key.split(" ", 2)[1] for key in self.variants if key[0].isdigit() and " " in key}
        # without a colon, a line that begins with "The" or "No" is prose, unless the user says otherwise
        prose = _STARTS_OF_PROSE - {key.split(" ", 1)[0] for key in self._named}
        self.first_words = {
            form
            for word in starts
            for form in ((word, word.capitalize(), word.upper()) if word not in prose else (word.upper(),))
        }

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
        """The category of a heading phrase, and how it was recognised.

        `loose` also allows dates and brackets ("Plan 4/12", "Plan (cont.)"), qualifiers ("Plan for tonight"), joined
        headings ("Impression, plan and follow-up") and typos in long words ("ASSESMENT"); without it only the
        variants themselves count.
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
        if not loose or not key:
            return None
        plain = phrase
        if "(" in plain or "[" in plain or "{" in plain:
            plain = _BRACKETS.sub(" ", plain)
        dated = False
        if any(map(str.isdigit, plain)):
            plain, dated_by = _DATED_BY.subn(" ", _DATES.sub("\0", plain))  # "ED course as of 3/4/20"
            dated = dated_by > 0
            plain = plain.replace("\0", " ")
        if plain is not phrase:
            key = normalise(plain)
            if (category := self.variants.get(key)) is not None:
                return Match(category, "dated")
            if len(key) < _LONGEST_ABBREVIATION and (
                named := _IN_BRACKETS.search(phrase)
            ):  # "S (Subjective)"
                category = self.variants.get(normalise(named[1]))
                if category is not None:
                    return Match(category, "qualified")
        found = self._qualified_or_joined(key, plain)
        if found is not None:
            beside_date = dated or key.endswith(_CONTINUED)
            return Match(found.category, "dated") if beside_date and found.how == "qualified" else found
        corrected = self._correct(key)
        if corrected == key:
            return None
        if (category := self.variants.get(corrected)) is not None:
            return Match(category, "typo")
        found = self._qualified_or_joined(corrected, "")
        return found and Match(found.category, "typo")

    def is_topic(self, phrase: str) -> bool:
        """Does the phrase name a body system or a usual problem, the content of an examination or a plan?"""
        key = normalise(phrase)
        if key in self.topics:
            return True
        parts = key.split(" and ")
        return len(parts) > 1 and all(part in self.topics for part in parts)

    def refusal(self, phrase: str) -> str | None:
        """The reason code of a guard for a phrase that only ends as a heading does, as "Meal plan" does; else None."""
        if _SENTENCE_END.search(phrase):
            return None
        words = normalise(phrase, keep_the=True).split()
        if not 1 < len(words) <= 8 or words[-1] not in self.last_words:
            return None
        heading = " ".join(words)
        for skip in range(1, len(words)):
            category = self.variants.get(" ".join(words[skip:]))
            if category is not None:
                guards = (self.guards[number] for number in self._guard_numbers[category])
                reasons = (guard.reason for guard in guards if guard.is_final and guard.concerns(heading))
                return next(reasons, None)
        return None

    def is_named(self, phrase: str) -> bool:
        """Is the phrase a variant of the user's own files?"""
        return normalise(phrase) in self._named

    def lead_in(self, phrase: str) -> str | None:
        """The category that a sentence opens, as "The plan is as follows" does; else None."""
        words = normalise(phrase, keep_the=True)
        return next((category for category, sentence in self._lead_ins if sentence.fullmatch(words)), None)

    def guards_of(self, category: str, phrase: str) -> Guards | None:
        """The guards that may refuse a heading of this category by what stands around it."""
        heading = normalise(phrase, keep_the=True)
        numbers = tuple(n for n in self._guard_numbers[category] if self.guards[n].concerns(heading))
        if not numbers:
            return None
        if numbers not in self._guards_together:
            self._guards_together[numbers] = Guards([self.guards[number] for number in numbers])
        return self._guards_together[numbers]

    @cached_property
    def _squashed(self) -> dict[str, str]:
        """Variants by their letters without blanks."""
        return {key.replace(" ", ""): key for key in self.variants if len(key) > 3 and key in self._spelt}

    def needs_colon(self, phrase: str) -> bool:
        """Is the phrase too common a word to be a heading without a colon, capitals or markup?"""
        return normalise(phrase) in self._with_colon

    def _phrases(self) -> set[str]:
        """All that is known so far: variants, qualifiers and topics."""
        return self.variants.keys() | self._before | self._after | self._prepositions | self.topics

    def _add(self, file: str, content: _File, *, own: bool) -> None:
        for name, entry in content.categories.items():
            known = self.categories.get(name)
            if known is None and entry.role is None:
                raise LexiconError(
                    f"{file}: categories.{name}: a new category needs a role ({', '.join(get_args(Role))})"
                    f"{_meant(name, self.categories)}"
                )
            self.categories[name] = Category(
                name=name,
                loinc=entry.loinc or (known.loinc if known else None),
                role=entry.role or (known.role if known else "neutral"),
            )
            for variant in entry.variants:
                keys = self._add_variant(file, name, variant, own=own)
                if own:
                    self._with_colon -= keys
            for variant in entry.with_colon:
                self._with_colon |= self._add_variant(file, name, variant, own=own)
        for guard in content.guards:
            unknown = {*guard.categories, guard.becomes or UNKNOWN} - set(self.categories)
            if unknown:
                name = min(unknown)
                raise LexiconError(
                    f"{file}: guards.{guard.reason}: there is no category {name!r}{_meant(name, self.categories)}"
                )
            self.guards.append(
                Guard(
                    reason=guard.reason,
                    categories=frozenset(guard.categories),
                    heading=_compiled(guard.heading),
                    body=_compiled(guard.body),
                    before=_compiled(guard.before),
                    becomes=guard.becomes,
                    alone=guard.alone,
                    named=self._named_variant if self.extra_sources and not own else None,
                )
            )
        for lead_in in content.lead_ins:
            if lead_in.category not in self.categories:
                raise LexiconError(
                    f"{file}: lead_ins: there is no category {lead_in.category!r}"
                    f"{_meant(lead_in.category, self.categories)}"
                )
            self._lead_ins.append((lead_in.category, re.compile(lead_in.sentence)))
        self._real_words.update(content.typos.real_words)
        self.topics.update(normalise(word) for word in _umlauts_too(content.topics.words))
        self._problem_nouns.update(content.topics.problem_nouns)
        self._before.update(normalise(word) for word in _umlauts_too(content.qualifiers.before))
        self._after.update(normalise(word) for word in _umlauts_too(content.qualifiers.after))
        self._prepositions.update(normalise(word) for word in _umlauts_too(content.qualifiers.prepositions))

    def _add_variant(self, file: str, category: str, variant: str, *, own: bool) -> set[str]:
        """Adds all spellings of a variant; returns them, normalised."""
        where = f"{file}: categories.{category}"
        spellings = _spellings(variant, where)
        if own:
            _check_spellings(spellings, where)
        keys = set(map(_normalised, spellings))
        if "" in keys:
            raise LexiconError(f"{where}: an empty variant")
        taken = {key for key in keys & self.variants.keys() if self.variants[key] != category}
        if own:  # what a user's file names, only another one of the user's can have
            taken &= self._named
        if taken:
            key = min(taken)
            raise LexiconError(
                f"{where}: variant {key!r} already belongs to {self.variants[key]!r} ({self._variant_files[key]}); "
                "a heading can have one category only"
            )
        new = keys - self._named
        self.variants.update(dict.fromkeys(new, category))
        self._variant_files.update(dict.fromkeys(new, file))
        if own:
            self._named |= keys
        return keys

    def _named_variant(self, heading: str) -> str | None:
        """The longest variant of the user's files that a heading holds."""
        key = normalise(heading)
        for form in dict.fromkeys((key, self._correct(key))):
            words = form.split()
            for length in range(len(words), 0, -1):
                for start in range(len(words) - length + 1):
                    part = " ".join(words[start : start + length])
                    if part in self._named:
                        return part
        return None

    def _qualified_or_joined(self, key: str, phrase: str) -> Match | None:
        category = self._qualified(key)
        if category is not None:
            return Match(category, "qualified")
        if (
            dash := _DASH.search(phrase)
        ) is not None:  # "Plan - cardiology", "Recommendations - plan of treatment"
            category = self._qualified(normalise(phrase[: dash.start()]))
            rest = normalise(phrase[dash.end() :])
            other = self._qualified(rest)
            if category is not None and (other is not None or rest.count(" ") < 3):
                return Match(_join([category, other]), "joined") if other else Match(category, "qualified")
        return self._joined(key.split(" and ")) or self._joined(_JOINERS.split(key))

    def _joined(self, parts: list[str]) -> Match | None:
        """The category of headings that are joined by "and", if all of them are headings."""
        parts = [part for part in parts if part]
        if len(parts) < 2:
            return None
        named: list[str] = []
        for part in parts:
            if named and self._may_follow(part.split()):
                continue
            category = self._qualified(part)
            if category is None:
                return None
            named.append(category)
        return Match(_join(named), "joined" if len(named) > 1 else "qualified")

    def _qualified(self, key: str) -> str | None:
        """The category after setting aside words such as "updated" before and "for tonight" after."""
        words = key.split()
        if not words or len(words) > 10:
            return None
        for skip, word in enumerate(words):
            if word in self._first:
                for end in range(len(words), skip, -1):
                    category = self.variants.get(" ".join(words[skip:end]))
                    if (
                        category is not None
                        and (end == len(words) or self._may_follow(words[end:]))
                        and (not skip or self._all_before(words[:skip]))
                    ):
                        return category
            if (
                not self._all_before(words[: skip + 1])
                and " ".join(words[: skip + 1]) not in self._before_starts
            ):
                return None
        return None

    def _all_before(self, words: list[str]) -> bool:
        return all(word in self._before for word in words) or " ".join(words) in self._before

    def _may_follow(self, words: list[str]) -> bool:
        if " ".join(words) in self._after or all(word in self._after or word.isdigit() for word in words):
            return True
        if words[0] in self._after:
            return self._may_follow(words[1:])
        return len(words) <= _MOST_WORDS_AFTER and (
            words[0] in self._prepositions or " ".join(words[:2]) in self._prepositions
        )

    def _correct(self, key: str) -> str:
        """The key with its misspelt words mended; a word that stands alone must be longer to be sure of."""
        words = key.split()
        shortest = _SHORTEST_TYPO if len(words) > 1 else _SHORTEST_TYPO_ALONE
        return " ".join(
            word
            if word in self._words or (len(word) < shortest and word not in _UNSWAPPED)
            else self._correct_word(word)
            for word in words
        )

    def _correct_word(self, word: str) -> str:
        known = self._corrections.get(word)
        if known is None:
            if len(self._corrections) > _CACHE_SIZE:
                self._corrections.clear()
            known = self._corrections[word] = self._nearest_word(word)
        return known

    def _nearest_word(self, word: str) -> str:
        if word in _UNSWAPPED:
            return _UNSWAPPED[word]
        if not word.isalpha() or word in self._real_words:
            return word
        if (plain := _undouble(word)) in self._undoubled:
            return self._undoubled[plain]
        for short in (word, *_shorten(word)):
            for other in self._shortened.get(short, ()):
                if OSA.distance(word, other) == 1:
                    return other
        if len(word) >= _SHORTEST_DOUBLE_TYPO:
            alike = [other for other in self._by_initial.get(word[0], ()) if abs(len(other) - len(word)) < 3]
            best = process.extractOne(word, alike, scorer=OSA.distance, score_cutoff=2)
            return best[0] if best else word
        return word


@lru_cache(maxsize=_CACHE_SIZE)
def normalise(phrase: str, *, keep_the: bool = False) -> str:
    """The form in which headings are compared: small letters without accents, words only, "&" "+" "/" "," as "and", no
    inner "the"."""
    return _normalised(phrase, keep_the=keep_the)


def _normalised(phrase: str, *, keep_the: bool = False) -> str:
    phrase = phrase.lower()
    if not phrase.replace(" ", "").isalpha():
        if "." in phrase:
            phrase = _INITIALS.sub(r"\1", phrase)
        if "/" in phrase:
            phrase = phrase.replace("and/or", "and").replace("w/", "with ")
        if "s)" in phrase:  # "Recommendation(s)"
            phrase = _PLURAL.sub(r"\1", phrase)
        phrase = phrase.translate(_PUNCTUATION)
    if not phrase.isascii():  # without accents, as in capitals
        phrase = _NOT_WORD.sub(" ", without_accents(phrase))
    words = phrase.split()
    if not keep_the and "the" in words and "the" in words[1:]:
        words = words[:1] + [word for word in words[1:] if word != "the"]
    key = " ".join(words)
    if "and" in words and ("and and" in key or words[0] == "and" or words[-1] == "and"):
        while words and words[-1] == "and":
            words.pop()
        while words and words[0] == "and":
            words.pop(0)
        key = " ".join(word for n, word in enumerate(words) if word != "and" or words[n - 1] != "and")
    return key


# "A/P", "S&P": joiners. Any other mark is a blank.
_PUNCTUATION = str.maketrans(dict.fromkeys(string.punctuation, " ") | dict.fromkeys("&+/\\,", " and "))
_JOINERS = re.compile(r" (?:and|y|e|et|en|und) ")
_SENTENCE_END = re.compile(r"[.!?;:]\s")
_INITIALS = re.compile(r"\b([a-z])\.(?=[a-z]?\b|\s|$)")
_OWN_FLAGS = re.compile(r"\(\?[a-zA-Z]+\)")
_PLURAL = re.compile(r"(?<=[a-z])\((e?s)\)")
_NOT_WORD = re.compile(r"[\W_]+")
_DASH = re.compile(r"\s[-–—]\s|\s?--+\s?|\s?[–—]\s?")
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
    rf"\b(?:mon|tues|wednes|thurs|fri|satur|sun)day\b,?|\b\d{{1,4}}[/.-]\d{{1,2}}(?:[/.-]\d{{2,4}})?\b|\b{_MONTH}\s+\d{{1,2}}(?:st|nd|rd|th)?(?:,?\s*\d{{4}})?\b"
    rf"|\b\d{{1,2}}(?:st|nd|rd|th)?\s+{_MONTH}(?:,?\s*\d{{4}})?\b|\b\d{{1,2}}:\d{{2}}(?::\d\d)?(?:\s*[ap]\.?m\b\.?)?"
    rf"|\b\d{{3,4}}\s?(?:h|hrs?|hours)\b|(?<=\d\s)\d{{4}}\b|#\s?\d+|\b(?:19|20)\d\d\b",
    re.IGNORECASE,
)
_STARTS_OF_PROSE = frozenset(
    [
        "the",
        "a",
        "an",
        "i",
        "we",
        "no",
        "in",
        "on",
        "after",
        "to",
        "for",
        "it",
        "de",
        "la",
        "le",
        "el",
        "les",
        "los",
        "las",
        "die",
        "der",
        "das",
        "het",
        "een",
        "en",
    ]
)
_UNSWAPPED = {
    "paln": "plan",
    "plna": "plan",
    "lpan": "plan",
    "plann": "plan",
    "pllan": "plan",
    "plaan": "plan",
    "palns": "plans",
    "plnas": "plans",
}


def _compiled(pattern: str | None) -> re.Pattern[str] | None:
    return None if pattern is None else re.compile(pattern, re.IGNORECASE)


def _blanks_end(text: str, start: int) -> int:
    """The offset of the first non-blank character from `start` on."""
    blanks = _BLANKS.match(text, start)
    return blanks.end() if blanks else start


def _line_before(text: str, start: int) -> str:
    """The last line with words that ends before `start`, and what follows it."""
    before = text[max(0, start - _SEEN_BEFORE) : start]
    return before[before.rfind("\n", 0, len(before.rstrip())) + 1 :]


def _is_line_end(text: str, start: int) -> bool:
    """Does nothing but separators stand between `start` and the end of the line?"""
    return _REST_OF_LINE.match(text, start) is not None


_BLANKS = re.compile(r"[\s:*_=~]*")
_REST_OF_LINE = re.compile(r"[ \t:*_=-]*(?:\n|$)")


def _shorten(word: str) -> Iterable[str]:
    """The word with any one letter left out."""
    return (word[:n] + word[n + 1 :] for n in range(len(word)))


def _undouble(word: str) -> str:
    return "".join(letter for n, letter in enumerate(word) if not n or letter != word[n - 1])


def _join(categories: list[str]) -> str:
    """The category of "X and Y": with a plan it is a plan or, beside a judgement, mixed; else the first one's."""
    kinds = set(categories)
    if kinds & _PLANS and kinds <= _PLANS | _PLAN_COMPANIONS | _JUDGEMENTS | {"results", "imaging"}:
        return "plan" if kinds <= {"plan"} | _PLAN_COMPANIONS else "assessment_and_plan"
    if (
        kinds & _JUDGEMENTS
        and "recommendations" in kinds
        and kinds <= _JUDGEMENTS | {"recommendations", "follow_up"}
    ):
        return "assessment_and_plan"
    return categories[0]


_PLANS = {"plan", "assessment_and_plan"}
_PLAN_COMPANIONS = {
    "recommendations", "follow_up", "disposition", "goals", "patient_instructions", "discharge_instructions",
    "discharge_medications", "medications", "procedure", "hospital_course",
}  # fmt: skip
_JUDGEMENTS = {"assessment", "impression", "diagnosis", "findings", "problem_list", "discharge_diagnosis"}


@cache
def _built_in() -> Lexicon:
    return Lexicon()


def _expand(variant: str, where: str) -> set[str]:
    """All spellings that shell-like braces stand for: "{chief ,}complaint{,s}"."""
    pieces = _INNERMOST_BRACES.split(variant)  # what stands between groups, and by turns what is in them
    outside = "".join(pieces[::2])
    if "{" not in outside and "}" not in outside:
        choices = [piece.split(",") if number % 2 else [piece] for number, piece in enumerate(pieces)]
        return set(map("".join, product(*choices)))
    if len(pieces) == 1:
        raise LexiconError(f"{where}: unbalanced braces in {variant!r}")
    before, inner, after = _INNERMOST_BRACES.split(variant, 1)
    return {spelling for choice in inner.split(",") for spelling in _expand(before + choice + after, where)}


def _spellings(variant: str, where: str) -> set[str]:
    """All spellings of a variant; umlauts also as two letters, as in German capitals."""
    spellings = _expand(variant, where)
    return spellings if variant.isascii() else set(_umlauts_too(spellings))


def _check_spellings(spellings: Iterable[str], where: str) -> None:
    """Raises LexiconError for what a user's file cannot name."""
    for spelling in sorted(spellings):
        key = _normalised(spelling)
        if key in _LETTERS:
            raise LexiconError(
                f"{where}: variant {spelling!r}: the letters S, O, A and P are headings only together, and are known"
            )
        if len(key) > _LONGEST_VARIANT or len(key.split()) > _MOST_WORDS:
            raise LexiconError(
                f"{where}: variant {spelling!r} is too long: a heading has at most {_LONGEST_VARIANT} characters and "
                f"{_MOST_WORDS} words"
            )


def _umlauts_too(phrases: Iterable[str]) -> Iterable[str]:
    for phrase in phrases:
        yield phrase
        if not phrase.isascii():
            yield phrase.translate(_UMLAUTS)


_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss"})
_INNERMOST_BRACES = re.compile(r"\{([^{}]*)\}")


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _CategoryEntry(_Model):
    loinc: str | None = Field(None, pattern=r"^\d{1,7}-\d$")
    role: Role | None = None
    variants: list[str] = []
    with_colon: list[str] = []  # variants that are headings only before a colon, in capitals or when marked


def _regular_expression(pattern: str, flags: re.RegexFlag = re.NOFLAG) -> str:
    try:
        re.compile(pattern, flags)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return pattern


class _GuardEntry(_Model):
    reason: str = Field(pattern=r"^\w+$")
    categories: list[str] = []
    heading: str | None = None
    body: str | None = None
    before: str | None = None
    becomes: str | None = None
    alone: bool | None = None

    @model_validator(mode="after")
    def _says_when(self) -> _GuardEntry:
        if self.heading is None and self.body is None and self.before is None:
            raise ValueError("a guard needs at least one of heading, body, before")
        return self

    @field_validator("heading", "body", "before")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        # with the flags of `_compiled`: Python remembers what it compiled
        return None if pattern is None else _regular_expression(pattern, re.IGNORECASE)


class _LeadInEntry(_Model):
    category: str
    sentence: str

    @field_validator("sentence")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        return _regular_expression(pattern)


class _Qualifiers(_Model):
    before: list[str] = []
    after: list[str] = []
    prepositions: list[str] = []


class _Topics(_Model):
    words: list[str] = []
    problem_nouns: list[str] = []


class _Typos(_Model):
    real_words: list[str] = []


class _File(_Model):
    categories: dict[str, _CategoryEntry] = {}
    guards: list[_GuardEntry] = []
    lead_ins: list[_LeadInEntry] = []
    qualifiers: _Qualifiers = _Qualifiers()
    topics: _Topics = _Topics()
    typos: _Typos = _Typos()


def _parse(name: str, text: str, categories: Iterable[str]) -> _File:
    try:
        return _File.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise LexiconError(f"{name}: not valid TOML: {error}") from None
    except ValidationError as error:
        errors = error.errors()
    # a key that is misspelt is missing too: the misspelling says more
    first = next((each for each in errors if each["type"] == "extra_forbidden"), errors[0])
    key = ".".join(str(part) for part in first["loc"])
    raise LexiconError(f"{name}: {key}: {_mistake(first, categories)}")


def _mistake(error: ErrorDetails, categories: Iterable[str]) -> str:
    """What is wrong with a key or its value, and what was meant."""
    kind, where = error["type"], error["loc"]
    if kind == "extra_forbidden":
        *above, key = map(str, where)
        if not above and key in categories:
            return f"there is no such table; did you mean [categories.{key}]?"
        known = list(_KEYS[above[0]].model_fields if above else _File.model_fields)
        what = "key" if above else "table"
        return f"there is no such {what}{_meant(key, known) or '; there are: ' + ', '.join(known)}"
    if kind == "literal_error":
        return f"{error['msg']}{_meant(str(error['input']), get_args(Role))}"
    if where == ("guards",):
        return "write [[guards]], with two brackets, above each of them"
    return 'a list is expected: ["…", "…"]' if kind == "list_type" else error["msg"]


def _meant(name: str, known: Iterable[str]) -> str:
    """A question after the one of the known names that is most alike, if one is."""
    found = get_close_matches(name.lower(), list(known), n=1)
    return f"; did you mean {found[0]!r}?" if found else ""


_KEYS: dict[str, type[BaseModel]] = {
    "categories": _CategoryEntry,
    "guards": _GuardEntry,
    "lead_ins": _LeadInEntry,
    "qualifiers": _Qualifiers,
    "topics": _Topics,
    "typos": _Typos,
}
