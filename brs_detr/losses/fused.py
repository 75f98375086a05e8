"""`exact.py` on a GPU: the same buckets, with both passes over the negatives as single kernels.

Where torch would write a temporary of the negatives' size for every operation, a kernel reads each logit and
target once. What adds up is in fixed point: integers sum to the same number in any order, so results are
bit-identical from run to run.
"""

from __future__ import annotations

import importlib.util
import math
from functools import cache
from typing import Any

import torch
from torch import Tensor

from .exact import BreakPoints
from .grid import grid_tables
from .positives import Positives
from .step import SmoothedStep

COPIES_OF = 1 << 16  # buckets: fewer are kept in copies, lest all programs add to the same few numbers
MOST_COPIES = 64
LONGEST = 1 << 31


def supported(logits: Tensor) -> bool:
    """Is there a GPU and Triton for it? Rows of 2^31 logits and more are left to torch."""
    return (
        logits.is_cuda
        and torch.cuda.is_available()
        and torch.cuda.get_device_capability(logits.device) >= (8, 0)
        and _has_triton()
        and logits.shape[1] < LONGEST
    )


@cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


class FusedNegatives:
    """Sums over the buckets between break points, by kernels."""

    def __init__(self, positives: Positives, step: SmoothedStep, logits: Tensor) -> None:
        self.step, self.dtype = step, torch.promote_types(logits.dtype, torch.float32)
        self.break_points = BreakPoints(positives.logits, step, self.dtype)
        self.lowest_relevant = positives.lowest_relevant(step.delta).to(self.dtype)
        self.grid = grid_tables(self.break_points.thresholds)

    def false_positives(self, logits: Tensor, targets: Tensor) -> Tensor:
        from . import kernels  # imports Triton

        batch, buckets = self.break_points.origin.shape
        copies = max(1, min(MOST_COPIES, COPIES_OF // buckets))
        counts = torch.zeros(batch, copies, buckets, dtype=torch.int32, device=logits.device)
        offsets = torch.zeros_like(counts, dtype=torch.int64)
        width = 2.0 ** math.frexp(2 * self.step.delta)[1]  # the power of two above a ramp's width
        units = 2.0 ** (62 - logits.shape[1].bit_length())  # as fine as int64 can hold N of them
        sizes = logits.shape[1], buckets - 1, copies
        self._launch(kernels.histogram, logits, targets, counts, offsets, 1 / width, units, *sizes)
        return self.break_points.false_positives(counts.sum(1).double(), offsets.sum(1).double() * (width / units))

    def gradient(self, logits: Tensor, targets: Tensor, coefficients: Tensor) -> Tensor:
        from . import kernels

        value, slope = (table.to(self.dtype).contiguous() for table in self.break_points.gradient(coefficients))
        result = torch.empty_like(logits, dtype=self.dtype)
        self._launch(kernels.gradient, logits, targets, value, slope, result, logits.shape[1], value.shape[1] - 1)
        return result

    def _launch(self, kernel: Any, logits: Tensor, targets: Tensor, *args: Any) -> None:
        from . import kernels

        tables = (self.lowest_relevant, self.break_points.thresholds, self.break_points.origin, *self.grid)
        cells = self.grid.before.shape[1] - 1
        with torch.cuda.device_of(logits):
            kernel[kernels.programs(*logits.shape)](logits, targets, *tables, *args, CELLS=cells, BLOCK=kernels.BLOCK)
