"""Evaluate a checkpoint with pycocotools.

python scripts/test.py configs/brs_detr/brs-detr_tiny_digits.py work_dirs/quickstart/epoch_8.pth
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
    parser.add_argument("checkpoint")
    parser.add_argument("--work-dir", help="folder of the log; default work_dirs/NAME_OF_CONFIG")
    parser.add_argument("--out", metavar="FILE", help="where to write the metrics; default beside the log")
    arguments.add_launcher(parser)
    return parser.parse_args()


@ends_with_a_sentence
def main() -> None:
    args = parse()
    launch.evaluate(
        args.config,
        args.checkpoint,
        folder=args.work_dir,
        out=args.out,
        options=args.cfg_options,
        launcher=args.launcher,
    )


if __name__ == "__main__":
    main()
