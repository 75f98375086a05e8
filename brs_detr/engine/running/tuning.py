"""Options of fine-tuning, each over a part of mmengine: a frozen backbone, averaged weights, an early end, trackers.

``--freeze-backbone``   gradients off, evaluation mode       config.freeze_backbone
``--ema``               `AveragingHook`                      config.custom_hooks
``--early-stop N``      `PatienceHook`                       config.custom_hooks
``--logger NAME``       a backend of the visualizer          config.visualizer.vis_backends
"""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmdet.registry import HOOKS
from mmengine.config import Config, ConfigDict
from mmengine.hooks import EarlyStoppingHook, EMAHook
from mmengine.runner import BaseLoop, Runner
from torch import nn

from brs_detr.engine.running.batches import counted
from brs_detr.errors import InputError
from brs_detr.weights import read_checkpoint

AVERAGE = dict(type="AveragingHook")
LONGEST, SHARE = 5000, 0.1  # the average spans mmdet's number of iterations, but no more than a share of them
LEAST_GAIN = 0.0005  # half the last digit of mmdet's metrics
LOGGERS = {"tensorboard": "TensorboardVisBackend", "wandb": "WandbVisBackend", "mlflow": "MLflowVisBackend"}
FINE_TUNING = 0.1  # of a learning rate that trains a detector from its backbone's weights


def set_options(config: Config, *, freeze: bool, average: bool, patience: int | None, logger: str | None) -> list[str]:
    """Change a config as the options of the command line say.

    Returns:
        Remarks worth logging.

    Raises:
        InputError: one of them does not go with the config, or needs a package that is not installed.
    """
    remarks = freeze_backbone(config) if freeze else []
    if average and not averages(config):
        add_hook(config, AVERAGE)
    if patience is not None:
        add_hook(config, dict(type="PatienceHook", patience=patience, **watched(config, patience)))
    if logger:
        add_logger(config, logger)
    return remarks


def freeze_backbone(config: Config) -> list[str]:
    """Let the training freeze the backbone; a remark where its weights would be random."""
    if "backbone" not in config.model:
        raise InputError(f"--freeze-backbone: the model of {config.filename} has no backbone.")
    config.freeze_backbone = True
    backbone = config.model.backbone or {}
    if config.get("load_from") or backbone.get("init_cfg") or backbone.get("pretrained"):
        return []
    return ["--freeze-backbone: the weights of the backbone are random and stay so, unless --load-from gives others."]


def add_hook(config: Config, hook: dict[str, Any]) -> None:
    """Add a hook, in place of one of its type."""
    others = [each for each in config.get("custom_hooks") or [] if each["type"] != hook["type"]]
    config.custom_hooks = [*others, ConfigDict(hook)]


def averages(config: Config) -> bool:
    return any(each["type"] in ("EMAHook", AVERAGE["type"]) for each in config.get("custom_hooks") or [])


def watched(config: Config, patience: int) -> dict[str, str]:
    """The metric by which the best checkpoint is chosen, and which values of it are better."""
    if patience < 1:
        raise InputError("--early-stop needs at least 1 evaluation.")
    checkpoint = config.default_hooks.get("checkpoint") or {}
    metric = checkpoint.get("save_best")
    if not isinstance(metric, str) or metric == "auto" or not config.get("val_cfg"):
        raise InputError(
            "--early-stop watches the metric that chooses the best checkpoint: set default_hooks.checkpoint.save_best "
            "to its name, such as coco/bbox_mAP, in a config that evaluates."
        )
    return dict(monitor=metric, rule=checkpoint.get("rule") or "greater")


def add_logger(config: Config, name: str) -> None:
    if find_spec(name) is None:
        raise InputError(f"--logger {name} needs a package that is not installed: pip install {name}")
    backends = config.visualizer.get("vis_backends") or []
    backend = dict(type=LOGGERS[name])
    if name == "mlflow":
        backend |= mlflow_place(Path(config.work_dir).absolute())
    if LOGGERS[name] not in [each["type"] for each in backends]:
        config.visualizer.vis_backends = [*backends, ConfigDict(backend)]


