"""Compound headings: headings with qualifiers before or after them, and headings joined by "and"."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from rubricator.nlp.lexicon.categories import joined_category
from rubricator.nlp.lexicon.contents import Contents
from rubricator.nlp.lexicon.normal_form import normalise

How = Literal["exact", "dated", "qualified", "joined", "typo"]


class Match(NamedTuple):
    """The category of a heading phrase, and how it was recognised."""

    category: str
    how: How


class CompoundHeadings:
    """Recognises compounds of the variants of a lexicon, which are in normal form."""

    def __init__(self, contents: Contents) -> None:
        self._categories = contents.categories
        self._variants = contents.variants
        self._before = contents.before
        self._after = contents.after
        self._prepositions = contents.prepositions
        self._first = {key.partition(" ")[0] for key in contents.variants}
        self._before_starts = {
            key[: blank.start()] for key in contents.before for blank in re.finditer(" ", key)
        }

    def match(self, key: str, phrase: str) -> Match | None:
        """`key`: the normal form of the phrase. `phrase`: as written, with its dashes; "" ignores dashes."""
        category = self._qualified(key)
        if category is not None:
            return Match(category, "qualified")
        if (dash := _DASH.search(phrase)) is not None:
            found = self._set_off(phrase[: dash.start()], phrase[dash.end() :])
            if found is not None:
                return found
        return self._joined(key.split(" and ")) or self._joined(_JOINERS.split(key))

    def _set_off(self, heading: str, rest: str) -> Match | None:
        """A heading before a dash: "Plan - cardiology", "Recommendations - plan of treatment"."""
        rest = normalise(rest)
        category, other = self._qualified(normalise(heading)), self._qualified(rest)
        if category is None:
            return None
        if other is not None:
            return Match(self._join([category, other]), "joined")
        return Match(category, "qualified") if rest.count(" ") < _MOST_BLANKS_AFTER_DASH else None

    def _joined(self, parts: list[str]) -> Match | None:
        """The category of parts joined by "and", if each part is a heading or may follow one."""
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
        return Match(self._join(named), "joined" if len(named) > 1 else "qualified")

    def _join(self, names: list[str]) -> str:
        return joined_category([self._categories[name] for name in names])

    def _qualified(self, key: str) -> str | None:
        """The category without qualifiers such as "updated" before the heading and "for tonight" after it."""
        words = key.split()
        if not words or len(words) > _MOST_WORDS:
            return None
        for skip, word in enumerate(words):
            if word in self._first:
                category = self._beginning_at(words, skip)
                if category is not None:
                    return category
            if (
                not self._all_before(words[: skip + 1])
                and " ".join(words[: skip + 1]) not in self._before_starts
            ):
                return None
        return None

    def _beginning_at(self, words: list[str], skip: int) -> str | None:
        """The category of the longest variant that begins with words[skip], if all other words are qualifiers."""
        for end in range(len(words), skip, -1):
            category = self._variants.get(" ".join(words[skip:end]))
            if (
                category is not None
                and (end == len(words) or self._may_follow(words[end:]))
                and (not skip or self._all_before(words[:skip]))
            ):
                return category
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


_DASH = re.compile(r"\s[-–—]\s|\s?--+\s?|\s?[–—]\s?")
_JOINERS = re.compile(r" (?:and|y|e|et|en|und) ")
_MOST_WORDS = 10
_MOST_WORDS_AFTER = 6  # as in "for tonight", "by Jane Roe, MD"
_MOST_BLANKS_AFTER_DASH = 3
