"""Training and evaluation from a config file: everything between the command line and mmengine's runner."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import get_world_size, is_main_process

from brs_detr.data.calibration import Calibration
from brs_detr.data.calibration_fit import Calibrate, stored
from brs_detr.data.checks import check_data
from brs_detr.data.coco_metric import coco_metrics
from brs_detr.engine import class_order
from brs_detr.engine.progress import console, reliability, reporting
from brs_detr.engine.progress.metrics import BY_CLASS, may_be_replaced, without_prefix
from brs_detr.engine.running import (
    activations,
    batches,
    compiling,
    distributed,
    divergence,
    interim,
    resuming,
    tuning,
    work_dir,
)
from brs_detr.engine.running.checkpoints import Evaluator, Runner
from brs_detr.engine.running.preemption import preemptible
from brs_detr.engine.setup import normalisation, own_data, pipelines, views
from brs_detr.engine.setup.config import load_config, rank_over_processes, set_epochs, strings, use_mixed_precision
from brs_detr.engine.setup.own_data import OwnData
from brs_detr.engine.train_options import NOTHING, TrainOptions
from brs_detr.errors import InputError, printable, sentence
from brs_detr.files import check_destination, write_json
from brs_detr.weights import read_checkpoint


@preemptible
def train(config_path: str, given: TrainOptions = NOTHING) -> None:
    """Train a config; a signal ends the process, see `preemption`.

    Raises:
        InputError: anything given cannot be used; nothing has been written then.
    """
    console.silence_third_parties()
    distributed.start(given.launcher)
    resume, overwrite = resuming.after_restart(given.resume, given.overwrite)
    given = replace(given, resume=resume, overwrite=overwrite)
    config = load_config(config_path, given.options, given.folder)
    config.launcher = given.launcher
    with ExitStack() as held:
        distributed.first_process_decides(lambda: held.enter_context(work_dir.locked(config.work_dir)))
        train_here(config, config_path, given)


def train_here(config: Config, config_path: str, given: TrainOptions) -> None:
    """Train in the config's work directory, which is kept from other trainings."""
    said = resuming.forget_continued(config, given.options or {})
    with own_data.removed_on_failure() as written:
        said += use_own_data(config, given, written)
        said += configure(config, given)
        checkpoint, outdated, remarks = distributed.first_process_decides(lambda: prepare(config, config_path, given))
    runner = Runner.from_cfg(config)
    resuming.continue_from(runner, checkpoint)
    runner.outdated = outdated
    if given.checkpoint_activations:
        said.append(activations.checkpoint_activations(runner.model))
    if given.compiled:
        said.append(compiling.compile_parts(runner.model))
    run_training(runner, said + remarks)


def use_own_data(config: Config, given: TrainOptions, written: list[Path]) -> list[str]:
    """Put other images into a config. Returns remarks; `written` collects the files that are made of them."""
    pipelines.set_by_options(config, given.image_size, given.flip)
    if not given.data and given.share is None:
        return []
    loaded = bool(given.load_from or config.get("load_from"))
    continued = resuming.continued(config.work_dir, given.resume)
    own = OwnData(given.data, given.share, given.seed or 0, loaded, given.image_size is not None, continued)
    said = own_data.use(config, own, written)
    # what fits the data gives way to key=value options, and they to the command line's own arguments
    config.merge_from_dict({**(given.options or {}), "work_dir": config.work_dir, "launcher": given.launcher})
    return said


def configure(config: Config, given: TrainOptions) -> list[str]:
    """Change a config whose data and ``key=value`` options are settled.

    Returns:
        Remarks worth logging.
    """
    if given.load_from:
        config.load_from = given.load_from
    if given.seed is not None:
        config.randomness = {**config.get("randomness", {}), "seed": given.seed}
    if given.epochs is not None:
        set_epochs(config, given.epochs)
    if given.mixed_precision:
        use_mixed_precision(config)
    if given.sync_ranking:
        rank_over_processes(config)
    if given.checkpoint_minutes is not None:
        config.checkpoint_minutes = given.checkpoint_minutes
    distributed.adapt(config)
    said = [] if given.batch is None else [batches.set_batch(config, given.batch, get_world_size())]
    return said + tuning.set_options(
        config,
        freeze=given.freeze_backbone,
        average=given.average,
        patience=given.patience,
        logger=given.logger,
    )


def prepare(config: Config, config_path: str, given: TrainOptions) -> tuple[Path | None, list[Path], list[str]]:
    """Look at all that the training reads, then claim its work directory.

    Returns:
        The checkpoint to continue, what is to be discarded, and remarks.
    """
    resuming.check_options(given.resume, given.load_from, given.checkpoint_minutes)
    remarks = check_data(config, ("train", "val")) + normalisation.remarks(config)
    checkpoint, found = resuming.find_checkpoint(config.work_dir, given.resume) if given.resume else (None, [])
    if checkpoint:
        tuning.check_average(config, checkpoint)
        found = found + class_order.compare(config, "train", checkpoint, remedy=class_order.CONTINUED)
    elif config.get("load_from"):
        read_checkpoint(config.load_from)
        found = found + tuning.rate_remark(config, given.options or {})
    if given.checkpoint_activations:
        activations.check(config)
    if given.compiled:
        compiling.check(torch.device(get_device()))
    resume, needed = given.resume is not None, [*strings(config), config_path]
    outdated = work_dir.claim(
        config.work_dir, resume=resume, overwrite=given.overwrite, needed=needed, config=str(config.filename)
    )
    resuming.sweep(config.work_dir)
    return checkpoint, outdated, found + remarks


