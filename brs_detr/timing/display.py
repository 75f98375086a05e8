"""The measurements as a table on the console, and as a bar chart."""

import io
import sys
from itertools import cycle, groupby
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from brs_detr.files import write_bytes

from .measuring import Times
from .recording import METHODS
from .report import AS_CONFIGURED, TOTAL, Report, Row

LEGEND = (
    "P, N: positive and negative logits. MB: memory beyond the logits. syncs: waits of the host for a GPU; on a CPU "
    "what would be one, but code for a CPU repeats it for every tile. runs: timed ones."
)
WIDTH = 180  # where the output is no terminal
NUMBERS = ("P", "N", "forward ms", "backward ms", "syncs", "MB", "share", "runs")
COLUMNS = ("head", "layer", "P", "N", "method", "forward ms", "backward ms", "syncs", "MB", "share", "runs")
LOG_FROM = 20  # times the smallest bar
PALETTE = ("#1b6ca8", "#e09f3e", "#a83232", "#6a994e", "#8e6bbf", "#4aa3a2")
COLOURS = dict(zip(METHODS, cycle(PALETTE), strict=False)) | {AS_CONFIGURED: "#7d7d7d"}


def print_report(report: Report) -> None:
    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    console.print("Classification losses of one training step: median (20th to 80th percentile)")
    console.print(", ".join(f"{name} {value}" for name, value in report.environment.items()))
    rows = report.with_totals()
    for config, group in groupby(rows, lambda row: row.config):
        console.print(table_of(list(group), config, report))
    if len(report.outside) > 1:
        console.print(comparison([row for row in rows if row.head == TOTAL]))
    if report.interrupted:
        console.print("Interrupted: only what had been measured by then is shown.")


def table_of(rows: list[Row], config: str, report: Report) -> Table:
    outside = report.outside.get(config)
    of = "the losses' time" if outside is None else f"the iteration ({outside:.3f} s outside the losses)"
    table = _empty_table(Path(config).stem, f"{LEGEND} share: of {of}.", COLUMNS)
    for (head, layer), group in groupby(rows, lambda row: (row.head, row.layer)):
        same = list(group)
        problem = (head, layer, str(same[0].positives), f"{same[0].negatives:,}")
        for row in same:
            table.add_row(*problem, *cells(row), end_section=len(same) > 1 and row is same[-1])
            problem = ("", "", "", "")
    return table


def comparison(totals: list[Row]) -> Table:
    """What a training step pays, config by config."""
    table = _empty_table("all configs", "one training step", ("config", "total ms", *COLUMNS[4:]))
    for row in totals:
        table.add_row(Path(row.config).stem, f"{row.milliseconds:.1f}", *cells(row))
    return table


def cells(row: Row) -> tuple[str, ...]:
    m = row.measurement
    share = "" if row.share is None else f"{100 * row.share:.1f}%"
    return (
        row.method,
        spread(m.forward),
        spread(m.backward),
        str(m.synchronisations),
        f"{m.memory / 1e6:.1f}",
        share,
        str(m.forward.runs),
    )


def spread(times: Times) -> str:
    digits = 0 if times.p50 >= 1000 else 1 if times.p50 >= 10 else 2
    return f"{times.p50:.{digits}f} ({times.p20:.{digits}f} to {times.p80:.{digits}f})"


def _empty_table(title: str, caption: str, columns: tuple[str, ...]) -> Table:
    table = Table(title=title, caption=caption, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.title_justify = table.caption_justify = "left"
    for name in columns:
        table.add_column(name, justify="right" if name in (*NUMBERS, "total ms") else "left", no_wrap=name in NUMBERS)
    return table


def milliseconds_by_head(rows: list[Row]) -> dict[str, dict[str, float]]:
    """Forward and backward of each head's calls as training makes them, and the total, by method."""
    bars: dict[str, dict[str, float]] = {}
    for row in rows:
        if row.called or row.head == TOTAL:
            method = row.method if row.method in METHODS else AS_CONFIGURED
            head = bars.setdefault(row.head.split(",")[0], {})
            head[method] = head.get(method, 0.0) + row.milliseconds
    return bars


def bar_label(milliseconds: float) -> str:
    return f"{milliseconds:,.0f}" if milliseconds >= 10 else f"{milliseconds:.2g}"


def draw_config(axes: Axes, rows: list[Row]) -> None:
    bars = milliseconds_by_head(rows)
    methods = [method for method in COLOURS if any(method in head for head in bars.values())]
    thickness = 0.8 / len(methods)
    for i, method in enumerate(methods):
        heads = [(place, head[method]) for place, head in enumerate(bars.values()) if method in head]
        places = [place + (i - (len(methods) - 1) / 2) * thickness for place, _ in heads]
        drawn = axes.barh(places, [time for _, time in heads], thickness, label=method, color=COLOURS[method])
        axes.bar_label(drawn, fmt=bar_label, padding=2, fontsize="x-small")
    axes.set_yticks(range(len(bars)), list(bars))
    axes.invert_yaxis()
    axes.set(title=Path(rows[0].config).stem, xlabel="forward + backward, ms")
    axes.grid(axis="x", alpha=0.3)
    axes.margins(x=0.12)


def plot_report(path: Path, report: Report) -> None:
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
