"""Text to sparse TF-IDF features over word and character n-grams, and back to character offsets.

Every feature belongs to tokens of the text: a run of n words to its n tokens, a character n-gram to the word
it is cut from. So the part of a linear decision that each token carries is exact, and the parts sum up to the
whole.

Speed comes from doing once per distinct word what need not be done per token: the character n-grams of texts
are the matrix product (texts × words) · (words × character n-grams), and runs of words are looked up as
integers.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator
from scipy.sparse import csr_matrix, hstack

from rubricator.nlp.hidden_text import hides_text
from rubricator.nlp.words.abbreviations import abbreviations

Int = NDArray[np.int64]
Float = NDArray[np.float32]

_TOKEN = re.compile(r"\d+(?:[.,:/]\d+)*|\w+(?:['’]\w+)*")
_DIGITS = str.maketrans("123456789", "000000000")
_ASSERTIONS = {  # by the mark that a word in scope gets (never part of a token); where both hold, the last wins
    "?": re.compile(
        r"\b(?:may|might|could|possibl[ey]|probabl[ey]|likely|suspect(?:ed|s|ing)?|suspicious|suspicion|"
        r"question(?:able)?|presum(?:ed|ably)|versus|vs|rule out|r/o|evaluate for|"
        r"concern(?:ing)? for|worrisome|suggest(?:s|ive|ing)?|consider(?:ed)?|if)\b",
        re.IGNORECASE,
    ),
    "¬": re.compile(
        r"\b(?:no|not|non|without|denie[sd]|denying|deny|negative for|free of|absence of|absent|never|"
        r"lack of|lacks|rather than|instead of)\b",
        re.IGNORECASE,
    ),
}
_NAMED = -1  # the group of a name
_SCOPE_END = re.compile(
    r"[.;:!?\n]|\b(?:but|however|although|though|except|which|who|because|since)\b", re.IGNORECASE
)


class NgramSettings(BaseModel):
    """What becomes a feature. A weight is that of one kind of feature against the others; 0 leaves the kind
    out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    word_ngrams: int = Field(default=2, ge=1, le=5)  # longest run of words
    char_ngrams: tuple[int, int] = (3, 5)  # shortest and longest, cut from a word and the blanks around it
    min_groups: int = Field(
        default=2, ge=1
    )  # a feature of fewer groups (patients) is dropped: it may be a person's name
    word_weight: float = Field(default=1.0, gt=0)
    char_weight: float = Field(default=1.0, ge=0)
    evenness: float = Field(
        default=1.0, ge=0, le=1
    )  # 1: a long text weighs as much as a short one, 0: more by its norm
    assertions: bool = False  # a word that is negated or uncertain is another word than the same one asserted
    abbreviations: bool = False  # an abbreviation is read as the words that it stands for

    @field_validator("char_ngrams")
    @classmethod
    def _shortest_first(cls, lengths: tuple[int, int]) -> tuple[int, int]:
        if not 1 <= lengths[0] <= lengths[1]:
            raise ValueError("char_ngrams are the shortest and the longest length, say [3, 5]")
        return lengths


@hides_text()
@dataclass(frozen=True, slots=True)
class Tokens:
    """All tokens of a batch of texts as flat arrays; start and end are offsets into the text of that row."""

    rows: int
    row: Int
    start: Int
    end: Int
    form: Int  # number in forms
    forms: list[str]  # distinct tokens, in lower case, digits as 0, with the mark of their assertion


