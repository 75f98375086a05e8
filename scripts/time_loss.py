"""Time the classification losses of a training step, head by head and method by method.

python scripts/time_loss.py configs/brs_detr/brs-detr_r50_1x_coco.py configs/co_detr/co-deformable-detr_r50_1x_coco.py
python scripts/time_loss.py CONFIG --source model --image-size 320 320 --images 1
python scripts/time_loss.py CONFIG --source CHECKPOINT.pth --csv times.csv --plot times.png
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works without installing the project

from brs_detr.engine import console
from brs_detr.engine.arguments import KeyValue
from brs_detr.engine.launch import load_config
from brs_detr.errors import ends_with_a_sentence
from brs_detr.timing import display, report
from brs_detr.timing.measuring import Effort
from brs_detr.timing.recording import METHODS
from brs_detr.timing.run import Settings, time_losses


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("configs", nargs="+", metavar="CONFIG", help="config files, compared side by side")
    parser.add_argument(
        "--source",
        default="shapes",
        metavar="shapes|model|CHECKPOINT",
        help="whose outputs: random ones in the heads' shapes (default); the initialised model's on random "
        "images; or a checkpoint's on the config's training images. The last two tell the share of an iteration",
    )
    parser.add_argument(
        "--methods", nargs="+", choices=METHODS, default=list(METHODS), help="how to solve the ranking problems"
    )
    parser.add_argument("--images", type=int, default=4, help="batch size, default %(default)s")
    parser.add_argument("--image-size", type=int, nargs=2, default=[800, 1333], metavar=("H", "W"))
    parser.add_argument("--repeats", type=int, default=20, help="the most for each time, default %(default)s")
    parser.add_argument(
        "--seconds", type=float, default=2.0, help="the most for each time, but at least 3 repeats; default %(default)s"
    )
    parser.add_argument("--delta", type=float, help="of the ranking losses, instead of the config's")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, help="of the CPU")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--csv", type=Path, metavar="FILE", help="append the times to this file")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the times to this file")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write a bar chart (PNG)")
    parser.add_argument("--cfg-options", nargs="+", action=KeyValue, metavar="KEY=VALUE", help="change the configs")
    return parser.parse_args()


def settings_of(args: argparse.Namespace) -> Settings:
    return Settings(
        methods=tuple(dict.fromkeys(args.methods)),
        source=args.source,
        images=args.images,
        image_size=tuple(args.image_size),
        effort=Effort(args.repeats, args.seconds),
        delta=args.delta,
        device=args.device,
        threads=args.threads,
        seed=args.seed,
    )


@ends_with_a_sentence
def main() -> None:
    args = parse()
    console.silence_third_parties()
    if args.csv:
        report.check_csv(args.csv)
    configs = [(path, load_config(path, args.cfg_options, folder=None)) for path in args.configs]
    measured = time_losses(configs, settings_of(args))
    display.print_report(measured)
    if args.csv:
        report.write_csv(args.csv, measured)
    if args.json:
        report.write_json(args.json, measured)
    if args.plot:
        display.plot_report(args.plot, measured)
    if measured.interrupted:
        raise SystemExit(130)


if __name__ == "__main__":
    main()
