"""ATSS on a hundred classes by Zipf's law: focal loss, Rank & Sort Loss, and each class ranked by itself.

    python -m benchmarks.long_tail                     # three trainings, an hour on a core; continues where it stopped
    python -m benchmarks.long_tail --losses focal --seeds 0 1 --rates 1e-3 2e-3
    python -m benchmarks.long_tail --table             # only the table of what has been measured

The classes are the numbers 00 to 99, of two handwritten digits each. The test images show them alike often, so that AP
is that of all classes; it is given by how many objects of a class the training images hold. Writes
benchmarks/results/long_tail.csv and long_tail.md.
"""

import argparse
from functools import partial
from pathlib import Path

from benchmarks.trainings import in_processes
from brs_detr.endings import add_debug, ends_with_a_sentence
from brs_detr.errors import InputError
from brs_detr.files import write_text

from . import study
from .data import Parameters, build
from .study import LOSSES, Run

ROOT = Path(__file__).resolve().parents[2]
RATE = 2e-3  # of the digits' configs


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--losses", nargs="+", choices=LOSSES, default=list(LOSSES))
    parser.add_argument("--rates", type=float, nargs="+", default=[RATE], help="learning rates")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--epochs", type=int, default=12, help="of 1000 images")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time, of one thread each")
    parser.add_argument(
        "--work-dir", type=Path, default=ROOT / "work_dirs" / "long_tail", help="data, logs, checkpoints"
    )
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--table", action="store_true", help="train nothing")
    add_debug(parser)
    return parser.parse_args()


def train_all(args: argparse.Namespace, data: Path) -> None:
    """Every run that has no result yet."""
    path = args.results / "long_tail.csv"
    wanted = [Run(loss, rate, seed, args.epochs) for seed in args.seeds for rate in args.rates for loss in args.losses]
    done = study.finished(path)
    function = partial(study.train, data=data, work_dir=args.work_dir.absolute())
    for run, result in in_processes(function, [run for run in wanted if run not in done], args.jobs):
        study.append(path, run, result)
        print(run.name, *(f"{key} {value:.3f}" for key, value in result.items()), flush=True)


@ends_with_a_sentence()
def main() -> None:
    args = parse()
    data = args.work_dir.absolute() / "data"
    build(data, Parameters())
    if not args.table:
        train_all(args, data)
    if not (args.results / "long_tail.csv").exists():
        raise InputError(f"{args.results} has no long_tail.csv: python -m benchmarks.long_tail writes it.")
    text = study.table(args.results / "long_tail.csv", data)
    write_text(args.results / "long_tail.md", text + "\n")
    print(text)


if __name__ == "__main__":
    main()
