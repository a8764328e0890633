"""Encoders: TransICD's small encoder, trained from scratch, and Hugging Face encoders, which read notes in chunks.

Neighbouring chunks overlap. A token in the overlap is kept once, from the chunk in which it is further from the edge.
Kept twice, it would get twice the attention. The mean of its two vectors would be a vector that no chunk gives.
"""

import math
from typing import Any, Self, cast

import torch
from torch import Tensor, nn

from rubricator.models.neural.encoder_files import EncoderFormat
from rubricator.models.neural.layers import TransformerLayer, read_by_length, sinusoids
from rubricator.models.neural.settings import TransformerSettings
from rubricator.models.neural.vocabulary import UNKNOWN_NUMBER


class SmallEncoder(nn.Module):
    """TransICD's encoder (Biswas et al. 2021, 3.2): embeddings, sinusoidal positions, transformer layers."""

    def __init__(self, words: int, settings: TransformerSettings) -> None:
        super().__init__()
        self.dim, self.word_dropout = settings.dim, settings.word_dropout
        self.embedding = nn.Embedding(words, settings.dim)
        nn.init.normal_(self.embedding.weight, std=settings.dim**-0.5)
        self.dropout = nn.Dropout(settings.dropout)
        self.layers = nn.ModuleList(TransformerLayer(settings.dim, settings) for _ in range(settings.layers))
        self.norm = nn.LayerNorm(settings.dim)

    def embed(self, input_ids: Tensor) -> Tensor:
        if self.training and self.word_dropout:
            dropped = torch.rand(input_ids.shape, device=input_ids.device) < self.word_dropout
            input_ids = torch.where(dropped, UNKNOWN_NUMBER, input_ids)
        return cast(Tensor, self.embedding(input_ids)) * math.sqrt(self.dim)

    def encode(self, embedded: Tensor, mask: Tensor) -> Tensor:
        placed = self.dropout(embedded + sinusoids(self.positions(embedded), self.dim))
        return cast(Tensor, self.norm(read_by_length(self._through_layers, placed, mask)))

    def positions(self, embedded: Tensor) -> Tensor:
        """Position of each token in its string (1, tokens)."""
        return torch.arange(embedded.shape[1], device=embedded.device)[None]

    def _through_layers(self, hidden: Tensor, mask: Tensor) -> Tensor:
        for layer in self.layers:
            hidden = layer(hidden, mask)
        return hidden


class PretrainedEncoder(nn.Module):
    """A Hugging Face encoder that reads strings of any length, in chunks."""

    before: Tensor
    after: Tensor

    def __init__(self, model: Any, form: EncoderFormat, settings: TransformerSettings) -> None:
        super().__init__()
        self.model = model
        self.dim: int = model.config.hidden_size
        self.chunk, self.overlap = form.chunk, min(settings.overlap, form.chunk // 2)
        self.register_buffer("before", torch.tensor(form.before, dtype=torch.long), persistent=False)
        self.register_buffer("after", torch.tensor(form.after, dtype=torch.long), persistent=False)
        self.frozen = settings.tuned_layers == 0
        layers = max((m for m in model.modules() if isinstance(m, nn.ModuleList)), key=len)
        depth = {
            id(p): len(layers) - number for number, layer in enumerate(layers) for p in layer.parameters()
        }
        self.rates: dict[str, float] = {}
        for name, parameter in model.named_parameters():
            below = depth.get(id(parameter), len(layers) + 1)  # the last layer is 1
            self.rates[name] = settings.encoder_rate * settings.layer_decay ** (below - 1)
            parameter.requires_grad = settings.tuned_layers is None or below <= settings.tuned_layers

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.frozen:
            self.model.eval()
        return self

    def embed(self, input_ids: Tensor) -> Tensor:
        return cast(Tensor, self.model.get_input_embeddings()(input_ids))

    def encode(self, embedded: Tensor, mask: Tensor) -> Tensor:
        lengths = mask.sum(dim=1)
        size = min(self.chunk, embedded.shape[1])
        hidden = read_by_length(self._read, embedded[:, :size], mask[:, :size])
        whole = hidden.new_zeros(*embedded.shape[:2], self.dim)
        whole[:, :size] = hidden
        # a string has another chunk only where the one before does not reach its end, whatever strings it is read with
        stride, middle = self.chunk - self.overlap, self.overlap // 2
        for start in range(stride, embedded.shape[1] - self.overlap, stride):
            longer = torch.nonzero(lengths > start + self.overlap).squeeze(1)
            here = slice(start, start + self.chunk)
            hidden = read_by_length(self._read, embedded[longer, here], mask[longer, here])
            whole[longer, start + middle : here.stop] = hidden[:, middle:]
        return whole

    def _read(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """One chunk of each string, (strings, tokens, width) → (strings, tokens, dim)."""
        strings, tokens, _ = embedded.shape
        first, last = self.before.numel(), self.after.numel()
        places = torch.arange(first + tokens + last, device=embedded.device)
        read = torch.cat(
            [
                self.embed(self.before.expand(strings, -1)),
                embedded,
                self.embed(self.after.expand(strings, -1)),
            ],
            dim=1,
        )
        end = first + mask.sum(dim=1, keepdim=True)  # (strings, 1): where the special tokens after it begin
        order = torch.where(places < end, places, (places - end + first + tokens).clamp(max=len(places) - 1))
        read = read.gather(1, order[:, :, None].expand(-1, -1, read.shape[2]))
        found = self.model(inputs_embeds=read, attention_mask=(places < end + last).long())
        return cast(Tensor, found.last_hidden_state[:, first : first + tokens])
