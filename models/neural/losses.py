"""Multi-label losses by name: pure functions of logits and 0/1 targets (batch, labels), each a scalar.

Losses that did worse than these are in models/ablations/losses.py.
"""

from collections.abc import Callable
from functools import partial

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from rubricator.models.neural.settings import LossName

Loss = Callable[[Tensor, Tensor], Tensor]

LDAM_CONSTANT = 3.0  # C of TransICD (Biswas et al. 2021)


def loss_named(name: LossName, positives: Tensor) -> Loss:
    """The loss of this name. positives: training positives of each label (labels,), which LDAM needs."""
    return LOSSES[name](positives)


def binary_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over all entries of -log of the probability of the true class."""
    return binary_cross_entropy_with_logits(logits, targets)


def ldam(logits: Tensor, targets: Tensor, *, margins: Tensor) -> Tensor:
    """Label-distribution-aware margin (Cao et al. 2019) as in TransICD (Biswas et al. 2021, 3.4).

    The margin of a label is subtracted from the logits of its positives only; then binary cross-entropy.
    """
    return binary_cross_entropy_with_logits(logits - margins.to(logits) * targets, targets)


def ldam_margins(positives: Tensor, constant: float = LDAM_CONSTANT) -> Tensor:
    """constant / n^(1/4) for each label with n training positives; n is taken to be at least 1."""
    return constant / positives.clamp(min=1).float() ** 0.25


LOSSES: dict[LossName, Callable[[Tensor], Loss]] = {
    "bce": lambda _: binary_cross_entropy,
    "ldam": lambda positives: partial(ldam, margins=ldam_margins(positives)),
}
