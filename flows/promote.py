"""Let a challenger become champion, if it is not worse on what both models were held out from."""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import numpy as np
from scipy.sparse import csr_matrix

from rubricator.flows.home import open_home
from rubricator.models.registry import registry
from rubricator.models.scores.evaluation import on_labels, paired_bootstrap
from rubricator.models.scores.out_of_fold import OutOfFoldTable, changed_rows
from rubricator.nlp.errors import RubricatorError

FEWEST_GROUPS = 20  # a bootstrap over fewer says little
MOST_CHANGED = 0.1  # share of common examples whose true labels may have changed in between


class PromotionRefusedError(RubricatorError):
    """The champion stays; says why."""


@dataclass(frozen=True, slots=True)
class Promotion:
    """Whether a version may be champion, and why. champion: the version it was compared with, if any."""

    name: str
    version: str
    accepted: bool
    reason: str
    champion: str | None
    decided_at: str

    def __rich__(self) -> str:
        return f"{self.name} version {self.version} is the champion now: {self.reason}"


def promote(name: str, *, version: int, home: str | None = None, margin: float = 0.01) -> Promotion:
    """Make a version the champion, and the champion until now previous-champion, if `judge` lets it.

    The decision is kept in the tag rubricator.promotion of the version, whatever it is. Raises
    PromotionRefusedError with the reason.
    """
    open_home(home).init_mlflow()
    challenger = registry.resolve(f"{name}/{version}")
    champion = registry.champion_of(name)
    if champion and champion.version == challenger.version:
        raise PromotionRefusedError(f"{name} version {version} is the champion already")
    accepted, reason = judge(
        registry.out_of_fold_of(challenger),
        registry.out_of_fold_of(champion) if champion else None,
        margin=margin,
    )
    decision = Promotion(
        name=name,
        version=challenger.version,
        accepted=accepted,
        reason=reason,
        champion=champion.version if champion else None,
        decided_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    registry.set_tags(challenger, {"rubricator.promotion": json.dumps(asdict(decision))})
    if not accepted:
        raise PromotionRefusedError(f"{name} version {version} is not promoted: {reason}")
    if champion:
        registry.set_alias(name, registry.PREVIOUS, champion.version)
    registry.set_alias(name, registry.CHAMPION, challenger.version)
    return decision


def judge(
    challenger: OutOfFoldTable, champion: OutOfFoldTable | None, *, margin: float = 0.01
) -> tuple[bool, str]:
    """Whether the challenger may be champion, and why, by micro-F1 of the decisions of cross-validation.

    It must beat every rule that does not read the text (the same labels for all examples). Where there is a
    champion, both are scored on the examples that both were held out from. Not worse means: the 95 % interval
    of the paired difference, challenger minus champion, bootstrapped over the challenger's groups, lies above
    -margin; or the difference is not negative.
    """
    own, blind = _micro_f1(challenger.targets, challenger.decisions), _blind_f1(challenger.targets)
    if own <= blind:
        return (
            False,
            f"micro-F1 {own:.3f} does not beat {blind:.3f}, that of the best labels given to all alike",
        )
    if champion is None:
        return True, f"first champion; micro-F1 {own:.3f} (the best labels given to all alike: {blind:.3f})"

    _, ours, theirs = np.intersect1d(challenger.example_ids, champion.example_ids, return_indices=True)
    shared = sorted(set(challenger.labels) & set(champion.labels))
    if not len(ours) or not shared:
        return (
            False,
            "it has no held-out example and label in common with the champion: train both on common notes",
        )
    changed = changed_rows(
        on_labels(challenger.targets[ours], challenger.labels, shared),
        on_labels(champion.targets[theirs], champion.labels, shared),
    )
    if changed.mean() > MOST_CHANGED:
        return False, (
            f"the true labels of {changed.sum()} of {len(changed)} common examples changed since the champion "
            "was trained, so the two do not aim at the same; compare them with `rubricator evaluate`"
        )
    ours, theirs = ours[~changed], theirs[~changed]
    groups = challenger.groups[ours]
    number = len(np.unique(groups))
    if number < FEWEST_GROUPS:
        return False, f"only {number} groups of patients are held out in both; {FEWEST_GROUPS} are needed"
    labels = sorted(set(challenger.labels) | set(champion.labels))
    truth = on_labels(challenger.targets[ours], challenger.labels, labels) + on_labels(
        champion.targets[theirs], champion.labels, labels
    )
    found = paired_bootstrap(
        truth,
        on_labels(champion.decisions[theirs], champion.labels, labels),
        on_labels(challenger.decisions[ours], challenger.labels, labels),
        groups,
    )
    return found.low > -margin or found.difference >= 0, (
        f"micro-F1 {found.difference:+.3f} against the champion, 95 % interval {found.low:+.3f} to "
        f"{found.high:+.3f}, on {len(ours)} examples of {number} groups held out in both "
        f"(allowed: the interval above {-margin:+.3f}, or no loss)"
    )


def _micro_f1(targets: csr_matrix, decisions: csr_matrix) -> float:
    return float(2 * targets.multiply(decisions).sum() / max(targets.sum() + decisions.sum(), 1))


def _blind_f1(targets: csr_matrix) -> float:
    """Micro-F1 of the best rule that gives all examples the same labels: the k most frequent ones."""
    positives = np.sort(np.asarray(targets.sum(axis=0)).ravel())[::-1]
    given = targets.shape[0] * np.arange(1, len(positives) + 1)
    return float((2 * positives.cumsum() / (positives.sum() + given)).max(initial=0))
