"""Results of the trainings on digits: one line of a CSV each, and the table of means and spreads."""

import csv
import json
from collections import defaultdict
from pathlib import Path
from statistics import median

import numpy as np

from .digits_configs import FAMILIES, Run
from .report import environment, markdown

METRICS = {"coco/bbox_mAP": "AP", "coco/bbox_mAP_50": "AP50", "coco/segm_mAP": "mask AP"}


def read(work_dir: Path) -> dict[str, float]:
    """AP at the end, and the medians of seconds an iteration and of milliseconds in the classification losses."""
    rows = [json.loads(line) for file in work_dir.glob("*/vis_data/scalars.json") for line in file.open()]
    training = [row for row in rows if "loss" in row]
    evaluation = next(row for row in reversed(rows) if "coco/bbox_mAP" in row)
    scores = {name: evaluation[key] for key, name in METRICS.items() if key in evaluation}
    seconds = median(row["time"] - row["data_time"] for row in training)
    return scores | {"seconds": seconds, "loss_ms": 1000 * median(row["loss_time"] for row in training)}


def append(path: Path, run: Run, result: dict[str, float]) -> None:
    columns = [*Run._fields, *METRICS.values(), "seconds", "loss_ms", "device", "torch"]
    where = environment("cpu")
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, columns)
        if new:
            writer.writeheader()
        rounded = {key: f"{value:.4g}" for key, value in result.items()}
        writer.writerow(run._asdict() | rounded | {"device": where.device, "torch": where.torch})


def load(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def finished(path: Path) -> set[Run]:
    return {Run(row["family"], row["variant"], int(row["seed"]), int(row["epochs"])) for row in load(path)}


def table(path: Path) -> str:
    """Mean and standard deviation over the seeds, for each detector, loss and number of epochs."""
    groups = defaultdict(list)
    for row in load(path):
        groups[row["family"], row["variant"], row["epochs"]].append(row)
    order = [(family, variant) for family in FAMILIES for variant in FAMILIES[family]]
    rows = []
    for (family, variant, epochs), found in sorted(groups.items(), key=lambda item: order.index(item[0][:2])):
        cells = [_spread(found, name) for name in (*METRICS.values(), "seconds", "loss_ms")]
        rows.append([family, variant, epochs, str(len(found)), *cells])
    return markdown(["detector", "loss", "epochs", "seeds", *METRICS.values(), "s / iteration", "loss, ms"], rows)


def _spread(rows: list[dict[str, str]], name: str) -> str:
    values = [float(row[name]) for row in rows if row[name]]
    if not values:
        return "-"
    digits = 1 if name == "loss_ms" else 3
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {np.std(values, ddof=1):.{digits}f}"
