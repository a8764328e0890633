"""Which words support a label: attention times the norm of (input · gradient) (AttInGrad, Edin et al. 2024)."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Encoding
from torch import Tensor

from rubricator.models.classifier import EvidenceSpan
from rubricator.models.evidence import evidence_spans
from rubricator.models.neural.corpus import MOST_TOKENS, Int
from rubricator.models.neural.network import Network
from rubricator.models.neural.settings import NeuralSettings


def word_evidence(
    networks: Sequence[Network], encoding: Encoding, labels: Sequence[int], settings: NeuralSettings
) -> list[list[EvidenceSpan]]:
    """For each label: spans of neighbouring words of one text that support it, strongest first.

    The attributions are averaged over the networks.
    """
    size = min(len(encoding), settings.max_tokens)
    words, offsets = _words(encoding, size)
    if not labels or not len(offsets):
        return [[] for _ in labels]
    ids = torch.tensor([encoding.ids[:size]])
    parts = sum(_attributions(network, ids, labels, settings.context) for network in networks)
    of_words = np.zeros((len(labels), len(offsets)))
    inside = words >= 0
    np.add.at(of_words.T, words[inside], np.asarray(parts).T[inside])
    return [evidence_spans(offsets, part) for part in of_words]


def _words(encoding: Encoding, size: int) -> tuple[Int, Int]:
    """The word of each token, -1 for special tokens (tokens,), and the offsets of the words (words, 2)."""
    offsets = np.array(encoding.offsets[:size], np.int64).reshape(-1, 2)
    words = np.array([-1 if word is None else word for word in encoding.word_ids[:size]], np.int64)
    numbers, number = np.unique(words[words >= 0], return_inverse=True)
    found = np.full((len(numbers), 2), -1, np.int64)
    inside = offsets[words >= 0]
    found[number[::-1], 0] = inside[::-1, 0]
    found[number, 1] = inside[:, 1]
    words[words >= 0] = number
    return words, found


def _attributions(network: Network, ids: Tensor, labels: Sequence[int], context: int) -> NDArray[np.float32]:
    """The share of each token in the attribution of each label (labels, tokens).

    The text is read without its context.
    """
    size = max(1, MOST_TOKENS // ids.numel())
    blocks = (labels[first : first + size] for first in range(0, len(labels), size))
    return np.concatenate([_attributions_of_block(network, ids, block, context) for block in blocks])


def _attributions_of_block(
    network: Network, ids: Tensor, labels: Sequence[int], context: int
) -> NDArray[np.float32]:
    """As _attributions. The text is read once for each label, because each label needs its own gradients."""
    asked = torch.tensor(list(labels), device=network.device)
    numbers = torch.arange(len(asked), device=network.device)
    rows = torch.full((len(asked), 1 + 2 * context), -1, device=network.device)
    rows[:, 0] = numbers
    embedded = network.embed(ids.to(network.device).expand(len(asked), -1)).detach().requires_grad_()
    mask = torch.ones(embedded.shape[:2], dtype=torch.bool, device=network.device)
    hidden = network.encode(embedded, mask)
    logits = network.classify(hidden, mask, rows)
    [gradient] = torch.autograd.grad(logits[numbers, asked].sum(), embedded)
    with torch.no_grad():
        parts = (embedded * gradient).norm(dim=2)  # (labels, tokens)
        attention = network.attention(hidden, mask, asked)
        parts = parts if attention is None else parts * attention
        shares: NDArray[np.float32] = (parts / parts.sum(dim=1, keepdim=True).clamp(min=1e-30)).cpu().numpy()
    return shares
