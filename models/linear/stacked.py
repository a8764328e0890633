"""Sentences and their neighbours: boosted trees over the decisions of SVMs on a sentence and on those around it.

Stacked sequential learning (Cohen and Carvalho, IJCAI 2005). One SVM reads a sentence with the sentences around it; it
separates plans from the other parts of a note. Another SVM reads a sentence alone; it separates an order from the
reasoning beside it. The trees combine both decisions with the decisions on the neighbours.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from safetensors.numpy import load_file, save_file
from scipy.sparse import csc_matrix, csr_matrix
from scipy.special import expit

from rubricator.models.boosted_trees import BoostedTrees
from rubricator.models.classifier import ContextError, EvidenceSpan, OutOfFold
from rubricator.models.entries import log_odds
from rubricator.models.linear.svm import ContextBound, LinearModel, SvmClassifier, SvmSettings
from rubricator.models.model_files import read_json, read_tensors, write_json
from rubricator.nlp.contexts import SENTENCES_AROUND, Context
from rubricator.nlp.folds import assign_folds

if TYPE_CHECKING:
    from rubricator.nlp.examples import Examples
    from rubricator.nlp.units import UnitName


class StackedSettings(BaseModel):
    """Settings of the SVMs, and which of their decisions are features of the trees."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    svm: SvmSettings = Field(
        default=SvmSettings(), description="Settings of the SVM that reads a sentence with those around it."
    )
    neighbours: int = Field(
        default=3,
        ge=0,
        le=SENTENCES_AROUND,
        description="Number of neighbouring sentences on either side whose SVM decisions are features of the trees.",
    )
    context_bound: ContextBound | None = Field(
        default=None,
        description="How far the log-odds of the trees may depart from the decision on the sentence alone; null for no "
        "limit.",
    )
    seed: int = Field(default=0, description="Random seed of the trees and of their folds.")


