"""How time grows with the number of positives and of negatives."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .racing import Times

Growth = dict[tuple[int, int], dict[str, Times]]
STYLES = {
    "exact": dict(color="tab:blue", marker="o"),
    "torch.sort": dict(color="tab:orange", marker="s"),
    "bandwidth": dict(color="grey", linestyle="--"),
}
LABELS = {"torch.sort": "torch.sort of the logits", "bandwidth": "reading and writing once"}


def draw(path: Path, title: str, by_positives: Growth, by_negatives: Growth) -> None:
    """Two panels, logarithmic, with the exponents of fitted powers."""
    drawing = Figure(figsize=(10, 4.2), layout="constrained")
    left, right = drawing.subplots(1, 2)
    _panel(left, by_positives, 0, "positives P, with N = 1M negatives")
    _panel(right, by_negatives, 1, "negatives N, with P = 1k positives")
    drawing.suptitle(title, fontsize="small")
    drawing.savefig(path, dpi=120)


def _panel(axes: Axes, grown: Growth, which: int, label: str) -> None:
    sizes = [s[which] for s in grown]
    for method in next(iter(grown.values())):
        times = [found[method] for found in grown.values()]
        middle = [1000 * t.p50 for t in times]
        spread = [[1000 * (t.p50 - t.p20) for t in times], [1000 * (t.p80 - t.p50) for t in times]]
        name = f"{LABELS.get(method, method)}: exponent {exponent(sizes, middle):.2f}"
        axes.errorbar(sizes, middle, yerr=spread, label=name, markersize=4, **STYLES[method])
    axes.set(xscale="log", yscale="log", xlabel=label, ylabel="milliseconds, forward and backward")
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize="small")


def exponent(sizes: list[int], milliseconds: list[float]) -> float:
    """k of the power size^k that fits best in logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(milliseconds), 1)[0])
