"""How long the classification losses of a training step take, forward and backward, without stopping a GPU."""

import time
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.hooks import RemovableHandle

Mark = float | torch.cuda.Event
LOSS_NAME = "loss_cls"


def classification_losses(model: nn.Module) -> dict[str, nn.Module]:
    """The modules whose name ends with `loss_cls`, by that name."""
    return {name: module for name, module in model.named_modules() if name.endswith(LOSS_NAME)}


def mark(on_gpu: bool) -> Mark:
    """This moment: on a GPU the one at which it gets here, which can be read later."""
    if not on_gpu:
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


class Span:
    """From the first `start` to the last `finish`."""

    def __init__(self, on_gpu: bool) -> None:
        self.on_gpu = on_gpu
        self.first: Mark | None = None
        self.last: Mark | None = None

    def start(self) -> None:
        self.first = self.first or mark(self.on_gpu)

    def finish(self) -> None:
        self.last = mark(self.on_gpu)

    @property
    def complete(self) -> bool:
        return self.first is not None and self.last is not None

    @property
    def readable(self) -> bool:
        """Whether reading does not wait for a GPU."""
        return not isinstance(self.last, torch.cuda.Event) or self.last.query()

    @property
    def seconds(self) -> float:
        """Of a complete span."""
        if isinstance(self.first, torch.cuda.Event):
            return self.first.elapsed_time(self.last) / 1000  # type: ignore[arg-type]
        return self.last - self.first  # type: ignore[operator]


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
