"""Texts as token numbers, and batches of them."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from rubricator.models.classifier import ContextError
from rubricator.nlp.contexts import Context
from rubricator.nlp.hidden_text import hides_text

Int = NDArray[np.int64]
MOST_TOKENS = 2**15  # of a batch in prediction, with padding
MOST_TEXTS = 1024  # of a batch in prediction
_UNKNOWN = np.array([1])  # stands for a text without tokens
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


@hides_text()
class Batch(NamedTuple):
    """The input of a Network; see there."""

    input_ids: Tensor  # (strings, tokens)
    mask: Tensor  # (strings, tokens)
    rows: Tensor  # (texts, 1 + 2·context)


@hides_text()
class Corpus(NamedTuple):
    """Token numbers of distinct strings, and for each text its strings (texts, 1 + 2·context), -1 for none."""

    strings: list[Int]
    rows: Int

    @classmethod
    def read(
        cls,
        tokenizer: Tokenizer,
        texts: Sequence[str],
        contexts: Sequence[Context] | None,
        *,
        context: int,
        max_tokens: int,
    ) -> Self:
        """Tokenise each distinct string once. context: number of sentences on either side that are read.

        Raises ContextError where context is over 0 and there are no contexts.
        """
        if not context:
            contexts = [Context()] * len(texts)
        elif contexts is None:
            raise ContextError
        numbers: dict[str, int] = {}
        rows = np.full((len(texts), 1 + 2 * context), -1, np.int64)
        for row, (text, around) in enumerate(zip(texts, contexts, strict=True)):
            before, after = around.before[::-1][:context], around.after[:context]
            columns = [0, *range(1, 1 + len(before)), *range(1 + context, 1 + context + len(after))]
            for column, string in zip(columns, [text, *before, *after], strict=True):
                rows[row, column] = numbers.setdefault(string, len(numbers))
        encodings = tokenizer.encode_batch_fast([encodable(text) for text in numbers])
        ids = [np.array(encoding.ids[:max_tokens], np.int64) for encoding in encodings]
        return cls([found if len(found) else _UNKNOWN for found in ids], rows)

    @property
    def lengths(self) -> Int:
        """Number of tokens of each text, without its context."""
        return np.array([len(self.strings[string]) for string in self.rows[:, 0]], np.int64)

    @property
    def order(self) -> Int:
        """Row numbers in the order of length. With context they stay in order: consecutive texts share sentences."""
        return (
            np.arange(len(self.rows)) if self.rows.shape[1] > 1 else np.argsort(self.lengths, kind="stable")
        )

    def take(self, rows: Int) -> "Corpus":
        """A corpus of these texts only."""
        return Corpus(self.strings, self.rows[rows])

    def batch(self, rows: Sequence[int] | Int) -> Batch:
        """These texts as tensors. Each string that they need is there once, padded to the longest."""
        strings, at = np.unique(self.rows[rows], return_inverse=True)
        at = at.reshape(len(rows), -1)
        if strings[0] < 0:
            strings, at = strings[1:], at - 1
        tokens = [self.strings[string] for string in strings]
        longest = max(map(len, tokens))
        input_ids = np.zeros((len(tokens), longest), np.int64)
        for row, ids in enumerate(tokens):
            input_ids[row, : len(ids)] = ids
        lengths = np.array([len(ids) for ids in tokens])
        mask = np.arange(longest) < lengths[:, None]
        return Batch(torch.from_numpy(input_ids), torch.from_numpy(mask), torch.from_numpy(at))

    def batches(self) -> Iterator[Int]:
        """Row numbers of all texts, in `order`, in batches of at most MOST_TEXTS texts and MOST_TOKENS tokens.

        Neighbours and padding count as tokens too. A single text may have more.
        """
        order = self.order
        lengths = np.array([*map(len, self.strings), 0])  # the last, at -1, is for a missing neighbour
        first, longest = 0, 0
        strings: set[int] = set()
        for end, row in enumerate(order):
            here = self.rows[row]
            longest = max(longest, lengths[here].max())
            strings.update(here.tolist())
            if end > first and (end - first == MOST_TEXTS or len(strings) * longest > MOST_TOKENS):
                yield order[first:end]
                first, longest, strings = end, lengths[here].max(), set(here.tolist())
        if first < len(order):
            yield order[first:]


def encodable(text: str) -> str:
    """The text, of the same length, with lone surrogates replaced: UTF-8 cannot encode these."""
    return _LONE_SURROGATE.sub("\ufffd", text)
