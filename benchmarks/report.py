"""Where results go; tables, as text and Markdown, and the figure of growing sizes."""

import argparse
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from brs_detr.files import write_bytes
from brs_detr.timing.measuring import Times

Growth = dict[tuple[int, int], dict[str, Times]]  # by (P, N) and method
STYLES = {
    "exact": dict(color="tab:blue", marker="o"),
    "torch.sort": dict(color="tab:orange", marker="s"),
    "bandwidth": dict(color="grey", linestyle="--"),
}
LABELS = {"torch.sort": "torch.sort of the logits", "bandwidth": "reading and writing once"}


def destination(description: str | None, default: Path) -> Path:
    """The file or folder that ``--out`` names, for a command that has no other option."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=default, help="in place of the repository's own results")
    return parser.parse_args().out


def origin(command: str, rows: Iterable[Mapping[str, str]]) -> str:
    """The line that begins a page: the command, and the devices and versions of torch that rows of its CSV name."""
    places = Counter(f"{row['device']}, torch {row['torch'].partition('+')[0]}" for row in rows)
    return "; ".join([f"By `{command}`", *(f"{number} results of {place}" for place, number in places.items())]) + "."


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose columns are aligned in plain text too."""
    widths = [max(len(row[k]) for row in (header, *rows)) for k in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

    return "\n".join([line(header), "|" + "|".join("-" * (w + 1) + ":" for w in widths) + "|", *map(line, rows)])


def size(number: int) -> str:
    """1000 -> 1k, 4096 -> 4k, 65536 -> 64k, 7000000 -> 7M."""
    if number % 1024 == 0 and number < 1e6:
        return f"{number // 1024}k"
    for unit, name in ((1e6, "M"), (1e3, "k")):
        if number >= unit:
            return f"{round(number / unit)}{name}"
    return str(number)


def milliseconds(times: Times | None) -> str:
    if times is None:
        return "-"
    return f"{times.p50:.3g}" if times.p50 < 100 else f"{times.p50:,.0f}"


def ratio(a: Times | None, b: Times | None) -> str:
    return f"{a.p50 / b.p50:.2f}" if a and b else "-"


def draw_growth(path: Path, title: str, by_positives: Growth, by_negatives: Growth) -> None:
    """How time grows with the number of positives and of negatives: two panels, logarithmic, with the exponents of
    fitted powers."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    _panel(left, by_positives, 0, "positives P, with N = 1M negatives")
    _panel(right, by_negatives, 1, "negatives N, with P = 1k positives")
    figure.suptitle(title, fontsize="small")
    image = io.BytesIO()
    figure.savefig(image, dpi=120, format="png")
    write_bytes(path, image.getvalue())


def _panel(axes: Axes, growth: Growth, which: int, label: str) -> None:
    sizes = [numbers[which] for numbers in growth]
    for method in next(iter(growth.values())):
        times = [measured[method] for measured in growth.values()]
        medians = [t.p50 for t in times]
        spread = [[t.p50 - t.p20 for t in times], [t.p80 - t.p50 for t in times]]
        name = f"{LABELS.get(method, method)}: exponent {exponent(sizes, medians):.2f}"
        axes.errorbar(sizes, medians, yerr=spread, label=name, markersize=4, **STYLES[method])
    axes.set(xscale="log", yscale="log", xlabel=label, ylabel="milliseconds, forward and backward")
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize="small")


def exponent(sizes: list[int], milliseconds: list[float]) -> float:
    """k of the power size^k that fits best in logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(milliseconds), 1)[0])
