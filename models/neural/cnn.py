"""Convolutional networks over words: for sentences with their neighbours, and for notes with code-wise attention."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from rubricator.models.neural.classifier import NeuralClassifier
from rubricator.models.neural.codewise_attention import CodewiseAttention
from rubricator.models.neural.corpus import Int
from rubricator.models.neural.network import Network
from rubricator.models.neural.settings import CnnSettings
from rubricator.models.neural.vocabulary import PADDING_NUMBER, UNKNOWN_NUMBER, word_tokenizer

if TYPE_CHECKING:
    from rubricator.nlp.units import UnitName


class CnnClassifier(NeuralClassifier):
    """Convolutions (Kim 2014) over word vectors that are learnt from the training texts."""

    settings_class: ClassVar[type[CnnSettings]] = CnnSettings

    @staticmethod
    def default_settings(unit: "UnitName", /) -> CnnSettings:
        """For notes, code-wise attention; for sentences, a network that also reads their neighbours."""
        if unit == "note":
            return CnnSettings(codewise=True, kernels=(1, 2, 3), batch_size=8, dropout=0.4)
        return CnnSettings(
            context=5,
            filters=64,
            run=16,
            batch_size=64,
            epochs=4,
            least_steps=1000,
            patience=3,
            members=2,
            folds=8,
        )

    def prepare(self, texts: Sequence[str], groups: Int) -> None:
        """Learn a vocabulary."""
        self.tokenizer = word_tokenizer(texts, groups, without=self.person_names)

    def network(self) -> Network:
        kind = CodewiseCnn if self.settings.codewise else SentenceCnn
        return kind(self.settings, self.tokenizer.get_vocab_size(), len(self.labels))


class WordCnn(Network):
    """Word vectors and their convolutions."""

    def __init__(self, settings: CnnSettings, words: int) -> None:
        super().__init__()
        self.settings = settings
        self.words = nn.Embedding(words, settings.width, padding_idx=PADDING_NUMBER)
        nn.init.normal_(self.words.weight[UNKNOWN_NUMBER:], std=0.1)
        self.kernels = nn.ModuleList(
            nn.Conv1d(settings.width, settings.filters, kernel) for kernel in settings.kernels
        )
        self.dropout = nn.Dropout(settings.dropout)

    def embed(self, input_ids: Tensor, /) -> Tensor:
        if self.training and self.settings.word_dropout:
            dropped = torch.rand(input_ids.shape, device=input_ids.device) < self.settings.word_dropout
            input_ids = torch.where(dropped & (input_ids > UNKNOWN_NUMBER), UNKNOWN_NUMBER, input_ids)
        vectors: Tensor = self.words(input_ids)
        return vectors

    def convolve(self, embedded: Tensor) -> Iterator[Tensor]:
        """For each kernel, (rows, tokens, width) → (rows, tokens, filters), before the ReLU; zero padding."""
        embedded = embedded.transpose(1, 2)
        for kernel, size in zip(self.kernels, self.settings.kernels, strict=True):
            yield kernel(nn.functional.pad(embedded, ((size - 1) // 2, size // 2))).transpose(1, 2)


class SentenceCnn(WordCnn):
    """Pools the sentence and each neighbour to one vector each, and joins the vectors in the order of positions."""

    def __init__(self, settings: CnnSettings, words: int, labels: int) -> None:
        super().__init__(settings, words)
        self.sentence = nn.Linear(settings.filters * len(settings.kernels), settings.sentence)
        self.nothing = nn.Parameter(torch.zeros(settings.sentence))  # vector in place of a missing neighbour
        self.combine = nn.Linear(settings.sentence * (1 + 2 * settings.context), settings.hidden)
        self.score = nn.Linear(settings.hidden, labels)

    def encode(self, embedded: Tensor, mask: Tensor, /) -> Tensor:
        """The largest value of each filter in each string (strings, dim).

        All strings are convolved as one long row, with zeros between them. Sentences differ much in length, so a
        padded batch would waste work.
        """
        gap = max(self.settings.kernels) - 1
        lengths = mask.sum(dim=1)
        starts = torch.cumsum(lengths + gap, dim=0) - lengths
        at = (starts[:, None] + torch.arange(mask.shape[1], device=mask.device))[
            mask
        ]  # position of each token
        row = embedded.new_zeros(int(starts[-1] + lengths[-1]) + gap, embedded.shape[2])
        row = row.index_copy(0, at, embedded[mask])
        largest = [
            torch.segment_reduce(features[0].index_select(0, at), "max", lengths=lengths, axis=0)
            for features in self.convolve(row[None])
        ]
        return torch.cat(largest, dim=1).relu()  # the same as before the maximum, on far fewer numbers

    def classify(self, hidden: Tensor, _mask: Tensor, rows: Tensor, /) -> Tensor:
        sentences = self.sentence(self.dropout(hidden)).relu()  # (strings, sentence)
        sentences = self.dropout(torch.cat([sentences, self.nothing[None]]))
        together = sentences[rows].flatten(
            1
        )  # (texts, places × sentence); row -1 takes the last, self.nothing
        logits: Tensor = self.score(self.dropout(self.combine(together).relu()))
        return logits


class CodewiseCnn(WordCnn):
    """Each code attends to the convolutions of a note (CAML, Mullenbach et al. 2018, with TransICD's attention)."""

    def __init__(self, settings: CnnSettings, words: int, labels: int) -> None:
        super().__init__(settings, words)
        dim = settings.filters * len(settings.kernels)
        self.norm = nn.LayerNorm(dim)  # without it attention starts uniform, and stays so over long notes
        self.attend = CodewiseAttention(dim, labels)

    def encode(self, embedded: Tensor, mask: Tensor, /) -> Tensor:
        features = torch.cat(list(self.convolve(self.dropout(embedded * mask[..., None]))), dim=2)
        normal: Tensor = self.dropout(self.norm(features.relu()))
        return normal

    def classify(self, hidden: Tensor, mask: Tensor, rows: Tensor, /) -> Tensor:
        logits: Tensor = self.attend(hidden, mask)
        return logits[rows[:, 0]]

    def attention(self, hidden: Tensor, mask: Tensor, labels: Tensor, /) -> Tensor:
        """Attention (strings, tokens), spread over the words that the widest kernel reads at each position."""
        attention = self.attend.attention(hidden, mask, labels)
        size = max(self.settings.kernels) // 2
        return nn.functional.avg_pool1d(attention[:, None], 2 * size + 1, stride=1, padding=size)[:, 0]
