"""Training and evaluation from a config file: everything between the command line and mmengine's runner."""

from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import get_world_size, is_main_process

from brs_detr.data.checks import check_data
from brs_detr.engine import (
    activations,
    batches,
    console,
    distributed,
    divergence,
    own_data,
    pipelines,
    reporting,
    resuming,
    tuning,
    views,
    work_dir,
)
from brs_detr.engine.checkpoints import Evaluator, Runner
from brs_detr.engine.config import load_config, rank_over_processes, set_epochs, strings, use_mixed_precision
from brs_detr.engine.metrics import BY_CLASS, may_be_replaced, without_prefix
from brs_detr.engine.own_data import OwnData
from brs_detr.engine.preemption import preemptible
from brs_detr.errors import InputError, printable
from brs_detr.files import check_destination, write_json
from brs_detr.weights import read_checkpoint


@preemptible
def train(
    config_path: str,
    *,
    folder: str | None = None,
    resume: str | None = None,
    load_from: str | None = None,
    overwrite: bool = False,
    mixed_precision: bool = False,
    sync_ranking: bool = False,
    epochs: int | None = None,
    seed: int | None = None,
    data: Path | None = None,
    share: float | None = None,
    image_size: str | None = None,
    flip: str | None = None,
    checkpoint_minutes: float | None = None,
    batch: int | None = None,
    checkpoint_activations: bool = False,
    freeze_backbone: bool = False,
    average: bool = False,
    patience: int | None = None,
    logger: str | None = None,
    options: dict[str, Any] | None = None,
    launcher: str = "none",
) -> None:
    """Train a config; a signal ends the process, see `preemption`.

    Args:
        folder: the work directory; the config's, or ``work_dirs/NAME`` otherwise.
        resume: a checkpoint to continue from, ``resuming.LAST`` for the newest of the work directory.
        load_from: a checkpoint whose weights to start from; its class layers may differ. With ``resuming.AUTO`` only
            while there is nothing to continue.
        overwrite: discard the training that the work directory holds; see ``resuming.after_restart``.
        sync_ranking: rank the samples of all processes together.
        epochs: train for this many, with the learning-rate schedule in proportion.
        data: a folder of one's own images, or its COCO file or data.yaml, instead of the config's data.
        share: of its training images, to validate on.
        image_size: ``N`` or ``WxH`` in pixels, which images are resized to fit.
        flip: of training images, one of ``pipelines.FLIPS``.
        checkpoint_minutes: save this often, too.
        batch: images of all processes for a step of the optimiser.
        checkpoint_activations: compute those of backbone and encoder again in the backward pass, for less memory.
        freeze_backbone: leave its weights as they are loaded.
        average: evaluate and save an exponential moving average of the weights.
        patience: evaluations without a better value after which training ends.
        logger: one of ``tuning.LOGGERS``, beside the local logs.
        launcher: one of ``distributed.LAUNCHERS``.

    Raises:
        InputError: anything given cannot be used; nothing has been written then.
    """
    console.silence_third_parties()
    distributed.start(launcher)
    resume, overwrite = resuming.after_restart(resume, overwrite)
    config = load_config(config_path, options, folder)
    config.launcher = launcher
    said = resuming.forget_continued(config, options or {})

    def prepare() -> tuple[Path | None, list[str]]:
        resuming.check_options(resume, load_from, checkpoint_minutes)
        remarks = check_data(config, ("train", "val"))
        checkpoint, found = resuming.find_checkpoint(config.work_dir, resume) if resume else (None, [])
        if checkpoint:
            tuning.check_average(config, checkpoint)
        elif config.get("load_from"):
            read_checkpoint(config.load_from)
            found = found + tuning.rate_remark(config, options or {})
        if checkpoint_activations:
            activations.check(config)
        work_dir.claim(
            config.work_dir, resume=resume is not None, overwrite=overwrite, needed=[*strings(config), config_path]
        )
        resuming.sweep(config.work_dir)
        return checkpoint, found + remarks

    pipelines.set_by_options(config, image_size, flip)
    with own_data.removed_on_failure() as written:
        if data or share is not None:
            loaded = bool(load_from or config.get("load_from"))
            own = OwnData(data, share, seed or 0, loaded, resized=image_size is not None)
            said += own_data.use(config, own, written)
            # what fits the data gives way to them, and they to the command line's own arguments
            config.merge_from_dict({**(options or {}), "work_dir": config.work_dir, "launcher": launcher})
        said += configure(
            config,
            load_from=load_from,
            seed=seed,
            epochs=epochs,
            mixed_precision=mixed_precision,
            sync_ranking=sync_ranking,
            checkpoint_minutes=checkpoint_minutes,
            batch=batch,
        )
        said += tuning.set_options(config, freeze=freeze_backbone, average=average, patience=patience, logger=logger)
        checkpoint, remarks = distributed.first_process_decides(prepare)
    runner = Runner.from_cfg(config)
    resuming.continue_from(runner, checkpoint)
    if checkpoint_activations:
        said.append(activations.checkpoint_activations(runner.model))
    run_training(runner, said + remarks)


def configure(
    config: Config,
    *,
    load_from: str | None,
    seed: int | None,
    epochs: int | None,
    mixed_precision: bool,
    sync_ranking: bool,
    checkpoint_minutes: float | None,
    batch: int | None,
) -> list[str]:
    """Let the arguments of `train` change a config whose data and ``key=value`` options are settled.

    Returns:
        Remarks worth logging.
    """
    if load_from:
        config.load_from = load_from
    if seed is not None:
        config.randomness = {**config.get("randomness", {}), "seed": seed}
    if epochs is not None:
        set_epochs(config, epochs)
    if mixed_precision:
        use_mixed_precision(config)
    if sync_ranking:
        rank_over_processes(config)
    if checkpoint_minutes is not None:
        config.checkpoint_minutes = checkpoint_minutes
    distributed.adapt(config)
    return [] if batch is None else [batches.set_batch(config, batch, get_world_size())]


def run_training(runner: Runner, remarks: list[str]) -> None:
    """Train, and note what it took in ``training.json``."""
    for remark in remarks:
        runner.logger.warning(printable(remark))
    runner.new_classes = not runner._resume
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
        taken = runner.record.summary(runner.iter)
        write_json(Path(runner.work_dir, "training.json"), {"epochs": runner.epoch, **taken})
    distributed.stop()


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
        read_checkpoint(checkpoint)
        if out and not may_be_replaced(Path(out)):
            raise InputError(f"{out} holds something other than metrics: give --out another file.")
        return check_data(config, ("test",))

    if predictions:
        reporting.coco_evaluator(config, "--predictions").predictions = predictions
    if per_class:
        reporting.coco_evaluator(config, "--per-class")
    remarks = distributed.first_process_decides(prepare)
    if augment:
        remarks.append(views.use_views(config))
    runner = Evaluator.from_cfg(config)
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
        found = reporting.by_class(runner.test_evaluator) if per_class else None
        write_json(path, metrics | ({} if found is None else {BY_CLASS: found}))
        if found is not None:
            reporting.print_by_class(found)
        print(printable(f"{path}: ") + ", ".join(f"{name} {value:.3f}" for name, value in metrics.items()))
    distributed.stop()
    return metrics
