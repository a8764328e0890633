"""The combined contents of the files of a lexicon. Resolves or reports conflicts between files."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import get_args

from rubricator.nlp.errors import did_you_mean
from rubricator.nlp.lexicon.categories import UNKNOWN, Category, Role
from rubricator.nlp.lexicon.file_format import (
    CategoryEntry,
    GuardEntry,
    LeadInEntry,
    LexiconError,
    LexiconFile,
)
from rubricator.nlp.lexicon.guards import Guard
from rubricator.nlp.lexicon.normal_form import normal_form, normalise, umlaut_forms
from rubricator.nlp.lexicon.spellings import check_spellings, spellings


class Contents:
    """The categories, phrases and guards of all added files. Phrases are in normal form.

    A user's file has priority: its variants belong to its categories, whatever the built-in files say.
    """

    def __init__(self) -> None:
        self.categories: dict[str, Category] = {}
        self.variants: dict[str, str] = {}  # variant → category
        self.guards: list[Guard] = []
        self.lead_ins: list[tuple[str, re.Pattern[str]]] = []  # category, pattern of a sentence
        self.topics: set[str] = set()
        self.problem_nouns: set[str] = set()
        self.real_words: set[str] = set()
        self.with_colon: set[str] = set()
        self.before: set[str] = set()
        self.after: set[str] = set()
        self.prepositions: set[str] = set()
        self.named: set[str] = set()  # variants of the user's files
        self._files: dict[str, str] = {}  # variant → file

    @property
    def phrases(self) -> set[str]:
        """Variants, qualifiers and topics."""
        return self.variants.keys() | self.before | self.after | self.prepositions | self.topics

    def add(self, file: str, content: LexiconFile, *, own: bool) -> None:
        """Adds a file. `own`: it is the user's. Raises LexiconError where it contradicts the files added before."""
        for name, entry in content.categories.items():
            self._add_category(file, name, entry, own=own)
        for guard in content.guards:
            self._add_guard(file, guard, own=own)
        for lead_in in content.lead_ins:
            self._add_lead_in(file, lead_in)
        self.real_words.update(content.typos.real_words)
        self.problem_nouns.update(content.topics.problem_nouns)
        for known, phrases in (
            (self.topics, content.topics.words),
            (self.before, content.qualifiers.before),
            (self.after, content.qualifiers.after),
            (self.prepositions, content.qualifiers.prepositions),
        ):
            known.update(normalise(phrase) for phrase in umlaut_forms(phrases))

    def _add_category(self, file: str, name: str, entry: CategoryEntry, *, own: bool) -> None:
        if name not in self.categories and entry.role is None:
            raise LexiconError(
                f"{file}: categories.{name}: a new category needs a role ({', '.join(get_args(Role))})"
                f"{did_you_mean(name.lower(), self.categories)}"
            )
        known = self.categories.get(name) or Category(name)
        self.categories[name] = replace(known, **entry.attributes())
        for variant in entry.variants:
            keys = self._add_variant(file, name, variant, own=own)
            if own:
                self.with_colon -= keys
        for variant in entry.with_colon:
            self.with_colon |= self._add_variant(file, name, variant, own=own)

    def _add_variant(self, file: str, category: str, variant: str, *, own: bool) -> set[str]:
        """Adds all spellings of a variant, and returns their normal forms."""
        where = f"{file}: categories.{category}"
        found = spellings(variant, where)
        if own:
            check_spellings(found, where)
        keys = set(map(normal_form, found))
        if "" in keys:
            raise LexiconError(f"{where}: an empty variant; write at least one letter or digit")
        taken = {key for key in keys & self.variants.keys() if self.variants[key] != category}
        if own:  # only another file of the user's can take it
            taken &= self.named
        if taken:
            key = min(taken)
            raise LexiconError(
                f"{where}: variant {key!r} already belongs to {self.variants[key]!r} ({self._files[key]}); "
                "a heading can have only one category: remove it from one of them"
            )
        new = sorted(
            keys - self.named
        )  # in order: what is made from the variants must not differ between runs
        self.variants.update(dict.fromkeys(new, category))
        self._files.update(dict.fromkeys(new, file))
        if own:
            self.named |= keys
        return keys

    def _add_guard(self, file: str, guard: GuardEntry, *, own: bool) -> None:
        self._check_categories(f"{file}: guards.{guard.reason}", *guard.categories, guard.becomes or UNKNOWN)
        self.guards.append(
            Guard(
                reason=guard.reason,
                categories=frozenset(guard.categories),
                heading=_compiled(guard.heading),
                body=_compiled(guard.body),
                before=_compiled(guard.before),
                becomes=guard.becomes,
                alone=guard.alone,
                is_own=own,
            )
        )

    def _add_lead_in(self, file: str, lead_in: LeadInEntry) -> None:
        self._check_categories(f"{file}: lead_ins", lead_in.category)
        self.lead_ins.append((lead_in.category, re.compile(lead_in.sentence)))

    def _check_categories(self, where: str, *names: str) -> None:
        if unknown := set(names) - self.categories.keys():
            name = min(unknown)
            raise LexiconError(
                f"{where}: there is no category {name!r}{did_you_mean(name.lower(), self.categories)}"
            )


def _compiled(pattern: str | None) -> re.Pattern[str] | None:
    return None if pattern is None else re.compile(pattern, re.IGNORECASE)
