"""The calibration that an evaluation has found, in the checkpoints of the very weights that it has evaluated."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from brs_detr.data.calibration import KEY, Calibration
from brs_detr.data.coco_metric import coco_metrics


class CalibrationHook(Hook):
    """Keeps the calibration from the end of an evaluation to the next iteration, which changes the weights.

    The best checkpoint and the one that is written again after an evaluation are saved in between. Both hold the
    weights that were evaluated, with an average of weights (`EMAHook`) that average. A calibration that comes with a
    checkpoint to start from, or to continue, is left aside: it belongs to other weights.
    """

    priority = "VERY_HIGH"  # before anything is saved

    def __init__(self) -> None:
        self.calibration: Calibration | None = None

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        self.calibration = None

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        outcomes = [metric.outcome for metric in coco_metrics(runner.val_evaluator.metrics)]
        found = outcomes[0] if len(outcomes) == 1 else None  # none that is for several data sets
        self.calibration = found.calibration if found else None

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        if self.calibration is not None:
            checkpoint[KEY] = self.calibration.as_dict()
