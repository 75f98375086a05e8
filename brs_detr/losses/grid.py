"""Finding the bucket of a number: a uniform grid instead of most of a binary search. The kernels have it, too.

Rounding is monotone, so that a number in a higher cell than a threshold lies above it: only thresholds in the number's
own cell are left to compare with.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import pad

from .blocks import CPU, LOOKUPS, Limits

CROWDED = 1 << 30  # marks a cell that holds more than one threshold

Lookup = Callable[[Tensor], Tensor]


class Grid:
    """Counts the thresholds (E,), ascending, that are <= x: exactly what a binary search finds. For a CPU.

    Within a cell that holds one threshold a comparison settles it; the few numbers in more crowded cells are
    searched for.
    """

    def __init__(self, thresholds: Tensor) -> None:
        number = len(thresholds)
        self.cells = number_of_cells(number, CPU)
        self.low, width = float(thresholds[0]), float(thresholds[-1]) - float(thresholds[0])
        limits = torch.finfo(thresholds.dtype)
        self.scale = min(max(self.cells / width, limits.tiny), limits.max) if width > 0 else 1.0

        cell = self._cell(thresholds)
        inside = torch.bincount(cell, minlength=self.cells)
        before = inside.cumsum(0) - inside
        self.above = torch.where(inside > 1, before + 1 + CROWDED, before + 1).int()
        self.edge = thresholds[before.clamp(max=number - 1)].where(inside == 1, float("inf"))
        rounds = int(inside.max()).bit_length()
        self.strides = [1 << k for k in reversed(range(rounds))]
        self.thresholds = pad(thresholds, (0, 1 << rounds), value=float("inf"))

    def __call__(self, x: Tensor) -> Tensor:
        """(n,) numbers, none of them NaN -> (n,) int32."""
        cell = self._cell(x)
        below = _sign(x - self.edge.index_select(0, cell))
        bucket = self.above.index_select(0, cell).add_(below)
        crowded = torch.nonzero(bucket >> 29)[:, 0]
        found = self._search(x.index_select(0, crowded), bucket.index_select(0, crowded) - CROWDED)
        return bucket.index_copy_(0, crowded, found)

    def _cell(self, x: Tensor) -> Tensor:
        return (x - self.low).mul_(self.scale).clamp_(0, self.cells - 1).int()

    def _search(self, x: Tensor, bucket: Tensor) -> Tensor:
        """Binary search from a bucket upwards, over as many thresholds as the most crowded cell holds.
        (torch.searchsorted would start all threads for a few hundred numbers.)"""
        for stride in self.strides:
            passed = self.thresholds.index_select(0, bucket + (stride - 1)) <= x
            bucket = bucket.add_(passed, alpha=stride)
        return bucket


def _sign(x: Tensor) -> Tensor:
    """-1 below 0, otherwise 0, as int32: the sign bit, several times as fast as comparing."""
    if x.dtype == torch.float32:
        return x.view(torch.int32) >> 31
    return (x.view(torch.int64) >> 63).int()


def bucket_lookup(thresholds: Tensor, length: int) -> Lookup:
    """The function that looks up (r, n) numbers among thresholds (r, E), `length` a row in all, the quickest way.

    It returns (r * n,) int32, counted through the E + 1 buckets of each row.
    """
    if len(thresholds) == 1 and thresholds.device.type == "cpu" and length >= LOOKUPS:
        grid = Grid(thresholds[0])
        return lambda x: grid(x.view(-1))
    rows, number = thresholds.shape
    first = torch.arange(rows, dtype=torch.int32, device=thresholds.device)[:, None] * (number + 1)
    return lambda x: torch.searchsorted(thresholds, x, right=True, out_int32=True).add_(first).view(-1)


def number_of_cells(thresholds: int, limits: Limits) -> int:
    """A power of two above a multiple of the number of thresholds."""
    return min(1 << (limits.cells_per_break_point * thresholds).bit_length(), limits.most_cells)
