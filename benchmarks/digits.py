"""Small trainings on the embedded digits: every detector with every loss, several seeds.

    python -m benchmarks.digits                              # all; hours on two CPU cores, continues where it stopped
    python -m benchmarks.digits faster_rcnn atss --seeds 1
    python -m benchmarks.digits --table                      # only the table of what has been measured

The detectors differ in their loss alone: same model, data, schedule, learning rate and number of
epochs. Writes benchmarks/results/digits.csv and digits.md. Digits are not COCO.
"""

import argparse
import os
from functools import partial
from pathlib import Path

from brs_detr.data import digits
from brs_detr.endings import add_debug, ends_with_a_sentence
from brs_detr.files import write_text

from . import digits_results
from .digits_configs import FAMILIES, Run, write_config
from .trainings import in_processes, train_quietly

ROOT = Path(__file__).resolve().parents[1]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", help=f"of {', '.join(FAMILIES)}; all by default")
    parser.add_argument("--losses", nargs="+", help="of those in the table, such as baseline exact; all by default")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=8, help="of 400 images")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time, of one thread each")
    parser.add_argument("--work-dir", type=Path, default=ROOT / "work_dirs" / "study", help="logs and checkpoints")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--table", action="store_true", help="train nothing")
    add_debug(parser)
    args = parser.parse_args()
    losses = {name: None for variants in FAMILIES.values() for name in variants}
    for kind, given, known in (("family", args.families, FAMILIES), ("loss", args.losses or (), losses)):
        if unknown := set(given) - known.keys():
            parser.error(f"no {kind} is called {', '.join(sorted(unknown))}; there are: {'; '.join(known)}")
    return args


def planned(args: argparse.Namespace) -> list[Run]:
    """Seed by seed, so that an interrupted study has something of every detector."""
    return [
        Run(family, variant, seed, args.epochs)
        for seed in range(args.seeds)
        for family in args.families or FAMILIES
        for variant in FAMILIES[family]
        if not args.losses or variant in args.losses
    ]


def train(run: Run, work_dir: Path) -> dict[str, float]:
    """The result of a training."""
    return digits_results.read(train_quietly(write_config(run, work_dir / run.name), run.epochs, run.seed))


def train_all(args: argparse.Namespace) -> None:
    """Every run that has no result yet."""
    digits.build(ROOT / "data" / "digits", digits.Parameters())
    path = args.results / "digits.csv"
    done = digits_results.finished(path)
    runs = [run for run in planned(args) if run not in done]
    for run, result in in_processes(partial(train, work_dir=args.work_dir), runs, args.jobs):
        digits_results.append(path, run, result)
        print(run.name, *(f"{key} {value:.3f}" for key, value in result.items()), flush=True)


@ends_with_a_sentence()
def main() -> None:
    args = parse()
    os.chdir(ROOT)  # the configs name data/digits
    if not args.table:
        train_all(args)
    text = digits_results.table(args.results / "digits.csv")
    write_text(args.results / "digits.md", text + "\n")
    print(text)


if __name__ == "__main__":
    main()
