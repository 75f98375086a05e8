"""Tables, as text and Markdown, and a CSV that grows with every run."""

import csv
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from .methods import DELTA
from .racing import Times


@dataclass(frozen=True)
class Environment:
    """Where a number was measured."""

    device: str
    threads: int
    python: str
    torch: str

    def __str__(self) -> str:
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{self.device}, {threads}, Python {self.python}, torch {self.torch}, delta {DELTA}"


def environment(device: str) -> Environment:
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else _processor()
    return Environment(name, torch.get_num_threads(), platform.python_version(), torch.__version__)


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def append_csv(
    path: Path, where: Environment, part: str, positives: int, negatives: int, times: dict[str, Times]
) -> None:
    """One line a method."""
    rows = [
        asdict(where)
        | {"part": part, "P": positives, "N": negatives, "method": method, "ms": f"{1000 * t.p50:.4g}"}
        | {"ms_p20": f"{1000 * t.p20:.4g}", "ms_p80": f"{1000 * t.p80:.4g}", "runs": t.runs}
        for method, t in times.items()
    ]
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        if new:
            writer.writeheader()
        writer.writerows(rows)


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
    value = 1000 * times.p50
    return f"{value:.3g}" if value < 100 else f"{value:,.0f}"


def ratio(a: Times | None, b: Times | None) -> str:
    return f"{a.p50 / b.p50:.2f}" if a and b else "-"
