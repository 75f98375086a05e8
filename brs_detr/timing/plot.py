"""A bar chart: the time of every head by every method."""

import io
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from brs_detr.files import write_bytes

from .methods import METHODS
from .rows import AS_CONFIGURED, TOTAL, Report, Row

LOG_FROM = 20  # times the smallest bar
COLOURS = dict(zip((*METHODS, AS_CONFIGURED), ("#1b6ca8", "#e09f3e", "#a83232", "#6a994e", "#7d7d7d"), strict=True))


def milliseconds_by_head(rows: list[Row]) -> dict[str, dict[str, float]]:
    """Forward and backward of each head's calls as training makes them, and the total, by method."""
    bars: dict[str, dict[str, float]] = {}
    for row in rows:
        if row.called or row.head == TOTAL:
            method = row.method if row.method in METHODS else AS_CONFIGURED
            head = bars.setdefault(row.head.split(",")[0], {})
            head[method] = head.get(method, 0.0) + row.milliseconds
    return bars


def written(milliseconds: float) -> str:
    return f"{milliseconds:,.0f}" if milliseconds >= 100 else f"{milliseconds:.2g}"


def draw_config(axes: Axes, rows: list[Row]) -> None:
    bars = milliseconds_by_head(rows)
    methods = [method for method in COLOURS if any(method in head for head in bars.values())]
    thickness = 0.8 / len(methods)
    for i, method in enumerate(methods):
        heads = [(place, head[method]) for place, head in enumerate(bars.values()) if method in head]
        places = [place + (i - (len(methods) - 1) / 2) * thickness for place, _ in heads]
        drawn = axes.barh(places, [time for _, time in heads], thickness, label=method, color=COLOURS[method])
        axes.bar_label(drawn, fmt=written, padding=2, fontsize="x-small")
    axes.set_yticks(range(len(bars)), list(bars))
    axes.invert_yaxis()
    axes.set(title=Path(rows[0].config).stem, xlabel="forward + backward, ms")
    axes.grid(axis="x", alpha=0.3)
    axes.margins(x=0.12)


def plot(path: Path, report: Report) -> None:
    """A panel a config, all on one scale, which is logarithmic where the times differ much.

    Nothing is drawn where not even one call of a head was timed to its end.
    """
    rows = report.with_totals()
    configs = list(dict.fromkeys(row.config for row in rows if row.called))
    if not configs:
        return
    figure = Figure(figsize=(7.5 * len(configs), 5.5), layout="constrained")
    panels = figure.subplots(1, len(configs), sharex=True, squeeze=False)[0]
    for axes, config in zip(panels, configs, strict=True):
        draw_config(axes, [row for row in rows if row.config == config])
    times = [time for axes in panels for bar in axes.patches if (time := bar.get_width()) > 0]
    if max(times) > LOG_FROM * min(times):
        panels[0].set_xscale("log")
    device = f"{report.environment['device']}, threads: {report.environment['threads']}"
    handles = {bars.get_label(): bars for axes in panels for bars in axes.containers}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(COLOURS))
    figure.suptitle(f"Classification losses of one training step ({device})")
    image = io.BytesIO()
    figure.savefig(image, dpi=110, format="png")
    write_bytes(path, image.getvalue())
