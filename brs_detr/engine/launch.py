"""Training and evaluation from a config file: everything between the command line and mmengine's runner."""

import resource
import time
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import is_main_process

from brs_detr.data.checks import check_data
from brs_detr.engine import console, distributed, divergence, work_dir
from brs_detr.engine.checkpoints import Runner
from brs_detr.engine.config import load_config, set_epochs, strings, use_mixed_precision
from brs_detr.engine.metrics import may_be_replaced, without_prefix
from brs_detr.errors import InputError, printable
from brs_detr.files import check_destination, write_json
from brs_detr.weights import read_checkpoint

LAST = "last"  # --resume without a file


def resolve_resume(config: Config, resume: str) -> list[str]:
    """Point the config to the checkpoint to continue from; a remark where there is none yet."""
    path = work_dir.latest_checkpoint(config.work_dir) if resume == LAST else Path(resume)
    if path is None:
        return [f"No checkpoint in {config.work_dir} yet: training starts from the beginning."]
    config.load_from, config.resume = str(path), True
    return []


def train(
    config_path: str,
    *,
    folder: str | None = None,
    resume: str | None = None,
    load_from: str | None = None,
    overwrite: bool = False,
    mixed_precision: bool = False,
    epochs: int | None = None,
    seed: int | None = None,
    options: dict[str, Any] | None = None,
    launcher: str = "none",
) -> None:
    """Train a config.

    Args:
        folder: the work directory; the config's, or ``work_dirs/NAME`` otherwise.
        resume: a checkpoint to continue from, ``LAST`` for the last one of the work directory.
        load_from: a checkpoint whose weights to start from; its class layers may differ.
        overwrite: discard the training that the work directory holds.
        epochs: train for this many, with the learning-rate schedule in proportion.
        launcher: one of ``distributed.LAUNCHERS``.

    Raises:
        InputError: anything given cannot be used; nothing has been written then.
    """
    console.silence_third_parties()
    distributed.start(launcher)
    config = load_config(config_path, options, folder)
    config.launcher = launcher
    if epochs is not None:
        set_epochs(config, epochs)
    if mixed_precision:
        use_mixed_precision(config)
    if seed is not None:
        config.randomness = {**config.get("randomness", {}), "seed": seed}
    if load_from:
        config.load_from = load_from
    remarks = resolve_resume(config, resume) if resume else []
    distributed.adapt(config)

    def prepare() -> list[str]:
        found = check_data(config, ("train", "val"))
        if config.get("load_from"):
            read_checkpoint(config.load_from)
        work_dir.claim(
            config.work_dir, resume=resume is not None, overwrite=overwrite, needed=[*strings(config), config_path]
        )
        return found

    remarks += distributed.first_process_decides(prepare)
    run_training(Runner.from_cfg(config), remarks)


def run_training(runner: Runner, remarks: list[str]) -> None:
    """Train, and note what it took in ``training.json``."""
    for remark in remarks:
        runner.logger.warning(printable(remark))
    runner.new_classes = not runner._resume
    start = time.monotonic()
    try:
        runner.train()
    except Exception as error:
        if (reason := divergence.reason(error, runner.model, trained=runner.iter > 0)) is None:
            raise
        raise InputError(
            f"{reason}: training diverged in iteration {runner.iter}. Lower the learning rate, or look for broken "
            f"images and boxes; the checkpoints in {runner.work_dir} are whole, and --resume continues from the last."
        ) from error
    finally:
        console.close_progress(runner)
    if is_main_process():
        taken = {"seconds": round(time.monotonic() - start, 1), "epochs": runner.epoch, **peak_memory()}
        write_json(Path(runner.work_dir, "training.json"), taken)
    distributed.stop()


def peak_memory() -> dict[str, float]:
    """Most memory this process has held, in GB: resident, and on its GPU."""
    peak = {"peak_memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9}
    if torch.cuda.is_available():
        peak["peak_gpu_memory_gb"] = torch.cuda.max_memory_allocated() / 1e9
    return {name: round(value, 3) for name, value in peak.items()}


def evaluate(
    config_path: str,
    checkpoint: str,
    *,
    folder: str | None = None,
    out: str | None = None,
    options: dict[str, Any] | None = None,
    launcher: str = "none",
) -> dict[str, float]:
    """Evaluate a checkpoint on the config's test data, and write the metrics as JSON.

    Args:
        folder: where the log goes; the config's work directory otherwise.
        out: the file of the metrics; ``metrics.json`` beside the log otherwise.

    Returns:
        The metrics without their data set's prefix (COCO's are ``bbox_mAP``, ``bbox_mAP_50``, ...).
    """
    console.silence_third_parties()
    distributed.start(launcher)
    config = load_config(config_path, options, folder)
    config.launcher = launcher
    config.load_from, config.resume = checkpoint, False
    distributed.adapt(config)

    def prepare() -> list[str]:
        check_destination(out or Path(config.work_dir, "metrics.json"))
        read_checkpoint(checkpoint)
        if out and not may_be_replaced(Path(out)):
            raise InputError(f"{out} holds something other than metrics: give --out another file.")
        return check_data(config, ("test",))

    remarks = distributed.first_process_decides(prepare)
    runner = Runner.from_cfg(config)
    for remark in remarks:
        runner.logger.warning(printable(remark))
    try:
        results = runner.test()
    except Exception as error:
        if (reason := divergence.reason(error, runner.model)) is None:
            raise
        raise InputError(
            f"{reason}: {checkpoint} has no AP, for its training diverged. Use an earlier checkpoint."
        ) from error
    finally:
        console.close_progress(runner)
    metrics = without_prefix({name: float(value) for name, value in results.items()})
    if is_main_process():
        path = Path(out) if out else Path(runner.log_dir, "metrics.json")
        write_json(path, metrics)
        print(printable(f"{path}: ") + ", ".join(f"{name} {value:.3f}" for name, value in metrics.items()))
    distributed.stop()
    return metrics
