"""Single letters as headings, such as S/O/A/P. They are headings only where they form an ordered set.

The sets are data (letter_sets.toml).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from rubricator.nlp.hidden_text import hides_text
from rubricator.nlp.lexicon.categories import UNKNOWN
from rubricator.nlp.module_data import toml_of

if TYPE_CHECKING:
    from rubricator.nlp.sections.heading_phrase import Candidate, HeadingPhrase


@cache
def letter_categories() -> dict[str, str]:
    """The categories that the letters S, O, A and P stand for."""
    categories: dict[str, str] = _tables()["letters"]
    return categories


def letters_of_sets(view: str, candidates: list[Candidate], lettered: Collection[str]) -> dict[int, str]:
    """Offsets of the single letters that form an ordered set, S/O/A/P or another one, with their categories.

    `lettered`: categories whose parts may be numbered A., B., …
    """
    letters = list(_letters(view, candidates))
    runs = _Runs(lettered)
    longest = max(len(other.letters) for other in _other_sets())
    at = 0
    while at < len(letters):
        following = letters[at : at + longest]
        other = _other_set(view, following)
        if other is not None and not (runs.is_open and other.first):
            runs.close()
            for letter, category in zip(following, other.categories, strict=False):
                if letter.phrase is not None:
                    runs.accepted[letter.start] = category
            at += len(other.letters)
        else:
            runs.add(letters[at])
            at += 1
    runs.close()
    return runs.accepted


@hides_text("under")
class _Letter(NamedTuple):
    """A single letter, or a heading that stands for one, for which `phrase` is None."""

    name: str
    phrase: HeadingPhrase | None
    start: int
    under: str | None  # the category of the last heading before it that counts as no letter


def _letters(view: str, candidates: list[Candidate]) -> Iterator[_Letter]:
    tables = _tables()
    of_categories, of_words = tables["headings"], tables["words"]
    under: str | None = None
    for phrase, line, _, _ in candidates:
        name = of_categories.get(phrase.category or "")
        letter: HeadingPhrase | None = None
        if phrase.rule == "soap_letter":
            if phrase.text in "Pp" and _NUMBER.match(view, line + phrase.after):  # a pulse
                continue
            name, letter = phrase.text.upper(), phrase
        elif phrase.category and not name:
            under = phrase.category
        if name is None:
            name = of_words.get(phrase.text.lower())
        if name is not None:
            yield _Letter(name, letter, line + phrase.start, under)


class _Runs:
    """Collects runs of letters in the order S, O, A, P."""

    def __init__(self, lettered: Collection[str]) -> None:
        self.accepted: dict[int, str] = {}  # offset → category
        self._lettered = lettered
        self._run: list[_Letter] = []
        self._before = ""  # the letters of the run before

    @property
    def is_open(self) -> bool:
        return bool(self._run)

    def add(self, letter: _Letter) -> None:
        """Adds a letter of S/O/A/P; begins a new run where it does not come after the last one in this order."""
        if letter.name not in _SOAP_NAMES:
            return
        if self._run and _ORDER.index(letter.name[0]) <= _ORDER.index(self._run[-1].name[-1]):
            self._before = self.close()
        self._run.append(letter)

    def close(self) -> str:
        """Ends the run, and accepts its letters if they form a set. Returns the letters of the run."""
        run, names = self._run, "".join(letter.name for letter in self._run)
        if self._is_set(names):
            self.accepted.update(
                (letter.start, letter_categories()[letter.phrase.text.upper()])
                for letter in run
                if letter.phrase is not None
            )
        run.clear()
        return names

    def _is_set(self, names: str) -> bool:
        """Whether the letters of the run form a set: three different ones do, "AP" and "SO" under conditions.

        "A. ... P. ..." may be items of a list, and letters in lower case may mean anything.
        """
        run, different = self._run, set(names)
        if len(different) == len(_ORDER):
            return True
        specimens = any(letter.under == "specimens" for letter in run)
        if len(different) >= _ENOUGH and not specimens:
            return True
        if specimens or (not different & set("SO") and any(letter.under in self._lettered for letter in run)):
            return False
        capital = all(letter.phrase is None or letter.phrase.caps for letter in run)
        if names == "SO" and self._before.endswith("AP") and capital:  # A/P/S/O, also as "S)"
            return True
        return (
            "AP" in names
            and capital
            and not any(letter.phrase is not None and letter.phrase.item for letter in run)
        )


class _OtherSet(NamedTuple):
    letters: str
    categories: tuple[str, ...]
    first: bool
    own_lines: bool


def _other_set(view: str, letters: list[_Letter]) -> _OtherSet | None:
    """The set other than S/O/A/P that the next letters form; None for none."""
    names = "".join(letter.name if len(letter.name) == 1 else "+" for letter in letters)
    other = next((known for known in _other_sets() if names.startswith(known.letters)), None)
    if other is None or (other.own_lines and not _on_own_lines(view, letters[: len(other.letters)])):
        return None
    return other


@cache
def _other_sets() -> list[_OtherSet]:
    return [
        _OtherSet(
            entry["letters"],
            tuple(entry.get("categories", {}).get(letter, UNKNOWN) for letter in entry["letters"]),
            entry.get("first", False),
            entry.get("own_lines", False),
        )
        for entry in _tables()["sets"]
    ]


@cache
def _tables() -> dict[str, Any]:
    return toml_of(__name__)


def _on_own_lines(view: str, letters: list[_Letter]) -> bool:
    return all("\n" in view[one.start : other.start] for one, other in pairwise(letters))


_NUMBER = re.compile(
    r"\s*\d{2,3}\b(?!\.\s|\s*(?:m?c?g|m?L|units?|%|tabs?|min|hours?|days?|weeks?|months?)\b)"
)
_ORDER = "SOAP"
_SOAP_NAMES = frozenset({"S", "O", "A", "P", "AP"})
_ENOUGH = 3  # different letters of S/O/A/P
