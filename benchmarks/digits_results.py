"""Results of the trainings on digits: one line of a CSV each, and the table of means and spreads."""

import csv
from collections import defaultdict
from pathlib import Path
from statistics import median

import numpy as np

from brs_detr.engine.progress.curves import read_scalars
from brs_detr.timing.loss_time import LOSS_TIME
from brs_detr.timing.report import append_csv

from .digits_configs import FAMILIES, Run
from .paired import HEADER as INTERVAL
from .paired import gain
from .report import markdown, origin
from .trainings import where

METRICS = {"coco/bbox_mAP": "AP", "coco/bbox_mAP_50": "AP50", "coco/segm_mAP": "mask AP"}
COLUMNS = (*Run._fields, *METRICS.values(), "seconds", "loss_ms", "device", "torch")


def read(work_dir: Path) -> dict[str, float]:
    """AP at the end, and the medians of seconds an iteration and of milliseconds in the classification losses."""
    training, evaluations = read_scalars(work_dir)
    evaluation = evaluations[max(evaluations)]
    scores = {name: evaluation[key] for key, name in METRICS.items() if key in evaluation}
    seconds = median(row["time"] - row["data_time"] for row in training.values())
    return scores | {"seconds": seconds, "loss_ms": 1000 * median(row[LOSS_TIME] for row in training.values())}


def aps(work_dir: Path) -> list[float]:
    """AP of every evaluation, in order."""
    return [row["coco/bbox_mAP"] for _, row in sorted(read_scalars(work_dir)[1].items())]


def append(path: Path, run: Run, result: dict[str, float]) -> None:
    rounded = {key: f"{value:.4g}" for key, value in result.items()}
    append_csv(path, COLUMNS, [run._asdict() | rounded | where()])


def load(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def finished(path: Path) -> set[Run]:
    return {Run(row["family"], row["variant"], int(row["seed"]), int(row["epochs"])) for row in load(path)}


Rows = list[dict[str, str]]
Groups = dict[tuple[str, str, str], Rows]


def table(path: Path) -> str:
    """First the AP of every detector with every loss, then all columns: mean and standard deviation over the seeds.

    Of times the median, since other work on the machine disturbs one seed more than another.
    """
    rows, groups = load(path), defaultdict(list)
    for row in rows:
        groups[row["family"], row["variant"], row["epochs"]].append(row)
    order = [(family, variant) for family in FAMILIES for variant in FAMILIES[family]]
    ordered = dict(sorted(groups.items(), key=lambda item: order.index(item[0][:2])))
    command = f"python -m benchmarks.digits --epochs {' or '.join(sorted({row['epochs'] for row in rows}, key=int))}"
    return "\n\n".join([origin(command, rows), _aps(ordered), _all_columns(ordered)])


def _aps(groups: Groups) -> str:
    losses = list(dict.fromkeys(variant for _, variant, _ in groups))
    detectors = dict.fromkeys((family, epochs) for family, _, epochs in groups)
    rows = [
        [family, epochs, *(spread(groups.get((family, loss, epochs), []), "AP") for loss in losses)]
        for family, epochs in detectors
    ]
    return markdown(["AP", "epochs", *losses], rows)


def _all_columns(groups: Groups) -> str:
    rows = []
    for (family, variant, epochs), found in groups.items():
        scores = [spread(found, name) for name in METRICS.values()]
        baseline = groups.get((family, "baseline", epochs), [])
        gained = "-" if variant == "baseline" else gain(found, baseline, "AP")
        rows.append([family, variant, epochs, str(len(found)), *scores, gained, *_times(found, baseline)])
    header = [f"AP gained, {INTERVAL}", "s / iteration", "to the baseline's", "loss, ms", "loss, % of the iteration"]
    return markdown(["detector", "loss", "epochs", "seeds", *METRICS.values(), *header], rows)


def spread(rows: Rows, name: str) -> str:
    """Mean and standard deviation of a column."""
    values = [float(row[name]) for row in rows if row[name]]
    if not values:
        return "-"
    return f"{np.mean(values):.3f}" + (f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else "")


def _times(rows: Rows, baseline: Rows) -> list[str]:
    """Medians: seconds, their ratio to the baseline's of the same seed, milliseconds and percent in the losses."""
    seconds = {row["seed"]: float(row["seconds"]) for row in rows}
    losses = {row["seed"]: float(row["loss_ms"]) for row in rows}
    ratios = [seconds[row["seed"]] / float(row["seconds"]) for row in baseline if row["seed"] in seconds]
    shares = [losses[seed] / seconds[seed] / 10 for seed in seconds]
    return [
        f"{median(seconds.values()):.2f}",
        f"{median(ratios):.2f}" if ratios else "-",
        f"{median(losses.values()):.1f}",
        f"{median(shares):.1f}",
    ]
