"""The lines of the table: what was measured, its sums, and its share of an iteration."""

from dataclasses import dataclass, field, replace
from typing import Any

from .measuring import Measurement, Milliseconds
from .methods import METHODS, Cell

TOTAL = "total"
AS_CONFIGURED = "as configured"


@dataclass(frozen=True)
class Row:
    """One cell of one config. called: training makes this very call, so it counts in the total.

    share: of the iteration, or of the whole loss step where no iteration was run.
    """

    config: str
    head: str
    layer: str
    method: str
    positives: int
    negatives: int
    measurement: Measurement
    called: bool
    share: float | None = None

    @property
    def milliseconds(self) -> float:
        """Median forward and backward."""
        return self.measurement.forward.p50 + self.measurement.backward.p50

    def as_dict(self) -> dict[str, Any]:
        """Flat, for CSV and JSON."""
        m = self.measurement
        times = {
            f"{name}_ms{suffix}": round(getattr(values, percentile), 4)
            for name, values in (("forward", m.forward), ("backward", m.backward))
            for suffix, percentile in (("", "p50"), ("_p20", "p20"), ("_p80", "p80"))
        }
        return {
            "config": self.config,
            "head": self.head,
            "layer": self.layer,
            "method": self.method,
            "positives": self.positives,
            "negatives": self.negatives,
            **times,
            "repeats": m.repeats,
            "synchronisations": m.synchronisations,
            "memory_mb": round(m.memory / 1e6, 3),
            "called_in_training": self.called,
            "share": None if self.share is None else round(self.share, 5),
        }


def row_of(config: str, cell: Cell, measurement: Measurement) -> Row:
    return Row(config, cell.head, cell.layer, cell.method, cell.positives, cell.negatives, measurement, cell.called)


@dataclass
class Report:
    """All that was measured. environment: what it depends on; outside: see `Step.seconds`, of finished configs."""

    environment: dict[str, Any]
    rows: list[Row] = field(default_factory=list)
    outside: dict[str, float | None] = field(default_factory=dict)
    interrupted: bool = False

    def with_totals(self) -> list[Row]:
        """The rows with their shares; behind those of a finished config, its totals by method."""
        result: list[Row] = []
        for config in dict.fromkeys(row.config for row in self.rows):
            rows = [row for row in self.rows if row.config == config]
            result += with_shares(rows, self.outside[config]) if config in self.outside else rows
        return result


def with_shares(rows: list[Row], outside: float | None) -> list[Row]:
    """outside: seconds of the iteration outside the losses. A method's share supposes that the rest stays as it is."""
    sums = totals(rows)
    whole = {row.method: row.milliseconds + 1000 * (outside or 0.0) for row in sums}
    first = next(iter(whole.values()))  # losses that do not rank are the same beside every method
    return [replace(row, share=row.milliseconds / whole.get(row.method, first)) for row in rows + sums]


def totals(rows: list[Row]) -> list[Row]:
    """What the losses of one training step take by each method: the sums over the calls as training makes them."""
    called = [row for row in rows if row.called]
    methods = [method for method in METHODS if any(row.method == method for row in called)]
    plain = [row for row in called if row.method not in METHODS]
    return [
        total_of([row for row in called if row.method == method] + plain, method)
        for method in methods or [AS_CONFIGURED]
    ]


def total_of(rows: list[Row], method: str) -> Row:
    """Sums; the memory is the largest of any call. Sums of percentiles bound those of the sum, roughly."""
    measured = [row.measurement for row in rows]
    forward, backward = (
        Milliseconds(*(sum(column) for column in zip(*values, strict=True)))
        for values in ([m.forward for m in measured], [m.backward for m in measured])
    )
    total = Measurement(
        forward,
        backward,
        min(m.repeats for m in measured),
        sum(m.synchronisations for m in measured),
        max(m.memory for m in measured),
    )
    positives, negatives = sum(row.positives for row in rows), sum(row.negatives for row in rows)
    return Row(rows[0].config, TOTAL, "one training step", method, positives, negatives, total, called=False)
