"""Variants of the transformer that did worse: the defect of TransICD's published program, and other losses."""

from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from rubricator.models.ablations.losses import LOSSES
from rubricator.models.neural.encoders import SmallEncoder
from rubricator.models.neural.losses import Loss
from rubricator.models.neural.settings import TransformerSettings
from rubricator.models.neural.transformer import TransformerClassifier

if TYPE_CHECKING:
    from rubricator.nlp.units import UnitName


class PublishedTransicd(TransformerClassifier):
    """Positional encodings by position in the batch, as in TransICD's published program, to measure their cost."""

    def small_encoder(self) -> SmallEncoder:
        return PublishedEncoder(self.tokenizer.get_vocab_size(), self.settings)


class PublishedEncoder(SmallEncoder):
    """This encoder does not see word order, and a text gets other vectors in another batch."""

    def positions(self, embedded: Tensor) -> Tensor:
        """Position of each string in its batch (strings, 1)."""
        return torch.arange(len(embedded), device=embedded.device)[:, None]


class OtherLossSettings(TransformerSettings):
    """A transformer that is trained with another loss."""

    loss: Literal["focal", "asl", "ldr"] = Field(  # type: ignore[assignment]  # losses beside those of the product
        default="asl",
        description="Loss that training minimises: focal loss (focal), asymmetric loss (asl) or LDR-KL (ldr).",
    )


class OtherLossTransicd(TransformerClassifier):
    """The corrected transformer with another loss."""

    settings_class: ClassVar[type[TransformerSettings]] = OtherLossSettings
    settings: OtherLossSettings

    @staticmethod
    def default_settings(unit: "UnitName", /) -> OtherLossSettings:
        """The settings of the transformer, with the asymmetric loss."""
        shared = TransformerClassifier.default_settings(unit).model_dump(exclude={"loss"})
        return OtherLossSettings.model_validate(shared)

    def loss(self, _positives: Tensor, /) -> Loss:
        return LOSSES[self.settings.loss]
