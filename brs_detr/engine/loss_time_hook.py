"""Logs `loss_time` beside mmengine's `time` and `data_time`: the seconds an iteration spends in its losses."""

from collections import deque

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from brs_detr.engine.loss_timer import LossTimer, Span, classification_losses

LOSS_TIME = "loss_time"


@HOOKS.register_module()
class LossTimeHook(Hook):
    """Forward and backward of every classification loss (`LossTimer`), summed over an iteration.

    On a GPU an iteration's time is logged once it can be read without waiting, usually with the next iteration.
    """

    priority = "NORMAL"  # before the logger

    def __init__(self) -> None:
        self.timer = LossTimer()
        self.losses: list[nn.Module] = []
        self.unread: deque[list[Span]] = deque()

    def before_train(self, runner: Runner) -> None:
        self.losses = list(classification_losses(runner.model).values())
        self.unread.clear()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        self.timer.attach(self.losses)  # for this iteration only, so that no copy of the model carries hooks

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        self.timer.detach()
        if self.losses:
            self.unread.append(self.timer.take())
        while self.unread and all(span.readable for span in self.unread[0]):
            seconds = sum(span.seconds for span in self.unread.popleft())
            runner.message_hub.update_scalar(f"train/{LOSS_TIME}", seconds)

    def after_train(self, runner: Runner) -> None:
        self.losses = []
