"""ICD codes found by their mentions in training notes and by their names; boosted trees rank what is found.

A mention is a wording in a training note. It carried a label where it was marked as evidence for the label. A match is
a mention, found whole or in part, or a name that a code table gives the label or a code above it. An entry is a note
and a label that has a match in it. The features of an entry are, for example, how often the mention carried the label,
how much of the mention is found, whether the note denies it, and how frequent the label and its category are. Boosted
trees learn from entries of held-out notes which entries are right.

So a label that no training note has can still be found by its name, and the evidence is exactly the matched words.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from safetensors.numpy import load_file, save_file

from rubricator.models.boosted_trees import BoostedTrees
from rubricator.models.classifier import EvidenceSpan, OutOfFold
from rubricator.models.mentions.dictionary import (
    Dictionary,
    Links,
    WordWeights,
    marked_mentions,
    mined_mentions,
    name_keys,
    named_codes,
    table_words,
)
from rubricator.models.mentions.features import FEATURES, entries
from rubricator.models.mentions.found import Counts, Found, count, count_events, match
from rubricator.models.mentions.matching import Int, Name, NoteWords, read_words
from rubricator.models.model_files import read_json, read_tensors, write_json
from rubricator.nlp.contexts import Context
from rubricator.nlp.folds import assign_folds

if TYPE_CHECKING:
    from rubricator.nlp.examples import Examples
    from rubricator.nlp.units import UnitName

_HIDDEN = 0.3  # share of the labels that the trees also see as if no training note had them
_ENOUGH_UNSEEN = 100  # true entries of labels that no other note has: none need be hidden
_BATCH = 250  # notes matched at a time
_MOST_SPANS = 10
_MOST_ENTRIES = 1_000_000  # that trees learn from; of more, a random sample


class MentionSettings(BaseModel):
    """How mentions and trees are learnt."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_groups: int = Field(
        default=2,
        ge=1,
        description="Smallest number of groups (patients) whose notes have a word of a mention, or a mined mention. "
        "Rarer words may be names of persons; they are kept only if they are in a name of a code.",
    )
    inner_folds: int = Field(
        default=10,
        ge=2,
        description="Number of folds, by patient. The features of a note are counted on the folds without it. For "
        "out-of-fold predictions, the trees hold out two folds at a time.",
    )
    seed: int = Field(
        default=0,
        description="Random seed of the folds, of the trees, and of the sample of notes that mentions are mined from.",
    )