def run_training(runner: Runner, remarks: list[str]) -> None:
    """Train, and note what it took in ``training.json``."""
    for remark in remarks:
        runner.logger.warning(printable(remark))
    runner.new_classes = not runner._resume
    try:
        runner.train()
    except Exception as error:
        if reason := divergence.reason(error, runner.model, trained=runner.iter > 0):
            raise InputError(diverged(runner, reason)) from error
        if isinstance(error, InputError) and (said := interim.rescued(runner)):
            raise InputError(f"{sentence(error)} {said}") from error
        raise
    finally:
        console.close_progress(runner)
    if is_main_process():
        taken = runner.record.summary(runner.iter)
        write_json(Path(runner.work_dir, "training.json"), {"epochs": runner.epoch, **taken})
    distributed.stop()


def diverged(runner: Runner, reason: str) -> str:
    kept = f"the checkpoints in {runner.work_dir} are whole, and --resume continues from the last"
    return (
        f"{reason}: training diverged in iteration {runner.iter}. Lower the learning rate, or look for broken images "
        f"and boxes; {kept if runner.saved else 'no checkpoint had been saved'}."
    )


def evaluate(
    config_path: str,
    checkpoint: str,
    *,
    folder: str | None = None,
    out: str | None = None,
    predictions: str | None = None,
    per_class: bool = False,
    augment: bool = False,
    options: dict[str, Any] | None = None,
    launcher: str = "none",
) -> dict[str, float]:
    """Evaluate a checkpoint on the config's test data, and write the metrics as JSON.

    Args:
        folder: where the log goes; the config's work directory otherwise.
        out: the file of the metrics; ``metrics.json`` beside the log otherwise.
        predictions: a file for all detections in the format of COCO's results.
        per_class: print AP of each class, and write it beside the metrics.
        augment: detect in several views of each image, see `views`.

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
        if predictions:
            reporting.check_predictions(predictions, out)
        content = read_checkpoint(checkpoint)
        Calibration.of(content, checkpoint)
        if out and not may_be_replaced(Path(out)):
            raise InputError(f"{out} holds something other than metrics: give --out another file.")
        return check_data(config, ("test",)) + class_order.compare(config, "test", checkpoint, content)

    if not (config.get("test_dataloader") and config.get("test_evaluator")):
        raise InputError(f"{config.filename} has no test_dataloader, or no test_evaluator: evaluation needs both.")
    if predictions:
        reporting.coco_evaluator(config, "--predictions").predictions = predictions
    if per_class:
        reporting.coco_evaluator(config, "--per-class")
    remarks = distributed.first_process_decides(prepare)
    if augment:
        remarks.append(views.use_views(config))
    runner, metrics = run_test(config, remarks, stored(Calibration.of(read_checkpoint(checkpoint), checkpoint)))
    if is_main_process():
        write_metrics(runner, metrics, Path(out) if out else Path(runner.log_dir, "metrics.json"), per_class)
    distributed.stop()
    return metrics


def run_test(config: Config, remarks: list[str], calibrate: Calibrate) -> tuple[Evaluator, dict[str, float]]:
    """Evaluate the checkpoint that a config loads on its test data; remarks are logged.

    calibrate: what detections are calibrated by.

    Returns:
        The runner, and the metrics without their data set's prefix.

    Raises:
        InputError: what the model computes is not finite.
    """
    runner = Evaluator.from_cfg(config)
    for remark in remarks:
        runner.logger.warning(printable(remark))
    for metric in coco_metrics(runner.test_evaluator.metrics):
        metric.calibrate = calibrate
    try:
        results = runner.test()
    except Exception as error:
        if (reason := divergence.reason(error, runner.model)) is None:
            raise
        raise InputError(
            f"{reason}: {config.load_from} has no AP, for its training diverged. Use an earlier checkpoint."
        ) from error
    finally:
        console.close_progress(runner)
    return runner, without_prefix({name: float(value) for name, value in results.items()})


def write_metrics(runner: Evaluator, metrics: dict[str, float], path: Path, per_class: bool) -> None:
    """Write the metrics, those of each class beside them if asked for, and print them; a diagram of calibration."""
    found = reporting.by_class(runner.test_evaluator) if per_class else None
    write_json(path, metrics | ({} if found is None else {BY_CLASS: found}))
    if found is not None:
        reporting.print_by_class(found)
    reliability.write_reliability(path.parent, runner.test_evaluator, "by the checkpoint's map")
    said = ", ".join(f"{name} {value:.3f}" for name, value in metrics.items()) or "no metrics"
    print(printable(f"{path}: ") + said)
