"""Losses that did worse than LDAM when they were measured.

Pure functions of logits and 0/1 targets (batch, labels), each a scalar.
"""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from rubricator.models.neural.losses import Loss


def focal(logits: Tensor, targets: Tensor, *, gamma: float = 2.0) -> Tensor:
    """Cross-entropy times (1 - p)^gamma, with p the probability of the true class (Lin et al. 2017)."""
    log_p = logsigmoid(torch.where(targets > 0, logits, -logits))
    return -((1 - log_p.exp()) ** gamma * log_p).mean()


def asymmetric(
    logits: Tensor,
    targets: Tensor,
    *,
    gamma_positive: float = 0.0,
    gamma_negative: float = 4.0,
    shift: float = 0.05,
) -> Tensor:
    """Asymmetric loss (Ridnik et al. 2021): focal loss with another gamma for negatives, and shifted probabilities.

    A negative with a probability below `shift` costs nothing.
    """
    p = logits.sigmoid()
    shifted = (p - shift).clamp(min=0)
    positive = (1 - p) ** gamma_positive * logsigmoid(logits)
    negative = shifted**gamma_negative * torch.log1p(-shifted)
    return -torch.where(targets > 0, positive, negative).mean()


def ldr_kl(logits: Tensor, targets: Tensor, *, temperature: float = 1.0, margin: float = 0.0) -> Tensor:
    """Label-distributionally robust loss with KL regularisation, LDR-KL (Zhu, Ying, Yang 2023), for many labels.

    In the paper, for one true class y out of K, the loss is the maximum over distributions p of labels of
    Σ_k p_k (f_k - f_y + margin) - temperature · KL(p, uniform)
    = temperature · log((1/K) Σ_k exp((f_k - f_y + margin) / temperature)).

    Here a text has any number of true labels. So a threshold at logit 0 takes the place of f_y, and is itself one more
    label. The loss is the sum of two such maxima: over the wrong labels (logit above 0 costs) and over the true labels
    (logit below 0 costs). With one label and temperature 1 this is binary cross-entropy minus log 2.
    """
    wrong = (logits + margin).masked_fill(targets > 0, -torch.inf)
    missed = (margin - logits).masked_fill(targets == 0, -torch.inf)
    return sum((_worst(side, temperature) for side in (wrong, missed)), torch.zeros(())).mean()


def _worst(scores: Tensor, temperature: float) -> Tensor:
    """The soft maximum of each row's finite scores and 0, (batch,)."""
    with_threshold = torch.cat([scores.new_zeros(len(scores), 1), scores], dim=1)
    many = with_threshold.isfinite().sum(dim=1)
    return temperature * (torch.logsumexp(with_threshold / temperature, dim=1) - many.log())


LOSSES: dict[str, Loss] = {"focal": focal, "asl": asymmetric, "ldr": ldr_kl}
