"""Corrects typos in words of headings: "ASSESMENT", "reccomendations", "paln"."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from rapidfuzz import process
from rapidfuzz.distance import OSA


class Corrections:
    """Corrects words that are one edit away from a word of headings; long words may be two edits away.

    Edits are those of optimal string alignment: a swap of neighbouring letters is one edit.
    """

    def __init__(self, words: Iterable[str], real_words: Collection[str]) -> None:
        """`words`: the words of headings. `real_words`: words that are similar but correct."""
        self._words = set(words)
        self._real_words = real_words
        long_words = sorted(word for word in self._words if len(word) >= _SHORTEST)
        self._undoubled = {_undouble(word): word for word in sorted(long_words, key=len, reverse=True)}
        # two words one edit apart have a common form with at most one letter removed from each
        self._by_initial: dict[str, list[str]] = {}
        self._shortened: dict[str, list[str]] = {}
        for word in long_words:
            self._by_initial.setdefault(word[0], []).append(word)
            for short in (word, *_shorten(word)):
                self._shortened.setdefault(short, []).append(word)
        self._known: dict[str, str] = {}

    def correct(self, key: str) -> str:
        """A normalised phrase with its typos corrected. A single word must be longer to be corrected."""
        words = key.split()
        shortest = _SHORTEST if len(words) > 1 else _SHORTEST_ALONE
        return " ".join(
            word
            if word in self._words or (len(word) < shortest and word not in _SHORT_CORRECTIONS)
            else self._correct_word(word)
            for word in words
        )

    def _correct_word(self, word: str) -> str:
        known = self._known.get(word)
        if known is None:
            if len(self._known) > _MOST_KNOWN:
                self._known.clear()
            known = self._known[word] = self._nearest_word(word)
        return known

    def _nearest_word(self, word: str) -> str:
        if word in _SHORT_CORRECTIONS:
            return _SHORT_CORRECTIONS[word]
        if not word.isalpha() or word in self._real_words:
            return word
        if (plain := _undouble(word)) in self._undoubled:
            return self._undoubled[plain]
        for short in (word, *_shorten(word)):
            for other in self._shortened.get(short, ()):
                if OSA.distance(word, other) == 1:
                    return other
        if len(word) >= _SHORTEST_DOUBLE:
            alike = [other for other in self._by_initial.get(word[0], ()) if abs(len(other) - len(word)) < 3]
            best = process.extractOne(word, alike, scorer=OSA.distance, score_cutoff=2)
            return best[0] if best else word
        return word


def _shorten(word: str) -> Iterable[str]:
    """The forms of the word without one of its letters."""
    return (word[:n] + word[n + 1 :] for n in range(len(word)))


def _undouble(word: str) -> str:
    """The word with a single letter for each double one."""
    return "".join(letter for n, letter in enumerate(word) if not n or letter != word[n - 1])


_SHORTEST_ALONE = 7  # letters of a single word; a shorter one is too often another, correct word
_SHORTEST = 5  # letters of a word among others
_SHORTEST_DOUBLE = 12  # letters of a word that may have two typos
_MOST_KNOWN = 50_000
_SHORT_CORRECTIONS = {
    "paln": "plan",
    "plna": "plan",
    "lpan": "plan",
    "plann": "plan",
    "pllan": "plan",
    "plaan": "plan",
    "palns": "plans",
    "plnas": "plans",
}
