"""Finds names in notes: with their words in any order, with other words in between, misspelt, or in part.

Words are compared by a key. A word of Greek or Latin origin has the same key in several European languages
(hypertension, hipertensión; psychosis, psicosis), and with different endings. So English names of codes are found in
notes in other languages too.
"""

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from rubricator.nlp.assertions import assertion_scopes
from rubricator.nlp.hidden_text import hides_text
from rubricator.nlp.words.accents import without_accents
from rubricator.nlp.words.tokens import TOKEN

Int = NDArray[np.int64]
Float = NDArray[np.float64]
Name = tuple[str, ...]  # the word keys of a name, sorted, each once

_SENTENCE_END = re.compile(r"[.;:!?\n]\s")
_CLAUSE_END = re.compile(r"[.;:!?,()\n]")
_SPELLINGS = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^p(?=[snt])", ""),  # psychosis, pneumonia
        (r"ph", "f"),
        (r"qu|[kq]", "c"),
        (r"h", ""),
        (r"mpt", "nt"),  # symptom, síntoma
        (r"[ao]e", "e"),  # oedema, anaemia
        (r"y", "i"),
        (r"(.)\1", r"\1"),
        (r"^es(?=[bcdfglmnprtv])", "s"),  # esteatosis
        (r"mf", "nf"),  # lymphoma, linfoma
        (r"nm", "m"),
        (r"ti(?=on)", "ci"),
        (r"z", "c"),
    )
]
_ENDING = re.compile(r"(?:[aeiou]+s?|(?<![iu])s)$")
_WINDOW = (2, 3)  # a name of n words may span 2 n + 3 words
_SAME_START = 4  # letters at the start that a misspelt word shares with the right one
_LEAST_RATIO = 75.0  # similarity by rapidfuzz that a misspelt word needs, 100 for the same word
_MISSPELT = 0.9  # a misspelt word counts as its similarity (0 to 1) times this


@lru_cache(maxsize=200_000)
def word_key(word: str) -> str:
    """The key that a word is compared by. In a number of several digits, each digit becomes 0."""
    folded = without_accents(word.lower())
    if folded[:1].isdigit():
        return folded if len(folded) == 1 else re.sub(r"\d", "0", folded)
    if len(folded) > 4:
        for pattern, replacement in _SPELLINGS:
            folded = pattern.sub(replacement, folded)
        if len(folded) > 4:
            folded = _ENDING.sub("", folded)
    return folded


def word_keys(text: str) -> list[str]:
    """The keys of the words of a text, in order."""
    return [word_key(match.group()) for match in TOKEN.finditer(text)]


@hides_text()
@dataclass(frozen=True)
class NoteWords:
    """The words of a note, in order.

    starts, ends: offsets into the text. keys: see word_key. sentences, clauses: number of the sentence and of the
    clause that a word is in. denied: whether a word is negated, uncertain or about another person.
    """

    starts: list[int]
    ends: list[int]
    keys: list[str]
    sentences: list[int]
    clauses: list[int]
    denied: list[bool]


def read_words(text: str) -> NoteWords:
    """Split a note into words."""
    found = list(TOKEN.finditer(text))
    starts = [match.start() for match in found]
    denied = [False] * len(found)
    for scope in assertion_scopes(text):
        first, last = bisect_left(starts, scope.start), bisect_left(starts, scope.end)
        denied[first:last] = [True] * (last - first)
    sentences, clauses = [], []
    sentence = clause = end = 0
    for match in found:
        gap = text[end : match.start() + 1]
        if _SENTENCE_END.search(gap):
            sentence += 1
        clause += _CLAUSE_END.search(gap) is not None
        sentences.append(sentence)
        clauses.append(clause)
        end = match.end()
    return NoteWords(
        starts,
        [match.end() for match in found],
        [word_key(match.group()) for match in found],
        sentences,
        clauses,
        denied,
    )


class WholeMatch(NamedTuple):
    """A name whose words all are close together in one sentence."""

    name: int  # number of the name
    first: int  # number of the first word in the note
    last: int


class PartMatches(NamedTuple):
    """Names of which a part is in one clause. Each array is (matches,)."""

    note: Int
    name: Int
    share: Float  # of the name, by weight of words
    clause: Int


