"""Method "exact" on a GPU, as kernels: the buckets of `exact.py`, all pairs of positives, and Rank & Sort Loss.

Where torch would write a temporary for every operation, a kernel reads what it needs once. What adds up over samples
is in fixed point: integers sum to the same number in any order, so results are bit-identical from run to run.

logits, targets ──> scan, summarise ──> the host's read ──> collect ──> [pad] ──> sort ──> arrange ──> Positives
Positives ──> break_points, grid ──> histogram, fold, heights, false_positives ──> rank_and_sort, charge ──> the terms
backward: ──> tables, gradient ──> put
"""

from __future__ import annotations

import importlib.util
import math
from functools import cache
from itertools import accumulate
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from .blocks import GPU
from .grid import number_of_cells
from .positives import BatchScan, Found, Positives
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


@cache
def _kernels() -> ModuleType:
    """At their first use, for they import Triton."""
    from . import kernels

    return kernels


def _launch(name: str, programs: tuple[int, ...], *args: Any) -> None:
    """Runs a kernel, the first of whose arguments is a tensor."""
    with torch.cuda.device_of(args[0]):
        getattr(_kernels(), name)[programs](*args)


def _tiles(length: int, batch: int) -> tuple[int, int]:
    return _kernels().tiles(length), batch


def _empty(like: Tensor, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.empty(shape, dtype=dtype, device=like.device)


class FusedScan(BatchScan):
    """A pass that reads each logit and target once, and one more over blocks with positives. Not for box errors."""

    def _scan(self) -> None:
        x, y = self.logits, self.targets
        (batch, length), blocks = x.shape, _kernels().blocks(x.shape[1])
        dtype = torch.promote_types(torch.promote_types(x.dtype, y.dtype), torch.float32)
        lowest, highest = _empty(x, 2, 2, batch, blocks, dtype=dtype)
        self.numbers, self.before = _empty(x, 2, batch, blocks, dtype=torch.int32)
        self.statistics = _empty(x, batch, 5)
        _launch("scan", (blocks, batch), x, y, lowest, highest, self.numbers, batch, length, blocks)
        _launch("summarise", (batch,), lowest, highest, self.numbers, self.before, self.statistics, batch, blocks)

    def find(self, statistics: list[list[float]]) -> Found:
        x, y = self.logits, self.targets
        totals = [self._checked(row, line) for row, line in enumerate(statistics)]
        number, (batch, blocks) = sum(totals), self.numbers.shape
        fields, source = _empty(x, 2, number), _empty(x, number, dtype=torch.long)
        sizes = x.shape[1], number, blocks
        _launch("collect", (blocks, batch), x, y, self.numbers, self.before, fields, source, *sizes)
        return Found(fields, source, totals)

    def arrange(self, found: Found) -> Positives:
        fields, source, totals = found
        batch, width = len(totals), max([1, *totals])
        first = torch.tensor([0, *accumulate(totals)]).to(fields.device, non_blocking=True)
        logits = fields[0].view(batch, width) if sum(totals) == batch * width else _padded(fields[0], first, width)
        ordered, order = logits.sort(dim=-1)
        x, targets, weights, positions = _empty(fields, 4, batch, width)
        places, number = _empty(fields, batch, width, dtype=torch.long), _empty(fields, batch, 1)
        given = ordered, order, first, fields.contiguous(), source
        made = x, targets, weights, positions, places, number
        units = 2.0 ** (62 - (2 * width).bit_length())  # as fine as int64 can hold 2P of them
        _launch("arrange", (batch,), *given, *made, self.step.slope, units, width, fields.shape[1])
        return Positives(x, positions, targets, None, weights, number, places, len(source), totals)


def _padded(values: Tensor, first: Tensor, width: int) -> Tensor:
    padded = _empty(values, len(first) - 1, width)
    _launch("pad", _tiles(width, len(padded)), values, first, padded, width)
    return padded


class FusedBreakPoints:
    """`exact.BreakPoints` and a grid over them: see the kernel `break_points`."""

    def __init__(self, positives: Positives, step: SmoothedStep, dtype: torch.dtype) -> None:
        x = positives.logits
        batch, width = x.shape
        self.number = 2 * width
        self.places = _empty(x, batch, 2, width, dtype=torch.int32)
        self.elements = _empty(x, batch, self.number, dtype=torch.int32)
        self.sloped = _empty(x, batch, self.number, dtype=torch.bool)
        self.width, self.rounding = _empty(x, 2, batch, self.number)
        self.thresholds = _empty(x, batch, self.number, dtype=dtype)
        self.origin = _empty(x, batch, self.number + 1, dtype=dtype)
        self.lowest_relevant = _empty(x, batch, dtype=dtype)
        made = self.places, self.elements, self.sloped, self.width, self.rounding, self.thresholds, self.origin
        scalars = step.delta, step.slope, step.at_zero, width
        given = x, positives.weights, positives.positions
        _launch("break_points", _tiles(width, batch), *given, *made, self.lowest_relevant, *scalars)
        cells = number_of_cells(self.number, GPU)
        self.cells = _empty(x, batch, cells + 1, dtype=torch.int32)
        _launch("grid", _tiles(cells + 1, batch), self.thresholds, self.cells, self.number, cells)


class FusedNegatives:
    """Sums over the buckets between break points."""

    def __init__(self, positives: Positives, step: SmoothedStep, logits: Tensor) -> None:
        self.step, self.dtype = step, torch.promote_types(logits.dtype, torch.float32)
        self.break_points = FusedBreakPoints(positives, step, self.dtype)

    def false_positives(self, logits: Tensor, targets: Tensor) -> Tensor:
        points, (batch, length) = self.break_points, logits.shape
        copies = max(1, min(MOST_COPIES, COPIES_OF // points.number, length // LOGITS_OF_A_COPY))
        number = batch * copies * (points.number + 1)
        zeros = torch.zeros(3 * number, dtype=torch.int32, device=logits.device)
        offsets, counts = zeros[: 2 * number].view(torch.int64), zeros[2 * number :]
        width = 2.0 ** math.frexp(2 * self.step.delta)[1]  # the power of two above a ramp's width
        units = 2.0 ** (62 - length.bit_length())  # as fine as int64 can hold N of them
        self._launch("histogram", logits, targets, counts, offsets, 1 / width, units, copies=copies)
        return self._false_positives(counts, offsets, self.step.slope * (width / units), copies)

    def _false_positives(self, counts: Tensor, offsets: Tensor, per_unit: float, copies: int) -> Tensor:
        points, (batch, _, positives) = self.break_points, self.break_points.places.shape
        sizes, bounds = (points.number, copies), (points.sloped, points.rounding)
        number, inside, height = _empty(counts, 3, batch, points.number)
        _launch("fold", _tiles(points.number, batch), counts, offsets, *bounds, number, inside, per_unit, *sizes)
        _launch("heights", (batch,), number, inside, points.width, height, points.number)
        result = _empty(counts, batch, positives)
        _launch("false_positives", _tiles(positives, batch), height, points.places, result, positives)
        return result

    def gradient(self, logits: Tensor, targets: Tensor, coefficients: Tensor) -> Tensor:
        points, (batch, positives) = self.break_points, coefficients.shape
        value, slope = _empty(logits, 2, batch, points.number + 1, dtype=self.dtype)
        given = coefficients.contiguous(), points.elements, points.sloped, points.width, points.rounding
        _launch("tables", (batch,), *given, value, slope, self.step.slope, positives)
        result = torch.empty_like(logits, memory_format=torch.contiguous_format)
        self._launch("gradient", logits, targets, value, slope, result)
        return result

    def _launch(self, kernel: str, logits: Tensor, targets: Tensor, *args: Any, copies: int | None = None) -> None:
        """A pass over the samples."""
        points, (batch, length) = self.break_points, logits.shape
        tables = points.lowest_relevant, points.thresholds, points.origin, points.cells
        sizes = length, points.number, points.cells.shape[1] - 1, *([] if copies is None else [copies])
        _launch(kernel, (_kernels().blocks(length), batch), logits, targets, *tables, *args, *sizes)


class FusedPositives:
    """Sums over all pairs of positives in float64, by a kernel that writes no pair down."""

    def __init__(self, positives: Positives, step: SmoothedStep) -> None:
        self.positives, self.step = positives, step
        self.positions, self.targets = positives.positions.contiguous(), positives.targets.contiguous()

    def over_all(self, values: Tensor) -> Tensor:
        return self._sums(values, sign=1, ties=1)[0]

    def over_all_and_as_good(self, values: Tensor) -> tuple[Tensor, Tensor]:
        return self._sums(values, sign=1, ties=1)

    def from_better(self, values: Tensor) -> Tensor:
        return self._sums(values, sign=-1, ties=0)[1]

    def _sums(self, values: Tensor, sign: int, ties: int) -> tuple[Tensor, Tensor]:
        values = values.contiguous()
        results, (number, batch, width) = (torch.empty_like(values), torch.empty_like(values)), values.shape
        scalars = sign, self.step.at_zero, ties, batch, width
        _launch("pair_sums", self._programs(number * batch), self.positions, self.targets, values, *results, *scalars)
        return results

    def rank_and_sort(self, false_positives: Tensor) -> tuple[Tensor, Tensor]:
        """`RankAndSort.weighted_terms`."""
        batch, width = self.positions.shape
        errors, shares = _empty(self.positions, 2, batch, width), _empty(self.positions, 2, 2, batch, width)
        paid, at_zero, programs = torch.empty_like(self.positions), self.step.at_zero, self._programs(batch)
        given = self.positions, self.targets, self.positives.weights, self.positives.number
        made = errors, shares, paid
        _launch("rank_and_sort", programs, *given, false_positives.contiguous(), *made, at_zero, batch, width)
        _launch("charge", programs, *given, paid, shares[0, 1], at_zero, width)
        return errors, shares

    def _programs(self, problems: int) -> tuple[int, int]:
        return _kernels().rows_of_pairs(self.positions.shape[1]), problems


def put(positives: Positives, values: Tensor, result: Tensor) -> None:
    """`Positives.put`."""
    batch, width = positives.source.shape
    _launch("put", _tiles(width, batch), result, values.contiguous(), positives.source.contiguous(), width)
