"""`report` on the command line: its options, and what it does with them."""

import argparse
from pathlib import Path
from typing import Any

from mmengine.config import Config

from brs_detr.data.calibration import Calibration
from brs_detr.data.checks import check_data
from brs_detr.engine import arguments, class_order
from brs_detr.engine.inference.detector import Detector
from brs_detr.engine.progress import console
from brs_detr.engine.progress.curves import LOGGED
from brs_detr.engine.report import content, page, ranking
from brs_detr.engine.report.collecting import collect, source_of
from brs_detr.engine.report.crops import Crops
from brs_detr.engine.running.trained import checkpoint_of
from brs_detr.engine.setup.config import load_config
from brs_detr.errors import InputError, printable, sentence
from brs_detr.losses import NotFiniteError
from brs_detr.weights import read_checkpoint

REPORT = "report.html"


def add_options(parser: argparse.ArgumentParser) -> None:
    arguments.add_config(parser)
    arguments.add_checkpoint(parser)
    parser.add_argument("--out", type=Path, metavar="FILE", help=f"default {REPORT} in the checkpoint's work directory")
    parser.add_argument(
        "--images", type=int, default=60, metavar="N", help="how many images with errors it holds, default %(default)s"
    )
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ...; default a GPU where there is one")


def run(args: argparse.Namespace) -> None:
    """One page on what a model gets right and wrong in its config's test data; it needs no network.

    python scripts/report.py WORK_DIR
    python scripts/report.py CONFIG CHECKPOINT --out report.html
    brs-detr report WORK_DIR --images 100
    """
    checkpoint = checkpoint_of(args.config, args.checkpoint)
    path = report(args.config, checkpoint, args.out, args.images, args.device, args.cfg_options)
    print(printable(f"{path} written"))


def outranked(config: Config, model: Any, classes: int, crops: Crops) -> dict[str, Any]:
    """What outranks what, or why that is ``absent``.

    Raises:
        InputError: what the model makes of an image is not finite.
    """
    try:
        found = ranking.outranked(config, model, classes, crops)
    except InputError as error:  # an image that cannot be read, which detection leaves out
        return {"absent": sentence(error)}
    except NotFiniteError as error:
        raise InputError(f"{error}: the checkpoint's training diverged. Use an earlier one.") from error
    return found or {
        "absent": "The head that detects has no ranking loss of this project: there is no ranking to show."
    }


def training_of(checkpoint: str, options: dict[str, Any]) -> Path | None:
    """The work directory of the checkpoint's training: the one that is given, else its own folder if that has a log."""
    folder = Path(options.get("work_dir") or Path(checkpoint).parent)
    return folder if any(folder.glob(LOGGED)) else None


def report(
    config_path: str,
    checkpoint: str,
    out: Path | None = None,
    images: int = 60,
    device: str | None = None,
    options: dict[str, Any] | None = None,
) -> Path:
    """Write the page.

    Args:
        images: how many images with errors it holds at most, the worst.

    Returns:
        Its path.

    Raises:
        InputError: something given cannot be used, or the page cannot be written.
    """
    console.silence_third_parties()
    config = load_config(config_path, options, None)
    training = training_of(checkpoint, options or {})
    path = out or Path(training or config.work_dir, REPORT)
    page.check_out(path)
    if images < 0:
        raise InputError("--images needs at least 0.")
    remarks, source = check_data(config, ("test",)), source_of(config)
    kept = read_checkpoint(checkpoint)
    calibration = Calibration.of(kept, checkpoint)
    detector = Detector(config, checkpoint, device=device, threshold=0, calibrated=False)
    crops = Crops()
    ranked = outranked(config, detector.model, len(source.classes), crops)
    collection = collect(detector, source, calibration)
    curves, unread = content.training(training) if training else (None, [])
    remarks += unread
    if collection.left_out:
        remarks.append(f"Images that are left out: {len(collection.left_out)}. {collection.left_out[0]}")
    for remark in remarks:
        console.warn(printable(remark))
    name = str(config.filename)
    page.write(
        path,
        {
            "title": Path(name).stem,
            "facts": content.facts(name, checkpoint, collection, str(detector.device)),
            "remarks": remarks + class_order.compare(config, "test", checkpoint, kept),  # the detector warned of these
            "classes": collection.source.classes,
            "precision": content.precision(collection),
            **content.detections(collection, images),
            "total": len(collection.examples),
            "ranking": ranked,
            "crops": crops.cut_all(),
            "training": curves,
            "calibrated": calibration is not None,
        },
    )
    return path
