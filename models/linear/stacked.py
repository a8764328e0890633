"""Sentences among their neighbours: boosted trees over what SVMs say of a sentence and of those around it.

Stacked sequential learning (Cohen and Carvalho, IJCAI 2005). An SVM that reads the sentences around tells plans from
other parts of a note, and one that reads a sentence alone tells an order from the reasoning beside it; where they
differ, the neighbours decide.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from safetensors.numpy import load_file, save_file
from scipy.sparse import csc_matrix, csr_matrix

from rubricator.models.boosted_trees import BoostedTrees
from rubricator.models.classifier import ContextError, EvidenceSpan, OutOfFold, read_json, write_json
from rubricator.models.entries import log_odds
from rubricator.models.linear.svm import ContextBound, SvmClassifier, SvmSettings
from rubricator.nlp.contexts import SENTENCES_AROUND, Context
from rubricator.nlp.folds import assign_folds

if TYPE_CHECKING:
    from rubricator.nlp.examples import Examples
    from rubricator.nlp.tasks import UnitName


class StackedSettings(BaseModel):
    """The SVM that reads the sentences around, and how many of them the trees look at."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    svm: SvmSettings = SvmSettings()
    neighbours: int = Field(default=3, ge=0, le=SENTENCES_AROUND)  # on either side
    context_bound: ContextBound | None = (
        None  # of the log-odds of trees, by the decision on the sentence alone
    )
    seed: int = 0


