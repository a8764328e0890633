"""Losses against values worked out by hand: those of the product, and those that lost to them."""

from math import exp, log

import pytest
import torch

from rubricator.models.ablations import losses as ablations
from rubricator.models.ablations.losses import asymmetric, focal, ldr_kl
from rubricator.models.neural.losses import LOSSES, Loss, ldam_margins, loss_named

LOGITS = torch.tensor([[2.0, -1.0, 0.5]])
TARGETS = torch.tensor([[1.0, 0.0, 1.0]])
POSITIVES = torch.tensor([16, 81, 0])


def minus_log(logit: float) -> float:
    """-log of the sigmoid."""
    return log(1 + exp(-logit))


def every_loss(positives: torch.Tensor) -> dict[str, Loss]:
    return {name: loss_named(name, positives) for name in LOSSES} | ablations.LOSSES


NAMES = every_loss(POSITIVES).keys()


def test_binary_cross_entropy() -> None:
    expected = (minus_log(2) + minus_log(1) + minus_log(0.5)) / 3
    assert loss_named("bce", POSITIVES)(LOGITS, TARGETS).item() == pytest.approx(expected)


def test_ldam_takes_margins_off_positives_only() -> None:
    assert ldam_margins(POSITIVES).tolist() == pytest.approx([1.5, 1.0, 3.0])
    expected = (minus_log(2 - 1.5) + minus_log(1) + minus_log(0.5 - 3)) / 3
    assert loss_named("ldam", POSITIVES)(LOGITS, TARGETS).item() == pytest.approx(expected)


def test_focal_loss_of_gamma_2() -> None:
    def one(logit: float) -> float:
        return (1 - exp(-minus_log(logit))) ** 2 * minus_log(logit)

    expected = (one(2) + one(1) + one(0.5)) / 3
    assert focal(LOGITS, TARGETS).item() == pytest.approx(expected)


def test_asymmetric_loss_shifts_and_focuses_negatives() -> None:
    p = exp(-minus_log(-1)) - 0.05
    expected = (minus_log(2) - p**4 * log(1 - p) + minus_log(0.5)) / 3
    assert asymmetric(LOGITS, TARGETS).item() == pytest.approx(expected)
    easy = torch.tensor([[-20.0]])
    assert asymmetric(easy, torch.zeros(1, 1)).item() == 0


def test_ldr_kl_is_the_soft_worst_label_on_either_side_of_the_threshold() -> None:
    temperature, margin = 0.5, 0.1
    wrong = temperature * log((1 + exp((-1 + margin) / temperature)) / 2)
    missed = temperature * log((1 + exp((margin - 2) / temperature) + exp((margin - 0.5) / temperature)) / 3)
    found = ldr_kl(LOGITS, TARGETS, temperature=temperature, margin=margin)
    assert found.item() == pytest.approx(wrong + missed)


def test_ldr_kl_of_one_label_is_cross_entropy() -> None:
    logits, targets = torch.tensor([[3.0], [-1.0]]), torch.tensor([[0.0], [1.0]])
    expected = (minus_log(-3) + minus_log(-1)) / 2 - log(2)
    assert ldr_kl(logits, targets).item() == pytest.approx(expected)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sign", [1, -1])
def test_each_loss_stays_finite_and_falls_along_its_gradient(name: str, sign: int) -> None:
    loss = every_loss(torch.tensor([3, 0, 100]))[name]
    logits = (sign * torch.tensor([[60.0, -60.0, 0.1], [0.0, 1.0, -30.0]])).requires_grad_()
    targets = torch.tensor([[0.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    before = loss(logits, targets)
    [gradient] = torch.autograd.grad(before, logits)
    assert gradient.isfinite().all()
    assert loss(logits - 0.1 * gradient, targets) < before


@pytest.mark.parametrize("name", NAMES)
def test_each_loss_is_computed_where_the_logits_are(name: str) -> None:
    there = torch.device("meta")  # as on a GPU: it refuses to be mixed with tensors elsewhere
    loss = every_loss(POSITIVES)[name](LOGITS.to(there), TARGETS.to(there))
    assert loss.device == there
