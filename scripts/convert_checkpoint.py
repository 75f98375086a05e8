"""Rewrite a published checkpoint (Co-DETR, BRS-DETR, mmdet, torchvision, Swin, timm) in this project's names.

python scripts/convert_checkpoint.py co_deformable_detr_r50.pth converted.pth
python scripts/convert_checkpoint.py weights.safetensors converted.pth --config CONFIG
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works without installing the project

from brs_detr.engine import console
from brs_detr.engine.converting import convert
from brs_detr.errors import ends_with_a_sentence


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("source", type=Path, metavar="SRC", help="a .pth or .safetensors file; never modified")
    parser.add_argument("destination", type=Path, metavar="DST", help="a .pth or .safetensors file to write")
    parser.add_argument("--config", help="of the model; by default the project's config that fits best")
    parser.add_argument("--half", action="store_true", help="write half precision, for a smaller file")
    return parser.parse_args()


@ends_with_a_sentence
def main() -> None:
    args = parse()
    console.silence_third_parties()
    config, report = convert(args.source, args.destination, args.config, args.half)
    print(f"{report}\n{args.destination} written for {config}")


if __name__ == "__main__":
    main()
