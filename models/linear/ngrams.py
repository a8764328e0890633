"""Text to sparse TF-IDF features over word and character n-grams, and back to character offsets.

Every feature belongs to tokens of the text: a word n-gram to its n tokens, a character n-gram to the word that it is
cut from. So the contribution of each token to a linear decision is exact, and the contributions sum to the decision.

It is fast because work is done once for each distinct word and not for each token. The character n-grams of texts are
the matrix product (texts × words) · (words × character n-grams). Word n-grams are looked up as integers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator
from scipy.sparse import csr_matrix, hstack

from rubricator.models.linear.tokens import Tokens, tokenize
from rubricator.nlp.assertions import MARKS
from rubricator.nlp.words.tokens import base_form

Int = NDArray[np.int64]
Float = NDArray[np.float32]

_IN_NAMES = -1  # group number of the names of labels, which are of no patient


class NgramSettings(BaseModel):
    """Which features a text has. There are two kinds of features: word n-grams and character n-grams."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    word_ngrams: int = Field(
        default=2,
        ge=1,
        le=5,
        description="Number of words in the longest word n-gram; all shorter ones are used too.",
    )
    char_ngrams: tuple[int, int] = Field(
        default=(3, 5),
        description="Number of characters in the shortest and in the longest character n-gram. They are cut from a "
        "single word with a blank on either side.",
    )
    min_groups: int = Field(
        default=2,
        ge=1,
        description="Smallest number of groups (patients) whose texts have a feature. Rarer features may be names of "
        "persons and are dropped.",
    )
    word_weight: float = Field(
        default=1.0, gt=0, description="Factor of the word n-gram features, after they are normalised."
    )
    char_weight: float = Field(
        default=1.0,
        ge=0,
        description="Factor of the character n-gram features, after they are normalised; 0 makes none.",
    )
    evenness: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="Strength of length normalisation. At 1 the features of every text are scaled to the same norm. At "
        "0 they are not, so that a long text has larger features than a short one.",
    )
    assertions: bool = Field(
        default=False,
        description="Whether a word that is negated, uncertain or about another person is a different feature "
        "from the same word asserted.",
    )
    abbreviations: bool = Field(
        default=False, description="Whether an abbreviation is replaced by the words that it stands for."
    )

    @field_validator("char_ngrams")
    @classmethod
    def _shortest_first(cls, lengths: tuple[int, int]) -> tuple[int, int]:
        if not 1 <= lengths[0] <= lengths[1]:
            raise ValueError("char_ngrams must be the shortest and the longest length, such as [3, 5]")
        return lengths


