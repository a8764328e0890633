"""Settings of the networks: how they are trained, what they read, and how large they are."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rubricator.nlp.contexts import SENTENCES_AROUND
from rubricator.nlp.errors import RubricatorError

LossName = Literal["bce", "ldam"]
SMALL, MINILM = "small", "minilm"  # encoders that are named, not found by a path


class EncoderError(RubricatorError):
    """An encoder that is not there, or is not what its settings ask for."""


class NeuralSettings(BaseModel):
    """How a network is trained, and what it reads."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # Settings of earlier versions, each with the one value that models still behave by. With this value they may be
    # given, as they stand in saved models; with another they are unknown settings.
    dropped: ClassVar[Mapping[str, Any]] = {}

    loss: LossName = Field(
        default="bce",
        description="What training minimises: binary cross-entropy (bce), or the same with margins that are wider for "
        "rarer labels (ldam).",
    )
    learning_rate: float = Field(default=1e-3, gt=0, description="Highest learning rate of AdamW.")
    weight_decay: float = Field(
        default=0.01, ge=0, description="Weight decay of AdamW; biases and norms do not decay."
    )
    warmup: float = Field(
        default=0.05,
        ge=0,
        lt=1,
        description="Share of the batches over which the learning rate rises; then it falls to 0 in a straight line.",
    )
    batch_size: int = Field(default=32, gt=0, description="Texts in a batch.")
    run: int = Field(
        default=1,
        gt=0,
        description="Texts that follow each other in a note and stay together in a batch, as they share context.",
    )
    epochs: int = Field(
        default=30, gt=0, description="Most passes over the training texts, unless least_steps needs more."
    )
    least_steps: int = Field(
        default=0,
        ge=0,
        description="Batches to train on at least: few texts are passed over more often to reach this number.",
    )
    patience: int = Field(
        default=5,
        gt=0,
        description="Training stops after so many epochs without a better average precision on the held-out fold.",
    )
    max_gradient_norm: float = Field(
        default=1.0, gt=0, description="Largest norm of a gradient; a larger one is scaled down to it."
    )
    members: int = Field(
        default=1, gt=0, description="Networks that are averaged; each is trained with another fold held out."
    )
    folds: int = Field(
        default=5, ge=2, description="Folds that the patients are split into; each network has one held out."
    )
    context: int = Field(
        default=0,
        ge=0,
        le=SENTENCES_AROUND,
        description="Sentences before the text, and as many after it, that are read with it.",
    )
    max_tokens: int = Field(
        default=2500, gt=0, description="Tokens of a text that are read; the rest is not."
    )
    evidence_weight: float = Field(
        default=0.1,
        ge=0,
        description="Weight, in the loss, of attention on the evidence spans that are marked in training notes.",
    )
    seed: int = Field(default=0, description="Seed of the folds, the first weights and the order of batches.")

    @model_validator(mode="before")
    @classmethod
    def _without_dropped(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        return {
            name: value
            for name, value in given.items()
            if name not in cls.dropped or value != cls.dropped[name]
        }


class CnnSettings(NeuralSettings):
    """Convolutions, and how they are trained."""

    codewise: bool = Field(
        default=False,
        description="Let each label attend to the words of the text; otherwise the text is pooled to one vector.",
    )
    width: int = Field(default=100, gt=0, description="Numbers in a word vector.")
    filters: int = Field(default=100, gt=0, description="Filters of each kernel.")
    kernels: tuple[int, ...] = Field(default=(3, 4, 5), description="Widths of the kernels, in words.")
    sentence: int = Field(default=64, gt=0, description="Numbers in the vector of a sentence.")
    hidden: int = Field(
        default=128, gt=0, description="Numbers in the vector of a sentence with its context."
    )
    dropout: float = Field(
        default=0.5, ge=0, lt=1, description="Share of values that are dropped in training."
    )
    word_dropout: float = Field(
        default=0.1, ge=0, lt=1, description="Share of words that are read as unknown in training."
    )

    @model_validator(mode="after")
    def _alone_under_attention(self) -> Self:
        if self.codewise and self.context:
            raise ValueError("codewise attention reads no sentences around a text: set context=0 too")
        return self


class TransformerSettings(NeuralSettings):
    """The encoder, and how it is trained."""

    dropped: ClassVar[Mapping[str, Any]] = {"positions": "token"}

    encoder: str = Field(
        default=SMALL,
        description="Encoder: small (trained from scratch), minilm, a folder, or OWNER/NAME on the Hugging Face hub.",
    )
    dropout: float = Field(
        default=0.1, ge=0, lt=1, description="Share of values that are dropped in training."
    )
    descriptions: bool = Field(
        default=False,
        description="Start the attention of each label from its description, and add how well the text matches it.",
    )
    dim: int = Field(default=128, gt=0, description="Small encoder: numbers in a token vector.")
    layers: int = Field(default=2, ge=0, description="Small encoder: transformer layers.")
    heads: int = Field(default=8, gt=0, description="Attention heads of a layer; dim is a multiple of it.")
    feed_forward: int = Field(
        default=512, gt=0, description="Numbers in the middle of the feed-forward part of a layer."
    )
    word_dropout: float = Field(
        default=0.1,
        ge=0,
        lt=1,
        description="Small encoder: share of words that are read as unknown in training.",
    )
    single_digits: bool = Field(
        default=False,
        description="Small encoder: read a digit that stands alone as a word, so that type 1 and type 2 differ.",
    )
    chunk: int = Field(
        default=256, gt=8, description="Pretrained encoder: most tokens that it reads at once."
    )
    overlap: int = Field(
        default=32, ge=0, description="Pretrained encoder: tokens that neighbouring chunks share."
    )
    tuned_layers: int | None = Field(
        default=None,
        ge=0,
        description="Pretrained encoder: number of last layers that are trained; null trains all of it.",
    )
    encoder_rate: float = Field(
        default=0.03,
        gt=0,
        description="Pretrained encoder: the part of the learning rate that it is trained with.",
    )
    layer_decay: float = Field(
        default=0.9,
        gt=0,
        le=1,
        description="Pretrained encoder: learning rate of a layer as a part of that of the layer above it.",
    )
