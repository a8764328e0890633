"""Plots as PNG files: of one evaluation (precision and recall, reliability, thresholds), and of several models."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from rubricator.models.entries import blocks
from rubricator.models.scores.areas import upper_bits
from rubricator.models.scores.reliability import ReliabilityBin, reliability_curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_POINTS = 500  # of a curve
_FEW_ENTRIES = 20  # bins of fewer are not drawn where models are compared


def write_plots(
    folder: Path, targets: csr_matrix, probabilities: NDArray[np.float32], decisions: NDArray[np.bool_]
) -> list[Path]:
    """Write precision_recall.png, reliability.png and thresholds.png, over all entries (rows × labels) together.

    targets, probabilities, decisions: (rows, labels), of cross-validation. The decisions are a point beside the curve,
    because each label has its own threshold.
    """
    own = probabilities[targets.nonzero()]
    curve = _curve(own, probabilities)
    hits = int(decisions[targets.nonzero()].sum())
    recall, precision = hits / max(len(own), 1), hits / max(int(decisions.sum()), 1)
    bins = reliability_curve(targets, probabilities)
    folder.mkdir(parents=True, exist_ok=True)
    return [
        _written(folder / "precision_recall.png", lambda axes: _draw_curve(axes, curve, recall, precision)),
        _written(folder / "reliability.png", lambda axes: _draw_reliability(axes, bins)),
        _written(folder / "thresholds.png", lambda axes: _draw_thresholds(axes, curve)),
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


def counts_plot(counts: Mapping[str, int], what: str, counted: str) -> bytes:
    """A vertical bar for each count, as PNG. what: the names of the bars. counted: what is counted."""

    def draw(axes: "Axes") -> None:
        axes.bar(range(len(counts)), list(counts.values()), color="#7aa6dc")
        step = -(-len(counts) // 12)  # so that names do not overlap
        places = range(0, len(counts), step)
        axes.set_xticks(places, list(counts)[::step], rotation=45 if max(map(len, counts)) > 3 else 0)
        axes.set(xlabel=what, ylabel=counted)

    with tempfile.TemporaryDirectory() as folder:
        return _written(Path(folder) / "plot.png", draw, size=(6, 3)).read_bytes()


def reliability_plot(path: Path, curves: Mapping[str, Sequence[tuple[int, float, float]]]) -> Path:
    """Write a line of (entries, mean probability, share of positives) for each name, without bins of few entries."""

    def draw(axes: "Axes") -> None:
        axes.plot([0, 1], [0, 1], color="grey", linewidth=1)
        markers = cycle("osD^vP*X")
        for name, bins in curves.items():
            shown = [(probability, share) for entries, probability, share in bins if entries >= _FEW_ENTRIES]
            axes.plot(
                [each[0] for each in shown],
                [each[1] for each in shown],
                marker=next(markers),
                markersize=4,
                linewidth=1,
                label=name,
            )
        axes.set(
            xlabel=f"mean probability (bins of at least {_FEW_ENTRIES} entries)",
            ylabel="share of positives",
            xlim=(0, 1),
            ylim=(0, 1.02),
        )
        axes.legend(loc="upper left", fontsize=7)

    return _written(path, draw, size=(6, 5))


class _Curve(NamedTuple):
    """Precision and recall at some thresholds, from the highest."""

    thresholds: NDArray[np.float64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]


def _curve(own: NDArray[np.float32], probabilities: NDArray[np.float32]) -> _Curve:
    """At no more than _POINTS thresholds. own: probabilities of the true entries.

    The thresholds are numbers whose lower bits are 0, so that entries are counted and not sorted.
    """
    hits = np.bincount(upper_bits(own), minlength=1 << 16)
    count = np.zeros(1 << 16, np.int64)
    for block in blocks(*probabilities.shape):
        count += np.bincount(upper_bits(probabilities[block]).ravel(), minlength=1 << 16)
    there = np.flatnonzero(count)[::-1]
    some = np.unique(np.linspace(0, len(there) - 1, _POINTS).astype(int))
    found, decided = (np.cumsum(each[there])[some] for each in (hits, count))
    thresholds = (there[some].astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return _Curve(thresholds, found / decided, found / max(len(own), 1))


def _draw_curve(axes: "Axes", curve: _Curve, recall: float, precision: float) -> None:
    """The curve, and the recall and precision of the decisions."""
    axes.plot(curve.recall, curve.precision)
    axes.plot(recall, precision, "o", label=f"decisions: recall {recall:.2f}, precision {precision:.2f}")
    axes.set(xlabel="recall", ylabel="precision", title="Precision and recall", xlim=(0, 1), ylim=(0, 1.02))
    axes.legend(loc="lower left")


def _draw_reliability(axes: "Axes", bins: Sequence[ReliabilityBin]) -> None:
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1, label="calibrated")
    axes.plot([each.probability for each in bins], [each.positives for each in bins], "o-", label="held out")
    for entries, x, y in bins:
        axes.annotate(f"{entries:,}", (x, y), textcoords="offset points", xytext=(4, -11), fontsize=7)
    axes.set(xlabel="mean probability (number of entries)", ylabel="share of positives", title="Reliability")
    axes.legend(loc="upper left")


def _draw_thresholds(axes: "Axes", curve: _Curve) -> None:
    f1 = 2 * curve.precision * curve.recall / np.maximum(curve.precision + curve.recall, 1e-12)
    for name, values in (("precision", curve.precision), ("recall", curve.recall), ("F1", f1)):
        axes.plot(curve.thresholds, values, label=name)
    axes.set(xlabel="one threshold for all labels", title="Thresholds", xlim=(0, 1), ylim=(0, 1.02))
    axes.legend(loc="lower center")


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
