"""One linear SVM per label over sparse word and character n-grams, with exact evidence."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt
from safetensors.numpy import load_file, save_file
from scipy.sparse import csc_matrix, csr_matrix, hstack
from scipy.special import expit

from rubricator.models.classifier import ContextError, EvidenceSpan, OutOfFold
from rubricator.models.entries import log_odds
from rubricator.models.evidence import evidence_spans
from rubricator.models.linear.descriptions import description_features, match_descriptions
from rubricator.models.linear.ngrams import NgramFeatures, NgramSettings
from rubricator.models.model_files import read_json, read_tensors, write_json
from rubricator.nlp.contexts import SENTENCES_AROUND, Context
from rubricator.nlp.folds import assign_folds

if TYPE_CHECKING:
    from rubricator.nlp.examples import Examples
    from rubricator.nlp.units import UnitName

_TOLERANCE = 0.1  # LIBLINEAR's default; a tenth of it gave +0.001 micro-F1 on CMC and took a third more time


class ContextBound(BaseModel):
    """How far the context of a text may change the decision on its own words.

    The decision with the context is clipped to yielding · d ± most, where d is the decision on the text's own words.
    So where |d| > most / yielding, the context cannot change the sign of the decision. The default values were chosen
    on the development halves of the annotated notes, ACI-BENCH and tests/benchmarks/terse_plans.toml.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    most: PositiveFloat = Field(
        default=1.2,
        description="Largest distance, in log-odds, between the decision with context and yielding times the decision "
        "on the text's own words. The smaller, the less the context can change.",
    )
    yielding: PositiveFloat = Field(
        default=2.5,
        description="Factor of the decision on the text's own words; see most. Where that decision is beyond ± most / "
        "yielding, the context cannot change its sign.",
    )

    def __call__(self, own: NDArray[np.float32], decisions: NDArray[np.float32]) -> NDArray[np.float32]:
        """The decisions with the context, bounded by the decisions on the own words. Both: (texts, labels)."""
        return np.clip(decisions, self.yielding * own - self.most, self.yielding * own + self.most)


