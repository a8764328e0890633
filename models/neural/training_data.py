"""The training data of a network: examples as tokens, their batches, and the order of the batches."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from tokenizers import Tokenizer
from torch import Tensor

from rubricator.models.neural.corpus import Corpus, Int, encodable
from rubricator.models.neural.settings import NeuralSettings
from rubricator.nlp.contexts import LabelSpan
from rubricator.nlp.hidden_text import hides_text

Marked = list[list[tuple[int, Int]]]  # for each text: a label, and the tokens of its evidence
_BUCKET = 32  # batches that are sorted by length together


@hides_text()
@dataclass(frozen=True, eq=False)
class TrainingData:
    """Examples as tokens. Called with row numbers, it gives the batch that Objective takes (a data collator).

    targets: float32 0/1 matrix (texts, labels). groups: (texts,). marked: None where no evidence is learnt from.
    """

    corpus: Corpus
    targets: csr_matrix
    groups: Int
    marked: Marked | None

    def __call__(self, rows: Sequence[int]) -> dict[str, Tensor]:
        batch = self.corpus.batch(rows)
        inputs = batch._asdict() | {"labels": torch.from_numpy(self.targets[rows].toarray())}
        if self.marked is not None:
            marked = [(text, *one) for text, row in enumerate(rows) for one in self.marked[row]]
            tokens = torch.zeros(len(marked), batch.mask.shape[1], dtype=torch.bool)
            for number, (*_, at) in enumerate(marked):
                tokens[number, at] = True
            inputs["marked"] = torch.tensor([[text, label] for text, label, _ in marked]).reshape(-1, 2)
            inputs["marked_tokens"] = tokens
        return inputs

    def positives(self, rows: Int) -> NDArray[np.float32]:
        """Number of positive examples of each label (labels,) in these rows."""
        return np.asarray(self.targets[rows].sum(axis=0), np.float32).ravel()

    def sha256(self) -> str:
        """Hash of all training data."""
        digest = hashlib.sha256()
        marked = [
            at for of_text in self.marked or [] for label, tokens in of_text for at in ([label], tokens)
        ]
        sizes = [len(of_text) for of_text in self.marked or []]
        arrays = (
            *self.corpus.strings,
            self.corpus.rows,
            self.groups,
            self.targets.indptr,
            self.targets.indices,
        )
        for array in (*arrays, sizes, *marked):
            digest.update(np.ascontiguousarray(array, np.int64).tobytes())
        return digest.hexdigest()


def evidence_tokens(
    tokenizer: Tokenizer,
    texts: Sequence[str],
    evidence: Sequence[Sequence[LabelSpan]],
    *,
    max_tokens: int,
) -> Marked:
    """For each text: (label, its evidence tokens) for each label with marked evidence."""
    found = []
    for text, spans in zip(texts, evidence, strict=True):
        tokens: dict[int, set[int]] = {}
        if spans:
            offsets = np.array(tokenizer.encode(encodable(text)).offsets[:max_tokens])
            for label, start, end in spans:
                touched = (offsets[:, 0] < end) & (offsets[:, 1] > start)
                tokens.setdefault(label, set()).update(np.flatnonzero(touched).tolist())
        found.append([(label, np.array(sorted(at))) for label, at in tokens.items() if at])
    return found


class ShuffledRows:
    """Row numbers in another order each epoch.

    With the setting `run` of 1, each batch holds texts of nearly the same length. With a higher one, so many rows that
    follow each other in a group stay together: their contexts are the same sentences.
    """

    def __init__(self, rows: Int, groups: Int, lengths: Int, settings: NeuralSettings) -> None:
        """groups: (rows,). lengths: (rows,), in tokens."""
        self.rows, self.lengths, self.settings = rows, lengths, settings
        starts = [0, *(np.flatnonzero(np.diff(groups)) + 1), len(rows)]
        self.runs = [
            np.arange(first, min(first + settings.run, end))
            for begin, end in pairwise(starts)
            for first in range(begin, end, settings.run)
        ]
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Shuffle; the same epoch gives the same order. The Trainer calls it at the start of each epoch."""
        random = np.random.default_rng([self.settings.seed, epoch])
        size = self.settings.batch_size
        shuffled = [self.runs[number] for number in random.permutation(len(self.runs))]
        order = np.concatenate(shuffled)
        if self.settings.run == 1:
            order = np.concatenate(
                [
                    bucket[np.argsort(self.lengths[bucket], kind="stable")]
                    for bucket in np.split(order, range(size * _BUCKET, len(order), size * _BUCKET))
                ]
            )
        whole = len(order) // size * size
        batches = random.permutation(order[:whole].reshape(-1, size))
        chosen = np.concatenate([batches.ravel(), order[whole:]])
        self.order: list[int] = self.rows[chosen].tolist()

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, at: int) -> int:
        return self.order[at]
