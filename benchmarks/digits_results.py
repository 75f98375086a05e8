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
    """Mean and standard deviation over the seeds: first the AP of every detector with every loss, then all columns."""
    groups = defaultdict(list)
    for row in load(path):
        share = float(row["loss_ms"]) / float(row["seconds"]) / 10
        groups[row["family"], row["variant"], row["epochs"]].append(row | {"share": f"{share}"})
    order = [(family, variant) for family in FAMILIES for variant in FAMILIES[family]]
    ordered = dict(sorted(groups.items(), key=lambda item: order.index(item[0][:2])))
    return f"{_aps(ordered)}\n\n{_all_columns(ordered)}"


Groups = dict[tuple[str, str, str], list[dict[str, str]]]


def _aps(groups: Groups) -> str:
    losses = list(dict.fromkeys(variant for _, variant, _ in groups))
    detectors = dict.fromkeys((family, epochs) for family, _, epochs in groups)
    rows = [
        [family, epochs, *(_spread(groups.get((family, loss, epochs), []), "AP") for loss in losses)]
        for family, epochs in detectors
    ]
    return markdown(["AP", "epochs", *losses], rows)


def _all_columns(groups: Groups) -> str:
    columns = {**{name: name for name in METRICS.values()}, "seconds": "s / iteration", "loss_ms": "loss, ms"}
    columns["share"] = "loss, % of the iteration"
    rows = [
        [family, variant, epochs, str(len(found)), *(_spread(found, name) for name in columns)]
        for (family, variant, epochs), found in groups.items()
    ]
    return markdown(["detector", "loss", "epochs", "seeds", *columns.values()], rows)


def _spread(rows: list[dict[str, str]], name: str) -> str:
    values = [float(row[name]) for row in rows if row[name]]
    if not values:
        return "-"
    digits = 1 if name in ("loss_ms", "share") else 3
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {np.std(values, ddof=1):.{digits}f}"
