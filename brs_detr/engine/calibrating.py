"""Calibrating a checkpoint of any training: evaluated on validation data, and kept with its map and threshold."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor

from brs_detr.data.calibration import KEY, Calibration
from brs_detr.data.calibration_fit import fit
from brs_detr.data.checks import check_data
from brs_detr.data.coco_metric import coco_metrics
from brs_detr.engine import class_order, launch
from brs_detr.engine.progress import console, reporting
from brs_detr.engine.progress.reliability import NAME, write_reliability
from brs_detr.engine.setup.config import load_config
from brs_detr.errors import InputError, printable
from brs_detr.files import check_destination, whole_file
from brs_detr.weights import read_checkpoint


def calibrate(
    config_path: str,
    checkpoint: str,
    *,
    folder: str | None = None,
    out: str | None = None,
    options: dict[str, Any] | None = None,
) -> Calibration:
    """Write a checkpoint with the calibration of its weights, and ``reliability.png`` into the work directory.

    Args:
        folder: the work directory; the config's otherwise.
        out: the file to write, by default the checkpoint itself if it lies in the work directory.

    Raises:
        InputError: something given cannot be used, no detection is right, or the checkpoint has become another one
            meanwhile; nothing is written then.
    """
    console.silence_third_parties()
    config = load_config(config_path, options, folder)
    before, content = state_of(checkpoint), read_checkpoint(checkpoint)
    destination = destination_of(checkpoint, out, config.work_dir)
    check_destination(Path(config.work_dir, NAME))
    test_on_validation(config)
    config.launcher, config.load_from, config.resume = "none", checkpoint, False
    remarks = check_data(config, ("val",)) + class_order.compare(config, "val", checkpoint, content)
    runner, metrics = launch.run_test(config, remarks, fit)
    (metric,) = coco_metrics(runner.test_evaluator.metrics)
    if metric.outcome is None or metric.outcome.calibration is None:
        said = metric.outcome.said if metric.outcome else "it was not evaluated"
        raise InputError(f"{checkpoint} stays as it is, {said}: train it longer, or give it other validation data.")
    write_calibrated(destination, content, metric.outcome.calibration, lambda: check_unchanged(checkpoint, before))
    diagram = write_reliability(config.work_dir, runner.test_evaluator, "on images not fitted to")
    for line in summary(metrics, metric.outcome.said):
        print(line)
    print(printable(f"{destination} written" + (f", and {diagram}" if diagram else "")))
    return metric.outcome.calibration


def destination_of(checkpoint: str, out: str | None, folder: str) -> Path:
    """The file to write: `out`, else the checkpoint itself.

    Raises:
        InputError: the checkpoint would be replaced, and lies outside the work directory; or `out` is another file
            that exists, or is no .pth.
    """
    if out is None and Path(checkpoint).resolve().parent != Path(folder).resolve():
        raise InputError(
            f"{checkpoint} lies outside the work directory {folder}: say with --out where the calibrated checkpoint "
            "goes; its own name replaces it."
        )
    destination = Path(out or checkpoint)
    if destination.suffix != ".pth":
        raise InputError(f"{destination} has no place for a calibration: give --out the name of a .pth file.")
    check_destination(destination)
    if destination.exists() and not (Path(checkpoint).exists() and destination.samefile(checkpoint)):
        raise InputError(f"{destination} exists already: choose another --out, for nothing is overwritten.")
    return destination


def test_on_validation(config: Config) -> None:
    """Put the validation data of a config in the place of its test data.

    Raises:
        InputError: there are none, or they are not evaluated as COCO does.
    """
    if not config.get("val_dataloader"):
        raise InputError(f"{config.filename} has no val_dataloader: calibration needs validation data.")
    reporting.coco_evaluator(config, "calibrate", "val")
    config.test_dataloader, config.test_evaluator = config.val_dataloader, config.val_evaluator
    config.test_cfg = dict(type="TestLoop")


def state_of(checkpoint: str) -> tuple[int, int] | None:
    """What tells a file from whatever takes its place; None where there is none, as for a web address."""
    with suppress(OSError, ValueError):
        found = os.stat(checkpoint)
        return found.st_ino, found.st_mtime_ns
    return None


def check_unchanged(checkpoint: str, before: tuple[int, int] | None) -> None:
    """Raises InputError if a checkpoint is not the one that was read: what was fitted is of other weights then."""
    if state_of(checkpoint) != before:
        raise InputError(
            f"{checkpoint} was changed or removed while it was calibrated, perhaps by a training in its folder, and no "
            "calibration was written: run the command again after the training, or on a copy of the checkpoint."
        )


def write_calibrated(path: Path, content: dict[str, Any], calibration: Calibration, check: Callable[[], None]) -> None:
    """Write a checkpoint's content with a calibration; a file that is replaced keeps its time, which orders them.

    check: is called as late as can be, and raises where nothing is to be replaced.
    """
    bare = any(isinstance(value, Tensor) for value in content.values())
    whole = {**({"state_dict": content} if bare else content), KEY: calibration.as_dict()}
    times = None
    with suppress(FileNotFoundError):
        times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    with whole_file(path) as temporary, temporary.open("wb") as file:
        torch.save(whole, file)
        check()
    if times:
        os.utime(path, ns=times)


def summary(metrics: dict[str, float], said: str) -> list[str]:
    """Errors before and after, and the threshold."""
    lines = [f"Scores: {said}."]
    for name, label in (("d_ece", "D-ECE"), ("laece", "LaECE")):
        if f"{name}_calibrated" in metrics:
            after = metrics[f"{name}_calibrated"]
            lines.append(f"{label} {metrics[name]:.3f} before, {after:.3f} after, on images that were not fitted to")
    after = metrics["calibrated_score_thr"]
    return [*lines, f"Best threshold {metrics['score_thr']:.3f} before, {after:.3f} after (F1 at IoU 0.5)"]
