"""Runs of the long tail: their configs, trainings and results by how often a class was seen."""

import json
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mmengine.config import Config

from benchmarks import digits_configs, digits_results
from benchmarks.by_class import RankSortLossByClass
from benchmarks.digits_results import load, spread
from benchmarks.report import markdown, origin
from benchmarks.trainings import train_quietly, where
from brs_detr.engine import launch
from brs_detr.engine.progress.metrics import BY_CLASS
from brs_detr.engine.setup import adapting
from brs_detr.timing.report import append_csv

from .data import CLASSES, GROUPS, SPLITS, groups

FOCAL, RANKED, RANKED_BY_CLASS = "focal", "Rank & Sort", "Rank & Sort by class"
LOSSES = {FOCAL: "atss/atss", RANKED: "atss/brs-atss", RANKED_BY_CLASS: "atss/brs-atss"}
AP = "bbox_mAP"
COMMAND = "python -m benchmarks.long_tail"


class Run(NamedTuple):
    """One training."""

    loss: str
    rate: float
    seed: int
    epochs: int

    @property
    def name(self) -> str:
        return f"{self.loss} {self.rate:g} {self.seed} {self.epochs}".replace(" & ", "-").replace(" ", "_")


COLUMNS = (*Run._fields, "AP", *GROUPS, "val AP", "seconds", "device", "torch")


def write_config(run: Run, data: Path, folder: Path) -> Path:
    """The config of a run as one file in `folder`: ATSS of the digits, with as many classes. data: see `build`."""
    config = Config.fromfile(digits_configs.CONFIGS / f"{LOSSES[run.loss]}_tiny_digits.py")
    places = {split: (data / "annotations" / f"{split}.json", data / split) for split in SPLITS}
    adapting.use_data(config, places, CLASSES)
    if run.loss == RANKED_BY_CLASS:
        config.model.bbox_head.loss_cls.update(type=RankSortLossByClass.__name__, classes=len(CLASSES))
    config.optim_wrapper.optimizer.lr = run.rate
    return digits_configs.write(config, run.epochs, folder)


def train(run: Run, data: Path, work_dir: Path) -> dict[str, float]:
    """AP of the test images, whose classes are alike often, of all and by group, and of the validation images."""
    folder = work_dir / run.name
    config = write_config(run, data, folder)
    trained = train_quietly(config, run.epochs, run.seed)
    metrics = folder / "metrics.json"
    with (folder / "test.txt").open("w") as log, redirect_stdout(log), redirect_stderr(log):
        checkpoint = str(trained / f"epoch_{run.epochs}.pth")
        launch.evaluate(str(config), checkpoint, folder=str(folder / "test"), out=str(metrics), per_class=True)
    found, read = json.loads(metrics.read_text()), digits_results.read(trained)
    return {
        "AP": found[AP],
        **by_group(found[BY_CLASS], groups(data)),
        "val AP": read["AP"],
        "seconds": read["seconds"],
    }


def by_group(classes: Mapping[str, Mapping[str, float]], members: Mapping[str, list[str]]) -> dict[str, float]:
    """Mean AP of the classes of each group; those without objects have none."""
    values = {group: [classes[name][AP] for name in names if name in classes] for group, names in members.items()}
    return {group: float(np.mean([ap for ap in each if ap >= 0] or [np.nan])) for group, each in values.items()}


def append(path: Path, run: Run, result: Mapping[str, float]) -> None:
    rounded = {key: f"{value:.4g}" for key, value in result.items()}
    append_csv(path, COLUMNS, [run._asdict() | rounded | where()])


def finished(path: Path) -> set[Run]:
    return {Run(row["loss"], float(row["rate"]), int(row["seed"]), int(row["epochs"])) for row in load(path)}


def table(path: Path, data: Path) -> str:
    """Means over the seeds, with standard deviations; in the header how many classes a group has."""
    found: dict[tuple[str, str, str], list[Any]] = {}
    for row in load(path):
        found.setdefault((row["loss"], row["rate"], row["epochs"]), []).append(row)
    scores = ("AP", *GROUPS, "val AP", "seconds")
    sizes = [f"{group} ({len(names)} classes)" for group, names in groups(data).items()]
    rows = [[*key, str(len(each)), *(spread(each, name) for name in scores)] for key, each in found.items()]
    means = markdown(["loss", "rate", "epochs", "seeds", "test AP", *sizes, "val AP", "s / iteration"], rows)
    return f"{origin(COMMAND, load(path))}\n\n{means}"
