"""Transformers with code-wise attention: TransICD's small encoder from scratch, or any Hugging Face encoder.

The encoder reads the text. Where the setting `context` is over 0, one more layer reads the text together with the
sentences around it. Then each label attends to the tokens of the text. A pretrained encoder reads a long note in
overlapping chunks, and the attention goes over the tokens of all chunks (as in PLM-ICD, Huang et al. 2022).
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
from torch import Tensor, nn

from rubricator.models.neural.classifier import NeuralClassifier
from rubricator.models.neural.codewise_attention import CodewiseAttention
from rubricator.models.neural.corpus import Int
from rubricator.models.neural.encoder_files import (
    EncoderFormat,
    model_of_saved_weights,
    pretrained_model,
    read_tokenizer,
)
from rubricator.models.neural.encoders import PretrainedEncoder, SmallEncoder
from rubricator.models.neural.layers import TransformerLayer, read_by_length
from rubricator.models.neural.network import Network
from rubricator.models.neural.settings import SMALL, TransformerSettings
from rubricator.models.neural.vocabulary import word_tokenizer

if TYPE_CHECKING:
    from rubricator.nlp.units import UnitName

Encoder = SmallEncoder | PretrainedEncoder


class TransformerClassifier(NeuralClassifier):
    """TransICD, or a pretrained encoder with the same attention (the setting `encoder`).

    A defect of TransICD's published program is corrected; models/ablations/transicd.py has it, to be measured.
    """

    settings_class: ClassVar[type[TransformerSettings]] = TransformerSettings
    settings: TransformerSettings

    def __init__(self, labels: Sequence[str], settings: Any) -> None:
        super().__init__(labels, settings)
        self._format: EncoderFormat | None = None  # of a pretrained encoder

    @staticmethod
    def default_settings(unit: "UnitName", /) -> TransformerSettings:
        """For notes, the loss of TransICD; for sentences, their neighbours as context."""
        if unit == "note":
            return TransformerSettings(loss="ldam", batch_size=8)
        return TransformerSettings(context=5, run=8, batch_size=64, epochs=12, patience=3)

    def prepare(self, texts: Sequence[str], groups: Int) -> None:
        """Learn a vocabulary, or take the tokenizer of the pretrained encoder. Raises EncoderError."""
        if self.settings.encoder == SMALL:
            self.tokenizer = word_tokenizer(
                texts, groups, single_digits=self.settings.single_digits, without=self.person_names
            )
        else:
            self.tokenizer, self._format = read_tokenizer(self.settings)

    def network(self) -> "TransformerNetwork":
        network = self._network(self._format and pretrained_model(self.settings))
        if self.settings.descriptions:
            network.attend.describe(self._encoded_descriptions(network.eval()))
        return network

    def network_of_saved_weights(self) -> "TransformerNetwork":
        return self._network(self._format and model_of_saved_weights(self._format))

    def small_encoder(self) -> SmallEncoder:
        return SmallEncoder(self.tokenizer.get_vocab_size(), self.settings)

    def configuration(self) -> dict[str, Any]:
        return asdict(self._format) if self._format else {}

    def configure(self, configuration: dict[str, Any]) -> None:
        self._format = EncoderFormat(**configuration) if configuration else None

    def _network(self, pretrained: Any) -> "TransformerNetwork":
        """pretrained: a Hugging Face model, None for the small encoder."""
        settings = self.settings
        encoder = (
            PretrainedEncoder(pretrained, self._format, settings) if self._format else self.small_encoder()
        )
        return TransformerNetwork(encoder, len(self.labels), settings)

    @torch.no_grad()
    def _encoded_descriptions(self, network: "TransformerNetwork") -> Tensor:
        """The mean token vector of each label's description (labels, dim); zeros where there is none."""
        found = torch.zeros(len(self.labels), network.encoder.dim)
        unknown = self.tokenizer.token_to_id(getattr(self.tokenizer.model, "unk_token", None) or "")
        for row, description in enumerate(self.descriptions):
            known = [token for token in self.tokenizer.encode(description).ids if token != unknown]
            if known:
                ids = torch.tensor([known])
                hidden = network.encode(network.embed(ids), torch.ones_like(ids, dtype=torch.bool))
                found[row] = hidden[0].mean(dim=0)
        return found


class TransformerNetwork(Network):
    """An encoder, a layer over text and context where there is context, and code-wise attention over the text."""

    def __init__(self, encoder: Encoder, labels: int, settings: TransformerSettings) -> None:
        super().__init__()
        self.encoder, self.settings = encoder, settings
        self.dropout = nn.Dropout(settings.dropout)
        self.attend = CodewiseAttention(encoder.dim, labels, described=settings.descriptions)
        self.places = self.joined = None
        if settings.context:
            self.places = nn.Embedding(
                2 * settings.context, encoder.dim
            )  # position embeddings of the neighbours
            self.joined = TransformerLayer(encoder.dim, settings)

    def embed(self, input_ids: Tensor, /) -> Tensor:
        return self.encoder.embed(input_ids)

    def encode(self, embedded: Tensor, mask: Tensor, /) -> Tensor:
        return self.encoder.encode(embedded, mask)

    def classify(self, hidden: Tensor, mask: Tensor, rows: Tensor, /) -> Tensor:
        return cast(Tensor, self.attend(self.dropout(self._in_context(hidden, mask, rows)), mask[rows[:, 0]]))

    def attention(self, hidden: Tensor, mask: Tensor, labels: Tensor, /) -> Tensor:
        alone = torch.full((len(hidden), 1 + 2 * self.settings.context), -1, device=hidden.device)
        alone[:, 0] = torch.arange(len(hidden), device=hidden.device)
        return self.attend.attention(self._in_context(hidden, mask, alone), mask, labels)

    def described(self) -> Tensor | None:
        return None if self.attend.descriptions is None else self.attend.descriptions.any(dim=1).cpu()

    def learning_rate_factor(self, parameter: str, /) -> float:
        if isinstance(self.encoder, PretrainedEncoder):
            return self.encoder.rates.get(parameter.removeprefix("encoder.model."), 1.0)
        return 1.0

    def _in_context(self, hidden: Tensor, mask: Tensor, rows: Tensor) -> Tensor:
        """Token vectors of the texts (texts, tokens, dim), after one more layer over each text and its context.

        A neighbour is one vector: the mean of its token vectors. It is encoded once for all texts that it is beside.
        """
        if self.joined is None or self.places is None:
            return hidden[rows[:, 0]]
        means = (hidden * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)  # (strings, dim)
        around = means[rows[:, 1:]] + self.places.weight  # (texts, neighbours, dim)
        together = torch.cat([around, hidden[rows[:, 0]]], dim=1)
        there = torch.cat([rows[:, 1:] >= 0, mask[rows[:, 0]]], dim=1)
        return read_by_length(self.joined, together, there)[:, around.shape[1] :]
