"""What the command line offers: the options of each command, and what it does with them.

`brs-detr COMMAND` and scripts/*.py lead here through :mod:`brs_detr.command_line`.
"""

import argparse
import inspect
from collections.abc import Callable
from pathlib import Path

from brs_detr import endings, peers
from brs_detr.engine import arguments, launch, timing_command, train_command
from brs_detr.engine.arguments import KeyValue
from brs_detr.engine.calibrating import calibrate
from brs_detr.engine.checking import check_data
from brs_detr.engine.converting import convert
from brs_detr.engine.export.exporting import export
from brs_detr.engine.inference.predict import predict
from brs_detr.engine.progress import console
from brs_detr.engine.report import command as report_command
from brs_detr.engine.running.trained import checkpoint_of
from brs_detr.engine.setup import config_errors, config_names
from brs_detr.errors import InputError, printable
from brs_detr.files import check_destination


def add_test_options(parser: argparse.ArgumentParser) -> None:
    arguments.add_config(parser)
    arguments.add_checkpoint(parser)
    parser.add_argument("--work-dir", help="folder of the log; default work_dirs/NAME_OF_CONFIG")
    parser.add_argument("--out", metavar="FILE", help="where to write the metrics; default beside the log")
    parser.add_argument("--predictions", metavar="FILE", help="write all detections in the format of COCO's results")
    parser.add_argument("--per-class", action="store_true", help="AP of each class, too")
    parser.add_argument("--tta", action="store_true", help="test-time augmentation: several sizes, and reflections")
    arguments.add_launcher(parser)


def run_test(args: argparse.Namespace) -> None:
    """Evaluate a checkpoint as COCO does.

    python scripts/test.py CONFIG CHECKPOINT
    python scripts/test.py WORK_DIR
    brs-detr test brs_detr::brs_detr/brs-detr_r50_1x_coco.py CHECKPOINT
    """
    launch.evaluate(
        args.config,
        checkpoint_of(args.config, args.checkpoint),
        folder=args.work_dir,
        out=args.out,
        predictions=args.predictions,
        per_class=args.per_class,
        augment=args.tta,
        options=args.cfg_options,
        launcher=args.launcher,
    )


def add_calibrate_options(parser: argparse.ArgumentParser) -> None:
    arguments.add_config(parser)
    arguments.add_checkpoint(parser)
    parser.add_argument("--work-dir", help="folder of the log and the diagram; default work_dirs/NAME_OF_CONFIG")
    parser.add_argument(
        "--out", metavar="FILE", help="the calibrated checkpoint; one in the work directory is replaced by default"
    )


def run_calibrate(args: argparse.Namespace) -> None:
    """Fit a map from scores to the share of right detections on the config's validation data, and keep it.

    python scripts/calibrate.py WORK_DIR
    python scripts/calibrate.py CONFIG CHECKPOINT --out CALIBRATED.pth
    brs-detr calibrate WORK_DIR
    """
    calibrate(
        args.config,
        checkpoint_of(args.config, args.checkpoint),
        folder=args.work_dir,
        out=args.out,
        options=args.cfg_options,
    )


def add_predict_options(parser: argparse.ArgumentParser) -> None:
    arguments.add_config(parser)
    arguments.add_checkpoint(parser)
    parser.add_argument("source", metavar="IMAGE_OR_FOLDER")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the pictures")
    parser.add_argument("--score-thr", type=float, help="show boxes from it on; default the checkpoint's, or 0.3")
    parser.add_argument("--ann", metavar="FILE", help="COCO annotations: adds the ground truth of images it lists")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ...; default a GPU where there is one")
    parser.add_argument("--overwrite", action="store_true", help="write into a folder that is not empty")


def run_predict(args: argparse.Namespace) -> None:
    """Detect objects in images: a picture for each, and predictions.json.

    python scripts/predict.py CONFIG CHECKPOINT IMAGE_OR_FOLDER --out DIR
    python scripts/predict.py WORK_DIR IMAGE_OR_FOLDER --out DIR
    brs-detr predict CONFIG CHECKPOINT IMAGE_OR_FOLDER --out DIR
    """
    pictures = predict(
        args.config,
        checkpoint_of(args.config, args.checkpoint),
        args.source,
        args.out,
        threshold=args.score_thr,
        annotations=args.ann,
        device=args.device,
        overwrite=args.overwrite,
        options=args.cfg_options,
    )
    print(printable(f"{pictures} pictures and predictions.json written to {args.out}"))


def add_convert_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, metavar="SRC", help="a .pth or .safetensors file; never modified")
    parser.add_argument("destination", type=Path, metavar="DST", help="a .pth or .safetensors file to write")
    parser.add_argument("--config", help="of the model; by default the project's config that fits best")
    parser.add_argument("--half", action="store_true", help="write half precision, for a smaller file")
    parser.add_argument("--overwrite", action="store_true", help="replace the file if it exists")


