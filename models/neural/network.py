"""What a network is to the rest of this package."""

import torch
from torch import Tensor, nn


class Network(nn.Module):
    """Texts as padded token numbers in, one logit per label out.

    Nothing in it may mix texts (no batch normalisation): the output for a text depends on that text alone.
    mask: bool (strings, tokens), False at the padding on the right; a string has at least one token. rows: (texts, 1 +
    2·context), the strings of the batch that are the text itself, the sentences before it and those after it, nearest
    first; -1 where there is none.
    """

    def embed(self, input_ids: Tensor, /) -> Tensor:
        """(strings, tokens) → (strings, tokens, width): what evidence takes gradients of."""
        raise NotImplementedError

    def encode(self, embedded: Tensor, mask: Tensor, /) -> Tensor:
        """(strings, tokens, width) → what `classify` and `attention` take, say token vectors (strings, tokens, dim)."""
        raise NotImplementedError

    def classify(self, hidden: Tensor, mask: Tensor, rows: Tensor, /) -> Tensor:
        """What encode gave → logits (texts, labels)."""
        raise NotImplementedError

    def attention(self, _hidden: Tensor, _mask: Tensor, _labels: Tensor, /) -> Tensor | None:
        """How label labels[i] attends to the tokens of string i: (strings, tokens); None where nothing attends."""
        return None

    def described(self) -> Tensor | None:
        """Which labels (labels,) have a description that can make them probable without positives; None: none."""
        return None

    def learning_rate_factor(self, _parameter: str, /) -> float:
        """The part of the learning rate that the parameter of this name is trained with."""
        return 1.0

    def forward(self, input_ids: Tensor, mask: Tensor, rows: Tensor) -> Tensor:
        return self.classify(self.encode(self.embed(input_ids), mask), mask, rows)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device


def best_device() -> torch.device:
    """The accelerator of this machine, or its CPU."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
