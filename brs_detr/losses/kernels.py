"""The passes over all samples, and sums over pairs of positives, as Triton kernels.

Each pass reads logits and targets once, one program a block of one problem. Neither keeps anything as long as the
logits but the gradient, and sums are taken in integers, so that they do not depend on the order in which the programs
add. Pairs of positives are never written down; a program adds up those of its positives in order.

Triton compiles a kernel again for every pattern of sizes and addresses that are 1 or divisible by 16, and for every
value of a constant. Sizes change with every image: `any_size` leaves a single variant for each dtype of logits and
targets, which costs vectorised loads.
"""

import inspect
from collections.abc import Callable

import triton
import triton.language as tl

BLOCK = 1024
PAIRS = dict(ROWS=16, COLUMNS=64)  # at a time
CONSTANTS = ("BLOCK", *PAIRS)


def any_size(kernel: Callable) -> triton.JITFunction:
    """Compiles `kernel` once for all sizes and addresses of its arguments."""
    names = [name for name in inspect.signature(kernel).parameters if name not in CONSTANTS]
    return triton.jit(kernel, do_not_specialize=names, do_not_specialize_on_alignment=names)


@any_size
def scan(
    logits,  # (B, N)
    targets,  # (B, N)
    positive,  # (B, N) bool
    lowest,  # (2, B, BLOCKS) of logits and targets, -inf where any is NaN
    highest,  # (2, B, BLOCKS)
    numbers,  # (B, BLOCKS) int32
    B,
    N,
    BLOCKS,
    BLOCK: tl.constexpr,
):
    """Which samples are positives, how many there are in each block, and the extremes of logits and targets."""
    row = tl.program_id(1).to(tl.int64)
    places = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = places < N
    x = tl.load(logits + row * N + places, mask=inside, other=0).to(lowest.dtype.element_ty)
    y = tl.load(targets + row * N + places, mask=inside, other=0).to(lowest.dtype.element_ty)
    tl.store(positive + row * N + places, y > 0, mask=inside)
    infinity = float("inf")
    of_logits = row * BLOCKS + tl.program_id(0)
    of_targets = (B + row) * BLOCKS + tl.program_id(0)
    tl.store(numbers + of_logits, tl.sum((inside & (y > 0)).to(tl.int32), axis=0))
    tl.store(lowest + of_logits, tl.min(tl.where(inside, tl.where(x == x, x, -infinity), infinity), axis=0))
    tl.store(lowest + of_targets, tl.min(tl.where(inside, tl.where(y == y, y, -infinity), infinity), axis=0))
    tl.store(highest + of_logits, tl.max(tl.where(inside & (x == x), x, -infinity), axis=0))
    tl.store(highest + of_targets, tl.max(tl.where(inside & (y == y), y, -infinity), axis=0))


@triton.jit
def _block(logits, targets, lowest_relevant, row, N, BLOCK: tl.constexpr):
    """Places, logits, and which of them are negatives with H > 0 for any positive."""
    places = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = places < N
    lowest = tl.load(lowest_relevant + row)
    x = tl.load(logits + row * N + places, mask=inside, other=0).to(lowest.dtype)
    target = tl.load(targets + row * N + places, mask=inside, other=1)
    return places, inside, x, inside & (target == 0) & (x >= lowest)


@triton.jit
def _bucket(x, wanted, thresholds, cells, low, scale, row, E, CELLS):
    """How many thresholds of the row are <= x: those of the grid cells below x's, and a search inside x's."""
    position = (x - tl.load(low + row)) * tl.load(scale + row)
    cell = tl.minimum(tl.maximum(position, 0), CELLS - 1).to(tl.int32)
    first = cells + row * (CELLS + 1)
    low_end = tl.load(first + cell, mask=wanted, other=0)
    high_end = tl.load(first + cell + 1, mask=wanted, other=0)
    while tl.max(high_end - low_end) > 0:
        middle = (low_end + high_end) // 2
        open_ = low_end < high_end
        below = tl.load(thresholds + row * E + middle, mask=open_, other=0) <= x
        low_end, high_end = (
            tl.where(open_ & below, middle + 1, low_end),
            tl.where(open_ & ~below, middle, high_end),
        )
    return low_end


