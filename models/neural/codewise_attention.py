"""Code-wise attention (TransICD, Biswas et al. 2021, section 3.3; after LAAT, Vu et al. 2020).

    A = softmax(tanh(H W1) W2)     one distribution over the tokens for each code
    v_l = A_l H                    one vector for each code
    logit_l = v_l · s_l + b_l      one linear scorer for each code

Codes are processed in blocks, so that memory does not grow with their number.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, normalize
from torch.utils.checkpoint import checkpoint

_BLOCK_ENTRIES = 2**24  # batch × codes × tokens (or dim) at once: 64 MB a tensor


class CodewiseAttention(nn.Module):
    """Token vectors in, one logit per code out; padding has no weight."""

    def __init__(self, dim: int, codes: int, *, projection: int = 256, described: bool = False) -> None:
        """described: whether `describe` will be called, or weights of a described module will be loaded."""
        super().__init__()
        self.w1 = nn.Linear(dim, projection, bias=False)
        self.w2 = nn.Parameter(nn.init.xavier_uniform_(torch.empty(codes, projection)))
        self.scorers = nn.Parameter(nn.init.xavier_uniform_(torch.empty(codes, dim)))
        self.bias = nn.Parameter(torch.zeros(codes))
        self.descriptions: Tensor | None
        self.register_buffer("descriptions", torch.zeros(codes, dim) if described else None)
        self.factor = nn.Parameter(torch.ones(())) if described else None

    @torch.no_grad()
    def describe(self, encodings: Tensor) -> None:
        """Initialise the codes from their descriptions, so that codes with few positives are found too.

        The query of a code starts at its description, so that it attends to similar tokens. The cosine of the code's
        vector v_l and the description, times one learned factor for all codes, is added to the logit. The scorer of a
        described code starts at zero: a random scorer would outweigh the description.

        encodings: (codes, dim) in the space of the token vectors, zeros for a code without description. Raises
        ValueError where the module was made without described=True.
        """
        if self.descriptions is None:
            raise ValueError("CodewiseAttention cannot take descriptions: make it with described=True")
        self.descriptions.copy_(normalize(encodings, dim=1))
        queries = normalize(self.w1(encodings).tanh(), dim=1) * self.w2.norm(dim=1, keepdim=True)
        described = encodings.any(dim=1, keepdim=True)
        self.w2.copy_(torch.where(described, queries, self.w2))
        self.scorers.copy_(torch.where(described, 0.0, self.scorers))

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """hidden: (batch, tokens, dim). mask: (batch, tokens), False at padding. Returns logits (batch, codes)."""
        keys = self.w1(hidden).tanh()  # (batch, tokens, projection)
        block = max(1, _BLOCK_ENTRIES // (len(hidden) * max(hidden.shape[1:])))
        blocks = [slice(first, first + block) for first in range(0, len(self.bias), block)]
        if (
            len(blocks) > 1 and torch.is_grad_enabled()
        ):  # saves memory: the backward pass computes the attention again
            logits = [
                checkpoint(self._block, hidden, keys, mask, block, use_reentrant=False) for block in blocks
            ]
        else:
            logits = [self._block(hidden, keys, mask, block) for block in blocks]
        return torch.cat(logits, dim=1)  # (batch, codes)

    def attention(self, hidden: Tensor, mask: Tensor, codes: Tensor) -> Tensor:
        """Attention of one code for each text: codes (batch,) → (batch, tokens), each row sums to 1."""
        return _softmax(torch.einsum("btp,bp->bt", self.w1(hidden).tanh(), self.w2[codes]), mask)

    def _block(self, hidden: Tensor, keys: Tensor, mask: Tensor, block: slice) -> Tensor:
        attention = _softmax(self.w2[block] @ keys.transpose(1, 2), mask[:, None])  # (batch, block, tokens)
        vectors = attention @ hidden  # (batch, block, dim)
        logits = (vectors * self.scorers[block]).sum(dim=2) + self.bias[block]  # (batch, block)
        if self.descriptions is not None and self.factor is not None:
            logits = logits + self.factor * cosine_similarity(vectors, self.descriptions[block][None], dim=2)
        return logits


def _softmax(scores: Tensor, mask: Tensor) -> Tensor:
    return scores.masked_fill(~mask, -torch.inf).softmax(dim=-1)