def mlflow_place(folder: Path) -> dict[str, str]:
    """The server that mlflow's own variable names, else a database in the work directory.

    mmengine would take a folder of files, which mlflow refuses by now.
    """
    if server := os.environ.get("MLFLOW_TRACKING_URI"):
        return dict(exp_name=folder.name, tracking_uri=server)
    database, artifacts = f"sqlite:///{folder / 'mlflow.db'}", str(folder / "mlflow")
    return dict(exp_name=folder.name, tracking_uri=database, artifact_location=artifacts)


def rate_remark(config: Config, options: dict[str, Any]) -> list[str]:
    """For a training that starts from a detector's weights: a learning rate that suits it, unless one is given."""
    key = "optim_wrapper.optimizer.lr"
    if key in options or "lr" not in config.optim_wrapper.optimizer:
        return []
    rate = config.optim_wrapper.optimizer.lr
    return [
        f"The learning rate of {rate:g} is for a training that starts from a backbone's weights; to fine-tune a "
        f"detector, a tenth is usual: --cfg-options {key}={FINE_TUNING * rate:g}"
    ]


def check_average(config: Config, checkpoint: Path) -> None:
    """Raises InputError if a training that kept an average of its weights is to be continued without."""
    if not averages(config) and "ema_state_dict" in read_checkpoint(checkpoint):
        raise InputError(f"{checkpoint} is of a training with --ema: give it again to continue it.")


class Frozen(nn.Module):
    """A module before whose class this one stands stays in evaluation mode."""

    def train(self, mode: bool = True) -> "Frozen":
        return super().train(False)


def freeze(module: nn.Module) -> None:
    """Let the weights and running statistics of a module stay, without dropout. Copies of it are frozen, too."""
    module.requires_grad_(False)
    module.__class__ = type(f"Frozen{type(module).__name__}", (Frozen, type(module)), {})
    module.eval()


def only_evaluates(runner: Runner) -> bool:
    """Whether a run is no training; to ask the runner for its training loop would read the training data."""
    return not isinstance(runner._train_loop, BaseLoop)


@HOOKS.register_module()
class AveragingHook(EMAHook):
    """mmdet's moving average of weights, which spans a tenth of a short training.

    It begins with the weights that were loaded, whatever their file calls them, and spans little at first.
    """

    def __init__(self) -> None:
        super().__init__("ExpMomentumEMA", update_buffers=True)

    def before_run(self, runner: Runner) -> None:
        if only_evaluates(runner):
            return
        span = min(LONGEST, max(2.0, SHARE * runner.max_iters))
        self.ema_cfg |= dict(momentum=1 / span, gamma=max(1, round(span / 2.5)))  # mmdet's are 1 / 5000 and 2000
        super().before_run(runner)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if runner._resume:
            super().after_load_checkpoint(runner, checkpoint)

    def before_test_epoch(self, runner: Runner) -> None:
        """Checkpoints hold the average as the model's weights."""

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        pass


@HOOKS.register_module()
class PatienceHook(EarlyStoppingHook):
    """mmengine's early end of a training, which says why, and which counts on where a training is continued.

    patience: evaluations without a better value. monitor: the metric. rule: "greater" or "less" is better.
    """

    wait_count: int
    best_score: float

    def __init__(self, monitor: str, rule: str, patience: int) -> None:
        super().__init__(monitor, rule, min_delta=LEAST_GAIN, strict=True, patience=patience)

    def before_run(self, runner: Runner) -> None:
        if not only_evaluates(runner):
            super().before_run(runner)

    def before_train(self, runner: Runner) -> None:
        kept = runner.message_hub.runtime_info.get("patience", (self.wait_count, self.best_score))
        self.wait_count, self.best_score = kept
        self._stop_if_due(runner)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        super().after_val_epoch(runner, metrics)
        runner.message_hub.update_info("patience", (self.wait_count, self.best_score))
        self._stop_if_due(runner)

    def _stop_if_due(self, runner: Runner) -> None:
        if self.wait_count >= self.patience:
            runner.train_loop.stop_training = True
            runner.logger.warning(
                f"Stopped early: {self.monitor} was {self.best_score:.3f} at best, and not better in "
                f"{counted(self.wait_count, 'evaluation')} since (--early-stop)."
            )
