"""Plots as PNG files: of one evaluation (precision and recall, reliability, thresholds), and of several models."""

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BINS = np.linspace(0, 1, 11)
_POINTS = 500  # of a curve
_FEW_CELLS = 20  # of a bin: fewer say nothing


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


def bars_plot(path: Path, figure: str, rows: Sequence[tuple[str, float, float, float]]) -> Path:
    """Write a horizontal bar with its interval for each (name, value, low, high), the first on top."""
    names, values, lows, highs = zip(*reversed(rows), strict=True)
    spread = [np.subtract(values, lows), np.subtract(highs, values)]

    def draw(axes: "Axes") -> None:
        axes.barh(names, values, xerr=np.maximum(spread, 0), color="#7aa6dc", ecolor="#1c2430", capsize=3)
        for place, (value, high) in enumerate(zip(values, highs, strict=True)):
            axes.annotate(f" {value:.3f}", (high, place), va="center", fontsize=8)
        axes.set(xlabel=f"{figure}, 95 % interval", xlim=(0, 1.08))

    return _written(path, draw, size=(6, 1.2 + 0.34 * len(rows)))


def reliability_plot(path: Path, curves: Mapping[str, Sequence[tuple[int, float, float]]]) -> Path:
    """Write a line of (cells, mean probability, share of positives) for each name; bins of few cells are left out."""

    def draw(axes: "Axes") -> None:
        axes.plot([0, 1], [0, 1], color="grey", linewidth=1)
        markers = cycle("osD^vP*X")
        for name, bins in curves.items():
            shown = [(probability, share) for cells, probability, share in bins if cells >= _FEW_CELLS]
            axes.plot(
                [each[0] for each in shown],
                [each[1] for each in shown],
                marker=next(markers),
                markersize=4,
                linewidth=1,
                label=name,
            )
        axes.set(
            xlabel=f"mean probability (bins of at least {_FEW_CELLS} cells)",
            ylabel="share of positives",
            xlim=(0, 1),
            ylim=(0, 1.02),
        )
        axes.legend(loc="upper left", fontsize=7)

    return _written(path, draw, size=(6, 5))


def _curve(
    truth: NDArray[np.bool_], scores: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Threshold, precision and recall at no more than _POINTS distinct scores, from the highest."""
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    ends = ends[np.unique(np.linspace(0, len(ends) - 1, _POINTS).astype(int))]
    hits = np.cumsum(truth[order])[ends]
    return scores[order][ends].astype(np.float64), hits / (ends + 1), hits / max(int(truth.sum()), 1)


def _written(path: Path, draw: Callable[["Axes"], None], *, size: tuple[float, float] = (5, 4)) -> Path:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    draw(axes)
    axes.grid(alpha=0.3)
    figure.savefig(path)
    return path
