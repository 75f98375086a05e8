"""The lines of a training: all losses in the log file, what matters on the console."""

import copy
import logging
from datetime import timedelta
from typing import Any

from mmdet.registry import LOG_PROCESSORS
from mmengine.runner import LogProcessor, Runner

from brs_detr.engine.progress.loss_parts import loss_parts
from brs_detr.timing.loss_time import LOSS_TIME


def losses_text(values: dict[str, float]) -> str:
    """The total and the parts of the loss: ``loss: 67.7  ranking: 21.3  sorting: 1.9  boxes: 6.2``."""
    shown = {"loss": values["loss"], **loss_parts(values)}
    return "  ".join(f"{name}: {value:.4g}" for name, value in shown.items())


class TrainingLine(str):
    """A line of mmengine's log that has a short form."""

    short: str


@LOG_PROCESSORS.register_module()
class TrainingLogProcessor(LogProcessor):
    """mmengine's, whose training lines have a short form for the console (`ShortLines`)."""

    def get_log_after_iter(self, runner: Runner, batch_idx: int, mode: str) -> tuple[dict[str, Any], str]:
        values, text = super().get_log_after_iter(runner, batch_idx, mode)
        plain = {key.removeprefix(f"{mode}/"): value for key, value in values.items()}  # log_with_hierarchy
        if mode != "train" or "loss" not in plain:
            return values, text
        line = TrainingLine(text)
        parts = [text[: text.index("]  ") + 1], losses_text(plain)]  # the first is epoch and iteration
        if LOSS_TIME in plain:
            parts.append(f"{LOSS_TIME}: {plain[LOSS_TIME]:.3g} s")
        if "lr" in plain:
            parts.append(f"lr: {plain['lr']:.3g}")
        if "eta" in runner.message_hub.runtime_info:
            parts.append(f"left: {timedelta(seconds=int(runner.message_hub.get_info('eta')))}")
        line.short = "  ".join(parts)
        return values, line


class ShortLines(logging.Formatter):
    """Formats as another formatter does, training lines in their short form."""

    def __init__(self, formatter: logging.Formatter | None) -> None:
        super().__init__()
        self.formatter = formatter or logging.Formatter()

    def format(self, record: logging.LogRecord) -> str:
        if isinstance(line := record.msg, TrainingLine):
            record = copy.copy(record)
            record.msg = line.short
        return self.formatter.format(record)
