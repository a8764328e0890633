"""Codes by what training notes were given them for, and by their names; a learned model ranks what is found.

Every note and label that a match joins is a cell: a mention of a training note that carried the label (found whole, or
in part), or a name of the label in its code table (its parents' too). A few numbers tell each cell: how often that
mention carried the label, how much of it is there, whether it is negated, how frequent the label and its category are.
Boosted trees learn from cells of held-out notes which of them are right. So a label that no training note has can be
found by its name, and the evidence is exactly the words that were matched.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from safetensors.numpy import load_file, save_file
from scipy.sparse import csr_matrix

from rubricator.models.boosted_trees import BoostedTrees
from rubricator.models.classifier import EvidenceSpan, HeldIn, read_json, write_json
from rubricator.models.folds import assign_folds
from rubricator.models.mention_matching import (
    Float,
    Int,
    Name,
    NameIndex,
    NoteWords,
    is_inside,
    name_of,
    read_words,
    word_keys,
)
from rubricator.nlp.contexts import Context, LabelSpan
from rubricator.nlp.icd import icd10cm_names, names

_BATCH = 250  # notes matched at a time
_COMMON = 0.6  # a word in this share of notes tells nothing
_LEAST_OF_MENTION = 0.4  # share of a mention, by weight of words, that must stand in one clause
_LEAST_OF_TITLE = 0.5
_NOTHING = frozenset(
    word_keys(
        "of and or the in unspecified other specified nos not elsewhere classified due to with without initial "
        "encounter site for by on a as no especificado especificada especificados especificadas otro otra otros otras "
        "parte sitio sitios clasificado clasificada clasificados clasificadas de la el en los las del con por un una y"
    )
)
_UNSPECIFIED = re.compile(r"nspecified|\bNOS\b|no especificad|sin especificar|\bSAI\b", re.IGNORECASE)
_ASIDE = re.compile(r"\[[^\]]*\]|\([^)]*\)")
_USUAL = re.compile(r"\.?[09]{1,3}")  # what the codes for "unspecified" add to those above them
_SENTENCE = re.compile(r"[.;:!?]\s|\n")
_MOST_SPANS = 10
_MOST_CELLS = 1_000_000  # learnt from
_MOST_MINED = 5_000  # notes
_LEAST_MINED = 0.3  # share of the notes with a run of words that have the label


class MentionSettings(BaseModel):
    """How mentions are learnt."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_groups: int = Field(
        default=2, ge=1
    )  # a word of fewer groups (patients), and of no name of a code, is not kept
    inner_folds: int = Field(default=10, ge=2)  # that the model learns on, and for the held-in predictions
    seed: int = 0


class _Found(NamedTuple):
    """What was matched in n notes, before it is known which mentions count."""

    notes: int
    whole: tuple[
        Int, Int, Int, Int, NDArray[np.bool_], Float
    ]  # note, mention, first, last word, negated, place
    parts: tuple[Int, Int, Float, Int]  # note, mention, share, clause
    titles: tuple[Int, Float]  # note · codes + code, sorted, and their numbers (…, 5)


class _Links(NamedTuple):
    """Which codes each name stands for, sorted by name: those of name n are code[first[n] : first[n + 1]]."""

    names: list[Name]
    name: Int
    code: Int
    first: Int

    @classmethod
    def of(cls, pairs: Iterable[tuple[Name, int]]) -> Self:
        ordered = sorted(set(pairs))
        names = sorted({name for name, _ in ordered})
        number = {name: at for at, name in enumerate(names)}
        name = np.array([number[name] for name, _ in ordered], np.int64)
        code = np.array([code for _, code in ordered], np.int64)
        return cls(names, name, code, np.searchsorted(name, np.arange(len(names) + 1)))

    def spread(self, names: Int) -> tuple[Int, Int]:
        """Every link of every name asked for: which of the asked, and the link."""
        many = self.first[names + 1] - self.first[names]
        which = np.repeat(np.arange(len(names)), many)
        return which, np.arange(len(which)) - np.repeat(np.cumsum(many) - many, many) + self.first[names][
            which
        ]