class NgramFeatures:
    """TF-IDF features (sublinear counts, smoothed idf). Word and character n-grams are normalised separately.

    Column order: single words, n-grams of 2, 3, … words, character n-grams.
    """

    def __init__(self, settings: NgramSettings) -> None:
        self.settings = settings
        self.words: dict[str, int] = {}
        self.chars: dict[str, int] = {}
        # For each length from 2: the sorted keys of the word n-grams. A key combines two numbers, that of the n-gram
        # without its last word and that of the last word.
        self.runs: list[Int] = []
        self.idf: Float = np.zeros(0, np.float32)
        self.norms: Float = np.zeros(0, np.float32)  # mean norm of a text, per kind of feature

    def fit_transform(
        self,
        texts: Sequence[str],
        groups: Int,
        *,
        names: Sequence[str] = (),
        without: frozenset[str] = frozenset(),
    ) -> csr_matrix:
        """Learn the vocabulary and idf of these texts. Returns their features, float32 (texts, columns).

        groups: (texts,), the group (patient) of each text. names: of labels; their features are in the vocabulary,
        however few texts have them. without: words (`base_form`) that give no feature: in texts they count neither as
        words nor as sources of character n-grams.
        """
        settings = self.settings
        tokens = self._tokenize([*texts, *names])
        distinct, group_of_text = np.unique(groups, return_inverse=True)
        group = np.append(group_of_text, np.full(len(names), _IN_NAMES))[tokens.row]
        left_out = np.array([_word(form) in without for form in tokens.forms], bool)[tokens.form]
        left_out &= group != _IN_NAMES
        frequent = self._frequent(np.where(left_out, -1, tokens.form), group)
        self.words = _numbered(sorted(tokens.forms[form] for form in frequent))
        word = _numbers(tokens.forms, self.words)[tokens.form]
        self.runs, run = [], word
        for length in range(2, settings.word_ngrams + 1):
            key = self._run_keys(tokens, run, word, length)
            self.runs.append(self._frequent(key, group))
            run = _find(self.runs[-1], key)
        if settings.char_weight:
            grams = _numbered(sorted({gram for form in tokens.forms for gram in self._cut(form)}))
            of_groups = replace(
                tokens,
                rows=len(distinct) + 1,
                row=np.where(group == _IN_NAMES, len(distinct), group)[~left_out],
                form=tokens.form[~left_out],
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
        """Features of these texts, float32 (texts, columns). An unknown word still has known character n-grams."""
        return self._weigh(self._counts(self._tokenize(texts)))

    def contributions(
        self, texts: Sequence[str], coefficients: Sequence[Float]
    ) -> Iterator[tuple[Int, NDArray[np.float64]]]:
        """Contribution of each token to `features · coefficients`, text by text.

        Yields for each text the offsets of its tokens (tokens, 2) and their contributions (tokens, labels). These sum
        to the decision without its intercept. The words of an expanded abbreviation count as one token.

        coefficients: per text (columns, labels).
        """
        tokens = self._tokenize(texts)
        kinds = self._counts(tokens)
        features, counts = (
            self._weigh(kinds),
            csr_matrix(hstack([counts for _, counts in kinds], format="csr")),
        )
        features.sort_indices()
        counts.sort_indices()
        of_one = features.data.astype(np.float64) / counts.data  # value of one occurrence of a feature
        blocks = list(self._token_features(tokens))
        grams = self._char_counts(tokens.forms, self.chars)
        offsets = np.stack([tokens.start, tokens.end], axis=1)
        ends = np.searchsorted(tokens.row, np.arange(len(texts) + 1))
        for row, weights in enumerate(coefficients):
            here = slice(ends[row], ends[row + 1])
            there = slice(features.indptr[row], features.indptr[row + 1])
            columns = features.indices[there]
            added = of_one[there, None] * weights[columns]  # contribution of one occurrence of a feature
            parts = np.zeros((ends[row + 1] - ends[row], weights.shape[1]))
            first = 0
            for length, column, size in blocks:
                at = np.flatnonzero(column[here] >= 0)
                of_each = added[np.searchsorted(columns, first + column[here][at])] / length
                for word in range(length):
                    parts[at + word] += of_each
                first += size
            if self.chars:
                cut = grams[tokens.form[here]]
                found = np.searchsorted(columns, first + cut.indices)
                parts += csr_matrix((cut.data, found, cut.indptr), shape=(len(parts), len(columns))) @ added
            # the words of an expanded abbreviation begin at one offset
            distinct = np.flatnonzero(np.diff(offsets[here, 0], prepend=-1))
            if len(distinct) < len(parts):
                parts = np.add.reduceat(parts, distinct)
            yield offsets[here][distinct], parts

    def vocabulary(self) -> dict[str, list[str]]:
        """The words and character n-grams, in column order. The rest of what was learnt is in tensors()."""
        return {"words": list(self.words), "chars": list(self.chars)}

    def tensors(self) -> dict[str, np.ndarray]:
        """idf, mean norms, and the word n-grams of two and more words as sorted keys."""
        runs = {f"runs_{length}": keys for length, keys in enumerate(self.runs, 2)}
        return {"idf": self.idf, "norms": self.norms, **runs}

    def restore(self, vocabulary: dict[str, list[str]], tensors: dict[str, np.ndarray]) -> None:
        """Restore what vocabulary() and tensors() gave."""
        self.words, self.chars = _numbered(vocabulary["words"]), _numbered(vocabulary["chars"])
        self.idf, self.norms = tensors["idf"], tensors["norms"]
        self.runs = [tensors[f"runs_{length}"] for length in range(2, self.settings.word_ngrams + 1)]
        columns = len(self.words) + len(self.chars) + sum(map(len, self.runs))
        if len(self.idf) != columns or (self.chars and not self.settings.char_weight):
            raise ValueError(f"{columns} n-grams and {len(self.idf)} idf values do not belong together")

    def _tokenize(self, texts: Sequence[str]) -> Tokens:
        chosen = self.settings
        return tokenize(texts, assertions=chosen.assertions, expand=chosen.abbreviations)

    def _token_features(self, tokens: Tokens) -> Iterator[tuple[int, Int, int]]:
        """For each length of word n-grams: the length, the column of the n-gram at each token, number of columns.

        An n-gram is at the token that it starts at. Columns count within the length; -1 where no known n-gram starts.
        """
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
        """The distinct keys, sorted, that are in texts of enough groups or in a name. key: (tokens,), -1 for none."""
        in_names = (key >= 0) & (group == _IN_NAMES)
        in_texts = (key >= 0) & (group != _IN_NAMES)
        number = group.max(initial=0) + 1
        distinct = np.unique(key[in_texts] * number + group[in_texts])
        keys, groups = np.unique(distinct // number, return_counts=True)
        return np.union1d(keys[groups >= self.settings.min_groups], key[in_names])

    def _run_keys(self, tokens: Tokens, run: Int, word: Int, length: int) -> Int:
        """Key of the n-gram of `length` words that starts at each token, -1 where there is none.

        run: for each token, number of the n-gram that is one word shorter.
        """
        shift = length - 1
        last, row = np.full_like(word, -1), np.full_like(word, -1)
        last[: max(len(word) - shift, 0)] = word[shift:]
        row[: max(len(word) - shift, 0)] = tokens.row[shift:]
        return np.where(row == tokens.row, self._pair_keys(run, last), -1)

    def _pair_keys(self, first: Int, word: Int) -> Int:
        return np.where((first >= 0) & (word >= 0), first * len(self.words) + word, -1)

    def _cut(self, form: str) -> Iterator[str]:
        shortest, longest = self.settings.char_ngrams
        mark = _mark(form)
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


def _mark(form: str) -> str:
    return form[0] if form[0] in MARKS else ""


def _word(form: str) -> str:
    return base_form(form.removeprefix(_mark(form)))


def _form_counts(tokens: Tokens) -> csr_matrix:
    ones = np.ones(len(tokens.row), np.float32)
    return csr_matrix((ones, (tokens.row, tokens.form)), shape=(tokens.rows, len(tokens.forms)))


def _numbered(names: Sequence[str]) -> dict[str, int]:
    return {name: number for number, name in enumerate(names)}


def _numbers(names: Sequence[str], numbered: dict[str, int]) -> Int:
    return np.fromiter((numbered.get(name, -1) for name in names), np.int64, len(names))


def _find(keys: Int, key: Int) -> Int:
    """The position of each key in the sorted keys, -1 where it is not among them."""
    if not len(keys):
        return np.full_like(key, -1)
    at = np.minimum(np.searchsorted(keys, key), len(keys) - 1)
    return np.where(keys[at] == key, at, -1)
