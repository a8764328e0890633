"""The dictionary of mentions and of names of codes, learnt from training notes."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from rubricator.models.mentions.matching import (
    Int,
    Name,
    NameIndex,
    NoteWords,
    name_of,
    word_key,
    word_keys,
)
from rubricator.nlp.contexts import LabelSpan
from rubricator.nlp.hidden_text import hides_text
from rubricator.nlp.icd import icd10cm_names, names
from rubricator.nlp.words.tokens import TOKEN, base_form

_COMMON = 0.6  # a word in more than this share of the notes is left out of mentions
_STOP_WORDS = frozenset(
    word_keys(
        "of and or the in unspecified other specified nos not elsewhere classified due to with without initial "
        "encounter site for by on a as no especificado especificada especificados especificadas otro otra otros otras "
        "parte sitio sitios clasificado clasificada clasificados clasificadas de la el en los las del con por un una y"
    )
)
_UNSPECIFIED = re.compile(r"nspecified|\bNOS\b|no especificad|sin especificar|\bSAI\b", re.IGNORECASE)
_BRACKETED = re.compile(r"\[[^\]]*\]|\([^)]*\)")
_UNSPECIFIED_SUFFIX = re.compile(r"\.?[09]{1,3}")  # what a code for "unspecified" adds to the code above it
_SENTENCE = re.compile(r"[.;:!?]\s|\n")
_MOST_MINED = 5_000  # notes
LEAST_MINED = 0.3  # of the notes with a mined mention, the share that must have the label


@hides_text()
class Links(NamedTuple):
    """Which codes each name stands for, sorted by name.

    name, code: numbers of the two, each (links,). first: (names + 1,); the codes of name n are
    code[first[n] : first[n + 1]].
    """

    names: list[Name]
    name: Int
    code: Int
    first: Int

    @classmethod
    def of(cls, pairs: Iterable[tuple[Name, int]]) -> Self:
        """Links of pairs of a name and the number of a code."""
        ordered = sorted(set(pairs))
        names = sorted({name for name, _ in ordered})
        number = {name: at for at, name in enumerate(names)}
        name = np.array([number[name] for name, _ in ordered], np.int64)
        code = np.array([code for _, code in ordered], np.int64)
        return cls(names, name, code, np.searchsorted(name, np.arange(len(names) + 1)))

    def spread(self, names: Int) -> tuple[Int, Int]:
        """All links of these names: for each link, the position of its name in `names`, and the number of the link."""
        many = self.first[names + 1] - self.first[names]
        which = np.repeat(np.arange(len(names)), many)
        return which, np.arange(len(which)) - np.repeat(np.cumsum(many) - many, many) + self.first[names][
            which
        ]


class Dictionary:
    """Mentions with the labels they were marked for, names with the codes they stand for, and the tree of the codes.

    titles: the names of codes. weights: of words, the rarer the higher; a word that is not in it weighs `rare`.
    unspecified: (labels,), whether a name of the label says "unspecified". codes: the labels, then the codes above
    them. parent: (codes,), number of the code above, -1 for none. within: for the first 2, 3 and 5 characters of the
    codes, the number of the group of codes that each label is in, each (labels,).

    below, usual: numbers of a code and of a label under it, each (2, pairs). `below` pairs a label with the code
    directly above it. `usual` pairs an "unspecified" label with every code above it that means the same.
    """

    def __init__(
        self,
        labels: Sequence[str],
        *,
        mentions: Links,
        titles: Links,
        weights: dict[str, float],
        rare: float,
        unspecified: NDArray[np.bool_],
    ) -> None:
        self.labels, self.mentions, self.titles = labels, mentions, titles
        self.weights, self.rare, self.unspecified = weights, rare, unspecified
        self.mention_index = NameIndex(mentions.names, weights, rare)
        self.title_index = NameIndex(titles.names, weights, rare)
        self.mention_words = np.array([len(name) for name in mentions.names], np.int64)
        self.codes = _with_above(self.labels)
        number = {code: at for at, code in enumerate(self.codes)}
        self.parent = np.array(
            [number.get(next(iter(_above(code)), ""), -1) for code in self.codes], np.int64
        )
        self.within = [
            np.unique([label[:length] for label in self.labels], return_inverse=True)[1]
            for length in (2, 3, 5)
        ]
        below = [(self.parent[at], at) for at, label in enumerate(self.labels) if len(label) > 4]
        usual = [
            (number[code], at)
            for at, label in enumerate(self.labels)
            if self.unspecified[at]
            for code in _above(label)
            if _UNSPECIFIED_SUFFIX.fullmatch(label, len(code))
        ]
        self.below, self.usual = (
            np.array(sorted(pairs), np.int64).reshape(-1, 2).T for pairs in (below, usual)
        )

    def family(self, label: int) -> set[int]:
        """The label and the two codes above it."""
        parent = int(self.parent[label])
        return {label, parent, int(self.parent[parent])} - {-1} if parent >= 0 else {label}


@hides_text()
class WordWeights(NamedTuple):
    """Weights of the words that may be kept.

    rare: the weight of a word that is in no training note. common: words that are in most notes.
    """

    weights: dict[str, float]
    rare: float
    common: frozenset[str]

    @classmethod
    def of(
        cls,
        notes: Sequence[NoteWords],
        groups: Int,
        titles: set[str],
        *,
        min_groups: int,
        person_names: frozenset[str] = frozenset(),
    ) -> Self:
        """Inverse document frequency over the training notes.

        Words in at least min_groups groups are kept, and words in names of codes (titles). person_names: keys of words
        that are not kept, even in such names.
        """
        frequency = Counter(word for note in notes for word in dict.fromkeys(note.keys))
        shared = Counter(
            word
            for word, _ in {
                (word, group) for note, group in zip(notes, groups, strict=True) for word in note.keys
            }
        )
        weights = {
            word: float(np.log((len(notes) + 1) / (many + 1)))
            for word, many in frequency.items()
            if (shared[word] >= min_groups or word in titles) and word not in person_names
        }
        common = frozenset(word for word, many in frequency.items() if many > _COMMON * len(notes))
        return cls(weights, float(np.log(len(notes) + 1)), common)


def named_codes(
    labels: Sequence[str], descriptions: Sequence[str]
) -> tuple[list[tuple[Name, int]], NDArray[np.bool_]]:
    """(name, number of the code) of labels and of the codes above them; and which labels are unspecified (labels,).

    descriptions: of the labels, one name per line.
    """
    given = dict(zip(labels, descriptions, strict=True))
    names = {code: [*given.get(code, "").split("\n"), *_table_names(code)] for code in _with_above(labels)}
    unspecified = np.array([bool(_UNSPECIFIED.search("\n".join(names[label]))) for label in labels], bool)
    return [
        (name, number)
        for number, texts in enumerate(names.values())
        for text in texts
        if (name := name_of(word_keys(_BRACKETED.sub("", text)), without=_STOP_WORDS))
    ], unspecified


def marked_mentions(
    texts: Sequence[str], evidence: Sequence[Sequence[LabelSpan]], weighed: WordWeights
) -> Iterator[tuple[int, Name, int]]:
    """(note, mention, label) of every marked span, without the words that may not be kept.

    Two spans that follow each other in one sentence and have the same label are one mention.
    """
    for row, (text, spans) in enumerate(zip(texts, evidence, strict=True)):
        keys = [word_keys(text[span.start : span.end]) for span in spans]
        at = 0
        while at < len(spans):
            words, label = keys[at], spans[at].label
            if at + 1 < len(spans) and _one_mention(text, spans[at], spans[at + 1]):
                at += 1
                words = words + keys[at]
            at += 1
            words = [word for word in words if word in weighed.weights]
            name = name_of(words, without=weighed.common) or name_of(words, without=frozenset())
            if name:
                yield row, name, label


def mined_mentions(
    notes: Sequence[NoteWords],
    targets: csr_matrix,
    groups: Int,
    weighed: WordWeights,
    *,
    min_groups: int,
    seed: int,
) -> Iterator[tuple[int, Name, int]]:
    """(note, mention, label) for notes without marked evidence.

    A mined mention is one to three words in a row that often occur in notes with the label.

    notes, groups: (notes,). targets: (notes, labels). min_groups: smallest number of groups whose notes have the words.
    """
    number: dict[Name, int] = {}
    events: set[tuple[int, int]] = set()
    drawn = np.random.default_rng(seed).permutation(len(notes))[:_MOST_MINED]
    for row in drawn.tolist():
        events.update((row, number.setdefault(run, len(number))) for run in _runs(notes[row], weighed))
    at, run = np.array(sorted(events), np.int64).reshape(-1, 2).T
    there = csr_matrix((np.ones(len(at)), (at, run)), (len(notes), len(number)))
    together = (there.T @ targets.astype(np.float64)).tocoo()
    share = together.data / there.sum(axis=0).A1[together.row]
    group = np.unique(groups, return_inverse=True)[1]
    of_groups = np.bincount(np.unique(run * len(notes) + group[at]) // len(notes), minlength=len(number))
    kept = (of_groups[together.row] >= min_groups) & (together.data >= 2) & (share >= LEAST_MINED)
    runs = list(number)
    labels: dict[Name, list[int]] = defaultdict(list)
    for which, label in zip(together.row[kept].tolist(), together.col[kept].tolist(), strict=True):
        labels[runs[which]].append(label)
    true = set(zip(*(part.tolist() for part in targets.nonzero()), strict=True))
    for row, note in enumerate(notes):
        for name in _runs(note, weighed):
            yield from ((row, name, label) for label in labels.get(name, ()) if (row, label) in true)


def name_keys(texts: Sequence[str], person_names: frozenset[str]) -> frozenset[str]:
    """Keys of the words (`base_form`) that look like names, without keys that another word of the texts has too.

    "payne" and "pain" have one key.
    """
    words = {match.group() for text in texts for match in TOKEN.finditer(text)}
    of_names = {word for word in words if base_form(word) in person_names}
    return frozenset(map(word_key, of_names)) - set(map(word_key, words - of_names))


@cache
def table_words() -> frozenset[str]:
    """Keys of all words in the names of ICD-10-CM. They are medical terms, not names of persons."""
    return frozenset(
        word for names_of in icd10cm_names().values() for name in names_of for word in word_keys(name)
    )


def _runs(note: NoteWords, weighed: WordWeights) -> list[Name]:
    """Names of one to three words in a row in a clause, each once; common words and stop words are skipped."""
    words = [
        (key, clause)
        for key, clause in zip(note.keys, note.clauses, strict=True)
        if key in weighed.weights and key not in weighed.common and key not in _STOP_WORDS
    ]
    names = (
        name_of((key for key, _ in run), without=frozenset())
        for length in (1, 2, 3)
        for run in (words[first : first + length] for first in range(len(words) - length + 1))
        if run[0][1] == run[-1][1]
    )
    return list(dict.fromkeys(names))  # in order: a set has another one in each process


def _one_mention(text: str, span: LabelSpan, other: LabelSpan) -> bool:
    """Whether two spans for one label, in one sentence, are one mention with words in between."""
    between = slice(min(span.end, other.end), max(span.start, other.start))
    return span.label == other.label and not _SENTENCE.search(text[between])


def _with_above(labels: Sequence[str]) -> list[str]:
    """The labels, and after them the codes above them that are not labels."""
    return [*labels, *sorted({code for label in labels for code in _above(label)} - set(labels))]


def _above(code: str) -> Iterator[str]:
    """The codes above this one in ICD, nearest first: R10.3 and R10 above R10.30."""
    shorter = code[:-1].rstrip(".")
    while len(shorter) >= 3:
        yield shorter
        shorter = shorter[:-1].rstrip(".")


def _table_names(code: str) -> list[str]:
    """The names in the code tables. Placeholders (X) at the end of an incomplete code are ignored."""
    return names(code) or names(code.rstrip("X").rstrip("."))
