"""The interface of every network in this package."""

import torch
from torch import Tensor, nn


class Network(nn.Module):
    """Texts as padded token numbers in, one logit per label out.

    A network must not mix texts, as batch normalisation does: the output for a text depends only on the text and its
    context.

    input_ids: (strings, tokens), token numbers. mask: bool (strings, tokens), False at the padding on the right; a
    string has at least one token. rows: (texts, 1 + 2·context), for each text the numbers of its strings in the batch:
    the text itself, the sentences before it and those after it, nearest first; -1 where there is none.
    """

    def embed(self, input_ids: Tensor, /) -> Tensor:
        """Token numbers (strings, tokens) → embeddings (strings, tokens, width). Evidence uses their gradients."""
        raise NotImplementedError

    def encode(self, embedded: Tensor, mask: Tensor, /) -> Tensor:
        """Embeddings (strings, tokens, width) → the input of `classify` and `attention`.

        It has one item per string, for example token vectors (strings, tokens, dim).
        """
        raise NotImplementedError

    def classify(self, hidden: Tensor, mask: Tensor, rows: Tensor, /) -> Tensor:
        """hidden, as encode gave it → logits (texts, labels)."""
        raise NotImplementedError

    def attention(self, _hidden: Tensor, _mask: Tensor, _labels: Tensor, /) -> Tensor | None:
        """Attention of label labels[i] over the tokens of string i: (strings, tokens); None without attention."""
        return None

    def described(self) -> Tensor | None:
        """Which labels (labels,) can be predicted without positives, by their descriptions; None for no label."""
        return None

    def learning_rate_factor(self, _parameter: str, /) -> float:
        """Factor of the learning rate for the parameter of this name."""
        return 1.0

    def forward(self, input_ids: Tensor, mask: Tensor, rows: Tensor) -> Tensor:
        return self.classify(self.encode(self.embed(input_ids), mask), mask, rows)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device


def best_device() -> torch.device:
    """The accelerator of this machine, or its CPU."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
