"""The decoder beside its helpers: the recipe of the quick start with other settings, one or several at a time.

    python -m benchmarks.decoder                                          # all; hours, continues where it stopped
    python -m benchmarks.decoder "fixed box weights, batch of 2" --seeds 0 1  # these changes together
    python -m benchmarks.decoder --table                                  # only the table of what has been measured

The changes are in `decoder_changes.py`, and chosen on the validation images. `test AP` is that of 200 other images,
made of scans of digits that no training and no choice has seen. Writes benchmarks/results/decoder.csv and decoder.md.
"""

import argparse
import os
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from mmengine.config import Config

from brs_detr.data import digits
from brs_detr.endings import add_debug, ends_with_a_sentence
from brs_detr.engine import launch
from brs_detr.files import write_text
from brs_detr.timing.report import append_csv

from . import digits_configs, digits_results
from .decoder_changes import CHANGES, PLAN, QUICK_START
from .digits_results import load, spread
from .paired import CONFIDENCE, another_run, gain
from .paired import HEADER as INTERVAL
from .report import markdown, origin
from .trainings import in_processes, train_quietly, where

ROOT = Path(__file__).resolve().parents[1]
DETECTORS = {"BRS-DETR": "brs_detr/brs-detr", "Co-DETR": "co_detr/co-deformable-detr"}
NMS = {"model.test_cfg.detr.nms": {"type": "nms", "iou_threshold": 0.7}}  # of duplicates
OTHER_HEADS: dict[str, dict[str, Any]] = {
    "by NMS": NMS,
    "ATSS head": {"model.eval_module": "one-stage"},
    "RoI head": {"model.eval_module": "two-stage"},
}
SCORES = ("AP", "AP50", *OTHER_HEADS, "test AP", "test AP by NMS")
COMPARED = ("AP", "by NMS", "test AP", "test AP by NMS")  # with those of the quick start
COMMAND = 'python -m benchmarks.decoder "CHANGES" --detectors DETECTOR --epochs EPOCHS --seeds 0 ...'
HEADER = ("detector", "changes", "epochs")
Groups = dict[tuple[str, str, str], list[dict[str, str]]]  # by these
HELD_OUT = digits.Parameters(train=1, val=1, test=200)


class Run(NamedTuple):
    """One training. changes: names in `CHANGES`, separated by commas."""

    detector: str
    changes: str
    seed: int
    epochs: int

    @property
    def name(self) -> str:
        return f"{self.detector} {self.changes} {self.epochs} {self.seed}".replace(",", "").replace(" ", "_")


