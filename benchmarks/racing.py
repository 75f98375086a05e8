"""Times several runs in turn, so that whatever else the machine does strikes all of them alike.

Each turn has an order of its own: what ran before decides what is in the caches.
"""

from collections.abc import Callable, Hashable
from random import Random
from typing import NamedTuple, TypeVar

import numpy as np
import torch

from brs_detr.timing.measuring import now

Name = TypeVar("Name", bound=Hashable)
LEAST, MOST = 3, 15  # rounds
SLOW = 10.0  # seconds after which fewer runs have to do


class Times(NamedTuple):
    """Seconds: the median, and the 20th and 80th percentile, of so many runs."""

    p50: float
    p20: float
    p80: float
    runs: int


def race(runs: dict[Name, Callable[[], object]], device: str = "cpu", seconds: float = 3.0) -> dict[Name, Times]:
    """Runs each at least three times and up to `seconds`, fewer times if that takes very long. The first time does not
    count unless it is slow."""
    taken: dict[Name, list[float]] = {name: [] for name in runs}
    order = Random(0)
    for turn in range(MOST + 1):
        for name in order.sample(list(runs), len(runs)):
            if not _enough(taken[name], seconds):
                elapsed = _once(runs[name], torch.device(device))
                if turn > 0 or elapsed > 1:
                    taken[name].append(elapsed)
    return {name: Times(*np.percentile(times, [50, 20, 80]).tolist(), len(times)) for name, times in taken.items()}


def _enough(taken: list[float], seconds: float) -> bool:
    return sum(taken) > SLOW or (len(taken) >= LEAST and sum(taken) > seconds) or len(taken) >= MOST


def _once(run: Callable[[], object], device: torch.device) -> float:
    begin = now(device)
    run()
    return now(device) - begin
