"""The measurements as CSV, which grows from run to run, and as JSON."""

import csv
import io
import json
from pathlib import Path

from brs_detr.errors import InputError
from brs_detr.files import write_text

from .rows import Report


def check_csv(path: Path) -> None:
    """Raises InputError if the file is not one that `append_csv` may extend."""
    if path.exists() and not path.read_text().startswith("device,threads,torch,"):
        raise InputError(f"{path} holds something other than times of losses: give --csv another file.")


def append_csv(path: Path, report: Report) -> None:
    """One line a row, each with its environment."""
    lines = [report.environment | row.as_dict() for row in report.with_totals()]
    if not lines:
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, lines[0], lineterminator="\n")
    if not path.exists():
        writer.writeheader()
    writer.writerows(lines)
    write_text(path, (path.read_text() if path.exists() else "") + text.getvalue())


def write_json(path: Path, report: Report) -> None:
    content = {
        "environment": report.environment,
        "complete": not report.interrupted,
        "seconds_outside_the_losses": report.outside,
        "rows": [row.as_dict() for row in report.with_totals()],
    }
    write_text(path, json.dumps(content, indent=1) + "\n")