class SvmSettings(BaseModel):
    """Which features a text has, and how the SVMs learn from them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    features: NgramSettings = Field(default=NgramSettings(), description="Features of the text itself.")
    context: NgramSettings | None = Field(
        default=None, description="Features of the sentences around a text, taken together; null for none."
    )
    sentences_around: int = Field(
        default=SENTENCES_AROUND,
        ge=1,
        le=SENTENCES_AROUND,
        description="Number of sentences on either side that give the features of the setting context.",
    )
    adjoining: NgramSettings | None = Field(
        default=None,
        description="Features of the nearest sentence on either side, taken together; null for none.",
    )
    context_bound: ContextBound | None = Field(
        default=None,
        description="How far the sentences around a text may change the decision; null for no limit.",
    )
    loss: Literal["squared_hinge", "logistic"] = Field(
        default="squared_hinge",
        description="Loss that training minimises: squared_hinge gives an SVM, logistic a logistic regression.",
    )
    cost: PositiveFloat | tuple[PositiveFloat, ...] = Field(
        default=0.5,
        description="Cost C of LIBLINEAR: the weight of training errors against regularisation. Of several values, the "
        "one with the best average precision on the first inner fold is used.",
    )
    label_features: PositiveInt | tuple[PositiveInt, ...] | None = Field(
        default=None,
        description="Number of features that each label keeps: those with the largest weights in a first fit. The "
        "label is then fitted again on these alone. Of several numbers, the one with the best average precision on the "
        "first inner fold is used; null keeps as many as most_weights allows.",
    )
    rarity: float = Field(
        default=0,
        ge=0,
        le=1,
        description="Cost of an error on a positive: (negatives / positives) to this power. At 0 all errors cost the "
        "same.",
    )
    most_weights: int = Field(
        default=10_000_000,
        gt=0,
        description="Largest number of weights of the whole model. The labels with positives get equal shares of it.",
    )
    inner_folds: int = Field(
        default=5,
        ge=2,
        description="Number of folds, by patient, for the out-of-fold predictions that calibration and thresholds are "
        "fitted on.",
    )
    seed: int = Field(default=0, description="Random seed of the folds and of LIBLINEAR.")


class LinearModel(NamedTuple):
    """A linear decision for each label. An intercept of -inf gives probability 0, one of inf probability 1."""

    weights: csc_matrix  # (columns, labels)
    intercepts: NDArray[np.float32]  # (labels,)


class SvmClassifier:
    """Linear SVMs (squared hinge) or logistic regressions (LIBLINEAR, Fan et al. 2008).

    With label_features, each label is learnt twice: the second time only from the features that had the largest
    weights (recursive feature elimination in one step, Guyon et al. 2002). In a long note, many small weights would
    otherwise outweigh the few large ones.

    Probability = sigmoid(decision), not yet calibrated.
    """

    def __init__(self, labels: Sequence[str], settings: SvmSettings) -> None:
        self.labels = list(labels)
        self.settings = settings
        self.features = NgramFeatures(settings.features)
        self.context = NgramFeatures(settings.context) if settings.context else None
        self.adjoining = NgramFeatures(settings.adjoining) if settings.adjoining else None
        no_intercepts = np.zeros(len(self.labels), np.float32)
        self.model = LinearModel(csc_matrix((0, len(self.labels)), dtype=np.float32), no_intercepts)
        self.cost, self.kept = 0.0, 0  # cost, and number of features of a label, as fit chose them
        self.out_of_fold: OutOfFold | None = None

    @staticmethod
    def default_settings(unit: "UnitName", /) -> SvmSettings:
        """Sentences and notes have different features."""
        if unit == "note":
            return SvmSettings(
                features=NgramSettings(assertions=True, evenness=0.5),
                rarity=0.5,
                label_features=(400, 4_000, 40_000),
            )
        return SvmSettings(
            features=NgramSettings(char_ngrams=(2, 5), char_weight=0.7, abbreviations=True),
            context=NgramSettings(word_weight=0.75, char_weight=0, abbreviations=True),
            adjoining=NgramSettings(word_weight=0.35, char_weight=0, abbreviations=True),
            context_bound=ContextBound(),
            cost=0.2,
        )

    def fit(self, examples: "Examples") -> Self:
        """Learn one SVM per label. Inner folds share the vocabulary and idf of all these texts, nothing else.

        Raises FoldError where there are fewer than two groups, and ContextError where contexts are missing.
        """
        targets, groups = examples.targets.tocsr(), examples.groups
        descriptions = examples.label_texts()
        folds = assign_folds(targets, groups, self.settings.inner_folds, seed=self.settings.seed)
        without = examples.person_names
        features = self.features.fit_transform(examples.texts, groups, names=descriptions, without=without)
        for block, around in self._around(examples.contexts):
            features = _beside(features, block.fit_transform(around, groups, without=without))
        out_of_fold = np.zeros(targets.shape, np.float32)
        out_of_fold[folds == 0] = self._choose(features, targets, folds == 0)
        for fold in range(1, folds.max() + 1):
            out_of_fold[folds == fold] = self._hold_out(features, targets, folds == fold)
        self.model = self.solve(features, targets, np.arange(len(self.labels)))
        described = description_features(self.features, descriptions, features.shape[1])
        if described.nnz:
            match = match_descriptions(features, targets, out_of_fold, described, seed=self.settings.seed)
            weights, intercepts = self.model
            intercepts[match.described_only] = match.intercept
            self.model = LinearModel(csc_matrix(weights + match.weights), intercepts)
            out_of_fold = match.apply(features, out_of_fold)
        self.out_of_fold = OutOfFold(np.arange(len(examples)), out_of_fold)
        return self

    def _choose(
        self, features: csr_matrix, targets: csr_matrix, test: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Set cost and kept to those with the best average precision over all entries of the test rows.

        Returns the probabilities (test rows, labels) by these.
        """
        settings = self.settings
        most = settings.most_weights // max(1, len(np.unique(targets.indices)))
        costs = settings.cost if isinstance(settings.cost, tuple) else (settings.cost,)
        numbers = settings.label_features
        numbers = numbers if isinstance(numbers, tuple) else (numbers or most,)
        numbers = tuple(sorted({min(number, most) for number in numbers}))
        if not targets[test].nnz:
            costs, numbers = costs[:1], numbers[:1]
        one = len(costs) * len(numbers) == 1
        best, found = -1.0, np.zeros((0, 0), np.float32)
        for cost in costs:
            models = self._learn(
                features[~test], targets[~test], _learnable_out_of_fold(targets), cost, numbers
            )
            for kept, model in zip(numbers, models, strict=True):
                probabilities = self._probabilities(features[test], model)
                precision = 0.0 if one else _precision(targets[test], probabilities)
                if precision > best:
                    best, found, self.cost, self.kept = precision, probabilities, cost, kept
        return found

    def _hold_out(
        self, features: csr_matrix, targets: csr_matrix, test: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Probabilities (test rows, labels) by a model of the other rows."""
        model = self.solve(features[~test], targets[~test], _learnable_out_of_fold(targets))
        return self._probabilities(features[test], model)

    def predict_proba(
        self, texts: Sequence[str], *, contexts: Sequence[Context] | None = None
    ) -> NDArray[np.float32]:
        """sigmoid of the decisions, float32 (texts, labels).

        0 for a label that had neither positives nor a description. Raises ContextError where contexts are missing.
        """
        features = self.features.transform(texts)
        for block, around in self._around(contexts):
            features = _beside(features, block.transform(around))
        return self._probabilities(features, self.model)

    def evidence(
        self, texts: Sequence[str], labels: Sequence[Sequence[int]]
    ) -> list[list[list[EvidenceSpan]]]:
        """For each text and requested label: spans of neighbouring words that support it, strongest first.

        The weight of a span is its share of all positive contributions in the text. A word n-gram contributes to its
        words, a character n-gram to the word that it is cut from. So the contributions of the words sum to the
        decision without the intercept and the context.
        """
        own = self.model.weights[: len(self.features.idf)]
        weights = {asked: own[:, list(asked)].toarray() for asked in {tuple(asked) for asked in labels}}
        found = self.features.contributions(texts, [weights[tuple(asked)] for asked in labels])
        return [[evidence_spans(offsets, part) for part in parts.T] for offsets, parts in found]

    def solve(self, features: csr_matrix, targets: csr_matrix, labels: NDArray[np.int64]) -> LinearModel:
        """A model of these label numbers. The other labels have an intercept of -inf."""
        [model] = self._learn(features, targets, labels, self.cost, [self.kept])
        return model

    def _learn(
        self,
        features: csr_matrix,
        targets: csr_matrix,
        labels: NDArray[np.int64],
        cost: float,
        numbers: Sequence[int],
    ) -> list[LinearModel]:
        """A model as `solve` gives it for each of several numbers of features."""
        columns = [[csc_matrix((features.shape[1], 1), dtype=np.float32)] * len(self.labels) for _ in numbers]
        intercepts = np.full((len(numbers), len(self.labels)), -np.inf, np.float32)
        truth = targets.tocsc()
        for label in labels:
            positive = truth[:, [label]].toarray().ravel() > 0
            if positive.all():
                intercepts[:, label] = np.inf
            elif positive.any() and not features.shape[1]:
                intercepts[:, label] = log_odds(positive.mean(keepdims=True))[0]
            elif positive.any():
                for model, learnt in enumerate(self._learn_label(features, positive, cost, numbers)):
                    columns[model][label], intercepts[model, label] = learnt
        weights_of = [csc_matrix(hstack(some, format="csc")) for some in columns]
        return [LinearModel(*model) for model in zip(weights_of, intercepts, strict=True)]

    def _learn_label(
        self, features: csr_matrix, positive: NDArray[np.bool_], cost: float, numbers: Sequence[int]
    ) -> Iterator[tuple[csc_matrix, float]]:
        """Weights (columns, 1) and intercept for each number of features. All numbers share the first fit."""
        rarity = ((~positive).sum() / positive.sum()) ** self.settings.rarity
        learner = self._learner(C=cost, class_weight={False: 1, True: rarity})
        learner.fit(features, positive)
        first, offset = learner.coef_[0], learner.intercept_[0]
        nonzero = np.flatnonzero(first)
        for kept in numbers:
            there, weights, intercept = nonzero, first[nonzero], offset
            if len(there) > kept:
                there = np.sort(there[np.argpartition(-abs(weights), kept)[:kept]])
                learner.fit(features[:, there], positive)
                weights, intercept = learner.coef_[0], learner.intercept_[0]
            at = (there, np.zeros(len(there), np.int32))
            yield csc_matrix((weights.astype(np.float32), at), shape=(features.shape[1], 1)), intercept

    def _learner(self, **settings: Any) -> Any:
        """An untrained LIBLINEAR model."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.svm import LinearSVC  # this import takes a second, and prediction does not need it

        settings |= {"tol": _TOLERANCE, "random_state": self.settings.seed}
        if self.settings.loss == "logistic":
            return LogisticRegression(solver="liblinear", **settings)
        return LinearSVC(**settings)

    def _probabilities(self, features: csr_matrix, model: LinearModel) -> NDArray[np.float32]:
        """sigmoid of the decisions, float32 (rows, labels)."""
        weights, intercepts = model
        bound, own = self.settings.context_bound, len(self.features.idf)
        if bound is None or own == features.shape[1]:
            decisions = (features @ weights).toarray() + intercepts
        else:
            alone = (features[:, :own] @ weights[:own]).toarray() + intercepts
            decisions = bound(alone, alone + (features[:, own:] @ weights[own:]).toarray())
        return np.asarray(expit(decisions), np.float32)

    def _around(self, contexts: Sequence[Context] | None) -> Iterator[tuple[NgramFeatures, list[str]]]:
        """Each kind of features of the context, with the texts they are made of."""
        for block, sentences in ((self.context, self.settings.sentences_around), (self.adjoining, 1)):
            if block is None:
                continue
            if contexts is None:
                raise ContextError
            yield block, [context.nearest(sentences).text for context in contexts]

    def _blocks(self) -> list[tuple[str, NgramFeatures]]:
        blocks = (("text", self.features), ("context", self.context), ("adjoining", self.adjoining))
        return [(name, block) for name, block in blocks if block]

    def save(self, folder: Path) -> None:
        """Write vocabulary.json, weights.safetensors, and classifier.json with the settings."""
        tensors = {
            "weights": self.model.weights.data,
            "weights.column": self.model.weights.indices,
            "weights.ends": self.model.weights.indptr,
            "intercepts": self.model.intercepts,
        }
        vocabulary = {}
        for name, features in self._blocks():
            tensors |= {f"{name}.{key}": tensor for key, tensor in features.tensors().items()}
            vocabulary[name] = features.vocabulary()
        save_file(
            {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()},
            folder / "weights.safetensors",
        )
        write_json(folder / "vocabulary.json", vocabulary)
        write_json(
            folder / "classifier.json",
            {"labels": self.labels, "settings": self.settings.model_dump(mode="json")},
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what save wrote."""
        config = read_json(folder / "classifier.json")
        loaded = cls(config["labels"], SvmSettings.model_validate(config["settings"]))
        tensors = read_tensors(folder / "weights.safetensors", load_file)
        vocabulary = read_json(folder / "vocabulary.json")
        for name, features in loaded._blocks():
            own = {
                key.removeprefix(f"{name}."): tensor
                for key, tensor in tensors.items()
                if key.startswith(f"{name}.")
            }
            features.restore(vocabulary[name], own)
        weights = csc_matrix(
            (tensors["weights"], tensors["weights.column"], tensors["weights.ends"]),
            shape=(sum(len(features.idf) for _, features in loaded._blocks()), len(loaded.labels)),
        )
        loaded.model = LinearModel(weights, tensors["intercepts"])
        return loaded


def _learnable_out_of_fold(targets: csr_matrix) -> NDArray[np.int64]:
    """Numbers of the labels with at least two positives. One alone cannot be both learnt from and held out."""
    return np.flatnonzero(targets.getnnz(axis=0) > 1)


def _precision(targets: csr_matrix, probabilities: NDArray[np.float32]) -> float:
    """Average precision over all entries."""
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(targets.toarray().ravel() > 0, probabilities.ravel()))


def _beside(features: csr_matrix, context: csr_matrix) -> csr_matrix:
    return csr_matrix(hstack([features, context], format="csr"))
