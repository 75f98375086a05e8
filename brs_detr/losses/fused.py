"""`exact.py` on a GPU: the same buckets, with each pass over the samples as a single kernel, and pairs of positives.

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
from torch._subclasses.fake_tensor import FakeTensor

from .blocks import Tile
from .exact import BreakPoints
from .grid import grid_tables
from .positives import BatchScan, Positives
from .step import SmoothedStep

COPIES_OF = 1 << 16  # buckets: fewer are kept in copies, lest all programs add to the same few numbers
MOST_COPIES = 64
LOGITS_OF_A_COPY = 1 << 14  # at least, or making and adding up copies takes longer than it saves
CAPABILITY = (8, 0)
LONGEST = 1 << 31
MOST_PROBLEMS = 65_535 // 2  # CUDA launches 65,535 programs along the second axis, and a problem takes up to two


def obstacle(logits: Tensor) -> str | None:
    """Why kernels cannot run on (B, N) logits, None if they can: they need a GPU, Triton, and sizes that fit."""
    if not logits.is_cuda:
        return f"the logits are on {logits.device}, and the kernels need a CUDA device"
    if isinstance(logits, FakeTensor):
        return "the logits have no data"
    if (capability := torch.cuda.get_device_capability(logits.device)) < CAPABILITY:
        return f"{logits.device} has compute capability {capability}, and the kernels need {CAPABILITY}"
    if not _has_triton():
        return "Triton is not installed"
    if logits.shape[0] > MOST_PROBLEMS or logits.shape[1] >= LONGEST:
        return f"{tuple(logits.shape)} logits are more than the kernels count"
    return None


@cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


class FusedScan(BatchScan):
    """A pass that reads each logit and target once; by torch for a loss that reads box errors as well."""

    def _scan(self, tile: Tile) -> tuple[Tensor, Tensor]:
        if self.batch.localisation is not None:
            return super()._scan(tile)
        from . import kernels

        logits, targets = self.logits[tile], self.targets[tile]
        blocks, rows = kernels.programs(*logits.shape)
        dtype = torch.promote_types(torch.promote_types(logits.dtype, targets.dtype), torch.float32)
        positive = torch.empty_like(targets, dtype=torch.bool)
        lowest, highest = torch.empty(2, 2, rows, blocks, dtype=dtype, device=logits.device)
        numbers = torch.empty(rows, blocks, dtype=torch.int32, device=logits.device)
        arguments = logits, targets, positive, lowest, highest, numbers, rows, logits.shape[1], blocks
        with torch.cuda.device_of(logits):
            kernels.scan[blocks, rows](*arguments, BLOCK=kernels.BLOCK)
        extremes = torch.stack([lowest.amin(-1), highest.amax(-1)], dim=-1)  # (2, B, 2)
        return positive, torch.cat([*extremes, numbers.sum(-1, keepdim=True).double()], dim=-1)


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
        copies = max(1, min(MOST_COPIES, COPIES_OF // buckets, logits.shape[1] // LOGITS_OF_A_COPY))
        counts = torch.zeros(batch, copies, buckets, dtype=torch.int32, device=logits.device)
        offsets = torch.zeros_like(counts, dtype=torch.int64)
        width = 2.0 ** math.frexp(2 * self.step.delta)[1]  # the power of two above a ramp's width
        units = 2.0 ** (62 - logits.shape[1].bit_length())  # as fine as int64 can hold N of them
        self._launch(kernels.histogram, logits, targets, counts, offsets, 1 / width, units, COPIES=copies)
        return self.break_points.false_positives(counts.sum(1).double(), offsets.sum(1).double() * (width / units))

    def gradient(self, logits: Tensor, targets: Tensor, coefficients: Tensor) -> Tensor:
        from . import kernels

        value, slope = (table.to(self.dtype).contiguous() for table in self.break_points.gradient(coefficients))
        result = torch.empty_like(logits, dtype=self.dtype)
        self._launch(kernels.gradient, logits, targets, value, slope, result)
        return result

    def _launch(self, kernel: Any, logits: Tensor, targets: Tensor, *args: Any, **sizes: int) -> None:
        from . import kernels

        tables = (self.lowest_relevant, self.break_points.thresholds, self.break_points.origin, *self.grid)
        sizes |= dict(N=logits.shape[1], E=self.break_points.thresholds.shape[1], CELLS=self.grid.before.shape[1] - 1)
        with torch.cuda.device_of(logits):
            kernel[kernels.programs(*logits.shape)](logits, targets, *tables, *args, **sizes, BLOCK=kernels.BLOCK)


class FusedPositives:
    """Sums over all pairs of positives in float64, by a kernel that writes no pair down."""

    def __init__(self, positives: Positives, step: SmoothedStep) -> None:
        self.positions, self.targets, self.step = step.positions(positives.logits), positives.targets.contiguous(), step

    def over_all(self, values: Tensor) -> Tensor:
        return self._sums(values, sign=1, ties=1)[0]

    def over_all_and_as_good(self, values: Tensor) -> tuple[Tensor, Tensor]:
        return self._sums(values, sign=1, ties=1)

    def from_better(self, values: Tensor) -> Tensor:
        return self._sums(values, sign=-1, ties=0)[1]

    def _sums(self, values: Tensor, sign: int, ties: int) -> tuple[Tensor, Tensor]:
        from . import kernels

        values = values.contiguous()
        results = torch.empty_like(values), torch.empty_like(values)
        batch, number = self.positions.shape
        arguments = self.positions, self.targets, values, *results, sign, self.step.at_zero, ties, batch, number
        with torch.cuda.device_of(values):
            kernels.pair_sums[kernels.programs_of_pairs(*values.shape)](*arguments, **kernels.PAIRS)
        return results