def run_convert(args: argparse.Namespace) -> None:
    """Rewrite a published checkpoint (Co-DETR, BRS-DETR, mmdet, torchvision, Swin, timm) in this project's names.

    python scripts/convert_checkpoint.py co_deformable_detr_r50.pth converted.pth
    brs-detr convert weights.safetensors converted.pth --config CONFIG
    """
    console.silence_third_parties()
    check_destination(args.destination)
    if args.destination.exists() and not args.overwrite:
        raise InputError(f"{args.destination} exists: choose another DST, or replace it with --overwrite.")
    given = config_names.locate(args.config) if args.config else None
    config, report = convert(args.source, args.destination, given, args.half)
    print(f"{report}\n{printable(f'{args.destination} written for {config}')}")


def add_export_options(parser: argparse.ArgumentParser) -> None:
    arguments.add_config(parser)
    arguments.add_checkpoint(parser)
    parser.add_argument("--onnx", type=Path, required=True, metavar="OUT.onnx", help="the file to write")
    parser.add_argument("--size", metavar="N|WxH", help="of the input in pixels; default that of the test pipeline")
    parser.add_argument("--dynamic-batch", action="store_true", help="take any number of images at once, not one")
    parser.add_argument("--overwrite", action="store_true", help="replace the file if it exists")


def run_export(args: argparse.Namespace) -> None:
    """Write a trained model as a file of ONNX, and compare what it detects in onnxruntime with torch.

    python scripts/export.py CONFIG CHECKPOINT --onnx OUT.onnx
    python scripts/export.py WORK_DIR --onnx OUT.onnx --size 640 --dynamic-batch
    brs-detr export WORK_DIR --onnx OUT.onnx
    """
    preprocessing, difference = export(
        args.config,
        checkpoint_of(args.config, args.checkpoint),
        args.onnx,
        size=args.size,
        dynamic_batch=args.dynamic_batch,
        overwrite=args.overwrite,
        options=args.cfg_options,
    )
    size = f"{preprocessing.width}x{preprocessing.height}"
    print(printable(f"{args.onnx} written, for images of {size} pixels. Beside torch, its {difference}."))
    if turned := preprocessing.turned:
        kind = "Portrait" if preprocessing.width > preprocessing.height else "Landscape"
        print(f"{kind} images get smaller in it than predict makes them: export a file for them with --size {turned}.")


def add_check_data_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "data", metavar="CONFIG_OR_DATA", help="a config, data as train --data takes them, or one COCO file (.json)"
    )
    parser.add_argument("folder", nargs="?", metavar="FOLDER", help="of the COCO file's images")
    parser.add_argument("--images", action="store_true", help="open every image")
    parser.add_argument(
        "--fix", metavar="OUT", help="write a mended copy of COCO files: a file for one, a folder for all else"
    )
    parser.add_argument("--cfg-options", nargs="+", action=KeyValue, metavar="KEY=VALUE", help="change the config")


def run_check_data(args: argparse.Namespace) -> None:
    """Look at data before training on them: what they hold, and what is wrong with them.

    python scripts/check_data.py CONFIG --images
    python scripts/check_data.py DIR
    brs-detr check-data annotations.json images --fix mended.json

    The exit status is 0 where nothing is to be mended, 1 where --fix would mend something, 2 where data are refused.
    """
    console.silence_third_parties()
    status = check_data(args.data, args.folder, open_images=args.images, fix=args.fix, options=args.cfg_options)
    raise SystemExit(status)


COMMANDS: dict[str, tuple[Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], None]]] = {
    "train": (train_command.add_options, train_command.run),
    "test": (add_test_options, run_test),
    "calibrate": (add_calibrate_options, run_calibrate),
    "predict": (add_predict_options, run_predict),
    "report": (report_command.add_options, report_command.run),
    "time-loss": (timing_command.add_options, timing_command.run),
    "convert": (add_convert_options, run_convert),
    "export": (add_export_options, run_export),
    "check-data": (add_check_data_options, run_check_data),
}


def parsed(command: str, command_line: list[str] | None = None, program: str | None = None) -> argparse.Namespace:
    """The arguments of a command, the process's own unless given."""
    add_options, action = COMMANDS[command]
    parser = arguments.Parser(
        prog=program,
        description=inspect.getdoc(action),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_options(parser)
    endings.add_debug(parser)
    return parser.parse_intermixed_args(command_line)  # CHECKPOINT may be left out


def run(command: str, command_line: list[str] | None = None, program: str | None = None) -> None:
    """Parse the arguments of a command and run it."""
    args = parsed(command, command_line, program)
    with peers.together(), config_errors.explained(config_errors.given(args)):
        COMMANDS[command][1](args)
