"""`time-loss` on the command line: its options, and what it does with them."""

import argparse
from pathlib import Path

from brs_detr.engine.arguments import KeyValue
from brs_detr.engine.progress import console
from brs_detr.engine.running.trained import checkpoint_of
from brs_detr.engine.setup.config import load_config
from brs_detr.errors import InputError
from brs_detr.files import check_destination
from brs_detr.timing import display, report
from brs_detr.timing.measuring import Effort
from brs_detr.timing.recording import METHODS
from brs_detr.timing.run import SHAPES, Settings, check, time_losses


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("configs", nargs="+", metavar="CONFIG", help="configs or work directories, side by side")
    parser.add_argument(
        "--source",
        metavar="shapes|model|CHECKPOINT",
        help="whose outputs: random ones in the heads' shapes (default); the initialised model's on random "
        "images; or a checkpoint's on the config's training images (default of one work directory). The last two tell "
        "the share of an iteration",
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


def source_of(args: argparse.Namespace) -> str:
    """Of a single work directory its checkpoint, unless --source says otherwise."""
    single = len(args.configs) == 1 and Path(args.configs[0]).is_dir()
    return args.source or (checkpoint_of(args.configs[0], None) if single else SHAPES)


def timing_settings(args: argparse.Namespace) -> Settings:
    return Settings(
        methods=tuple(dict.fromkeys(args.methods)),
        source=source_of(args),
        images=args.images,
        image_size=tuple(args.image_size),
        effort=Effort(args.repeats, args.seconds),
        delta=args.delta,
        device=args.device,
        threads=args.threads,
        seed=args.seed,
    )


def check_destinations(paths: list[Path]) -> None:
    """Raises InputError if the files cannot be written, or are one and the same."""
    for path in paths:
        check_destination(path)
    if len({path.resolve() for path in paths}) < len(paths):
        raise InputError(f"--csv, --json and --plot need a file each, not {', '.join(map(str, paths))}.")


def run(args: argparse.Namespace) -> None:
    """Time the classification losses of a training step, head by head and method by method.

    python scripts/time_loss.py configs/brs_detr/brs-detr_r50_1x_coco.py configs/co_dino/co-dino_5scale_r50_1x_coco.py
    python scripts/time_loss.py CONFIG --source model --image-size 320 320 --images 1
    brs-detr time-loss CONFIG --source CHECKPOINT.pth --csv times.csv --plot times.png
    """
    console.silence_third_parties()
    check_destinations([path for path in (args.csv, args.json, args.plot) if path])
    if args.csv:
        report.check_csv(args.csv)
    check(timing_settings(args))
    configs = [(path, load_config(path, args.cfg_options, folder=None)) for path in args.configs]
    measured = time_losses(configs, timing_settings(args))
    display.print_report(measured)
    if args.csv:
        report.write_csv(args.csv, measured)
    if args.json:
        report.write_json(args.json, measured)
    if args.plot:
        display.plot_report(args.plot, measured)
    if measured.interrupted:
        raise SystemExit(130)
