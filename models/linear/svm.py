"""One linear SVM per label over sparse word and character n-grams, with exact evidence."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt
from safetensors.numpy import load_file, save_file
from scipy.sparse import csc_matrix, csr_matrix, diags_array, hstack, vstack

from rubricator.models.classifier import ContextError, EvidenceSpan, OutOfFold, read_json, write_json
from rubricator.models.entries import blocks, log_odds
from rubricator.models.evidence import evidence_spans
from rubricator.models.linear.ngrams import NgramFeatures, NgramSettings
from rubricator.nlp.contexts import SENTENCES_AROUND, Context
from rubricator.nlp.folds import assign_folds

if TYPE_CHECKING:
    from rubricator.nlp.examples import Examples
    from rubricator.nlp.tasks import UnitName

_TOLERANCE = 0.1  # LIBLINEAR's own; a tenth of it gave +0.001 micro-F1 on CMC for a third more time
_CELLS = 2_000_000  # enough to tell two coefficients from


class ContextBound(BaseModel):
    """How far what stands around a text may turn what its own words say.

    A decision with the context differs by at most `most` from `yielding` times the decision on the text's own words:
    where that is beyond most / yielding, neighbours cannot turn it. Both were chosen on the development halves of the
    annotated notes, ACI-BENCH and tests/benchmarks/terse_plans.toml.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    most: PositiveFloat = 1.2
    yielding: PositiveFloat = 2.5

    def __call__(self, own: NDArray[np.float32], decisions: NDArray[np.float32]) -> NDArray[np.float32]:
        """The decisions with the context, bounded by the own ones; both (texts, labels)."""
        return np.clip(decisions, self.yielding * own - self.most, self.yielding * own + self.most)


