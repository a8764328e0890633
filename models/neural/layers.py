"""Layers of the encoders."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from rubricator.models.neural.settings import EncoderError, TransformerSettings

_BLOCK = 32  # strings that layers read at once


class TransformerLayer(nn.Module):
    """Self-attention, then a feed-forward network (Vaswani et al. 2017, 3.1), each with layer norm before it.

    Dropout is on the output of both, not on the attention weights. So PyTorch can use its fused attention on CPU too,
    which never holds the (tokens, tokens) weights. A layer then trains three times as fast on 500 tokens.
    """

    def __init__(self, dim: int, settings: TransformerSettings) -> None:
        """Raises EncoderError where dim is odd or not a multiple of the number of heads."""
        super().__init__()
        if dim % settings.heads or dim % 2:
            raise EncoderError(
                f"{settings.heads} heads cannot share vectors of size {dim}, which must be even and a multiple of "
                "the number of heads; change the setting heads or dim"
            )
        self.heads = settings.heads
        self.projections = nn.Linear(dim, 3 * dim)  # to queries, keys and values
        self.output = nn.Linear(dim, dim)
        self.feed_forward = nn.Sequential(
            nn.Linear(dim, settings.feed_forward), nn.GELU(), nn.Linear(settings.feed_forward, dim)
        )
        self.before_attention, self.before_feed_forward = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """hidden: (strings, tokens, dim). mask: (strings, tokens), False at padding."""
        strings, tokens, dim = hidden.shape
        projected = self.projections(self.before_attention(hidden))  # (strings, tokens, 3 × dim)
        queries, keys, values = projected.view(strings, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = nn.functional.scaled_dot_product_attention(  # (strings, heads, tokens, dim / heads)
            queries, keys, values, attn_mask=mask[:, None, None]
        )
        hidden = hidden + self.dropout(self.output(attended.transpose(1, 2).reshape(strings, tokens, dim)))
        added: Tensor = self.dropout(self.feed_forward(self.before_feed_forward(hidden)))
        return hidden + added


def read_by_length(read: Callable[[Tensor, Tensor], Tensor], hidden: Tensor, mask: Tensor) -> Tensor:
    """Apply `read` to hidden (strings, tokens, width) and mask (strings, tokens): gives (strings, tokens, dim).

    Strings of nearly the same length are read together, so that there is little padding.
    """
    lengths = mask.shape[1] - mask.flip(1).int().argmax(dim=1)  # up to the last token that is not padding
    found: Tensor | None = None
    for block in torch.split(lengths.argsort(), _BLOCK):
        longest = int(lengths[block].max())
        part = read(hidden[block, :longest], mask[block, :longest])
        if found is None:
            found = part.new_zeros(*hidden.shape[:2], part.shape[2])
        found[block, :longest] = part
    assert found is not None
    return found


def sinusoids(at: Tensor, dim: int) -> Tensor:
    """Positional encodings (…, dim) of positions (…), sine and cosine in turn (Vaswani et al. 2017, 3.5)."""
    wavelengths = torch.exp(torch.arange(0, dim, 2, device=at.device) * (-math.log(10_000) / dim))
    angles = at[..., None] * wavelengths
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)
