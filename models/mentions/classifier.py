"""Codes by what training notes were given them for, and by their names; a learned model ranks what is found.

Every note and label that a match joins is a cell: a mention of a training note that carried the label (found whole, or
in part), or a name of the label in its code table (its parents' too). A few numbers tell each cell: how often that
mention carried the label, how much of it is there, whether it is negated, how frequent the label and its category are.
Boosted trees learn from cells of held-out notes which of them are right. So a label that no training note has can be
found by its name, and the evidence is exactly the words that were matched.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from safetensors.numpy import load_file, save_file

from rubricator.models.boosted_trees import BoostedTrees
from rubricator.models.classifier import EvidenceSpan, OutOfFold, read_json, write_json
from rubricator.models.mentions.dictionary import (
    Dictionary,
    Links,
    WordWeights,
    marked_mentions,
    mined_mentions,
    named_codes,
    table_words,
)
from rubricator.models.mentions.features import Counts, Found, cells, count, count_events, match
from rubricator.models.mentions.matching import NoteWords, read_words
from rubricator.nlp.contexts import Context
from rubricator.nlp.folds import assign_folds

if TYPE_CHECKING:
    from rubricator.nlp.examples import Examples
    from rubricator.nlp.tasks import UnitName

_BATCH = 250  # notes matched at a time
_MOST_SPANS = 10
_MOST_CELLS = 1_000_000  # learnt from


class MentionSettings(BaseModel):
    """How mentions are learnt."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_groups: int = Field(
        default=2, ge=1
    )  # a word of fewer groups (patients), and of no name of a code, is not kept
    inner_folds: int = Field(
        default=10, ge=2
    )  # that the model learns on, and for the out-of-fold predictions
    seed: int = 0