class SvmSettings(BaseModel):
    """Features, and how they are learnt from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    features: NgramSettings = NgramSettings()
    context: NgramSettings | None = None  # features of what stands around a text
    sentences_around: int = Field(
        default=SENTENCES_AROUND, ge=1, le=SENTENCES_AROUND
    )  # on either side, in these features
    adjoining: NgramSettings | None = None  # features of one sentence on either side
    context_bound: ContextBound | None = None  # None: what stands around may outvote the text's own words
    loss: Literal["squared_hinge", "logistic"] = (
        "squared_hinge"  # logistic regression is the baseline to beat
    )
    # Of several costs and numbers of features, those with the best average precision on the first inner fold count.
    cost: PositiveFloat | tuple[PositiveFloat, ...] = 0.5  # C: the price of an error against a small weight
    # a label is learnt again from so many features, those with the largest weights; None: from all
    label_features: PositiveInt | tuple[PositiveInt, ...] | None = None
    rarity: float = Field(
        default=0, ge=0, le=1
    )  # a positive costs (negatives / positives)**rarity times as much
    most_weights: int = Field(default=10_000_000, gt=0)  # of all labels with positives, each as many
    inner_folds: int = Field(default=5, ge=2)  # for the out-of-fold predictions
    seed: int = 0


class SvmClassifier:
    """Linear SVMs (squared hinge) or logistic regressions (LIBLINEAR, Fan et al. 2008).

    With label_features, each is learnt twice: the second time only from the features that had the largest weights
    (recursive feature elimination in one step, Guyon et al. 2002). In a long note many small weights outvote the few
    that tell.

    Probability = sigmoid(decision), not yet calibrated.
    """

    def __init__(
        self,
        labels: Sequence[str],
        settings: SvmSettings,
    ) -> None:
        self.labels = list(labels)
        self.descriptions: list[str] = []  # of the labels, while it is fitted
        self.settings = settings
        self.features = NgramFeatures(settings.features)
        self.context = NgramFeatures(settings.context) if settings.context else None
        self.adjoining = NgramFeatures(settings.adjoining) if settings.adjoining else None
        self.weights = csc_matrix((0, len(self.labels)), dtype=np.float32)  # (columns, labels)
        self.intercepts: NDArray[np.float32] = np.zeros(len(self.labels), np.float32)
        self.cost, self.kept = 0.0, 0  # C and features of a label, as fit chose them
        self.out_of_fold: OutOfFold | None = None

    @staticmethod
    def default_settings(unit: "UnitName", /) -> SvmSettings:
        """Sentences and notes want different features."""
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

        Raises FoldError where there are under two groups.
        """
        targets, groups = examples.targets.tocsr(), examples.groups
        self.descriptions = examples.label_texts()
        folds = assign_folds(targets, groups, self.settings.inner_folds, seed=self.settings.seed)
        features = self.features.fit_transform(examples.texts, groups, names=self.descriptions)
        for block, around in self._around(examples.contexts):
            features = _beside(features, block.fit_transform(around, groups))
        out_of_fold = np.zeros(targets.shape, np.float32)
        out_of_fold[folds == 0] = self._choose(features, targets, folds == 0)
        for fold in range(1, folds.max() + 1):
            out_of_fold[folds == fold] = self._hold_in(features, targets, folds == fold)
        self.weights, self.intercepts = self.solve(features, targets, np.arange(len(self.labels)))
        out_of_fold = self._match_descriptions(features, targets, out_of_fold)
        self.out_of_fold = OutOfFold(np.arange(len(examples)), out_of_fold)
        return self

    def _choose(
        self, features: csr_matrix, targets: csr_matrix, test: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Set cost and kept: of several the ones with the best average precision over all cells of these rows.

        Returns the probabilities (rows, labels) that they gave.
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
            models = self._learn(features[~test], targets[~test], _tellable(targets), cost, numbers)
            for kept, model in zip(numbers, models, strict=True):
                probabilities = self._probabilities(features[test], *model)
                precision = 0.0 if one else _precision(targets[test], probabilities)
                if precision > best:
                    best, found, self.cost, self.kept = precision, probabilities, cost, kept
        return found

    def _hold_in(
        self, features: csr_matrix, targets: csr_matrix, test: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Probabilities of some rows by a model of the others, (some, labels)."""
        model = self.solve(features[~test], targets[~test], _tellable(targets))
        return self._probabilities(features[test], *model)

    def _match_descriptions(
        self, features: csr_matrix, targets: csr_matrix, out_of_fold: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Add to each label's weights the features of its description, times a factor; the new out-of-fold
        probabilities.

        Labels share the factor, so that codes with few positives gain most: it is the odds ratio that a match has
        beside the out-of-fold decision (logistic regression over all cells). A label without positives has its
        description alone, with the factor and the odds of a label with one positive. The odds are lower where so many
        labels have none that they cannot all be as frequent (Good 1953: in new texts, labels of one positive tell how
        often new ones come).
        """
        described = self._described(features.shape[1])
        if not described.nnz:
            return out_of_fold
        rows, labels = out_of_fold.shape
        positives = targets.getnnz(axis=0)
        seen, new = np.flatnonzero(positives), (positives == 0) & (described.getnnz(axis=0) > 0)
        drawn = np.random.default_rng(self.settings.seed).permutation(rows)[: -(-_CELLS // max(1, len(seen)))]
        drawn.sort()
        matches = (features[drawn] @ described[:, seen]).toarray()
        truth, decided = targets[drawn][:, seen].toarray() > 0, out_of_fold[np.ix_(drawn, seen)]
        known = decided > 0
        beside, _ = _odds(truth[known], log_odds(decided[known]), matches[known])
        factors = np.full(labels, max(0.0, beside[1] / beside[0]) if beside[0] > 0 else 0.0, np.float32)
        told = truth.any(axis=0)
        weights = np.where(truth, 1 / np.maximum(truth.sum(axis=0), 1), rows / len(drawn))[:, told].ravel()
        alone, base = _odds(truth[:, told].ravel(), matches[:, told].ravel(), weights=weights)
        new &= alone[0] > 0
        base += np.log(min(1, max(1, (positives == 1).sum()) / max(1, new.sum())))
        factors[new], self.intercepts[new] = alone[0], base
        added = csc_matrix(described @ diags_array(factors))
        self.weights = csc_matrix(self.weights + added)
        for block in blocks(rows, labels):
            scores = np.where(new, base, log_odds(out_of_fold[block])) + (features[block] @ added).toarray()
            out_of_fold[block] = np.where(new | (out_of_fold[block] > 0), 1 / (1 + np.exp(-scores)), 0)
        return out_of_fold

    def _described(self, columns: int) -> csc_matrix:
        """Features of each label's description at unit length, words of many descriptions ("unspecified") less."""
        features = self.features.transform(self.descriptions)
        commonness = np.bincount(features.indices, minlength=features.shape[1])
        features = features @ diags_array(np.log(len(self.labels) / (1 + commonness)) + 1)
        norm = np.sqrt(features.multiply(features).sum(axis=1).A1)
        described = (diags_array(1 / np.maximum(norm, 1e-12)) @ features).T
        context = csc_matrix((columns - features.shape[1], len(self.labels)))
        return csc_matrix(vstack([described, context], format="csc"), dtype=np.float32)

    def predict_proba(
        self, texts: Sequence[str], *, contexts: Sequence[Context] | None = None
    ) -> NDArray[np.float32]:
        """sigmoid of the SVM decisions, float32 (texts, labels); 0 for a label that had neither positives nor a
        description."""
        features = self.features.transform(texts)
        for block, around in self._around(contexts):
            features = _beside(features, block.transform(around))
        return self._probabilities(features, self.weights, self.intercepts)

    def evidence(
        self, texts: Sequence[str], labels: Sequence[Sequence[int]]
    ) -> list[list[list[EvidenceSpan]]]:
        """For each text and asked label: runs of words that spoke for it, strongest first.

        A weight is the run's part of all that spoke for the label in this text. Word n-grams count for their
        words, character n-grams for the word they are cut from, so the parts sum up to the SVM's decision (less what
        the context added to it).
        """
        own = self.weights[: len(self.features.idf)]
        weights = {asked: own[:, list(asked)].toarray() for asked in {tuple(asked) for asked in labels}}
        found = self.features.contributions(texts, [weights[tuple(asked)] for asked in labels])
        return [[evidence_spans(offsets, part) for part in parts.T] for offsets, parts in found]

    def solve(
        self, features: csr_matrix, targets: csr_matrix, labels: NDArray[np.int64]
    ) -> tuple[csc_matrix, NDArray[np.float32]]:
        """Weights (columns, labels) and intercepts (labels) of these label numbers; -inf says never, inf always."""
        [model] = self._learn(features, targets, labels, self.cost, [self.kept])
        return model

    def _learn(
        self,
        features: csr_matrix,
        targets: csr_matrix,
        labels: NDArray[np.int64],
        cost: float,
        numbers: Sequence[int],
    ) -> list[tuple[csc_matrix, NDArray[np.float32]]]:
        """A model as solve returns it for each of several numbers of features, which share what is learnt first."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.svm import LinearSVC  # takes a second, and prediction does without

        logistic = partial(LogisticRegression, solver="liblinear")
        machine = logistic if self.settings.loss == "logistic" else LinearSVC
        shape = (features.shape[1], 1)
        columns = [[csc_matrix(shape, dtype=np.float32)] * len(self.labels) for _ in numbers]
        intercepts = np.full((len(numbers), len(self.labels)), -np.inf, np.float32)
        truth = targets.tocsc()
        for label in labels:
            positive = truth[:, [label]].toarray().ravel() > 0
            if positive.all():
                intercepts[:, label] = np.inf
            elif positive.any() and not features.shape[1]:
                intercepts[:, label] = log_odds(positive.mean(keepdims=True))[0]
            elif positive.any():
                rarity = ((~positive).sum() / positive.sum()) ** self.settings.rarity
                learner = machine(
                    C=cost,
                    class_weight={False: 1, True: rarity},
                    tol=_TOLERANCE,
                    random_state=self.settings.seed,
                )
                learner.fit(features, positive)
                first, offset = learner.coef_[0], learner.intercept_[0]
                nonzero = np.flatnonzero(first)
                for model, kept in enumerate(numbers):
                    there, weights, intercept = nonzero, first[nonzero], offset
                    if len(there) > kept:
                        there = np.sort(there[np.argpartition(-abs(weights), kept)[:kept]])
                        learner.fit(features[:, there], positive)
                        weights, intercept = learner.coef_[0], learner.intercept_[0]
                    columns[model][label] = csc_matrix(
                        (weights.astype(np.float32), (there, np.zeros(len(there), np.int32))), shape=shape
                    )
                    intercepts[model, label] = intercept
        weights_of = [csc_matrix(hstack(some, format="csc")) for some in columns]
        return list(zip(weights_of, intercepts, strict=True))

    def _probabilities(
        self, features: csr_matrix, weights: csc_matrix, intercepts: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """sigmoid of the decisions, float32 (rows, labels)."""
        bound, own = self.settings.context_bound, len(self.features.idf)
        if bound is None or own == features.shape[1]:
            scores = (features @ weights).toarray() + intercepts
        else:
            alone = (features[:, :own] @ weights[:own]).toarray() + intercepts
            scores = bound(alone, alone + (features[:, own:] @ weights[own:]).toarray())
        with np.errstate(over="ignore"):
            return np.asarray(1 / (1 + np.exp(-scores)), np.float32)

    def _around(self, contexts: Sequence[Context] | None) -> Iterator[tuple[NgramFeatures, list[str]]]:
        """Each block of features of the context, with the text it is made of."""
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
        """vocabulary.json and weights.safetensors, with the settings in classifier.json."""
        tensors = {
            "weights": self.weights.data,
            "weights.column": self.weights.indices,
            "weights.ends": self.weights.indptr,
            "intercepts": self.intercepts,
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
        """What save wrote."""
        config = read_json(folder / "classifier.json")
        loaded = cls(config["labels"], SvmSettings.model_validate(config["settings"]))
        tensors = load_file(folder / "weights.safetensors")
        loaded.intercepts = tensors["intercepts"]
        vocabulary = read_json(folder / "vocabulary.json")
        for name, features in loaded._blocks():
            own = {
                key.removeprefix(f"{name}."): tensor
                for key, tensor in tensors.items()
                if key.startswith(f"{name}.")
            }
            features.restore(vocabulary[name], own)
        loaded.weights = csc_matrix(
            (tensors["weights"], tensors["weights.column"], tensors["weights.ends"]),
            shape=(sum(len(features.idf) for _, features in loaded._blocks()), len(loaded.labels)),
        )
        return loaded


def _tellable(targets: csr_matrix) -> NDArray[np.int64]:
    """A single positive is either learnt from or held in: no out-of-fold prediction can tell anything of its label."""
    return np.flatnonzero(targets.getnnz(axis=0) > 1)


def _odds(
    truth: NDArray[np.bool_], *evidence: NDArray[np.float32], weights: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.float64], float]:
    """Factors of each evidence (cells,) and the offset of a logistic regression on them; zeros where it cannot be."""
    from sklearn.linear_model import LogisticRegression

    if not truth.any() or truth.all():
        return np.zeros(len(evidence)), 0.0
    fitted = LogisticRegression(C=np.inf).fit(np.stack(evidence, axis=1), truth, sample_weight=weights)
    return fitted.coef_[0], float(fitted.intercept_[0])


def _precision(targets: csr_matrix, probabilities: NDArray[np.float32]) -> float:
    """Average precision over all cells."""
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(targets.toarray().ravel() > 0, probabilities.ravel()))


def _beside(features: csr_matrix, context: csr_matrix) -> csr_matrix:
    return csr_matrix(hstack([features, context], format="csr"))