class NameIndex:
    """Names to be found in notes.

    weights: of words, the rarer the higher; a word that is not in it weighs `rare`. The attribute `weights` is
    different: it has the weights of whole names (names,).
    """

    def __init__(self, names: Sequence[Name], weights: Mapping[str, float], rare: float) -> None:
        self.names = list(names)
        words = sorted({word for name in names for word in name})
        self._number = {word: number for number, word in enumerate(words)}
        self._rarest: dict[str, list[int]] = defaultdict(list)
        self._alike: dict[str, list[tuple[int, float]]] = {}
        self._by_start: dict[str, list[str]] = defaultdict(list)
        for word in words:
            if len(word) > _SAME_START:
                self._by_start[word[:_SAME_START]].append(word)
        for number, name in enumerate(names):
            self._rarest[max(name, key=lambda word: (weights.get(word, rare), word))].append(number)
        row = np.array([self._number[word] for name in names for word in name], np.int64)
        column = np.repeat(np.arange(len(names)), [len(name) for name in names])
        of_words = np.array([weights.get(word, rare) for name in names for word in name]) + 1e-9
        self.weights = np.bincount(column, of_words, len(names)).astype(np.float64)
        self._shares = csr_matrix((of_words / self.weights[column], (row, column)), (len(words), len(names)))

    def whole(self, note: NoteWords) -> Iterator[WholeMatch]:
        """All names that are found whole in a note, in the order of their numbers."""
        places: dict[str, list[int]] = defaultdict(list)
        for at, key in enumerate(note.keys):
            places[key].append(at)
        candidates = [(number, key) for key in places for number in self._rarest.get(key, ())]
        for number, rarest in sorted(candidates):
            name = self.names[number]
            if not all(word in places for word in name):
                continue
            width = _WINDOW[0] * len(name) + _WINDOW[1]
            for at in places[rarest]:
                nearest = [min(places[word], key=lambda place: abs(place - at)) for word in name]
                first, last = min(nearest), max(nearest)
                if last - first < width and note.sentences[first] == note.sentences[last]:
                    yield WholeMatch(number, first, last)

    def parts(self, notes: Sequence[NoteWords], least: float, *, misspelt: bool) -> PartMatches:
        """Names of which one clause has at least the share `least`; of each name, the clause with the largest share.

        In the order of note and name. misspelt: whether misspelt words count too.
        """
        clauses: list[tuple[int, int]] = []
        rows: list[int] = []
        columns: list[int] = []
        values: list[float] = []
        for number, note in enumerate(notes):
            known: dict[int, dict[int, float]] = defaultdict(dict)
            for key, clause in zip(note.keys, note.clauses, strict=True):
                for word, ratio in self._known(key, misspelt):
                    known[clause][word] = max(known[clause].get(word, 0.0), ratio)
            for clause, words in known.items():
                rows += [len(clauses)] * len(words)
                columns += words.keys()
                values += words.values()
                clauses.append((number, clause))
        words_in = csr_matrix((values, (rows, columns)), (len(clauses), len(self._number)))
        shares = (words_in @ self._shares).tocoo()
        kept = shares.data >= least
        where = np.array(clauses, np.int64).reshape(-1, 2)[shares.row[kept]]
        name, share = shares.col[kept].astype(np.int64), shares.data[kept]
        order = np.lexsort((where[:, 1], -share, name, where[:, 0]))
        where, name, share = where[order], name[order], share[order]
        best = np.flatnonzero(np.diff(where[:, 0], prepend=-1) | np.diff(name, prepend=-1))
        return PartMatches(where[best, 0], name[best], np.minimum(share[best], 1.0), where[best, 1])

    def words_of(self, note: NoteWords, name: int, clause: int) -> list[int]:
        """Numbers of the words of this clause that are words of this name, misspelt or not."""
        own = {self._number[word] for word in self.names[name]}
        return [
            at
            for at, (key, its_clause) in enumerate(zip(note.keys, note.clauses, strict=True))
            if its_clause == clause and any(word in own for word, _ in self._known(key, True))
        ]

    def _known(self, key: str, misspelt: bool) -> list[tuple[int, float]]:
        """Numbers of the words of names that a word may be, each with its similarity (0 to 1)."""
        exact = [(self._number[key], 1.0)] if key in self._number else []
        if not misspelt or len(key) <= _SAME_START:
            return exact
        if key not in self._alike:
            from rapidfuzz import fuzz, process

            alike = (
                process.extract(
                    key,
                    self._by_start[key[:_SAME_START]],
                    scorer=fuzz.ratio,
                    score_cutoff=_LEAST_RATIO,
                    limit=9,
                )
                if key[:_SAME_START] in self._by_start
                else []
            )
            self._alike[key] = [
                (self._number[word], _MISSPELT * ratio / 100) for word, ratio, _ in alike if word != key
            ]
        return exact + self._alike[key]


def name_of(keys: Iterable[str], *, without: frozenset[str]) -> Name:
    """The name that these word keys make. without: keys to leave out."""
    return tuple(sorted(set(keys) - without))


def is_inside(first: Int, last: Int, words: Int) -> NDArray[np.bool_]:
    """Whether each of n spans (n,), from first to last word, is inside the span of a name of more words."""
    holds = (first <= first[:, None]) & (last >= last[:, None]) & (words > words[:, None])
    return np.asarray(holds.any(axis=1))
