"""How long the classification losses of a training step take, forward and backward, without stopping a GPU."""

from collections import deque
from typing import Any

import torch
from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.hooks import RemovableHandle

from .measuring import Span

LOSS_NAME = "loss_cls"
LOSS_TIME = "loss_time"


def classification_losses(model: nn.Module) -> dict[str, nn.Module]:
    """The modules whose name ends with `loss_cls`, by that name."""
    return {name: module for name, module in model.named_modules() if name.endswith(LOSS_NAME)}


class LossTimer:
    """Times the losses it is attached to; `take` hands out the spans measured so far.

    Forward is the time inside the module. Backward is the time from the first gradient that reaches an output
    to the last that leaves an input. Nothing else runs in between: autograd takes the nodes created last first,
    and those of one call were created in a row. Inputs pass through views of their own, whose nodes are the
    first of the row; the gradient of the input itself may wait for the input's other uses.
    """

    def __init__(self) -> None:
        self._handles: list[RemovableHandle] = []
        self._open: list[tuple[Span, Span]] = []  # forward and backward of the calls under way
        self._spans: list[Span] = []

    def attach(self, losses: list[nn.Module]) -> None:
        self.detach()  # the last iteration may have ended with an error
        for loss in losses:
            self._handles.append(loss.register_forward_pre_hook(self._before, with_kwargs=True))
            self._handles.append(loss.register_forward_hook(self._after))

    def detach(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._open.clear()

    def take(self) -> list[Span]:
        """The complete spans since the last call; a loss that was never differentiated has no second one."""
        spans, self._spans = self._spans, []
        return [span for span in spans if span.complete]

    def _before(self, loss: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        on_gpu = any(leaf.is_cuda for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor))
        forward, backward = Span(on_gpu), Span(on_gpu)
        self._open.append((forward, backward))

        def watched(tensor: Tensor) -> Tensor:
            if not (tensor.requires_grad and torch.is_grad_enabled()):
                return tensor
            view = tensor.view_as(tensor)
            view.register_hook(lambda gradient: backward.finish())
            return view

        inputs = tree_map_only(Tensor, watched, (args, kwargs))
        forward.start()
        return inputs

    def _after(self, loss: nn.Module, args: tuple, outputs: Any) -> None:
        forward, backward = self._open.pop()
        forward.finish()
        self._spans += [forward, backward]
        for leaf in tree_leaves(outputs):
            if isinstance(leaf, Tensor) and leaf.requires_grad:
                leaf.register_hook(lambda gradient: backward.start())


@HOOKS.register_module()
class LossTimeHook(Hook):
    """Logs `loss_time` beside mmengine's `time` and `data_time`: the seconds an iteration spends in its losses.

    They are forward and backward of every classification loss (`LossTimer`), summed. On a GPU an iteration's time
    is logged once it can be read without waiting, usually with the next iteration.
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
