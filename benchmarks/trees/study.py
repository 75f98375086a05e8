"""The trainings and their tests, in processes that find these functions also where they are started anew."""

import argparse
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path

from benchmarks import digits_results
from benchmarks.trainings import in_processes, train_quietly
from brs_detr.engine import launch
from brs_detr.errors import InputError

from . import results
from .configs import EPOCHS, FAMILIES, RATES, Run, write_config


def plan(args: argparse.Namespace) -> list[tuple[str, str, int]]:
    """Family, variant and epochs of each loss."""
    return [
        (family, variant, args.epochs or EPOCHS[family]) for family in args.families for variant in FAMILIES[family]
    ]


def train_all(args: argparse.Namespace) -> None:
    """First each loss with every rate, then with its best one all seeds, and their AP on the test photograph."""
    path = args.results / "trees.csv"
    measure = partial(train, data=args.data.absolute(), work_dir=args.work_dir)
    test = partial(evaluate, data=args.data.absolute(), work_dir=args.work_dir)
    losses = plan(args)
    run_all(measure, [Run(*loss[:2], rate, 0, loss[2]) for rate in RATES for loss in losses], "val", path, args.jobs)
    rates = {loss: results.best_rate(path, *loss) for loss in losses}
    best = [Run(*loss[:2], rate, seed, loss[2]) for seed in range(args.seeds) for loss, rate in rates.items() if rate]
    run_all(measure, best, "val", path, args.jobs)
    trained = {run for run, row in results.finished(path, "val").items() if row["AP"]}  # others diverged
    run_all(test, [run for run in best if run in trained], "test", path, args.jobs)


def run_all(function: Callable[[Run], dict[str, float]], runs: list[Run], split: str, path: Path, jobs: int) -> None:
    """Each run that has no result of the split yet."""
    done = results.finished(path, split)
    for run, result in in_processes(function, [run for run in runs if run not in done], jobs):
        results.append(path, run, split, result)
        print(run.name, split, *(f"{key} {value:.3f}" for key, value in result.items()), flush=True)


def train(run: Run, data: Path, work_dir: Path) -> dict[str, float]:
    """AP on the validation tiles at the end of a training, and times; nothing of one that diverged."""
    config = write_config(run, data, work_dir / run.name)
    try:
        return digits_results.read(train_quietly(config, run.epochs, run.seed))
    except InputError as error:
        if "training diverged" in str(error):  # a rate too high for a loss is a result
            return {}
        raise


def evaluate(run: Run, data: Path, work_dir: Path) -> dict[str, float]:
    """AP of a trained run on the test photograph."""
    folder = work_dir / run.name
    checkpoint = folder / "run" / f"epoch_{run.epochs}.pth"
    if not checkpoint.is_file():
        raise InputError(f"{checkpoint} is gone: remove the run's line from the CSV file, and it is trained again.")
    with (folder / "test.txt").open("w") as log, redirect_stdout(log), redirect_stderr(log):
        config = str(write_config(run, data, folder))
        metrics = launch.evaluate(config, str(checkpoint), folder=str(folder / "test"))
    return {"AP": metrics["bbox_mAP"], "AP50": metrics["bbox_mAP_50"]}
