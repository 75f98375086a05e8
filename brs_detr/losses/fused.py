"""`exact.py` on a GPU: the same buckets, with both passes over the negatives as single kernels.

Where torch would write a temporary of the negatives' size for every operation, a kernel reads each logit and
target once. What adds up is in fixed point: integers sum to the same number in any order, so results are
bit-identical from run to run.
"""

from __future__ import annotations

import importlib.util
import math
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .edges import Edges
from .positives import Positives
from .step import Step

CELLS_PER_EDGE = 4
MOST_CELLS = 1 << 17
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

    def __init__(self, logits: Tensor, targets: Tensor, positives: Positives, step: Step) -> None:
        self.dtype = torch.promote_types(logits.dtype, torch.float32)
        self.step, self.targets = step, targets
        self.edges = Edges(positives.logits, step, self.dtype)
        self.reach = positives.reach(step.delta).to(self.dtype)
        self.cells = cell_grid(self.edges.thresholds)

    def false_positives(self, logits: Tensor) -> Tensor:
        from . import kernels  # imports Triton

        batch, buckets = self.edges.origin.shape
        copies = max(1, min(MOST_COPIES, COPIES_OF // buckets))
        counts = torch.zeros(batch, copies, buckets, dtype=torch.int32, device=logits.device)
        offsets = torch.zeros_like(counts, dtype=torch.int64)
        width = 2.0 ** math.frexp(2 * self.step.delta)[1]  # the power of two above a ramp's width
        units = 2.0 ** (62 - logits.shape[1].bit_length())  # as fine as int64 can hold N of them
        self._launch(kernels.histogram, logits, counts, offsets, 1 / width, units, logits.shape[1], buckets - 1, copies)
        return self.edges.false_positives(counts.sum(1).double(), offsets.sum(1).double() * (width / units))

    def gradient(self, logits: Tensor, coefficients: Tensor) -> Tensor:
        from . import kernels

        value, slope = (table.to(self.dtype).contiguous() for table in self.edges.gradient(coefficients))
        result = torch.empty_like(logits, dtype=self.dtype)
        self._launch(kernels.gradient, logits, value, slope, result, logits.shape[1], value.shape[1] - 1)
        return result

    def _launch(self, kernel: Any, logits: Tensor, *args: Any) -> None:
        from . import kernels

        tables = (self.reach, self.edges.thresholds, self.edges.origin, *self.cells)
        cells = self.cells.before.shape[1] - 1
        with torch.cuda.device_of(logits):
            kernel[kernels.programs(*logits.shape)](
                logits, self.targets, *tables, *args, CELLS=cells, BLOCK=kernels.BLOCK
            )


class Cells(NamedTuple):
    """A uniform grid over the thresholds of each problem: x lies in cell (x - low) * scale."""

    before: Tensor  # (B, cells + 1) int32: how many thresholds lie in lower cells
    low: Tensor  # (B, 1)
    scale: Tensor  # (B, 1)


def cell_grid(thresholds: Tensor) -> Cells:
    """The grid of (B, E) ascending thresholds. Rounding is monotone, so that a number in a higher cell than a
    threshold lies above it: within its own cell the kernel searches."""
    cells = min(1 << (CELLS_PER_EDGE * thresholds.shape[1]).bit_length(), MOST_CELLS)
    limits = torch.finfo(thresholds.dtype)
    low, high = thresholds[:, :1].contiguous(), thresholds[:, -1:]
    scale = (cells / (high.double() - low.double())).clamp(limits.tiny, limits.max).to(thresholds.dtype)
    cell = ((thresholds - low) * scale).clamp(0, cells - 1).int()
    numbers = torch.arange(cells + 1, dtype=torch.int32, device=cell.device).expand(len(cell), -1).contiguous()
    return Cells(torch.searchsorted(cell, numbers, out_int32=True), low, scale)