class MentionClassifier:
    """A dictionary of mentions and of names of codes, and boosted trees over what is found.

    Set by fit: dictionary, counts (over all training notes), trees, and rest: the probability of each label (labels,)
    in a note where nothing is found for it.
    """

    def __init__(self, labels: Sequence[str], settings: MentionSettings) -> None:
        self.labels = list(labels)
        self.settings = settings
        self.out_of_fold: OutOfFold | None = None

    @staticmethod
    def default_settings(_unit: "UnitName", /) -> MentionSettings:
        """Nothing depends on the task."""
        return MentionSettings()

    def fit(self, examples: "Examples") -> Self:
        """Learn the mentions from the evidence, and the trees from what mentions find in held-out folds.

        Without marked evidence the mentions are mined (mined_mentions). Raises FoldError where there are fewer than
        two groups.
        """
        notes = [read_words(text) for text in examples.texts]
        targets = examples.targets.tocsr()
        marked = self._learn_mentions(examples, notes)
        found, codes = match(self.dictionary, notes), len(self.dictionary.codes)
        true = np.sort(np.repeat(np.arange(len(notes)), np.diff(targets.indptr)) * codes + targets.indices)
        events = count_events(self.dictionary, found, marked, true)

        def counted(rows: NDArray[np.bool_]) -> Counts:
            return count(self.dictionary, events, true, rows, mined=examples.evidence is None)

        settings = self.settings
        folds = assign_folds(targets, examples.groups, settings.inner_folds, seed=settings.seed)
        key, features, hidden = self._training_entries(found, folds, counted, true)
        truth = np.isin(key, true)
        self.counts = counted(np.ones(len(notes), bool))
        missed = 1 - truth[~hidden].sum() / max(len(true), 1)
        self.rest = (missed * self.counts.labels / len(notes)).astype(np.float32)
        out_of_fold = np.tile(self.rest, (len(notes), 1))
        fold_of_entry = (folds if folds.max() < 2 else folds // 2)[key // codes]
        for fold in np.unique(fold_of_entry):
            held = fold_of_entry == fold
            asked = held & ~hidden
            judged = self._learn_trees(features[~held], truth[~held]).predict_proba(features[asked])
            out_of_fold[key[asked] // codes, key[asked] % codes] = judged
        self.trees = self._learn_trees(features, truth)
        self.out_of_fold = OutOfFold(np.arange(len(notes)), out_of_fold)
        return self

    def _training_entries(
        self, found: Found, folds: Int, counted: Callable[[NDArray[np.bool_]], Counts], true: Int
    ) -> tuple[Int, NDArray[np.float32], NDArray[np.bool_]]:
        """Entries of each fold by the counts of the others, their features, and whether their label is hidden.

        Trees must see codes that no note has, to learn how far a name alone can be trusted. Where nearly all codes have
        many notes, some labels are hidden, as if no note had them. Their entries come beside those by the full counts.
        true: note · codes + label of all true labels, sorted.
        """
        seen = [(folds == fold, counted(folds != fold)) for fold in range(folds.max() + 1)]
        parts = [entries(self.dictionary, counts, found, here) for here, counts in seen]
        key, features = (np.concatenate(each) for each in zip(*parts, strict=True))
        unseen = features[:, FEATURES.index("label.notes")] == 0
        if np.isin(key[unseen], true).sum() >= _ENOUGH_UNSEEN:
            return key, features, np.zeros(len(key), bool)
        draw, more = np.random.default_rng(self.settings.seed), []
        for here, counts in seen:
            hide = draw.random(len(self.labels)) < _HIDDEN
            some, of_some = entries(self.dictionary, counts.without(self.dictionary, hide), found, here)
            kept = hide[some % len(self.dictionary.codes)]
            more.append((some[kept], of_some[kept]))
        more_key, more_features = (np.concatenate(each) for each in zip(*more, strict=True))
        hidden = np.arange(len(key) + len(more_key)) >= len(key)
        return np.append(key, more_key), np.concatenate([features, more_features]), hidden

    def _learn_mentions(
        self, examples: "Examples", notes: Sequence[NoteWords]
    ) -> list[tuple[int, Name, int]]:
        """Make the dictionary. Returns (note, mention, label) of each marked or mined mention."""
        groups, min_groups = examples.groups, self.settings.min_groups
        titles, unspecified = named_codes(self.labels, examples.label_texts())
        words = {word for name, _ in titles for word in name} | table_words()
        person_names = name_keys(examples.texts, examples.person_names)
        weighed = WordWeights.of(notes, groups, words, min_groups=min_groups, person_names=person_names)
        if examples.evidence is not None:
            marked = list(marked_mentions(examples.texts, examples.evidence, weighed))
        else:
            targets, seed = examples.targets.tocsr(), self.settings.seed
            marked = list(mined_mentions(notes, targets, groups, weighed, min_groups=min_groups, seed=seed))
        self.dictionary = Dictionary(
            self.labels,
            mentions=Links.of((name, label) for _, name, label in marked),
            titles=Links.of(titles),
            weights=weighed.weights,
            rare=weighed.rare,
            unspecified=unspecified,
        )
        return marked

    def predict_proba(
        self, texts: Sequence[str], *, contexts: Sequence[Context] | None = None
    ) -> NDArray[np.float32]:
        """Probabilities, float32 (texts, labels); 0 for a label without positives where nothing of it is found."""
        del contexts
        probabilities, codes = np.tile(self.rest, (len(texts), 1)), len(self.dictionary.codes)
        for first in range(0, len(texts), _BATCH):
            notes = [read_words(text) for text in texts[first : first + _BATCH]]
            chosen = np.ones(len(notes), bool)
            key, features = entries(self.dictionary, self.counts, match(self.dictionary, notes), chosen)
            probabilities[first + key // codes, key % codes] = self.trees.predict_proba(features)
        return probabilities

    def evidence(
        self, texts: Sequence[str], labels: Sequence[Sequence[int]]
    ) -> list[list[list[EvidenceSpan]]]:
        """For each text and requested label: the mentions that carried the label and are found whole.

        The weight of a mention is how often it carried the label. Without such mentions, the evidence is the names of
        the label or of codes above it. Without these too, it is the words of mentions that are found in part.
        """
        found = []
        for text, asked in zip(texts, labels, strict=True):
            note = read_words(text)
            matched = match(self.dictionary, [note])
            found.append([_apart(self._supporting_spans(note, matched, label)) for label in asked])
        return found

    def save(self, folder: Path) -> None:
        """Write names.json (mentions and names of codes as word keys), weights.safetensors and classifier.json."""
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
                "features": FEATURES,
                "settings": self.settings.model_dump(mode="json"),
                "unspecified": np.flatnonzero(dictionary.unspecified).tolist(),
            },
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what save wrote. Raises ValueError where the trees are of another version's features."""
        config, stored = read_json(folder / "classifier.json"), read_json(folder / "names.json")
        if tuple(config.get("features", ())) != FEATURES:
            raise ValueError("the trees have other features")
        tensors = read_tensors(folder / "weights.safetensors", load_file)
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

    def _learn_trees(self, features: NDArray[np.float32], truth: NDArray[np.bool_]) -> BoostedTrees:
        drawn = np.random.default_rng(self.settings.seed).permutation(len(truth))[:_MOST_ENTRIES]
        return BoostedTrees.fit(features[drawn], truth[drawn], seed=self.settings.seed)

    def _supporting_spans(self, note: NoteWords, found: Found, label: int) -> list[tuple[int, int, float]]:
        """(start, end, weight) of the words that support the label; start and end are offsets."""
        links = self.dictionary.mentions
        of_label = np.flatnonzero((links.code == label) & (self.counts.marked > 0))
        carried = np.zeros(len(links.names))
        carried[links.name[of_label]] = (self.counts.hits[of_label] + 0.2) / (
            self.counts.found[links.name[of_label]] + 1.5
        )
        whole = found.whole
        spans = [
            (note.starts[first], note.ends[last], carried[mention])
            for mention, first, last in zip(
                *(column.tolist() for column in (whole.mention, whole.first, whole.last)), strict=True
            )
            if carried[mention] > 0
        ]
        return spans or self._named(note, label) or self._carried_in_part(note, found, carried)

    def _named(self, note: NoteWords, label: int) -> list[tuple[int, int, float]]:
        """Names of the label, or of a code above it."""
        family, titles = self.dictionary.family(label), self.dictionary.titles
        return [
            (note.starts[first], note.ends[last], float(self.dictionary.title_index.weights[name]))
            for name, first, last in self.dictionary.title_index.whole(note)
            if any(code in family for code in titles.code[titles.first[name] : titles.first[name + 1]])
        ]

    def _carried_in_part(
        self, note: NoteWords, found: Found, carried: NDArray[np.float64]
    ) -> list[tuple[int, int, float]]:
        """The words of mentions that are found in part. carried: (mentions,), how often each carried the label."""
        _, names, shares, clauses = (column.tolist() for column in found.parts)
        return [
            (note.starts[at], note.ends[at], share * carried[name])
            for name, share, clause in zip(names, shares, clauses, strict=True)
            if carried[name] > 0
            for at in self.dictionary.mention_index.words_of(note, name, clause)
        ]


def _apart(spans: Iterable[tuple[int, int, float]]) -> list[EvidenceSpan]:
    """The heaviest spans that do not overlap, with their weights scaled to sum to 1."""
    kept: list[tuple[int, int, float]] = []
    for start, end, weight in sorted(spans, key=lambda span: (-span[2], span[0] - span[1], span[0])):
        if (
            all(end <= other or start >= other_end for other, other_end, _ in kept)
            and len(kept) < _MOST_SPANS
        ):
            kept.append((start, end, weight))
    total = sum(weight for *_, weight in kept)
    return [EvidenceSpan(start, end, weight / total) for start, end, weight in kept]
