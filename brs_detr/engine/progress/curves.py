"""curves.png: the losses, AP and learning rate of a training, from the scalars that mmengine writes."""

import io
import json
import math
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator
from mmdet.registry import HOOKS
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner

from brs_detr.engine.progress.loss_parts import loss_parts
from brs_detr.engine.progress.metrics import ap_labels
from brs_detr.files import write_bytes

LOGGED = "*/vis_data/scalars.json"  # in a work directory
Rows = dict[int, dict[str, Any]]
LEGEND: dict[str, Any] = dict(
    loc="upper left", bbox_to_anchor=(1.0, 1.0), borderaxespad=0, frameon=False, fontsize="small"
)
MARKED = 50  # curves of fewer points have markers
HEADROOM = 1.15  # of the AP axis above the best AP


def read_scalars(work_dir: str | Path) -> tuple[Rows, Rows]:
    """Logged rows, training by iteration and evaluation by epoch; a resumed run replaces what it repeats."""
    training: Rows = {}
    evaluation: Rows = {}
    for path in sorted(Path(work_dir).glob(LOGGED)):
        for row in whole_rows(path):
            if "loss" in row:
                training[row["step"]] = row
            elif ap_labels(row):
                evaluation[row["step"]] = row
    return training, evaluation


def whole_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file, but for those that a kill or a full disk has cut short."""
    for line in path.read_text(errors="replace").splitlines():
        with suppress(ValueError):
            row = json.loads(line)
            if isinstance(row, dict) and isinstance(row.get("step"), int):
                yield row


def plot(axes: Axes, rows: Rows, key: str, label: str, **style: Any) -> None:
    """A curve with a gap where the value is missing or not finite, and dots where a line would not show."""
    steps = sorted(rows)
    values = [rows[step].get(key, math.nan) for step in steps]
    finite = [value if math.isfinite(value) else math.nan for value in values]
    if len(steps) < MARKED or any(map(math.isnan, finite)):
        style |= {"marker": "o", "markersize": 3}
    axes.plot(steps, finite, label=label, **style)


def draw_losses(axes: Axes, rows: Rows) -> None:
    """The total and its parts, boxes and masks as they were before balancing."""
    parts: Rows = {step: {"total": row["loss"], **loss_parts(row)} for step, row in rows.items()}
    plot(axes, parts, "total", "total", color="black", linewidth=2)
    for name in dict.fromkeys(name for row in parts.values() for name in row if name != "total"):
        plot(axes, parts, name, name, linewidth=1.2)
    if any(row["loss"] > 0 for row in rows.values()):
        axes.set_yscale("log", nonpositive="mask")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_locator(NullLocator())
    axes.set(title="losses", xlabel="iteration")
    axes.legend(**LEGEND)


def draw_metrics(axes: Axes, rows: Rows) -> None:
    keys = dict.fromkeys(key for step in sorted(rows) for key in rows[step])
    for key, label in ap_labels(keys).items():
        plot(axes, rows, key, label, clip_on=False)
    top = HEADROOM * axes.dataLim.ymax
    axes.set(title="evaluation", xlabel="epoch", ylim=(0, min(1, top) if top > 0 else 1))
    axes.legend(**LEGEND)


def draw_rate(axes: Axes, rows: Rows) -> None:
    plot(axes, rows, "lr", "learning rate", color="black")
    axes.set(title="learning rate", xlabel="iteration")
    axes.set_ylim(bottom=0)
    axes.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))


def draw_curves(work_dir: str | Path) -> bool:
    """Write ``curves.png`` into the work directory.

    Returns:
        Whether there was anything to draw.
    """
    training, evaluation = read_scalars(work_dir)
    if not training:
        return False
    rates = {step: row for step, row in training.items() if "lr" in row}
    wanted = ((draw_losses, training), (draw_metrics, evaluation), (draw_rate, rates))
    drawn = [(draw, rows) for draw, rows in wanted if rows]
    figure = Figure(figsize=(5.5 * len(drawn), 4.2), layout="constrained")
    for axes, (draw, rows) in zip(figure.subplots(1, len(drawn), squeeze=False)[0], drawn, strict=True):
        draw(axes, rows)
        axes.grid(alpha=0.3)
        axes.set_xlim(0, 1.03 * max(1, *rows))
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
