"""How long computations take, on a CPU and on a GPU, and what else they cost."""

import math
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from .counting import count_synchronisations, peak_memory

Name = TypeVar("Name", bound=Hashable)
MIN_REPEATS = 3
WARM_UP_SECONDS = 1.0  # a first run that takes longer counts: no warm-up is worth its time


class Span:
    """From the first `start` to the last `finish`: on a GPU when it gets there, which is marked without waiting."""

    def __init__(self, on_gpu: bool) -> None:
        self.on_gpu = on_gpu
        self.first: float | torch.cuda.Event | None = None
        self.last: float | torch.cuda.Event | None = None

    def start(self) -> None:
        self.first = self.first or self._now()

    def finish(self) -> None:
        self.last = self._now()

    def _now(self) -> float | torch.cuda.Event:
        if not self.on_gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    @property
    def complete(self) -> bool:
        return self.first is not None and self.last is not None

    @property
    def readable(self) -> bool:
        """Whether reading does not wait for a GPU."""
        return not isinstance(self.last, torch.cuda.Event) or self.last.query()

    @property
    def seconds(self) -> float:
        """Of a complete span, once the GPU has got to its end."""
        if isinstance(self.last, torch.cuda.Event):
            self.last.synchronize()
            return self.first.elapsed_time(self.last) / 1000  # type: ignore[union-attr]
        return self.last - self.first  # type: ignore[operator]


def seconds_of(run: Callable[[], object], device: torch.device) -> float:
    """Seconds from the start of `run` until the device, which is the current one, has done all of it."""
    span = Span(device.type == "cuda")
    if span.on_gpu:
        torch.cuda.synchronize(device)
    span.start()
    run()
    span.finish()
    return span.seconds


class Times(NamedTuple):
    """Milliseconds: the median, the 20th and the 80th percentile of so many runs."""

    p50: float
    p20: float
    p80: float
    runs: int

    @classmethod
    def of(cls, seconds: Iterable[float]) -> "Times":
        milliseconds = [1000 * value for value in seconds]
        p50, p20, p80 = np.percentile(milliseconds, [50, 20, 80]).tolist()
        return cls(p50, p20, p80, len(milliseconds))

    @classmethod
    def sum(cls, parts: Sequence["Times"]) -> "Times":
        """Of what runs one after the other. Sums of percentiles bound those of the sum, roughly."""
        p50, p20, p80, _ = (sum(column) for column in zip(*parts, strict=True))
        return cls(p50, p20, p80, min(part.runs for part in parts))


@dataclass(frozen=True)
class Effort:
    """How often to run: `repeats` times, fewer if that takes longer than `seconds`, but at least 3 times; fewer still
    once it has taken `max_seconds`."""

    repeats: int = 20
    seconds: float = 2.0
    max_seconds: float = math.inf

    def reached(self, taken: list[float]) -> bool:
        """Whether runs of so many seconds are enough."""
        wanted = len(taken) >= self.repeats or sum(taken) > self.seconds
        return sum(taken) > self.max_seconds or (len(taken) >= MIN_REPEATS and wanted)


def race(runs: Mapping[Name, Callable[[], object]], device: torch.device, effort: Effort) -> dict[Name, Times]:
    """Times of each run, see `take_turns`."""
    parts = {name: partial(_alone, run, device) for name, run in runs.items()}
    return {name: times for name, (times,) in take_turns(parts, effort).items()}


def _alone(run: Callable[[], object], device: torch.device) -> tuple[float]:
    return (seconds_of(run, device),)


def take_turns(runs: Mapping[Name, Callable[[], tuple[float, ...]]], effort: Effort) -> dict[Name, tuple[Times, ...]]:
    """Times of the parts of runs that return the seconds of each; the first time warms up.

    The runs take turns, so that whatever else the machine does strikes all of them alike, and each turn has an order
    of its own: what ran before decides what is in the caches.
    """
    taken: dict[Name, list[tuple[float, ...]]] = {name: [] for name in runs}
    order = Random(0)
    for turn in range(max(MIN_REPEATS, effort.repeats) + 1):
        for name in order.sample(list(runs), len(runs)):
            if not effort.reached([sum(parts) for parts in taken[name]]):
                parts = runs[name]()
                if turn > 0 or sum(parts) > WARM_UP_SECONDS:
                    taken[name].append(parts)
    return {name: tuple(map(Times.of, zip(*parts, strict=True))) for name, parts in taken.items()}


class Measurement(NamedTuple):
    """What one computation takes. memory: bytes beyond its inputs, gradients included."""

    forward: Times
    backward: Times
    synchronisations: int
    memory: int


def measure(function: Callable[[list[Tensor]], Any], inputs: list[Tensor], effort: Effort) -> Measurement:
    """Forward and backward pass of a function of tensors that get a gradient, at least one."""
    device, counted = inputs[0].device, list[int]()
    run = partial(_forward_and_backward, function, inputs, device)
    memory = peak_memory(lambda: counted.append(count_synchronisations(run, device)), device)
    forward, backward = take_turns({"": run}, effort)[""]
    return Measurement(forward, backward, counted[0], memory)


def _forward_and_backward(
    function: Callable[[list[Tensor]], Any], inputs: list[Tensor], device: torch.device
) -> tuple[float, float]:
    """Seconds of each."""
    inputs, outputs = [x.detach().requires_grad_() for x in inputs], list[Any]()
    forward = seconds_of(lambda: outputs.append(function(inputs)), device)
    return forward, seconds_of(lambda: _differentiate(outputs, inputs), device)


def _differentiate(outputs: Any, inputs: list[Tensor]) -> None:
    losses = [loss for loss in tree_leaves(outputs) if isinstance(loss, Tensor) and loss.requires_grad]
    torch.autograd.grad(losses, inputs, [torch.ones_like(loss) for loss in losses], allow_unused=True)