class MentionClassifier:
    """A dictionary of mentions and code names, and boosted trees that judge what is found."""

    def __init__(
        self,
        labels: Sequence[str],
        settings: MentionSettings,
    ) -> None:
        self.labels = list(labels)
        self.settings = settings
        self.out_of_fold: OutOfFold | None = None

    @staticmethod
    def default_settings(_unit: "UnitName", /) -> MentionSettings:
        """Nothing depends on the task."""
        return MentionSettings()

    def fit(self, examples: "Examples") -> Self:
        """Learn the mentions from the evidence, and to rank from what they find in held-out folds.

        Raises FoldError where there are under two groups.
        """
        texts, groups, evidence = examples.texts, examples.groups, examples.evidence
        targets = examples.targets.tocsr()
        notes = [read_words(text) for text in texts]
        titles, unspecified = named_codes(self.labels, examples.label_texts())
        words = {word for name, _ in titles for word in name} | table_words()
        weighed = WordWeights.of(notes, groups, words, min_groups=self.settings.min_groups)
        marked = list(
            mined_mentions(
                notes, targets, groups, weighed, min_groups=self.settings.min_groups, seed=self.settings.seed
            )
            if evidence is None
            else marked_mentions(texts, evidence, weighed)
        )
        self.dictionary = Dictionary(
            self.labels,
            mentions=Links.of((name, label) for _, name, label in marked),
            titles=Links.of(titles),
            weights=weighed.weights,
            rare=weighed.rare,
            unspecified=unspecified,
        )
        found, codes = match(self.dictionary, notes), len(self.dictionary.codes)
        true = np.sort(np.repeat(np.arange(len(texts)), np.diff(targets.indptr)) * codes + targets.indices)
        events = count_events(self.dictionary, found, marked, true)

        def counted(rows: NDArray[np.bool_]) -> Counts:
            return count(self.dictionary, events, true, rows, mined=evidence is None)

        folds = assign_folds(targets, groups, self.settings.inner_folds, seed=self.settings.seed)
        parts = []
        for fold in range(folds.max() + 1):
            parts.append(cells(self.dictionary, counted(folds != fold), found, folds == fold))
        self.counts = counted(np.ones(len(texts), bool))
        key, numbers = (np.concatenate(each) for each in zip(*parts, strict=True))
        truth = np.isin(key, true)
        missed = 1 - truth.sum() / max(len(true), 1)
        self.rest = (missed * self.counts.labels / len(texts)).astype(np.float32)
        out_of_fold = np.tile(self.rest, (len(texts), 1))
        fold_of_cell = (folds if folds.max() < 2 else folds // 2)[key // codes]
        for fold in np.unique(fold_of_cell):
            held = fold_of_cell == fold
            judged = self._learn(numbers[~held], truth[~held]).predict_proba(numbers[held])
            out_of_fold[key[held] // codes, key[held] % codes] = judged
        self.trees = self._learn(numbers, truth)
        self.out_of_fold = OutOfFold(np.arange(len(texts)), out_of_fold)
        return self

    def predict_proba(
        self,
        texts: Sequence[str],
        *,
        contexts: Sequence[Context] | None = None,  # noqa: ARG002
    ) -> NDArray[np.float32]:
        """Probabilities, float32 (texts, labels); 0 for a label without positives of which nothing is found."""
        probabilities, codes = np.tile(self.rest, (len(texts), 1)), len(self.dictionary.codes)
        for first in range(0, len(texts), _BATCH):
            notes = [read_words(text) for text in texts[first : first + _BATCH]]
            chosen = np.ones(len(notes), bool)
            key, numbers = cells(self.dictionary, self.counts, match(self.dictionary, notes), chosen)
            probabilities[first + key // codes, key % codes] = self.trees.predict_proba(numbers)
        return probabilities

    def evidence(
        self, texts: Sequence[str], labels: Sequence[Sequence[int]]
    ) -> list[list[list[EvidenceSpan]]]:
        """For each text and asked label: the mentions of the label that were found whole, by how often they carried
        it; where there is none, the words of what was found in part, or of its names."""
        found = []
        for text, asked in zip(texts, labels, strict=True):
            note = read_words(text)
            matched = match(self.dictionary, [note])
            found.append([_apart(self._carriers(note, matched, label)) for label in asked])
        return found

    def save(self, folder: Path) -> None:
        """names.json (mentions and names of codes as word keys), weights.safetensors and classifier.json."""
        dictionary = self.dictionary
        kinds = {"mentions": dictionary.mentions, "titles": dictionary.titles}
        tensors = {f"counts.{name}": values for name, values in self.counts._asdict().items()}
        tensors |= {f"trees.{name}": values for name, values in self.trees.tensors().items()}
        for kind, links in kinds.items():
            tensors |= {f"{kind}.name": links.name, f"{kind}.code": links.code}
        tensors["rest"] = self.rest
        save_file(
            {name: np.ascontiguousarray(values) for name, values in tensors.items()},
            folder / "weights.safetensors",
        )
        used = {word for links in kinds.values() for name in links.names for word in name}
        write_json(
            folder / "names.json",
            {
                **{kind: [" ".join(name) for name in links.names] for kind, links in kinds.items()},
                "rare": dictionary.rare,
                "weights": {w: dictionary.weights[w] for w in sorted(used & dictionary.weights.keys())},
            },
        )
        write_json(
            folder / "classifier.json",
            {
                "labels": self.labels,
                "settings": self.settings.model_dump(mode="json"),
                "unspecified": np.flatnonzero(dictionary.unspecified).tolist(),
            },
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """What save wrote."""
        config, stored = read_json(folder / "classifier.json"), read_json(folder / "names.json")
        tensors = load_file(folder / "weights.safetensors")
        loaded = cls(config["labels"], MentionSettings.model_validate(config["settings"]))
        links = []
        for kind in ("mentions", "titles"):
            names = [tuple(name.split(" ")) for name in stored[kind]]
            pairs = zip(tensors[f"{kind}.name"].tolist(), tensors[f"{kind}.code"].tolist(), strict=True)
            links.append(Links.of((names[name], code) for name, code in pairs))
        loaded.dictionary = Dictionary(
            loaded.labels,
            mentions=links[0],
            titles=links[1],
            weights=stored["weights"],
            rare=stored["rare"],
            unspecified=np.isin(np.arange(len(loaded.labels)), config["unspecified"]),
        )
        loaded.counts = Counts(*(tensors[f"counts.{name}"] for name in Counts._fields))
        loaded.rest = tensors["rest"]
        loaded.trees = BoostedTrees.restore(
            {
                name.removeprefix("trees."): values
                for name, values in tensors.items()
                if name.startswith("trees.")
            }
        )
        return loaded

    def _learn(self, numbers: NDArray[np.float32], truth: NDArray[np.bool_]) -> BoostedTrees:
        drawn = np.random.default_rng(self.settings.seed).permutation(len(truth))[:_MOST_CELLS]
        return BoostedTrees.fit(numbers[drawn], truth[drawn], seed=self.settings.seed)

    def _carriers(self, note: NoteWords, found: Found, label: int) -> list[tuple[int, int, float]]:
        """(start, end, weight) of what speaks for the label."""
        dictionary, links = self.dictionary, self.dictionary.mentions
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
                (note.starts[first], note.ends[last], float(dictionary.title_index.weights[name]))
                for name, first, last in dictionary.title_index.whole(note)
                if any(
                    code in dictionary.family(label)
                    for code in dictionary.titles.code[
                        dictionary.titles.first[name] : dictionary.titles.first[name + 1]
                    ]
                )
            ]
        if not spans:
            _, names, shares, clauses = found.parts
            spans = [
                (note.starts[at], note.ends[at], share * carried[name])
                for name, share, clause in zip(names.tolist(), shares.tolist(), clauses.tolist(), strict=True)
                if carried[name] > 0
                for at in dictionary.mention_index.words_of(note, name, clause)
            ]
        return spans


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