class _Counts(NamedTuple):
    """What training notes tell of each link (a mention and a label it was marked for) and of each label."""

    marked: Float  # links: notes where the mention was marked for the label
    hits: Float  # links: of these, those where the mention is found
    right: Float  # links: notes where the mention is found, with the label
    found: Float  # mentions: notes where it is found
    labels: Float  # labels: notes with it


class MentionClassifier:
    """A dictionary of mentions and code names, and boosted trees that judge what is found."""

    def __init__(
        self,
        labels: Sequence[str],
        settings: MentionSettings,
        *,
        descriptions: Sequence[str | None] | None = None,
    ) -> None:
        self.labels = list(labels)
        self.settings = settings
        self.descriptions = [text or "" for text in descriptions or [None] * len(labels)]
        self.held_in: HeldIn | None = None

    @staticmethod
    def default_settings(task: str) -> MentionSettings:  # noqa: ARG004  # the same for every task
        """Nothing depends on the task."""
        return MentionSettings()

    def fit(
        self,
        texts: Sequence[str],
        targets: csr_matrix,
        *,
        groups: NDArray[np.int64],
        contexts: Sequence[Context] | None = None,  # noqa: ARG002
        evidence: Sequence[Sequence[LabelSpan]] | None = None,
    ) -> Self:
        """Learn the mentions from the evidence, and to rank from what they find in held-out folds.

        Raises FoldError where there are under two groups.
        """
        notes = [read_words(text) for text in texts]
        titles = self._named_codes()
        self._weigh_words(notes, groups, {word for name, _ in titles for word in name} | _table_words())
        self.mined = evidence is None
        marked = list(self._mined(notes, targets) if evidence is None else self._marked(texts, evidence))
        self._build(_Links.of((name, label) for _, name, label in marked), _Links.of(titles))
        found = self._match(notes)
        true = np.sort(
            np.repeat(np.arange(len(texts)), np.diff(targets.tocsr().indptr)) * len(self.codes)
            + targets.tocsr().indices
        )
        events = self._events(found, marked, true)
        folds = assign_folds(targets, groups, self.settings.inner_folds, seed=self.settings.seed)
        cells = []
        for fold in range(folds.max() + 1):
            self.counts = self._count(events, true, folds != fold)
            cells.append(self._cells(found, folds == fold))
        self.counts = self._count(events, true, np.ones(len(texts), bool))
        key, numbers = (np.concatenate(parts) for parts in zip(*cells, strict=True))
        truth = np.isin(key, true)
        missed = 1 - truth.sum() / max(len(true), 1)
        self.rest = (missed * self.counts.labels / len(texts)).astype(np.float32)
        held_in = np.tile(self.rest, (len(texts), 1))
        fold_of_cell = folds[key // len(self.codes)] // 2
        for fold in np.unique(fold_of_cell):
            held = fold_of_cell == fold
            judged = self._learn(numbers[~held], truth[~held]).predict_proba(numbers[held])
            held_in[key[held] // len(self.codes), key[held] % len(self.codes)] = judged
        self.trees = self._learn(numbers, truth)
        self.held_in = HeldIn(np.arange(len(texts)), held_in)
        return self

    def predict_proba(
        self,
        texts: Sequence[str],
        *,
        contexts: Sequence[Context] | None = None,  # noqa: ARG002
    ) -> NDArray[np.float32]:
        """Probabilities, float32 (texts, labels); 0 for a label without positives of which nothing is found."""
        probabilities = np.tile(self.rest, (len(texts), 1))
        for first in range(0, len(texts), _BATCH):
            notes = [read_words(text) for text in texts[first : first + _BATCH]]
            key, numbers = self._cells(self._match(notes), np.ones(len(notes), bool))
            probabilities[first + key // len(self.codes), key % len(self.codes)] = self.trees.predict_proba(
                numbers
            )
        return probabilities

    def evidence(
        self, texts: Sequence[str], labels: Sequence[Sequence[int]]
    ) -> list[list[list[EvidenceSpan]]]:
        """For each text and asked label: the mentions of the label that were found whole, by how often they carried
        it; where there is none, the words of what was found in part, or of its names."""
        found = []
        for text, asked in zip(texts, labels, strict=True):
            note = read_words(text)
            match = self._match([note])
            found.append([_apart(self._carriers(note, match, label)) for label in asked])
        return found

    def save(self, folder: Path) -> None:
        """names.json (mentions and names of codes as word keys), weights.safetensors and classifier.json."""
        tensors = {f"counts.{name}": values for name, values in self.counts._asdict().items()}
        tensors |= {f"trees.{name}": values for name, values in self.trees.tensors().items()}
        for kind, links in (("mentions", self.mentions), ("titles", self.titles)):
            tensors |= {f"{kind}.name": links.name, f"{kind}.code": links.code}
        tensors["rest"] = self.rest
        save_file(
            {name: np.ascontiguousarray(values) for name, values in tensors.items()},
            folder / "weights.safetensors",
        )
        names = {
            kind: [" ".join(name) for name in links.names]
            for kind, links in (("mentions", self.mentions), ("titles", self.titles))
        }
        used = {word for links in (self.mentions, self.titles) for name in links.names for word in name}
        write_json(
            folder / "names.json",
            {
                **names,
                "rare": self.rare,
                "weights": {w: self.weights[w] for w in sorted(used & self.weights.keys())},
            },
        )
        write_json(
            folder / "classifier.json",
            {
                "labels": self.labels,
                "settings": self.settings.model_dump(mode="json"),
                "unspecified": np.flatnonzero(self.unspecified).tolist(),
            },
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """What save wrote."""
        config, stored = read_json(folder / "classifier.json"), read_json(folder / "names.json")
        tensors = load_file(folder / "weights.safetensors")
        loaded = cls(config["labels"], MentionSettings.model_validate(config["settings"]))
        loaded.weights, loaded.rare = stored["weights"], stored["rare"]
        loaded.unspecified = np.isin(np.arange(len(loaded.labels)), config["unspecified"])
        links = []
        for kind in ("mentions", "titles"):
            names = [tuple(name.split(" ")) for name in stored[kind]]
            pairs = zip(tensors[f"{kind}.name"].tolist(), tensors[f"{kind}.code"].tolist(), strict=True)
            links.append(_Links.of((names[name], code) for name, code in pairs))
        loaded._build(*links)
        loaded.counts = _Counts(*(tensors[f"counts.{name}"] for name in _Counts._fields))
        loaded.rest = tensors["rest"]
        loaded.trees = BoostedTrees.restore(
            {
                name.removeprefix("trees."): values
                for name, values in tensors.items()
                if name.startswith("trees.")
            }
        )
        return loaded

    def _named_codes(self) -> list[tuple[Name, int]]:
        """The names of labels and of the codes above them, with the number of the code."""
        given = dict(zip(self.labels, self.descriptions, strict=True))
        names = {
            code: [*given.get(code, "").split("\n"), *_table_names(code)] for code in _with_above(self.labels)
        }
        self.unspecified = np.array(
            [bool(_UNSPECIFIED.search("\n".join(names[label]))) for label in self.labels], bool
        )
        return [
            (name, number)
            for number, spoken in enumerate(names.values())
            for text in spoken
            if (name := name_of(word_keys(_ASIDE.sub("", text)), without=_NOTHING))
        ]

    def _weigh_words(self, notes: Sequence[NoteWords], groups: Int, titles: set[str]) -> None:
        """How much each word tells, by how many notes have it; only words that may be kept."""
        frequency = Counter(word for note in notes for word in set(note.keys))
        shared = Counter(
            word
            for word, _ in {
                (word, group) for note, group in zip(notes, groups, strict=True) for word in note.keys
            }
        )
        self.rare = float(np.log(len(notes) + 1))
        self.weights = {
            word: float(np.log((len(notes) + 1) / (many + 1)))
            for word, many in frequency.items()
            if shared[word] >= self.settings.min_groups or word in titles
        }
        self._common = frozenset(word for word, many in frequency.items() if many > _COMMON * len(notes))

    def _marked(
        self, texts: Sequence[str], evidence: Sequence[Sequence[LabelSpan]]
    ) -> Iterator[tuple[int, Name, int]]:
        """(note, mention, label) of every marked span, without the words that may not be kept."""
        for row, (text, spans) in enumerate(zip(texts, evidence, strict=True)):
            keys = [word_keys(text[span.start : span.end]) for span in spans]
            at = 0
            while at < len(spans):
                words, label = keys[at], spans[at].label
                if at + 1 < len(spans) and _one_mention(text, spans[at], spans[at + 1]):
                    at += 1
                    words = words + keys[at]
                at += 1
                words = [word for word in words if word in self.weights]
                name = name_of(words, without=self._common) or name_of(words, without=frozenset())
                if name:
                    yield row, name, label

    def _mined(self, notes: Sequence[NoteWords], targets: csr_matrix) -> Iterator[tuple[int, Name, int]]:
        """(note, words, label) where nobody marked any: runs of words that often stand in notes with the label."""
        number: dict[Name, int] = {}
        events: set[tuple[int, int]] = set()
        drawn = np.random.default_rng(self.settings.seed).permutation(len(notes))[:_MOST_MINED]
        for row in drawn.tolist():
            events |= {(row, number.setdefault(run, len(number))) for run in self._runs(notes[row])}
        at, run = np.array(sorted(events), np.int64).reshape(-1, 2).T
        there = csr_matrix((np.ones(len(at)), (at, run)), (len(notes), len(number)))
        together = (there.T @ targets.astype(np.float64)).tocoo()
        share = together.data / there.sum(axis=0).A1[together.row]
        kept = (together.data >= self.settings.min_groups) & (share >= _LEAST_MINED)
        runs = list(number)
        labels: dict[Name, list[int]] = defaultdict(list)
        for which, label in zip(together.row[kept].tolist(), together.col[kept].tolist(), strict=True):
            labels[runs[which]].append(label)
        true = set(zip(*(part.tolist() for part in targets.nonzero()), strict=True))
        for row, note in enumerate(notes):
            for name in self._runs(note) & labels.keys():
                yield from ((row, name, label) for label in labels[name] if (row, label) in true)

    def _runs(self, note: NoteWords) -> set[Name]:
        """Names of one to three words that follow each other in a clause."""
        words = [
            (key, clause)
            for key, clause in zip(note.keys, note.clauses, strict=True)
            if key in self.weights and key not in self._common and key not in _NOTHING
        ]
        return {
            name_of((key for key, _ in run), without=frozenset())
            for length in (1, 2, 3)
            for run in (words[first : first + length] for first in range(len(words) - length + 1))
            if run[0][1] == run[-1][1]
        }

    def _build(self, mentions: _Links, titles: _Links) -> None:
        """What follows from labels and names, and is not saved."""
        self.mentions, self.titles = mentions, titles
        self._mention_index = NameIndex(mentions.names, self.weights, self.rare)
        self._title_index = NameIndex(titles.names, self.weights, self.rare)
        self._mention_words = np.array([len(name) for name in mentions.names], np.int64)
        self.codes = _with_above(self.labels)
        number = {code: at for at, code in enumerate(self.codes)}
        self._parent = np.array(
            [number.get(next(iter(_above(code)), ""), -1) for code in self.codes], np.int64
        )
        self._within = [
            np.unique([label[:length] for label in self.labels], return_inverse=True)[1]
            for length in (2, 3, 5)
        ]
        below = [(self._parent[at], at) for at, label in enumerate(self.labels) if len(label) > 4]
        usual = [
            (number[code], at)
            for at, label in enumerate(self.labels)
            if self.unspecified[at]
            for code in _above(label)
            if _USUAL.fullmatch(label, len(code))
        ]
        self._below, self._usual = (
            np.array(sorted(pairs), np.int64).reshape(-1, 2).T for pairs in (below, usual)
        )

    def _match(self, notes: Sequence[NoteWords]) -> _Found:
        whole = [
            (row, name, first, last, note.negated[first], first / len(note.keys))
            for row, note in enumerate(notes)
            for name, first, last in self._mention_index.whole(note)
        ]
        columns = np.array(whole, np.float64).reshape(-1, 6).T
        row, name, first, last = (column.astype(np.int64) for column in columns[:4])
        return _Found(
            len(notes),
            (row, name, first, last, columns[4] > 0, columns[5]),
            self._mention_index.parts(notes, _LEAST_OF_MENTION, misspelt=True),
            self._match_titles(notes),
        )

    def _match_titles(self, notes: Sequence[NoteWords]) -> tuple[Int, Float]:
        """For each note and code of which a name was found: whether whole, what that name tells, how often it stands
        there, and the share found of the name of which most was found, and what that tells."""
        weights, codes = self._title_index.weights, len(self.codes)
        places = Counter(
            (row, name) for row, note in enumerate(notes) for name, *_ in self._title_index.whole(note)
        )
        row, name = np.array(list(places), np.int64).reshape(-1, 2).T
        which, link = self.titles.spread(name)
        many = np.array(list(places.values()), np.float64)[which]
        whole = row[which] * codes + self.titles.code[link]
        told = weights[name[which]]
        row, name, shares, _ = self._title_index.parts(notes, _LEAST_OF_TITLE, misspelt=False)
        which, link = self.titles.spread(name)
        part = row[which] * codes + self.titles.code[link]
        share, part_told = shares[which], weights[name[which]]
        key = np.unique(np.concatenate([whole, part]))
        numbers = np.zeros((len(key), 5))
        at = np.searchsorted(key, whole)
        numbers[at, 0] = 1
        np.maximum.at(numbers[:, 1], at, told)
        np.maximum.at(numbers[:, 2], at, many)
        order = np.argsort(share * part_told, kind="stable")  # the largest is written last
        numbers[np.searchsorted(key, part[order]), 3] = share[order]
        numbers[np.searchsorted(key, part[order]), 4] = part_told[order]
        return key, numbers

    def _events(
        self, found: _Found, marked: Sequence[tuple[int, Name, int]], true: Int
    ) -> dict[str, tuple[Int, Int]]:
        """(note, link or mention) of everything that is counted."""
        links = self.mentions
        number = {
            (name, label): at
            for at, (name, label) in enumerate(
                zip((links.names[name] for name in links.name), links.code.tolist(), strict=True)
            )
        }
        many = max(len(links.name), 1)
        spoken = np.unique(
            np.array([row * many + number[name, label] for row, name, label in marked], np.int64)
        )
        pairs = np.unique(np.stack(found.whole[:2]), axis=1)
        which, link = links.spread(pairs[1])
        row = pairs[0][which]
        right = np.isin(row * len(self.codes) + links.code[link], true)
        hit = np.isin(row * many + link, spoken)
        return {
            "marked": (spoken // many, spoken % many),
            "hits": (row[hit], link[hit]),
            "right": (row[right], link[right]),
            "found": (pairs[0], pairs[1]),
        }

    def _count(self, events: Mapping[str, tuple[Int, Int]], true: Int, counted: NDArray[np.bool_]) -> _Counts:
        """Over the counted notes."""
        sizes = {"found": len(self.mentions.names)}
        rows, labels = true // len(self.codes), true % len(self.codes)
        counts = _Counts(
            **{
                name: np.bincount(
                    what[counted[row]], minlength=sizes.get(name, len(self.mentions.name))
                ).astype(np.float64)
                for name, (row, what) in events.items()
            },
            labels=np.bincount(labels[counted[rows]], minlength=len(self.labels)).astype(np.float64),
        )
        if self.mined:  # chance alone joins words and labels of a few notes
            often = counts.right >= np.maximum(2, _LEAST_MINED * counts.found[self.mentions.name])
            counts = counts._replace(marked=counts.marked * often)
        return counts

    def _cells(self, found: _Found, chosen: NDArray[np.bool_]) -> tuple[Int, NDArray[np.float32]]:
        """Cells of the chosen notes, note · codes + label, sorted, and their numbers; a mention that the counted notes
        were not marked with does not exist."""
        codes, labels = len(self.codes), len(self.labels)
        whole, whole_numbers, mentions = self._whole_cells(found, chosen)
        part, part_numbers = self._part_cells(found, chosen)
        title, title_numbers = found.titles
        here = chosen[title // codes]
        title, title_numbers = title[here], title_numbers[here]
        headed = title[title_numbers[:, 0] > 0]
        below = _joined(headed, self._below, codes)
        known = self.counts.labels[below % codes] > 0
        key = np.unique(
            np.concatenate(
                [
                    whole,
                    part,
                    title[title % codes < labels],
                    below[known],
                    _joined(headed, self._usual, codes),
                ]
            )
        )
        row, label = key // codes, key % codes
        parent = self._parent[label]
        above = np.where(parent >= 0, self._parent[parent], -1)
        own = _looked_up(title, title_numbers, key)
        parents, grandparents = (
            _looked_up(title, title_numbers, np.where(up >= 0, row * codes + up, -1))
            for up in (parent, above)
        )
        of_whole = _looked_up(whole, whole_numbers, key, missing=np.nan)
        category = self._within[1]
        sure = whole[whole_numbers[:, 0] > 0.3]
        siblings = (
            np.bincount(sure // codes * labels + category[sure % codes], minlength=found.notes * labels)[
                row * labels + category[label]
            ]
            if len(sure)
            else np.zeros(len(key))
        )
        return key, np.column_stack(
            [
                of_whole,
                _looked_up(part, part_numbers, key),
                own,
                parents[:, [0, 1, 3]],
                grandparents[:, [0, 3]],
                self.counts.labels[label],
                *(np.bincount(each, self.counts.labels, labels)[each][label] for each in self._within),
                [len(self.labels[at]) for at in label],
                self.unspecified[label],
                siblings,
                mentions[row],
            ]
        ).astype(np.float32)

    def _whole_cells(self, found: _Found, chosen: NDArray[np.bool_]) -> tuple[Int, Float, Float]:
        """Cells of mentions that were found whole, with the numbers of the mention that carried the label most often;
        and for each note how many mentions there are."""
        active = np.bincount(self.mentions.name, self.counts.marked, len(self.mentions.names)) > 0
        row, name, first, last, negated, place = found.whole
        at = np.flatnonzero(chosen[row] & active[name])
        row, name, first, last, negated, place = (
            row[at],
            name[at],
            first[at],
            last[at],
            negated[at],
            place[at],
        )
        words = self._mention_words[name]
        inside = np.zeros(len(row), bool)
        bounds = np.searchsorted(row, np.arange(found.notes + 1))
        for start, end in pairwise(bounds):
            inside[start:end] = is_inside(
                list(
                    zip(
                        first[start:end].tolist(),
                        last[start:end].tolist(),
                        words[start:end].tolist(),
                        strict=True,
                    )
                )
            )
        starts = np.flatnonzero((np.diff(row, prepend=-1) != 0) | (np.diff(name, prepend=-1) != 0))
        many = np.diff(np.append(starts, len(row)))
        of_mention = np.column_stack(
            [
                words[starts],
                self._mention_index.weights[name[starts]],
                many,
                _sums(~inside, starts) / many,
                _least(last - first + 1 - words, starts),
                _sums(negated, starts) / many,
                _least(place, starts),
            ]
        )
        row, name = row[starts], name[starts]
        which, link = self.mentions.spread(name)
        here = self.counts.marked[link] > 0
        which, link = which[here], link[here]
        counts, seen = self.counts, self.counts.found[name[which]] + 1.5
        carried = (counts.hits[link] + 0.2) / seen
        right = (counts.right[link] + 0.2) / seen
        spoken = np.bincount(self.mentions.name, counts.marked, len(self.mentions.names))[name[which]]
        key = row[which] * len(self.codes) + self.mentions.code[link]
        numbers = np.column_stack(
            [
                carried,
                counts.hits[link],
                counts.right[link],
                counts.found[name[which]],
                counts.marked[link],
                counts.marked[link] / np.maximum(spoken, 1),
                of_mention[which],
            ]
        )
        order = np.lexsort((-carried, key))
        key, starts = np.unique(key[order], return_index=True)
        best = numbers[order][starts]
        uncovered = carried * numbers[:, 9]
        return (
            key,
            np.column_stack(
                [
                    best,
                    -_least(-right[order], starts),
                    -_least(-uncovered[order], starts),
                    np.diff(np.append(starts, len(order))),
                ]
            ),
            np.bincount(row, minlength=found.notes).astype(np.float64),
        )

    def _part_cells(self, found: _Found, chosen: NDArray[np.bool_]) -> tuple[Int, Float]:
        """Cells of mentions of which a part was found in one clause."""
        row, name, share, _ = found.parts
        chosen_parts = np.flatnonzero(chosen[row])
        row, name, share = row[chosen_parts], name[chosen_parts], share[chosen_parts]
        which, link = self.mentions.spread(name)
        here = self.counts.marked[link] > 0
        which, link = which[here], link[here]
        spoken = np.bincount(self.mentions.name, self.counts.marked, len(self.mentions.names))[name[which]]
        share, told = share[which], self._mention_index.weights[name[which]]
        owned = self.counts.marked[link] / np.maximum(spoken, 1)
        key = row[which] * len(self.codes) + self.mentions.code[link]
        part = np.where(share < 0.999, share, 0)
        order = np.lexsort((-part, key))
        key, starts = np.unique(key[order], return_index=True)
        numbers = np.column_stack([part, part * told, told * (part > 0)])[order][starts]
        return key, np.column_stack(
            [
                numbers,
                np.diff(np.append(starts, len(order))),
                -_least(-(part * owned)[order], starts),
                -_least(-(share * told * owned)[order], starts),
            ]
        )

    def _learn(self, numbers: NDArray[np.float32], truth: NDArray[np.bool_]) -> BoostedTrees:
        drawn = np.random.default_rng(self.settings.seed).permutation(len(truth))[:_MOST_CELLS]
        return BoostedTrees.fit(numbers[drawn], truth[drawn], seed=self.settings.seed)

    def _carriers(self, note: NoteWords, found: _Found, label: int) -> list[tuple[int, int, float]]:
        """(start, end, weight) of what speaks for the label."""
        links = self.mentions
        of_label = np.flatnonzero((links.code == label) & (self.counts.marked > 0))
        carried = np.zeros(len(links.names))
        carried[links.name[of_label]] = (self.counts.hits[of_label] + 0.2) / (
            self.counts.found[links.name[of_label]] + 1.5
        )
        spans = [
            (note.starts[first], note.ends[last], carried[name])
            for name, first, last in zip(*(column.tolist() for column in found.whole[1:4]), strict=True)
            if carried[name] > 0
        ]
        if not spans:
            spans = [
                (note.starts[first], note.ends[last], float(self._title_index.weights[name]))
                for name, first, last in self._title_index.whole(note)
                if any(
                    code in self._family(label)
                    for code in self.titles.code[self.titles.first[name] : self.titles.first[name + 1]]
                )
            ]
        if not spans:
            _, names, shares, clauses = found.parts
            spans = [
                (note.starts[at], note.ends[at], share * carried[name])
                for name, share, clause in zip(names.tolist(), shares.tolist(), clauses.tolist(), strict=True)
                if carried[name] > 0
                for at in self._mention_index.words_of(note, name, clause)
            ]
        return spans

    def _family(self, label: int) -> set[int]:
        """The label and the two codes above it."""
        parent = int(self._parent[label])
        return {label, parent, int(self._parent[parent])} - {-1} if parent >= 0 else {label}


def _one_mention(text: str, span: LabelSpan, other: LabelSpan) -> bool:
    """Two spans for one label that follow each other in one sentence: a mention with words in between."""
    between = slice(min(span.end, other.end), max(span.start, other.start))
    return span.label == other.label and not _SENTENCE.search(text[between])


def _with_above(labels: Sequence[str]) -> list[str]:
    """The labels, and after them the codes above them that are no labels."""
    return [*labels, *sorted({code for label in labels for code in _above(label)} - set(labels))]


def _above(code: str) -> Iterator[str]:
    """The codes above this one in ICD, nearest first: R10.3 and R10 above R10.30."""
    shorter = code[:-1].rstrip(".")
    while len(shorter) >= 3:
        yield shorter
        shorter = shorter[:-1].rstrip(".")


def _table_names(code: str) -> list[str]:
    """The names in the code tables; placeholders at the end of an incomplete code do not count."""
    return names(code) or names(code.rstrip("X").rstrip("."))


@cache
def _table_words() -> frozenset[str]:
    """Words of any name of ICD-10-CM: terms of the field, whoever's note they stand in."""
    return frozenset(
        word for called in icd10cm_names().values() for name in called for word in word_keys(name)
    )


def _joined(keys: Int, pairs: NDArray[np.int64], codes: int) -> Int:
    """Cells of the codes that stand second in the pairs whose first is the code of a key."""
    row, code = keys // codes, keys % codes
    first, last = np.searchsorted(pairs[0], code), np.searchsorted(pairs[0], code, side="right")
    which = np.repeat(np.arange(len(keys)), last - first)
    at = (
        np.arange(len(which))
        - np.repeat(np.cumsum(last - first) - (last - first), last - first)
        + first[which]
    )
    return np.asarray(row[which] * codes + pairs[1][at], np.int64)


def _looked_up(keys: Int, values: Float, asked: Int, *, missing: float = 0.0) -> Float:
    """The values of the keys asked for; keys are sorted."""
    found = np.full((len(asked), values.shape[1]), missing)
    if len(keys):
        at = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
        there = keys[at] == asked
        found[there] = values[at[there]]
    return found


def _sums(values: NDArray[np.generic], starts: Int) -> Float:
    return np.add.reduceat(values.astype(np.float64), starts) if len(starts) else np.zeros(0)


def _least(values: NDArray[np.generic], starts: Int) -> Float:
    return np.minimum.reduceat(values.astype(np.float64), starts) if len(starts) else np.zeros(0)


def _apart(spans: Iterable[tuple[int, int, float]]) -> list[EvidenceSpan]:
    """The heaviest spans that do not overlap, their weights made to sum up to 1."""
    kept: list[tuple[int, int, float]] = []
    for start, end, weight in sorted(spans, key=lambda span: (-span[2], span[0] - span[1], span[0])):
        if (
            all(end <= other or start >= other_end for other, other_end, _ in kept)
            and len(kept) < _MOST_SPANS
        ):
            kept.append((start, end, weight))
    total = sum(weight for *_, weight in kept)
    return [EvidenceSpan(start, end, weight / total) for start, end, weight in kept]
