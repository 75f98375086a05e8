"""Times a cell, forward and backward apart."""

import time
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from .memory import peak_memory
from .methods import Cell
from .synchronisations import count_synchronisations

LEAST_REPEATS = 3


class Milliseconds(NamedTuple):
    """Median and the 20th and 80th percentile."""

    p50: float
    p20: float
    p80: float


@dataclass(frozen=True)
class Effort:
    """How often a cell is timed: `repeats` times, or fewer (but 3) if that takes longer than `seconds`."""

    repeats: int = 20
    seconds: float = 2.0


class Measurement(NamedTuple):
    """What one cell takes. memory: bytes beyond its inputs, gradients included."""

    forward: Milliseconds
    backward: Milliseconds
    repeats: int
    synchronisations: int
    memory: int


def percentiles(seconds: list[float]) -> Milliseconds:
    return Milliseconds(*(1000 * float(value) for value in np.percentile(seconds, [50, 20, 80])))


def now(device: torch.device) -> float:
    """The time in seconds at which the device has finished what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def measure(cell: Cell, effort: Effort) -> Measurement:
    """Memory and synchronisations of one run, which warms up, and then the times."""
    device, counted = cell.inputs[0].device, list[int]()
    memory = peak_memory(lambda: counted.append(count_synchronisations(lambda: _step(cell, device), device)), device)
    start, times = now(device), list[tuple[float, float]]()
    while len(times) < LEAST_REPEATS or (len(times) < effort.repeats and now(device) - start < effort.seconds):
        times.append(_step(cell, device))
    forward, backward = (percentiles(list(column)) for column in zip(*times, strict=True))
    return Measurement(forward, backward, len(times), counted[0], memory)


def _step(cell: Cell, device: torch.device) -> tuple[float, float]:
    """Seconds of one forward and one backward pass."""
    inputs = [x.detach().requires_grad_() for x in cell.inputs]
    begin = now(device)
    outputs = cell.run(inputs)
    middle = now(device)
    _differentiate(outputs, inputs)
    return middle - begin, now(device) - middle


def _differentiate(outputs: Any, inputs: list[Tensor]) -> None:
    losses = [loss for loss in tree_leaves(outputs) if isinstance(loss, Tensor) and loss.requires_grad]
    torch.autograd.grad(losses, inputs, [torch.ones_like(loss) for loss in losses], allow_unused=True)
