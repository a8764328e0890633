"""Misspelt words of headings: "ASSESMENT", "reccomendations", "paln"."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from rapidfuzz import process
from rapidfuzz.distance import OSA


class Corrections:
    """Mends words that are a letter away from a word of headings. Remembers what it mended, up to a bound."""

    def __init__(self, words: Iterable[str], real_words: Collection[str]) -> None:
        """`words`: those of headings; `real_words`: those that are no misspelling of one, however like it."""
        self._words = set(words)
        self._real_words = real_words
        long_words = sorted(word for word in self._words if len(word) >= _SHORTEST)
        self._undoubled = {_undouble(word): word for word in sorted(long_words, key=len, reverse=True)}
        # a word one letter away shares with it a form that has one letter less
        self._by_initial: dict[str, list[str]] = {}
        self._shortened: dict[str, list[str]] = {}
        for word in long_words:
            self._by_initial.setdefault(word[0], []).append(word)
            for short in (word, *_shorten(word)):
                self._shortened.setdefault(short, []).append(word)
        self._known: dict[str, str] = {}

    def correct(self, key: str) -> str:
        """A normalised phrase with its misspelt words mended. A word that stands alone must be longer."""
        words = key.split()
        shortest = _SHORTEST if len(words) > 1 else _SHORTEST_ALONE
        return " ".join(
            word
            if word in self._words or (len(word) < shortest and word not in _UNSWAPPED)
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
        if len(word) >= _SHORTEST_DOUBLE:
            alike = [other for other in self._by_initial.get(word[0], ()) if abs(len(other) - len(word)) < 3]
            best = process.extractOne(word, alike, scorer=OSA.distance, score_cutoff=2)
            return best[0] if best else word
        return word


def _shorten(word: str) -> Iterable[str]:
    """The word with any one letter left out."""
    return (word[:n] + word[n + 1 :] for n in range(len(word)))


def _undouble(word: str) -> str:
    """The word with each double letter once."""
    return "".join(letter for n, letter in enumerate(word) if not n or letter != word[n - 1])


_SHORTEST_ALONE = 7  # letters; a shorter word with another letter is too often another word
_SHORTEST = 5  # beside words that are right
_SHORTEST_DOUBLE = 12  # of a word with two letters wrong
_MOST_KNOWN = 50_000
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
