"""Settings of the networks: how they are trained, what they read, and how large they are."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rubricator.nlp.contexts import SENTENCES_AROUND
from rubricator.nlp.errors import RubricatorError

LossName = Literal["bce", "ldam"]
SMALL, MINILM = "small", "minilm"  # encoders that are named, not found by a path


class EncoderError(RubricatorError):
    """An encoder that cannot be found or read, or that does not fit the settings."""


class NeuralSettings(BaseModel):
    """How a network is trained, and what it reads."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # Settings that earlier versions had. Models now always behave as with the value that is given here. So this value
    # is accepted, as in models saved by those versions; any other value is refused as an unknown setting.
    dropped: ClassVar[Mapping[str, Any]] = {}

    loss: LossName = Field(
        default="bce",
        description="Loss that training minimises: binary cross-entropy (bce), or the same with margins that are wider "
        "for rarer labels (ldam).",
    )
    learning_rate: float = Field(
        default=1e-3, gt=0, description="Highest learning rate of AdamW, at the end of the warm-up."
    )
    weight_decay: float = Field(
        default=0.01, ge=0, description="Weight decay of AdamW; biases and layer norms have none."
    )
    warmup: float = Field(
        default=0.05,
        ge=0,
        lt=1,
        description="Share of the training batches in which the learning rate rises from 0 to learning_rate; after "
        "that it falls linearly to 0.",
    )
    batch_size: int = Field(default=32, gt=0, description="Number of texts in a training batch.")
    run: int = Field(
        default=1,
        gt=0,
        description="Number of consecutive texts of a patient that stay together when texts are shuffled, because they "
        "share context; at 1 each batch has texts of similar length.",
    )
    epochs: int = Field(
        default=30,
        gt=0,
        description="Largest number of passes over the training texts; with few texts, least_steps can raise it.",
    )
    least_steps: int = Field(
        default=0,
        ge=0,
        description="Number of training batches that the passes must reach: with few texts, epochs is raised for it; "
        "patience can still stop training earlier.",
    )
    patience: int = Field(
        default=5,
        gt=0,
        description="Number of epochs without a better average precision on the held-out fold after which training "
        "stops.",
    )
    max_gradient_norm: float = Field(
        default=1.0, gt=0, description="Largest norm of the gradient; a larger gradient is scaled down to it."
    )
    members: int = Field(
        default=1,
        gt=0,
        description="Number of networks whose probabilities are averaged, at most one per fold; each is trained with "
        "another fold held out.",
    )
    folds: int = Field(
        default=5,
        ge=2,
        description="Number of folds, by patient; the fold held out of a network decides when its training stops, and "
        "gets the out-of-fold predictions.",
    )
    context: int = Field(
        default=0,
        ge=0,
        le=SENTENCES_AROUND,
        description="Number of sentences before the text, and of sentences after it, that are read with it.",
    )
    max_tokens: int = Field(
        default=2500,
        gt=0,
        description="Largest number of tokens of a text that are read; the rest is ignored.",
    )
    evidence_weight: float = Field(
        default=0.1,
        ge=0,
        description="Weight of the term of the loss that draws attention to the evidence spans marked in training "
        "notes; 0 ignores them.",
    )
    seed: int = Field(
        default=0, description="Random seed of the folds, the initial weights and the order of batches."
    )

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
    """Settings of the convolutional network, and how it is trained."""

    codewise: bool = Field(
        default=False,
        description="Whether each label attends to the words of the text; otherwise the text is max-pooled to one "
        "vector for all labels.",
    )
    width: int = Field(default=100, gt=0, description="Size of a word vector.")
    filters: int = Field(default=100, gt=0, description="Number of filters of each kernel.")
    kernels: tuple[int, ...] = Field(default=(3, 4, 5), description="Widths of the kernels, in words.")
    sentence: int = Field(
        default=64, gt=0, description="Size of the vector of a sentence; not used with codewise."
    )
    hidden: int = Field(
        default=128,
        gt=0,
        description="Size of the vector of a sentence together with its context; not used with codewise.",
    )
    dropout: float = Field(
        default=0.5, ge=0, lt=1, description="Dropout rate: share of values that are set to 0 in training."
    )
    word_dropout: float = Field(
        default=0.1, ge=0, lt=1, description="Share of words that are read as the unknown word in training."
    )

    @model_validator(mode="after")
    def _alone_under_attention(self) -> Self:
        if self.codewise and self.context:
            raise ValueError("codewise=true reads no sentences around a text: set context=0 too")
        return self


class TransformerSettings(NeuralSettings):
    """Settings of the transformer and its encoder, and how they are trained."""

    dropped: ClassVar[Mapping[str, Any]] = {"positions": "token"}

    encoder: str = Field(
        default=SMALL,
        description="Encoder: small (trained from scratch), minilm (all-MiniLM-L6-v2), a folder, or OWNER/NAME on the "
        "Hugging Face hub.",
    )
    dropout: float = Field(
        default=0.1, ge=0, lt=1, description="Dropout rate: share of values that are set to 0 in training."
    )
    descriptions: bool = Field(
        default=False,
        description="Whether the attention of each label starts from its description; the similarity of text and "
        "description is then added to the logit.",
    )
    dim: int = Field(default=128, gt=0, description="Small encoder: size of a token vector.")
    layers: int = Field(default=2, ge=0, description="Small encoder: number of transformer layers.")
    heads: int = Field(
        default=8,
        gt=0,
        description="Small encoder, and the layer that reads the context: number of attention heads; the size of a "
        "token vector must be a multiple of it.",
    )
    feed_forward: int = Field(
        default=512,
        gt=0,
        description="Small encoder, and the layer that reads the context: size of the hidden layer in the feed-forward "
        "part.",
    )
    word_dropout: float = Field(
        default=0.1,
        ge=0,
        lt=1,
        description="Small encoder: share of words that are read as the unknown word in training.",
    )
    single_digits: bool = Field(
        default=False,
        description="Small encoder: whether a digit that stands alone keeps its value, so that type 1 and type 2 "
        "differ; otherwise every digit is read as 0.",
    )
    chunk: int = Field(
        default=256,
        gt=8,
        description="Pretrained encoder: largest number of tokens of a chunk, special tokens included; longer texts "
        "are read in several chunks.",
    )
    overlap: int = Field(
        default=32,
        ge=0,
        description="Pretrained encoder: number of tokens that neighbouring chunks share, at most half a chunk.",
    )
    tuned_layers: int | None = Field(
        default=None,
        ge=0,
        description="Pretrained encoder: number of its last layers that are trained; 0 trains none, and null trains "
        "the whole encoder, embeddings included.",
    )
    encoder_rate: float = Field(
        default=0.03,
        gt=0,
        description="Pretrained encoder: factor of learning_rate for its last layer.",
    )
    layer_decay: float = Field(
        default=0.9,
        gt=0,
        le=1,
        description="Pretrained encoder: factor of the learning rate from each layer to the layer below it.",
    )