class StackedClassifier:
    """One set of trees per label.

    Their features: the decision of the SVM that reads the sentences around, and the decisions of an SVM that reads one
    sentence alone on this one and on each neighbour, NaN where there is none. What they say is bounded by the decision
    on the sentence's own words (ContextBound).
    """

    def __init__(
        self,
        labels: Sequence[str],
        settings: StackedSettings,
    ) -> None:
        self.labels = list(labels)
        self.settings = settings
        self.svm = SvmClassifier(labels, settings.svm)
        self.weights = csc_matrix((0, len(self.labels)), dtype=np.float32)  # of own words, (columns, labels)
        self.intercepts: NDArray[np.float32] = np.zeros(len(self.labels), np.float32)
        self.trees: list[BoostedTrees] = []
        self.out_of_fold: OutOfFold | None = None

    @staticmethod
    def default_settings(unit: "UnitName", /) -> StackedSettings:
        """Around the SVM's own settings for the task."""
        bound = ContextBound(most=6, yielding=10)
        return StackedSettings(svm=SvmClassifier.default_settings(unit), context_bound=bound)

    def fit(self, examples: "Examples") -> Self:
        """Learn SVMs, and trees from what SVMs of other folds say.

        Raises FoldError where there are under two groups.
        """
        targets, groups = examples.targets.tocsr(), examples.groups
        around = self._around(examples.texts, examples.contexts)
        self.svm.fit(examples)
        assert self.svm.out_of_fold is not None
        features = self.svm.features.transform(examples.texts)
        distinct, number = _numbered(around)
        of_distinct = self.svm.features.transform(distinct)
        folds = assign_folds(targets, groups, self.settings.svm.inner_folds, seed=self.settings.svm.seed)
        all_labels = np.arange(len(self.labels))
        own = np.zeros((*number.shape, len(self.labels)), np.float32)
        for fold in range(folds.max() + 1):
            train = folds != fold
            weights, intercepts = self.svm.solve(features[train], targets[train], all_labels)
            scores = _scores(of_distinct, weights, intercepts)
            own[~train] = scores[number[~train]]
        self.weights, self.intercepts = self.svm.solve(features, targets, all_labels)
        stack = _stack(self.svm.out_of_fold.probabilities, own)
        truth = targets.toarray().astype(bool)
        out_of_fold = np.zeros(targets.shape, np.float32)
        folds = assign_folds(targets, groups, self.settings.svm.inner_folds, seed=self.settings.seed + 1)
        for fold in range(folds.max() + 1):
            train = folds != fold
            self.trees = self._grow(stack[train], truth[train])
            out_of_fold[~train] = self._climb(stack[~train], self.svm.out_of_fold.probabilities[~train])
        self.trees = self._grow(stack, truth)
        self.out_of_fold = OutOfFold(np.arange(len(examples)), out_of_fold)
        return self

    def predict_proba(
        self, texts: Sequence[str], *, contexts: Sequence[Context] | None = None
    ) -> NDArray[np.float32]:
        """What the trees say, float32 (texts, labels); 0 for a label that had no positives."""
        surrounded = self.svm.predict_proba(texts, contexts=contexts)
        distinct, number = _numbered(self._around(texts, contexts))
        scores = _scores(self.svm.features.transform(distinct), self.weights, self.intercepts)
        return self._climb(_stack(surrounded, scores[number]), surrounded)

    def evidence(
        self, texts: Sequence[str], labels: Sequence[Sequence[int]]
    ) -> list[list[list[EvidenceSpan]]]:
        """What spoke for the label in the SVM that reads the sentences around."""
        return self.svm.evidence(texts, labels)

    def save(self, folder: Path) -> None:
        """stacked.safetensors with the settings in classifier.json, and the SVM as it saves itself, in svm/."""
        tensors: dict[str, NDArray[np.generic]] = {
            "own.data": self.weights.data,
            "own.indices": self.weights.indices,
            "own.indptr": self.weights.indptr,
            "own.intercepts": self.intercepts,
        }
        for number, trees in enumerate(self.trees):
            tensors |= {f"trees.{number}.{name}": tensor for name, tensor in trees.tensors().items()}
        save_file(
            {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()},
            folder / "stacked.safetensors",
        )
        write_json(
            folder / "classifier.json",
            {"labels": self.labels, "settings": self.settings.model_dump(mode="json")},
        )
        (folder / "svm").mkdir()
        self.svm.save(folder / "svm")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """What save wrote."""
        config = read_json(folder / "classifier.json")
        loaded = cls(config["labels"], StackedSettings.model_validate(config["settings"]))
        loaded.svm = SvmClassifier.load(folder / "svm")
        tensors = load_file(folder / "stacked.safetensors")
        loaded.intercepts = tensors["own.intercepts"]
        loaded.weights = csc_matrix(
            (tensors["own.data"], tensors["own.indices"], tensors["own.indptr"]),
            shape=(len(loaded.svm.features.idf), len(loaded.labels)),
        )
        for number in range(len(loaded.labels)):
            prefix = f"trees.{number}."
            loaded.trees.append(
                BoostedTrees.restore(
                    {
                        name.removeprefix(prefix): each
                        for name, each in tensors.items()
                        if name.startswith(prefix)
                    }
                )
            )
        return loaded

    def _around(self, texts: Sequence[str], contexts: Sequence[Context] | None) -> list[list[str | None]]:
        """Each text, and so many before and after it, nearest first; None where there is none."""
        if contexts is None:
            raise ContextError
        places = range(self.settings.neighbours)
        return [
            [
                text,
                *(before[at] if at < len(before) else None for at in places),
                *(after[at] if at < len(after) else None for at in places),
            ]
            for text, (before, after) in zip(
                texts, ((context.before[::-1], context.after) for context in contexts), strict=True
            )
        ]

    def _grow(self, stack: NDArray[np.float32], truth: NDArray[np.bool_]) -> list[BoostedTrees]:
        return [
            BoostedTrees.fit(stack[:, :, label], truth[:, label], seed=self.settings.seed)
            for label in range(len(self.labels))
        ]

    def _climb(self, stack: NDArray[np.float32], surrounded: NDArray[np.float32]) -> NDArray[np.float32]:
        found = np.stack(
            [trees.predict_proba(stack[:, :, label]) for label, trees in enumerate(self.trees)], axis=1
        )
        if self.settings.context_bound is not None:
            own = stack[:, 1]
            decisions = self.settings.context_bound(own, log_odds(found).astype(np.float32))
            found = 1 / (1 + np.exp(-decisions))
        return np.where(surrounded > 0, found, 0).astype(np.float32)


def _numbered(around: Sequence[Sequence[str | None]]) -> tuple[list[str], NDArray[np.int64]]:
    """The distinct texts, and where each stands among them, (rows, places); -1 for none."""
    numbers: dict[str, int] = {}
    rows = [
        [-1 if text is None else numbers.setdefault(text, len(numbers)) for text in row] for row in around
    ]
    return list(numbers), np.array(rows, np.int64).reshape(len(rows), -1)


def _scores(
    features: csr_matrix, weights: csc_matrix, intercepts: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Decisions (texts + 1, labels), finite; the last row, number -1, is NaN."""
    found = np.clip((features @ weights).toarray() + intercepts, -99, 99)
    return np.vstack([found, np.full((1, len(intercepts)), np.nan)]).astype(np.float32)


def _stack(surrounded: NDArray[np.float32], own: NDArray[np.float32]) -> NDArray[np.float32]:
    """Features (rows, 1 + places, labels): with the sentences around, then the sentence alone and each neighbour."""
    return np.concatenate([log_odds(surrounded)[:, None], own], axis=1, dtype=np.float32)