COLUMNS = (*Run._fields, "APs", *SCORES, "seconds", "device", "torch")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("changes", nargs="*", help=f"of {', '.join(CHANGES)}; several by commas; all by default")
    parser.add_argument("--detectors", nargs="+", choices=DETECTORS, default=list(DETECTORS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--epochs", type=int, default=10, help="of 400 images")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time, of one thread each")
    parser.add_argument("--work-dir", type=Path, default=ROOT / "work_dirs" / "decoder", help="logs and checkpoints")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--table", action="store_true", help="train nothing")
    add_debug(parser)
    args = parser.parse_args()
    for changes in args.changes:
        if unknown := set(changes.split(", ")) - CHANGES.keys():
            parser.error(f"no change is called {', '.join(sorted(unknown))}; there are: {'; '.join(CHANGES)}")
    return args


def planned(args: argparse.Namespace) -> list[Run]:
    return [
        Run(detector, changes, seed, args.epochs)
        for seed in args.seeds
        for detector in args.detectors
        for changes in args.changes or PLAN[detector]
    ]


def write_config(run: Run, folder: Path) -> Path:
    """The config of a run as one file in `folder`, evaluated every second epoch."""
    config = Config.fromfile(digits_configs.CONFIGS / f"{DETECTORS[run.detector]}_tiny_digits.py")
    for name in run.changes.split(", "):
        config.merge_from_dict(CHANGES[name])
    return digits_configs.write(config, run.epochs, folder, val_interval=2)


def train(run: Run, work_dir: Path) -> dict[str, Any]:
    """AP of the decoder while it is trained; at the end also of its helpers, and on other images."""
    folder = work_dir / run.name
    config = write_config(run, folder)
    trained = train_quietly(config, run.epochs, run.seed)
    result = digits_results.read(trained)
    test = partial(evaluate, config, trained / f"epoch_{run.epochs}.pth", work_dir)
    return {
        "APs": " ".join(f"{ap:.3f}" for ap in digits_results.aps(trained)),
        **{name: result[name] for name in ("AP", "AP50", "seconds")},
        **{name: test(options) for name, options in OTHER_HEADS.items()},
        "test AP": test(held_out(work_dir)),
        "test AP by NMS": test(held_out(work_dir) | NMS),
    }


def evaluate(config: Path, checkpoint: Path, work_dir: Path, options: dict[str, Any]) -> float:
    """AP of a checkpoint with other options."""
    with (config.parent / "test.txt").open("a") as log, redirect_stdout(log), redirect_stderr(log):
        folder = str(config.parent / "test")
        return launch.evaluate(str(config), str(checkpoint), folder=folder, options=options)["bbox_mAP"]


def held_out(work_dir: Path) -> dict[str, Any]:
    """Options by which the other images are the test data."""
    annotations = f"{work_dir / 'held_out'}/annotations/test.json"
    return {
        "test_dataloader.dataset.data_root": f"{work_dir / 'held_out'}/",
        "test_dataloader.dataset.ann_file": "annotations/test.json",
        "test_dataloader.dataset.data_prefix.img": "test/",
        "test_evaluator.ann_file": annotations,
    }


def train_all(args: argparse.Namespace) -> None:
    """Every run that has no result yet."""
    digits.build(ROOT / "data" / "digits", digits.Parameters())
    digits.build(args.work_dir / "held_out", HELD_OUT)
    path = args.results / "decoder.csv"
    runs = [run for run in planned(args) if run not in finished(path)]
    for run, result in in_processes(partial(train, work_dir=args.work_dir.absolute()), runs, args.jobs):
        rounded = {key: value if isinstance(value, str) else f"{value:.4g}" for key, value in result.items()}
        append_csv(path, COLUMNS, [run._asdict() | rounded | where()])
        print(run.name, *(f"{key} {value}" for key, value in rounded.items()), flush=True)


def finished(path: Path) -> set[Run]:
    return {Run(row["detector"], row["changes"], int(row["seed"]), int(row["epochs"])) for row in load(path)}


def table(path: Path) -> str:
    """What the runs reach, and what they gain over the quick start of as many epochs."""
    groups: Groups = {}
    for row in sorted(load(path), key=lambda row: (row["detector"], int(row["seed"]))):
        groups.setdefault((row["detector"], row["changes"], row["epochs"]), []).append(row)
    ordered = dict(sorted(groups.items(), key=lambda group: (group[0][0], int(group[0][2]))))
    return "\n\n".join([origin(COMMAND, load(path)), reached(ordered), gained(ordered)])


def reached(groups: Groups) -> str:
    """Means over the seeds, with standard deviations; the median time; AP after each second epoch of the first seed."""
    rows = []
    for group, found in groups.items():
        seconds = f"{median(float(row['seconds']) for row in found):.2f}"
        rows.append([*group, str(len(found)), *(spread(found, name) for name in SCORES), seconds, found[0]["APs"]])
    return markdown([*HEADER, "seeds", *SCORES, "s / iteration", "AP after 2, 4, ... epochs, first seed"], rows)


def gained(groups: Groups) -> str:
    """Gains seed by seed, and where one more run would be, by the decoder alone."""
    rows = []
    for group, found in groups.items():
        recipe = groups.get((*QUICK_START, group[2]), [])
        gains = ["-" if found is recipe else gain(found, recipe, name) for name in COMPARED]
        rows.append([*group, *gains, *(another_run(found, name) for name in ("AP", "test AP"))])
    header = [f"{name} gained, {INTERVAL}" for name in COMPARED]
    header += [f"another run's {name}, {100 * CONFIDENCE:.0f} %" for name in ("AP", "test AP")]
    return markdown([*HEADER, *header], rows)


@ends_with_a_sentence()
def main() -> None:
    args = parse()
    os.chdir(ROOT)  # the configs name data/digits
    if not args.table:
        train_all(args)
    text = table(args.results / "decoder.csv")
    write_text(args.results / "decoder.md", text + "\n")
    print(text)


if __name__ == "__main__":
    main()