@any_size
def histogram(
    logits,  # (B, N)
    targets,  # (B, N)
    lowest_relevant,  # (B,)
    thresholds,  # (B, E)
    origin,  # (B, E + 1)
    cells,  # (B, CELLS + 1) int32
    low,  # (B,)
    scale,  # (B,)
    counts,  # (B, COPIES, E + 1) int32, zeros
    offsets,  # (B, COPIES, E + 1) int64, zeros
    per_width,  # both powers of two, so that nothing is rounded: offset * per_width <= 1 on the ramp,
    units,  # and is counted in this many units
    N,
    E,
    CELLS,
    COPIES,
    BLOCK: tl.constexpr,
):
    """Number of negatives in each bucket, and the sum of their offsets from its threshold."""
    row = tl.program_id(1).to(tl.int64)
    _, _, x, relevant = _block(logits, targets, lowest_relevant, row, N, BLOCK)
    bucket = _bucket(x, relevant, thresholds, cells, low, scale, row, E, CELLS)
    offset = (x - tl.load(origin + row * (E + 1) + bucket, mask=relevant, other=0)) * per_width
    offset = tl.minimum(tl.maximum(offset, 0), 1) * units  # outside [0, 1] only where no ramp is
    place = (row * COPIES + tl.program_id(0) % COPIES) * (E + 1) + bucket
    tl.atomic_add(counts + place, 1, mask=relevant, sem="relaxed")
    tl.atomic_add(offsets + place, offset.to(tl.int64), mask=relevant, sem="relaxed")


@any_size
def gradient(
    logits,  # (B, N)
    targets,  # (B, N)
    lowest_relevant,  # (B,)
    thresholds,  # (B, E)
    origin,  # (B, E + 1)
    cells,  # (B, CELLS + 1) int32
    low,  # (B,)
    scale,  # (B,)
    value,  # (B, E + 1)
    slope,  # (B, E + 1)
    result,  # (B, N)
    N,
    E,
    CELLS,
    BLOCK: tl.constexpr,
):
    """value + slope * offset of the bucket of each relevant negative, 0 for every other sample."""
    row = tl.program_id(1).to(tl.int64)
    places, inside, x, relevant = _block(logits, targets, lowest_relevant, row, N, BLOCK)
    bucket = row * (E + 1) + _bucket(x, relevant, thresholds, cells, low, scale, row, E, CELLS)
    offset = x - tl.load(origin + bucket, mask=relevant, other=0)
    g = tl.load(value + bucket, mask=relevant, other=0) + offset * tl.load(slope + bucket, mask=relevant, other=0)
    tl.store(result + row * N + places, tl.where(relevant, g, 0), mask=inside)


@any_size
def pair_sums(
    positions,  # (B, P) in units of 2 delta, see SmoothedStep.positions
    targets,  # (B, P)
    values,  # (V, B, P)
    of_all,  # (V, B, P)
    of_better,  # (V, B, P)
    sign,  # 1 for H(x_k - x_i), -1 for H(x_i - x_k)
    at_zero,  # H(0)
    ties,  # whether a positive of the same target counts as better
    B,
    P,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """For each positive i: sum_k v_k H over all k, and over those with better targets. One program ROWS positives."""
    problem = tl.program_id(1).to(tl.int64)
    row = (problem % B) * P
    i = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    at_i = tl.load(positions + row + i, mask=i < P, other=0)[:, None]
    y_i = tl.load(targets + row + i, mask=i < P, other=0)[:, None]
    all_sum = tl.zeros((ROWS,), at_i.dtype)
    better_sum = tl.zeros((ROWS,), at_i.dtype)
    start = 0
    while start < P:
        k = start + tl.arange(0, COLUMNS)
        at_k = tl.load(positions + row + k, mask=k < P, other=0)[None, :]
        y_k = tl.load(targets + row + k, mask=k < P, other=0)[None, :]
        v = tl.load(values + problem * P + k, mask=k < P, other=0)[None, :]
        share = v * tl.minimum(tl.maximum((at_k - at_i) * sign + at_zero, 0), 1)
        better = (y_k > y_i) | ((y_k == y_i) & (ties > 0))
        all_sum += tl.sum(share, axis=1)
        better_sum += tl.sum(tl.where(better, share, 0), axis=1)
        start += COLUMNS
    tl.store(of_all + problem * P + i, all_sum, mask=i < P)
    tl.store(of_better + problem * P + i, better_sum, mask=i < P)


def programs(batch: int, length: int) -> tuple[int, int]:
    """How many for logits (B, N)."""
    return triton.cdiv(length, BLOCK), batch


def programs_of_pairs(values: int, batch: int, positives: int) -> tuple[int, int]:
    """How many for values (V, B, P) of positives."""
    return triton.cdiv(positives, PAIRS["ROWS"]), values * batch
