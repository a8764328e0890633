"""The plots of an evaluation, as PNG files: precision and recall, reliability, thresholds."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BINS = np.linspace(0, 1, 11)
_POINTS = 500  # of a curve


def write_plots(
    folder: Path, targets: csr_matrix, probabilities: NDArray[np.float32], decisions: NDArray[np.bool_]
) -> list[Path]:
    """Write precision_recall.png, reliability.png and thresholds.png, over all cells (rows × labels) together.

    targets, probabilities, decisions: (rows, labels), of cross-validation. The decisions are a point beside the curve:
    each label has its own threshold.
    """
    truth, scores = targets.toarray().astype(bool).ravel(), probabilities.ravel()
    thresholds, precision, recall = _curve(truth, scores)
    hits = int((truth & decisions.ravel()).sum())
    decided = (hits / max(int(truth.sum()), 1), hits / max(int(decisions.sum()), 1))

    def precision_recall(axes: "Axes") -> None:
        axes.plot(recall, precision)
        axes.plot(*decided, "o", label=f"decisions: recall {decided[0]:.2f}, precision {decided[1]:.2f}")
        axes.set(
            xlabel="recall", ylabel="precision", title="Precision and recall", xlim=(0, 1), ylim=(0, 1.02)
        )
        axes.legend(loc="lower left")

    def reliability(axes: "Axes") -> None:
        number = np.clip(np.digitize(scores, _BINS) - 1, 0, len(_BINS) - 2)
        count = np.bincount(number, minlength=len(_BINS) - 1)
        there = count > 0
        means = [
            np.bincount(number, values, len(_BINS) - 1)[there] / count[there] for values in (scores, truth)
        ]
        axes.plot([0, 1], [0, 1], color="grey", linewidth=1, label="calibrated")
        axes.plot(*means, "o-", label="held out")
        for x, y, cells in zip(*means, count[there], strict=True):
            axes.annotate(f"{cells:,}", (x, y), textcoords="offset points", xytext=(4, -11), fontsize=7)
        axes.set(
            xlabel="mean probability (number of cells)", ylabel="share of positives", title="Reliability"
        )
        axes.legend(loc="upper left")

    def threshold(axes: "Axes") -> None:
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
        for name, values in (("precision", precision), ("recall", recall), ("F1", f1)):
            axes.plot(thresholds, values, label=name)
        axes.set(xlabel="one threshold for all labels", title="Thresholds", xlim=(0, 1), ylim=(0, 1.02))
        axes.legend(loc="lower center")

    folder.mkdir(parents=True, exist_ok=True)
    return [
        _written(folder / "precision_recall.png", precision_recall),
        _written(folder / "reliability.png", reliability),
        _written(folder / "thresholds.png", threshold),
    ]


def _curve(
    truth: NDArray[np.bool_], scores: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Threshold, precision and recall at no more than _POINTS distinct scores, from the highest."""
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    ends = ends[np.unique(np.linspace(0, len(ends) - 1, _POINTS).astype(int))]
    hits = np.cumsum(truth[order])[ends]
    return scores[order][ends].astype(np.float64), hits / (ends + 1), hits / max(int(truth.sum()), 1)


def _written(path: Path, draw: Callable[["Axes"], None]) -> Path:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    draw(axes)
    axes.grid(alpha=0.3)
    figure.savefig(path)
    return path
