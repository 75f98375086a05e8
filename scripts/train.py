"""Train a config.

python scripts/train.py configs/brs_detr/brs-detr_tiny_digits.py
bash scripts/dist_train.sh configs/brs_detr/brs-detr_r50_1x_coco.py 8
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works without installing the project

from brs_detr.engine import arguments, launch
from brs_detr.errors import ends_with_a_sentence


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    arguments.add_config(parser)
    parser.add_argument("--work-dir", help="checkpoints and logs; default work_dirs/NAME_OF_CONFIG")
    start = parser.add_mutually_exclusive_group()
    start.add_argument(
        "--resume",
        nargs="?",
        const=launch.LAST,
        metavar="CHECKPOINT",
        help="continue from a checkpoint, by default the last of the work directory",
    )
    start.add_argument("--load-from", metavar="CHECKPOINT", help="start from the weights of a checkpoint")
    start.add_argument("--overwrite", action="store_true", help="discard what the work directory holds")
    parser.add_argument("--amp", action="store_true", help="mixed precision, bfloat16 where the device has it")
    parser.add_argument("--epochs", type=int, help="train for this many, the learning-rate schedule in proportion")
    parser.add_argument("--seed", type=int)
    arguments.add_launcher(parser)
    return parser.parse_args()


@ends_with_a_sentence
def main() -> None:
    args = parse()
    launch.train(
        args.config,
        folder=args.work_dir,
        resume=args.resume,
        load_from=args.load_from,
        overwrite=args.overwrite,
        mixed_precision=args.amp,
        epochs=args.epochs,
        seed=args.seed,
        options=args.cfg_options,
        launcher=args.launcher,
    )


if __name__ == "__main__":
    main()