class NgramFeatures:
    """TF-IDF (sublinear counts, smoothed idf); words with their runs, and characters, are normalised apart.

    Column order: words, runs of 2, 3, … words, character n-grams.
    """

    def __init__(self, settings: NgramSettings) -> None:
        self.settings = settings
        self.words: dict[str, int] = {}
        self.chars: dict[str, int] = {}
        self.runs: list[
            Int
        ] = []  # per length from 2: sorted keys, number of the run but its last word, and that word
        self.idf: Float = np.zeros(0, np.float32)
        self.norms: Float = np.zeros(0, np.float32)  # mean norm of a text, per kind of feature

    def fit_transform(self, texts: Sequence[str], groups: Int, *, names: Sequence[str] = ()) -> csr_matrix:
        """Learn the vocabulary and idf of these texts; returns their features, float32 (texts, columns).

        groups: (texts,), whose text it is. names: what labels are called; their features are in the vocabulary, however
        few of the texts have them.
        """
        settings = self.settings
        tokens = self._tokenize([*texts, *names])
        distinct, group_of_text = np.unique(groups, return_inverse=True)
        group = np.append(group_of_text, np.full(len(names), _NAMED))[tokens.row]
        self.words = _numbered(sorted(tokens.forms[form] for form in self._frequent(tokens.form, group)))
        word = _numbers(tokens.forms, self.words)[tokens.form]
        self.runs, run = [], word
        for length in range(2, settings.word_ngrams + 1):
            key = self._run_keys(tokens, run, word, length)
            self.runs.append(self._frequent(key, group))
            run = _find(self.runs[-1], key)
        if settings.char_weight:
            grams = _numbered(sorted({gram for form in tokens.forms for gram in self._cut(form)}))
            of_groups = replace(
                tokens, rows=len(distinct) + 1, row=np.where(group == _NAMED, len(distinct), group)
            )
            counts = _form_counts(of_groups) @ self._char_counts(tokens.forms, grams)
            kept = np.bincount(counts[:-1].indices, minlength=len(grams)) >= settings.min_groups
            kept[counts[-1].indices] = True
            self.chars = _numbered([gram for gram, keep in zip(grams, kept, strict=True) if keep])
        kinds = [(weight, counts[: len(texts)]) for weight, counts in self._counts(tokens)]
        with_it = np.concatenate(
            [np.bincount(counts.indices, minlength=counts.shape[1]) for _, counts in kinds]
        )
        self.idf = (np.log((1 + len(texts)) / (1 + with_it)) + 1).astype(np.float32)
        self.norms = np.array([norm.mean() for _, _, norm in self._tfidf(kinds)], np.float32)
        return self._weigh(kinds)

    def transform(self, texts: Sequence[str]) -> csr_matrix:
        """Features of these texts, float32 (texts, columns); an unknown word counts by its known character
        n-grams."""
        return self._weigh(self._counts(self._tokenize(texts)))

    def contributions(
        self, texts: Sequence[str], coefficients: Sequence[Float]
    ) -> Iterator[tuple[Int, NDArray[np.float64]]]:
        """For each text: offsets of its tokens (tokens, 2), and what each adds to `features · coefficients`
        (tokens, labels).

        coefficients: per text (columns, labels). Summed over tokens this is the decision without its intercept.
        """
        tokens = self._tokenize(texts)
        kinds = self._counts(tokens)
        features, counts = (
            self._weigh(kinds),
            csr_matrix(hstack([counts for _, counts in kinds], format="csr")),
        )
        features.sort_indices()
        counts.sort_indices()
        values = features.data.astype(np.float64) / counts.data  # of one occurrence
        blocks = list(self._token_features(tokens))
        grams = self._char_counts(tokens.forms, self.chars)
        offsets = np.stack([tokens.start, tokens.end], axis=1)
        ends = np.searchsorted(tokens.row, np.arange(len(texts) + 1))
        for row, weights in enumerate(coefficients):
            here, there = (
                slice(ends[row], ends[row + 1]),
                slice(features.indptr[row], features.indptr[row + 1]),
            )
            columns = features.indices[there]
            once = values[there, None] * weights[columns]  # what one occurrence of a feature adds
            parts = np.zeros((ends[row + 1] - ends[row], weights.shape[1]))
            first = 0
            for length, column, size in blocks:
                at = np.flatnonzero(column[here] >= 0)
                added = once[np.searchsorted(columns, first + column[here][at])] / length
                for step in range(length):
                    parts[at + step] += added
                first += size
            if self.chars:
                cut = grams[tokens.form[here]]
                found = np.searchsorted(columns, first + cut.indices)
                parts += csr_matrix((cut.data, found, cut.indptr), shape=(len(parts), len(columns))) @ once
            first_words = np.flatnonzero(np.diff(offsets[here, 0], prepend=-1))  # of abbreviations, or words
            if len(first_words) < len(parts):
                parts = np.add.reduceat(parts, first_words)
            yield offsets[here][first_words], parts

    def vocabulary(self) -> dict[str, list[str]]:
        """The strings of the vocabulary, in column order; the rest of what was learnt is in tensors()."""
        return {"words": list(self.words), "chars": list(self.chars)}

    def tensors(self) -> dict[str, np.ndarray]:
        """idf, and the runs and marked words as sorted keys."""
        runs = {f"runs_{length}": keys for length, keys in enumerate(self.runs, 2)}
        return {"idf": self.idf, "norms": self.norms, **runs}

    def restore(self, vocabulary: dict[str, list[str]], tensors: dict[str, np.ndarray]) -> None:
        """Take back what vocabulary() and tensors() gave."""
        self.words, self.chars = _numbered(vocabulary["words"]), _numbered(vocabulary["chars"])
        self.idf, self.norms = tensors["idf"], tensors["norms"]
        self.runs = [tensors[f"runs_{length}"] for length in range(2, self.settings.word_ngrams + 1)]

    def _tokenize(self, texts: Sequence[str]) -> Tokens:
        chosen = self.settings
        return tokenize(texts, assertions=chosen.assertions, expand=chosen.abbreviations)

    def _token_features(self, tokens: Tokens) -> Iterator[tuple[int, Int, int]]:
        """(words in a feature, its column in the block for the token it starts at or -1, columns) of each
        block."""
        word = _numbers(tokens.forms, self.words)[tokens.form]
        yield 1, word, len(self.words)
        run = word
        for length, keys in enumerate(self.runs, 2):
            run = _find(keys, self._run_keys(tokens, run, word, length))
            yield length, run, len(keys)

    def _counts(self, tokens: Tokens) -> list[tuple[float, csr_matrix]]:
        """(weight, counts) of each kind of feature, in column order."""
        blocks = []
        for _, column, size in self._token_features(tokens):
            at = column >= 0
            ones = np.ones(int(at.sum()), np.float32)
            blocks.append(csr_matrix((ones, (tokens.row[at], column[at])), shape=(tokens.rows, size)))
        kinds = [(self.settings.word_weight, csr_matrix(hstack(blocks, format="csr")))]
        if self.settings.char_weight:
            chars = _form_counts(tokens) @ self._char_counts(tokens.forms, self.chars)
            kinds.append((self.settings.char_weight, chars))
        for _, counts in kinds:
            counts.sort_indices()
        return kinds

    def _weigh(self, kinds: list[tuple[float, csr_matrix]]) -> csr_matrix:
        blocks = []
        for (weight, features, norm), mean in zip(self._tfidf(kinds), self.norms, strict=True):
            evenness = self.settings.evenness
            scale = weight / np.maximum(norm**evenness * mean ** (1 - evenness), 1e-12)
            features.data *= np.repeat(scale.astype(np.float32), np.diff(features.indptr))
            blocks.append(features)
        return csr_matrix(hstack(blocks, format="csr", dtype=np.float32))

    def _tfidf(self, kinds: list[tuple[float, csr_matrix]]) -> Iterator[tuple[float, csr_matrix, Float]]:
        """(weight, TF-IDF, L2 norm of each text) of each kind."""
        first = 0
        for weight, counts in kinds:
            values = (np.log(counts.data) + 1) * self.idf[first + counts.indices]
            first += counts.shape[1]
            features = csr_matrix((values, counts.indices, counts.indptr), shape=counts.shape)
            yield weight, features, np.sqrt(features.multiply(features).sum(axis=1).A1)

    def _frequent(self, key: Int, group: Int) -> Int:
        """The keys (one per token, -1 for none) that stand in texts of enough groups, or in a name; sorted."""
        in_names = (key >= 0) & (group == _NAMED)
        in_texts = (key >= 0) & (group != _NAMED)
        number = group.max(initial=0) + 1
        distinct = np.unique(key[in_texts] * number + group[in_texts])
        keys, groups = np.unique(distinct // number, return_counts=True)
        return np.union1d(keys[groups >= self.settings.min_groups], key[in_names])

    def _run_keys(self, tokens: Tokens, run: Int, word: Int, length: int) -> Int:
        """Key of the run of `length` words that starts at each token, from the run one shorter; -1 where
        none."""
        shift = length - 1
        last, row = np.full_like(word, -1), np.full_like(word, -1)
        last[: max(len(word) - shift, 0)] = word[shift:]
        row[: max(len(word) - shift, 0)] = tokens.row[shift:]
        return np.where(row == tokens.row, self._pair_keys(run, last), -1)

    def _pair_keys(self, first: Int, word: Int) -> Int:
        return np.where((first >= 0) & (word >= 0), first * len(self.words) + word, -1)

    def _cut(self, form: str) -> Iterator[str]:
        shortest, longest = self.settings.char_ngrams
        mark = form[0] if form[0] in _ASSERTIONS else ""
        padded = f" {form.removeprefix(mark)} "
        for length in range(shortest, longest + 1):
            for start in range(len(padded) - length + 1):
                yield mark + padded[start : start + length]

    def _char_counts(self, forms: list[str], grams: dict[str, int]) -> csr_matrix:
        """(forms, grams): how often each character n-gram is cut from each form."""
        columns: list[int] = []
        ends = [0]
        for form in forms:
            columns += [number for gram in self._cut(form) if (number := grams.get(gram)) is not None]
            ends.append(len(columns))
        ones = np.ones(len(columns), np.float32)
        counts = csr_matrix(
            (ones, np.array(columns, np.int32), np.array(ends, np.int32)), (len(forms), len(grams))
        )
        counts.sum_duplicates()
        return counts


def tokenize(texts: Sequence[str], *, assertions: bool = False, expand: bool = False) -> Tokens:
    """Words and numbers with their offsets; assertions: mark what is not asserted. expand: for an abbreviation the
    words that it stands for, all with its offsets."""
    numbers: dict[str, int] = {}
    rows: list[int] = []
    starts: list[int] = []
    ends: list[int] = []
    forms: list[int] = []
    for row, text in enumerate(texts):
        found = _expanded(text) if expand else _words(text)
        here = [start for start, _, _ in found]
        words = [word.lower().translate(_DIGITS) for *_, word in found]
        if assertions:
            marks = _marks(here, _assertion_scopes(text))
            words = [mark + word for mark, word in zip(marks, words, strict=True)]
        rows += [row] * len(here)
        starts += here
        ends += [end for _, end, _ in found]
        forms += [numbers.setdefault(word, len(numbers)) for word in words]
    return Tokens(
        rows=len(texts),
        row=np.array(rows, np.int64),
        start=np.array(starts, np.int64),
        end=np.array(ends, np.int64),
        form=np.array(forms, np.int64),
        forms=list(numbers),
    )


def _words(text: str) -> list[tuple[int, int, str]]:
    return [(match.start(), match.end(), match.group()) for match in _TOKEN.finditer(text)]


def _expanded(text: str) -> list[tuple[int, int, str]]:
    found, at = _words(text), 0
    words: list[tuple[int, int, str]] = []
    for start, end, meaning in abbreviations(text):
        while at < len(found) and found[at][0] < start:
            words.append(found[at])
            at += 1
        words += [(start, end, word) for *_, word in _words(meaning)]
        while at < len(found) and found[at][0] < end:
            at += 1
    return words + found[at:]


def _assertion_scopes(text: str) -> list[tuple[int, int, str]]:
    """(start, end, mark) from each trigger to the end of its clause (after NegEx, Chapman et al. 2001)."""
    scopes = []
    for mark, trigger in _ASSERTIONS.items():
        for match in trigger.finditer(text):
            end = _SCOPE_END.search(text, match.end())
            scopes.append((match.end(), end.start() if end else len(text), mark))
    return scopes


def _marks(starts: list[int], scopes: list[tuple[int, int, str]]) -> list[str]:
    """The mark of the last scope that each token starts in."""
    marks = [""] * len(starts)
    for start, end, mark in scopes:
        first, last = bisect_left(starts, start), bisect_left(starts, end)
        marks[first:last] = [mark] * (last - first)
    return marks


def _form_counts(tokens: Tokens) -> csr_matrix:
    ones = np.ones(len(tokens.row), np.float32)
    return csr_matrix((ones, (tokens.row, tokens.form)), shape=(tokens.rows, len(tokens.forms)))


def _numbered(names: Sequence[str]) -> dict[str, int]:
    return {name: number for number, name in enumerate(names)}


def _numbers(names: Sequence[str], numbered: dict[str, int]) -> Int:
    return np.fromiter((numbered.get(name, -1) for name in names), np.int64, len(names))


def _find(keys: Int, key: Int) -> Int:
    """Where each key stands in the sorted keys, -1 where it does not."""
    if not len(keys):
        return np.full_like(key, -1)
    at = np.minimum(np.searchsorted(keys, key), len(keys) - 1)
    return np.where(keys[at] == key, at, -1)
