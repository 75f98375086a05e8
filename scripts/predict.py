"""Detect objects in images: a picture for each, and predictions.json.

python scripts/predict.py CONFIG CHECKPOINT IMAGE_OR_FOLDER --out DIR
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works without installing the project

from brs_detr.engine import arguments
from brs_detr.engine.predict import predict
from brs_detr.errors import ends_with_a_sentence


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    arguments.add_config(parser)
    parser.add_argument("checkpoint")
    parser.add_argument("source", metavar="IMAGE_OR_FOLDER")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the pictures")
    parser.add_argument("--score-thr", type=float, default=0.3, help="show boxes from this score on")
    parser.add_argument("--ann", metavar="FILE", help="COCO annotations: adds the ground truth of images it lists")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ...; default a GPU where there is one")
    parser.add_argument("--overwrite", action="store_true", help="write into a folder that is not empty")
    return parser.parse_args()


@ends_with_a_sentence
def main() -> None:
    args = parse()
    pictures = predict(
        args.config,
        args.checkpoint,
        args.source,
        args.out,
        threshold=args.score_thr,
        annotations=args.ann,
        device=args.device,
        overwrite=args.overwrite,
        options=args.cfg_options,
    )
    print(f"{pictures} pictures and predictions.json written to {args.out}")


if __name__ == "__main__":
    main()
