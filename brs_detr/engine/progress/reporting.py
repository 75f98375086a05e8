"""What an evaluation tells on request, beside its metrics: AP of each class, and the detections as a file."""

from collections.abc import Mapping
from pathlib import Path

from mmdet.registry import METRICS
from mmengine.config import Config, ConfigDict
from mmengine.evaluator import Evaluator
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from brs_detr.data.coco_metric import CocoMetricWithThreshold
from brs_detr.errors import InputError, printable
from brs_detr.files import check_destination

RESULTS = b'[{"image_id"', b"[]"  # how a file of COCO's results begins


def coco_evaluator(config: Config, option: str, split: str = "test") -> ConfigDict:
    """The config's one evaluator of a split that evaluates as COCO does.

    Raises:
        InputError: there is none, or more than one.
    """
    given = config.get(f"{split}_evaluator")
    every = given if isinstance(given, list) else [given]
    found = [each for each in every if each and METRICS.get(each["type"]) is CocoMetricWithThreshold]
    if len(found) != 1:
        raise InputError(
            f"{option} needs one {split}_evaluator of type CocoMetricWithThreshold, and {config.filename} has "
            f"{len(found) or 'none'}."
        )
    return found[0]


def check_predictions(path: str, metrics: str | None) -> None:
    """Raises InputError if a file of predictions cannot be written, holds something else, or is that of the metrics."""
    check_destination(path)
    if metrics and Path(path).resolve() == Path(metrics).resolve():
        raise InputError(f"--predictions and --out need a file each, not {path}.")
    if Path(path).exists():
        with Path(path).open("rb") as file:
            start = file.read(len(RESULTS[0]))
        if start and not start.startswith(RESULTS):
            raise InputError(f"{path} holds something other than predictions: give --predictions another file.")


def by_class(evaluator: Evaluator) -> dict[str, dict[str, float]]:
    """AP of each class, as the evaluation has found it."""
    return next(metric.by_class for metric in evaluator.metrics if isinstance(metric, CocoMetricWithThreshold))


def print_by_class(found: Mapping[str, Mapping[str, float]]) -> None:
    """A row for each class, the best first; a dash where it has no object."""
    items = list(next(iter(found.values()), ()))
    table = Table("class", *(item.replace("_", " ") for item in items))
    for name, values in sorted(found.items(), key=lambda row: -row[1][items[0]]):
        table.add_row(escape(printable(name)), *("-" if values[item] < 0 else f"{values[item]:.3f}" for item in items))
    Console().print(table if found else "No class has an AP: nothing was detected, or compared.")
