"""What was measured: rows with their sums and shares of an iteration, and the files that they are recorded in."""

import csv
import io
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import mmdet
import torch

from brs_detr import files
from brs_detr.errors import InputError

from .measuring import Measurement, Times
from .recording import METHODS, Case

TOTAL = "total"
AS_CONFIGURED = "as configured"
CASE = ("config", "head", "layer", "method", "positives", "negatives")
COLUMNS = (  # of the CSV: what the times depend on, the case, and what was measured
    *("device", "threads", "torch", "mmdet", "seed", "source", "images", "image_size", "delta"),
    *CASE,
    *("forward_ms", "forward_ms_p20", "forward_ms_p80", "backward_ms", "backward_ms_p20", "backward_ms_p80"),
    *("repeats", "synchronisations", "memory_mb", "called_in_training", "share"),
)


def environment(device: torch.device) -> dict[str, Any]:
    """What every time depends on: the processor or GPU, the CPU's threads, and versions."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "mmdet": mmdet.__version__,
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


@dataclass(frozen=True)
class Row:
    """One case of one config. called: training makes this very call, so it counts in the total.

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
            **{name: getattr(self, name) for name in CASE},
            **times,
            "repeats": m.forward.runs,
            "synchronisations": m.synchronisations,
            "memory_mb": round(m.memory / 1e6, 3),
            "called_in_training": self.called,
            "share": None if self.share is None else round(self.share, 5),
        }


def row_of(config: str, case: Case, measurement: Measurement) -> Row:
    return Row(config, case.head, case.layer, case.method, case.positives, case.negatives, measurement, case.called)


@dataclass
class Report:
    """All that was measured.

    environment: what it depends on; outside: seconds of an iteration outside the losses, of finished configs, see
    `RecordedStep`.
    """

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
    """Sums; the memory is the largest of any call."""
    measured = [row.measurement for row in rows]
    total = Measurement(
        Times.sum([m.forward for m in measured]),
        Times.sum([m.backward for m in measured]),
        sum(m.synchronisations for m in measured),
        max(m.memory for m in measured),
    )
    positives, negatives = sum(row.positives for row in rows), sum(row.negatives for row in rows)
    return Row(rows[0].config, TOTAL, "one training step", method, positives, negatives, total, called=False)


def write_json(path: Path, report: Report) -> None:
    content = {
        "environment": report.environment,
        "complete": not report.interrupted,
        "seconds_outside_the_losses": report.outside,
        "rows": [row.as_dict() for row in report.with_totals()],
    }
    files.write_json(path, content, indent=1)


def check_csv(path: Path) -> None:
    """Raises InputError if the file is not one that `write_csv` may extend."""
    if path.exists() and not has_columns(path, COLUMNS):
        raise InputError(f"{path} holds something other than times of losses: give --csv another file.")


def write_csv(path: Path, report: Report) -> None:
    """Append one line a row, each with its environment."""
    append_csv(path, COLUMNS, [report.environment | row.as_dict() for row in report.with_totals()])


def has_columns(path: Path, columns: Sequence[str]) -> bool:
    with path.open(newline="", errors="replace") as file:
        return next(csv.reader(file), None) == list(columns)


def append_csv(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows are added to the file, or start it; what they hold beside its columns is left out.

    Raises InputError if the file has other columns.
    """
    if path.exists() and not has_columns(path, columns):
        raise InputError(f"{path} has other columns than {', '.join(columns)}.")
    if not rows:
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n", extrasaction="ignore")
    if not path.exists():
        writer.writeheader()
    writer.writerows(rows)
    files.write_text(path, (path.read_text() if path.exists() else "") + text.getvalue())
