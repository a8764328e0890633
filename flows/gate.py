"""The gate of promotion: compare a challenger with the champion by their out-of-fold decisions."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from rubricator.models.entries import on_labels
from rubricator.models.scores.bootstrap import paired_bootstrap
from rubricator.models.scores.out_of_fold import OutOfFoldTable, changed_rows
from rubricator.nlp.builders.code_labels import respelt

FEWEST_GROUPS = 20  # a bootstrap over fewer says little
MOST_CHANGED = (
    0.1  # share of common examples whose true labels may have changed since the champion was trained
)


class Verdict(NamedTuple):
    """Whether the challenger may be champion, and why."""

    accepted: bool
    reason: str


def judge(challenger: OutOfFoldTable, champion: OutOfFoldTable | None, *, margin: float = 0.01) -> Verdict:
    """Judge a challenger by the micro-F1 of its out-of-fold decisions.

    It must beat every rule that gives the same labels to all examples. If there is a champion, the challenger must not
    be worse on the examples that are out-of-fold for both. Not worse means: the 95 % interval of the paired difference,
    challenger minus champion, bootstrapped over the challenger's groups, lies above -margin; or the difference is not
    negative.
    """
    if champion is not None:
        champion = replace(champion, labels=respelt(champion.labels, challenger.labels))
    own, blind = _micro_f1(challenger.targets, challenger.decisions), _blind_f1(challenger.targets)
    if own <= blind:
        return Verdict(
            False,
            f"micro-F1 {own:.3f} does not beat {blind:.3f}, which the same labels for all examples reach",
        )
    if champion is None:
        reason = f"first champion; micro-F1 {own:.3f} (the same labels for all examples: {blind:.3f})"
        return Verdict(True, reason)
    common = _Common.of(challenger, champion)
    obstacle = common.obstacle()
    return Verdict(False, obstacle) if obstacle else common.without_changed().compared(margin)


@dataclass(frozen=True)
class _Common:
    """The examples that are out-of-fold for both models.

    ours, theirs: their rows in the challenger's and in the champion's table, in the same order. changed: whether the
    true labels of an example differ between the tables, among the labels that both models know.
    """

    challenger: OutOfFoldTable
    champion: OutOfFoldTable
    ours: NDArray[np.int64]
    theirs: NDArray[np.int64]
    changed: NDArray[np.bool_]

    @classmethod
    def of(cls, challenger: OutOfFoldTable, champion: OutOfFoldTable) -> "_Common":
        _, ours, theirs = np.intersect1d(challenger.example_ids, champion.example_ids, return_indices=True)
        shared = sorted(set(challenger.labels) & set(champion.labels))
        if not len(ours) or not shared:
            nothing = np.array([], dtype=np.int64)
            return cls(challenger, champion, nothing, nothing, nothing.astype(bool))
        changed = changed_rows(
            on_labels(challenger.targets[ours], challenger.labels, shared),
            on_labels(champion.targets[theirs], champion.labels, shared),
        )
        return cls(challenger, champion, ours, theirs, changed)

    @property
    def groups(self) -> NDArray[np.int64]:
        return self.challenger.groups[self.ours]

    def without_changed(self) -> "_Common":
        kept = ~self.changed
        return _Common(self.challenger, self.champion, self.ours[kept], self.theirs[kept], self.changed[kept])

    def obstacle(self) -> str:
        """Why the two cannot be compared; empty if they can."""
        if not len(self.ours):
            return "it has no held-out example or no label in common with the champion: train both on common notes"
        if self.changed.mean() > MOST_CHANGED:
            return (
                f"the true labels of {self.changed.sum()} of {len(self.changed)} common examples changed since the "
                "champion was trained, so their figures do not compare; score both with `rubricator evaluate`"
            )
        number = len(np.unique(self.without_changed().groups))
        if number < FEWEST_GROUPS:
            return f"only {number} groups of patients are held out in both; {FEWEST_GROUPS} are needed"
        return ""

    def compared(self, margin: float) -> Verdict:
        """Compare by paired bootstrap, on all labels of both. A label that a model does not know counts as missed."""
        ours, theirs = self.challenger, self.champion
        labels = sorted(set(ours.labels) | set(theirs.labels))
        truth = on_labels(ours.targets[self.ours], ours.labels, labels) + on_labels(
            theirs.targets[self.theirs], theirs.labels, labels
        )
        found = paired_bootstrap(
            truth,
            on_labels(theirs.decisions[self.theirs], theirs.labels, labels),
            on_labels(ours.decisions[self.ours], ours.labels, labels),
            self.groups,
        )
        return Verdict(
            found.low > -margin or found.difference >= 0,
            f"micro-F1 {found.difference:+.3f} against the champion, 95 % interval {found.low:+.3f} to "
            f"{found.high:+.3f}, on {len(self.ours)} examples of {len(np.unique(self.groups))} groups held out in both "
            f"(allowed: the interval above {-margin:+.3f}, or no loss)",
        )


def _micro_f1(targets: csr_matrix, decisions: csr_matrix) -> float:
    return float(2 * targets.multiply(decisions).sum() / max(targets.sum() + decisions.sum(), 1))


def _blind_f1(targets: csr_matrix) -> float:
    """Micro-F1 of the best rule that gives all examples the same labels: the k most frequent ones."""
    positives = np.sort(np.asarray(targets.sum(axis=0)).ravel())[::-1]
    given = targets.shape[0] * np.arange(1, len(positives) + 1)
    return float((2 * positives.cumsum() / (positives.sum() + given)).max(initial=0))
