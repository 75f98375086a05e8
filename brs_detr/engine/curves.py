"""curves.png: the losses and AP of a training, from the scalars that mmengine writes."""

import io
import json
import re
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from mmdet.registry import HOOKS
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner

from brs_detr.engine.metrics import ap_labels
from brs_detr.files import write_bytes
from brs_detr.timing.loss_time import LOSS_TIME

Rows = dict[int, dict[str, Any]]
MOST_LOSSES = 8
NO_PARTS = ("loss", LOSS_TIME)  # named like losses: the total, and seconds
INTERMEDIATE = re.compile(r"\bd\d+\.")  # losses of all decoder layers but the last


def read_scalars(work_dir: str | Path) -> tuple[Rows, Rows]:
    """Logged rows, training by iteration and evaluation by epoch; a resumed run replaces what it repeats."""
    training: Rows = {}
    evaluation: Rows = {}
    for path in sorted(Path(work_dir).glob("*/vis_data/scalars.json")):
        for line in path.read_text().splitlines():
            row = json.loads(line)
            if "loss" in row:
                training[row["step"]] = row
            elif ap_labels(row):
                evaluation[row["step"]] = row
    return training, evaluation


def plot(axes: Axes, rows: Rows, key: str, label: str, **style: Any) -> None:
    steps = [step for step in sorted(rows) if key in rows[step]]
    axes.plot(steps, [rows[step][key] for step in steps], label=label, **style)


def telling_losses(row: dict[str, Any]) -> list[str]:
    """The parts of the loss to draw, those of the main head first.

    A self-balanced box loss always equals the ranking loss; its value before balancing takes its place.
    """
    losses = [key for key in row if "loss" in key and key not in NO_PARTS and not INTERMEDIATE.search(key)]
    unscaled = {key: key.replace("loss_", "") + "_unscaled" for key in losses}
    parts = [unscaled[key] if unscaled[key] in row else key for key in losses]
    return sorted(parts, key=lambda key: ("." in key, -row[key]))[:MOST_LOSSES]


def draw_losses(axes: Axes, rows: Rows) -> None:
    """The total and its parts."""
    plot(axes, rows, "loss", "total", color="black", linewidth=2)
    for key in telling_losses(rows[max(rows)]):
        plot(axes, rows, key, key, linewidth=1)
    if all(row["loss"] > 0 for row in rows.values()):
        axes.set_yscale("log")
    axes.set(title="losses", xlabel="iteration")
    axes.legend(fontsize="x-small")


def draw_metrics(axes: Axes, rows: Rows) -> None:
    keys = dict.fromkeys(key for step in sorted(rows) for key in rows[step])
    for key, label in ap_labels(keys).items():
        plot(axes, rows, key, label, marker="o", markersize=3)
    axes.set(title="evaluation", xlabel="epoch", ylim=(0, 1))
    axes.legend()


def draw_curves(work_dir: str | Path) -> bool:
    """Write ``curves.png`` into the work directory.

    Returns:
        Whether there was anything to draw.
    """
    training, evaluation = read_scalars(work_dir)
    if not training:
        return False
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    draw_losses(left, training)
    if evaluation:
        draw_metrics(right, evaluation)
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    image = io.BytesIO()
    figure.savefig(image, dpi=120, format="png")
    write_bytes(Path(work_dir, "curves.png"), image.getvalue())
    return True


@HOOKS.register_module()
class CurvesHook(Hook):
    """Draws the curves after every evaluation and at the end."""

    priority = "VERY_LOW"  # after the logger has written

    @master_only
    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        draw_curves(runner.work_dir)

    @master_only
    def after_train(self, runner: Runner) -> None:
        draw_curves(runner.work_dir)
