"""Bootstrap confidence intervals over whole groups, for one model's figures and for the difference of two models.

Groups are resampled with replacement. An interval goes from the 2.5th to the 97.5th percentile of the resamples. A
figure is a function of the weights that groups have in a resample. Macro means, AUROC and AUPRC are expanded to first
order in these weights (the infinitesimal jackknife; for AUROC that is Obuchowski 1997). Computed on each resample
instead, the figures of labels with few positives would be biased.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from rubricator.models.entries import blocks
from rubricator.models.scores.sums import Array, Ints, group_sums, ones, ratio, sums

Figures = Callable[[Array], dict[str, Array]]  # weights of groups (resamples, groups) → figures (resamples,)
_INTERVAL = [2.5, 97.5]  # percent


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its 95 % confidence interval."""

    value: float
    low: float
    high: float
    resamples: int


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """Micro-F1 of b minus that of a on the same rows; worse: the share of resamples with a difference below 0."""

    difference: float
    low: float
    high: float
    worse: float
    resamples: int


def paired_bootstrap(
    targets: csr_matrix,
    decisions_a: NDArray[np.bool_] | csr_matrix,
    decisions_b: NDArray[np.bool_] | csr_matrix,
    groups: Ints,
    *,
    bootstrap: int = 1000,
    seed: int = 0,
) -> PairedDifference:
    """The difference of b and a in micro-F1, on the same resamples of groups (Berg-Kirkpatrick et al. 2012).

    targets, decisions: 0/1 (rows, labels). groups: (rows,), what is resampled. bootstrap: number of resamples.
    """
    truth = ones(targets)
    names, group = np.unique(groups, return_inverse=True)
    (hits_a, whole_a), (hits_b, whole_b) = (
        _micro_f1_sums(truth, ones(decisions), group) for decisions in (decisions_a, decisions_b)
    )

    def difference(weights: Array) -> dict[str, Array]:
        a, b = ratio(weights @ hits_a, weights @ whole_a), ratio(weights @ hits_b, weights @ whole_b)
        return {"difference": b - a}

    value = difference(np.ones((1, len(names))))["difference"][0]
    drawn = resample(difference, len(names), bootstrap, seed)["difference"]
    low, high = np.percentile(drawn, _INTERVAL)
    return PairedDifference(float(value), float(low), float(high), float((drawn < 0).mean()), bootstrap)


def resample(figures: Figures, groups: int, resamples: int, seed: int) -> dict[str, Array]:
    """Figures (resamples,) by name, over resamples of the groups; empty without resamples.

    It works in blocks of resamples, so that memory does not grow with their number.
    """
    random = np.random.default_rng(seed)
    drawn = []
    for some in blocks(resamples, groups):
        picks = random.integers(groups, size=(min(some.stop, resamples) - some.start, groups))
        weights = np.stack([np.bincount(pick, minlength=groups) for pick in picks])
        drawn.append(figures(weights.astype(np.float64)))
    return {name: np.concatenate([part[name] for part in drawn]) for name in drawn[0]} if drawn else {}


def estimate(value: float, drawn: Array) -> Estimate:
    """A figure with its interval over the resamples in which it is defined."""
    drawn = drawn[np.isfinite(drawn)]
    low, high = np.percentile(drawn, _INTERVAL) if len(drawn) else (value, value)
    return Estimate(value, float(low), float(high), len(drawn))


def first_order(weights: Array, value: float, change: Array) -> Array:
    """A figure between 0 and 1 in each resample, from its value and its change with each group's weight (groups,)."""
    return np.clip(value + (weights - 1) @ change, 0, 1)


def _micro_f1_sums(truth: csr_matrix, decided: csr_matrix, group: Ints) -> tuple[Array, Array]:
    """Numerator and denominator of micro-F1, by group."""
    hits: Any = truth.multiply(decided)
    return group_sums(group, 2 * sums(hits, 1)), group_sums(group, sums(truth, 1) + sums(decided, 1))