class StackedClassifier:
    """Boosted trees for each label, over the decisions of SVMs.

    The first feature of a sentence is the decision of the SVM that reads the sentences around it. The others are the
    decisions of an SVM that reads one sentence alone: on this sentence, and on each neighbour (NaN where there is
    none). The trees' log-odds are bounded by the decision on the sentence alone (ContextBound).
    """

    def __init__(self, labels: Sequence[str], settings: StackedSettings) -> None:
        self.labels = list(labels)
        self.settings = settings
        self.svm = SvmClassifier(labels, settings.svm)
        self.alone = self.svm.model  # of the SVM that reads one sentence alone
        self.trees: list[BoostedTrees] = []
        self.out_of_fold: OutOfFold | None = None

    @staticmethod
    def default_settings(unit: "UnitName", /) -> StackedSettings:
        """Those of the SVM for the unit, with a bound on the trees."""
        bound = ContextBound(most=6, yielding=10)
        return StackedSettings(svm=SvmClassifier.default_settings(unit), context_bound=bound)

    def fit(self, examples: "Examples") -> Self:
        """Learn the SVMs, and the trees from out-of-fold decisions of SVMs.

        Raises FoldError where there are fewer than two groups, and ContextError without contexts.
        """
        targets, groups, svm = examples.targets.tocsr(), examples.groups, self.settings.svm
        around = self._around(examples.texts, examples.contexts)
        self.svm.fit(examples)
        assert self.svm.out_of_fold is not None
        with_context = self.svm.out_of_fold.probabilities
        folds = assign_folds(targets, groups, svm.inner_folds, seed=svm.seed)
        stack = _stack(with_context, self._learn_alone(examples.texts, around, targets, folds))
        truth = targets.toarray().astype(bool)
        out_of_fold = np.zeros(targets.shape, np.float32)
        folds = assign_folds(targets, groups, svm.inner_folds, seed=self.settings.seed + 1)
        for fold in range(folds.max() + 1):
            train = folds != fold
            self.trees = self._learn_trees(stack[train], truth[train])
            out_of_fold[~train] = self._probabilities(stack[~train], with_context[~train])
        self.trees = self._learn_trees(stack, truth)
        self.out_of_fold = OutOfFold(np.arange(len(examples)), out_of_fold)
        return self

    def _learn_alone(
        self,
        texts: Sequence[str],
        around: Sequence[Sequence[str | None]],
        targets: csr_matrix,
        folds: NDArray[np.int64],
    ) -> NDArray[np.float32]:
        """Learn the SVM that reads one sentence alone.

        Returns out-of-fold decisions on each text and its neighbours (texts, places, labels).
        """
        features = self.svm.features.transform(texts)
        distinct, number = _numbered(around)
        of_distinct = self.svm.features.transform(distinct)
        labels = np.arange(len(self.labels))
        decisions = np.zeros((*number.shape, len(labels)), np.float32)
        for fold in range(folds.max() + 1):
            train = folds != fold
            model = self.svm.solve(features[train], targets[train], labels)
            decisions[~train] = _decisions(of_distinct, model)[number[~train]]
        self.alone = self.svm.solve(features, targets, labels)
        return decisions

    def predict_proba(
        self, texts: Sequence[str], *, contexts: Sequence[Context] | None = None
    ) -> NDArray[np.float32]:
        """Probabilities by the trees, float32 (texts, labels); 0 for a label that had no positives.

        Raises ContextError without contexts.
        """
        with_context = self.svm.predict_proba(texts, contexts=contexts)
        distinct, number = _numbered(self._around(texts, contexts))
        decisions = _decisions(self.svm.features.transform(distinct), self.alone)
        return self._probabilities(_stack(with_context, decisions[number]), with_context)

    def evidence(
        self, texts: Sequence[str], labels: Sequence[Sequence[int]]
    ) -> list[list[list[EvidenceSpan]]]:
        """The evidence of the SVM that reads the sentences around each text, in the text itself."""
        return self.svm.evidence(texts, labels)

    def save(self, folder: Path) -> None:
        """Write stacked.safetensors, classifier.json with the settings, and the SVM in svm/."""
        tensors: dict[str, NDArray[np.generic]] = {
            "own.data": self.alone.weights.data,
            "own.indices": self.alone.weights.indices,
            "own.indptr": self.alone.weights.indptr,
            "own.intercepts": self.alone.intercepts,
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
        """Read what save wrote."""
        config = read_json(folder / "classifier.json")
        loaded = cls(config["labels"], StackedSettings.model_validate(config["settings"]))
        loaded.svm = SvmClassifier.load(folder / "svm")
        tensors = read_tensors(folder / "stacked.safetensors", load_file)
        weights = csc_matrix(
            (tensors["own.data"], tensors["own.indices"], tensors["own.indptr"]),
            shape=(len(loaded.svm.features.idf), len(loaded.labels)),
        )
        loaded.alone = LinearModel(weights, tensors["own.intercepts"])
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
        """Each text, its neighbours before it and those after it, nearest first; None where there is none."""
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

    def _learn_trees(self, stack: NDArray[np.float32], truth: NDArray[np.bool_]) -> list[BoostedTrees]:
        """Trees for each label."""
        return [
            BoostedTrees.fit(stack[:, :, label], truth[:, label], seed=self.settings.seed)
            for label in range(len(self.labels))
        ]

    def _probabilities(
        self, stack: NDArray[np.float32], with_context: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Probabilities by the trees (rows, labels); 0 where `with_context` is 0.

        with_context: (rows, labels), probabilities by the SVM that reads the sentences around.
        """
        found = np.stack(
            [trees.predict_proba(stack[:, :, label]) for label, trees in enumerate(self.trees)], axis=1
        )
        if self.settings.context_bound is not None:
            alone = stack[:, 1]
            decisions = self.settings.context_bound(alone, log_odds(found).astype(np.float32))
            return np.where(with_context > 0, expit(decisions), 0).astype(np.float32)
        return np.where(with_context > 0, found, 0).astype(np.float32)


def _numbered(around: Sequence[Sequence[str | None]]) -> tuple[list[str], NDArray[np.int64]]:
    """The distinct texts, and the number of each text among them (rows, places); -1 where there is no text."""
    numbers: dict[str, int] = {}
    rows = [
        [-1 if text is None else numbers.setdefault(text, len(numbers)) for text in row] for row in around
    ]
    return list(numbers), np.array(rows, np.int64).reshape(len(rows), -1)


def _decisions(features: csr_matrix, model: LinearModel) -> NDArray[np.float32]:
    """Decisions (texts + 1, labels), clipped to be finite. The last row is NaN, for number -1 (no text)."""
    found = np.clip((features @ model.weights).toarray() + model.intercepts, -99, 99)
    return np.vstack([found, np.full((1, len(model.intercepts)), np.nan)]).astype(np.float32)


def _stack(with_context: NDArray[np.float32], alone: NDArray[np.float32]) -> NDArray[np.float32]:
    """Features of the trees (rows, 1 + places, labels): decisions with the sentences around, then on each alone."""
    return np.concatenate([log_odds(with_context)[:, None], alone], axis=1, dtype=np.float32)
