"""The measurements as a table on the console."""

import sys
from itertools import groupby
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from .measuring import Milliseconds
from .rows import TOTAL, Report, Row

LEGEND = (
    "P, N: positive and negative logits. MB: memory beyond the logits. syncs: waits of the host for a GPU; on a CPU "
    "what would be one, but code for a CPU repeats it for every tile. runs: timed ones."
)
WIDTH = 180  # where the output is no terminal
NUMBERS = ("P", "N", "forward ms", "backward ms", "syncs", "MB", "share", "runs")
COLUMNS = ("head", "layer", "P", "N", "method", "forward ms", "backward ms", "syncs", "MB", "share", "runs")


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
        str(m.repeats),
    )


def spread(times: Milliseconds) -> str:
    digits = 0 if times.p50 >= 1000 else 1 if times.p50 >= 10 else 2
    return f"{times.p50:.{digits}f} ({times.p20:.{digits}f} to {times.p80:.{digits}f})"


def _empty_table(title: str, caption: str, columns: tuple[str, ...]) -> Table:
    table = Table(title=title, caption=caption, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.title_justify = table.caption_justify = "left"
    for name in columns:
        table.add_column(name, justify="right" if name in (*NUMBERS, "total ms") else "left", no_wrap=name in NUMBERS)
    return table
