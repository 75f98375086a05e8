"""reliability.png: which share of the detections of a score is right, before and after calibration."""

import io
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from mmengine.evaluator import Evaluator

from brs_detr.data.calibration_error import BINS, binned, d_ece
from brs_detr.data.coco_metric import coco_metrics
from brs_detr.data.judging import Judged
from brs_detr.files import write_bytes

NAME = "reliability.png"
RIGHT, GAP, COUNT = "tab:blue", "tab:red", "tab:gray"


def draw_shares(axes: Axes, judged: Judged, scores: np.ndarray) -> None:
    """The share of right detections in each bin, and how far the mean score is from it."""
    counts, means, shares = binned(scores, judged.right)
    used = counts > 0
    places, width = (np.arange(BINS)[used] + 0.5) / BINS, 1 / BINS
    axes.bar(places, shares[used], width, color=RIGHT, edgecolor="white", label="right detections")
    gap = means[used] - shares[used]
    axes.bar(places, gap, width, shares[used], color="none", edgecolor=GAP, hatch="////", linewidth=0.8, label="off by")
    axes.plot([0, 1], [0, 1], color="black", linestyle="--", linewidth=1, label="as the score says")
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.yaxis.set_major_formatter(PercentFormatter(1))


def draw_counts(axes: Axes, scores: np.ndarray) -> None:
    counts = binned(scores, np.zeros(len(scores))).counts
    bars = axes.bar((np.arange(BINS) + 0.5) / BINS, counts, 1 / BINS, color=COUNT, edgecolor="white")
    axes.bar_label(bars, [f"{count}" if count else "" for count in counts], fontsize="x-small", padding=1)
    axes.set_yscale("symlog", linthresh=1)
    axes.set(xlim=(0, 1), ylim=(0, 8 * max(1, counts.max())), xlabel="score")


def write_reliability(folder: str | Path, evaluator: Evaluator, by: str) -> Path | None:
    """Write the diagram of what an evaluator has calibrated into a folder.

    by: what calibrated the scores, for the title.

    Returns:
        The file, None where nothing was calibrated.
    """
    found = [(metric.judged, metric.outcome) for metric in coco_metrics(evaluator.metrics)]
    drawn = [(judged, done.calibrated) for judged, done in found if judged and done and done.calibrated is not None]
    if len(drawn) != 1:
        return None
    write_bytes(path := Path(folder, NAME), as_png(*drawn[0], by))
    return path


def as_png(judged: Judged, calibrated: np.ndarray, by: str) -> bytes:
    """The diagram. calibrated: (N,), scores of the detections after calibration."""
    figure = Figure(figsize=(10, 6), layout="constrained")
    axes = figure.subplots(2, 2, sharex=True, height_ratios=(3, 1))
    for column, (title, scores) in enumerate((("before", judged.scores), (f"after, {by}", calibrated))):
        upper, lower = axes[:, column]
        draw_shares(upper, judged, scores)
        draw_counts(lower, scores)
        upper.set_title(f"{title}: D-ECE {d_ece(judged, scores):.3f}")
        for each in (upper, lower):
            each.grid(alpha=0.3)
            each.set_axisbelow(True)
    axes[0, 0].set_ylabel("share that is right")
    axes[1, 0].set_ylabel("detections")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    image = io.BytesIO()
    figure.savefig(image, dpi=120, format="png")
    return image.getvalue()
