"""Passes over all samples.

Each reads logits and targets once, one program a block of one problem. None keeps anything as long as the logits but
the gradient, and sums are taken in integers, so that they do not depend on the order in which the programs add.
"""

import triton
import triton.language as tl

from .compiling import BLOCK, SCAN, TILE, any_size
from .positives import cell_of, grid_of


@any_size
def scan(
    logits,  # (B, N)
    targets,  # (B, N)
    lowest,  # (2, B, BLOCKS) of logits and targets, -inf where any is NaN
    highest,  # (2, B, BLOCKS)
    numbers,  # (B, BLOCKS) int32
    B,
    N,
    BLOCKS,
    BLOCK: tl.constexpr = BLOCK,
):
    """How many positives there are in each block, and the extremes of logits and targets."""
    row = tl.program_id(1).to(tl.int64)
    places = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = places < N
    x = tl.load(logits + row * N + places, mask=inside, other=0).to(lowest.dtype.element_ty)
    y = tl.load(targets + row * N + places, mask=inside, other=0).to(lowest.dtype.element_ty)
    infinity = float("inf")
    of_logits = row * BLOCKS + tl.program_id(0)
    of_targets = (B + row) * BLOCKS + tl.program_id(0)
    tl.store(numbers + of_logits, tl.sum((inside & (y > 0)).to(tl.int32), axis=0))
    tl.store(lowest + of_logits, tl.min(tl.where(inside, tl.where(x == x, x, -infinity), infinity), axis=0))
    tl.store(lowest + of_targets, tl.min(tl.where(inside, tl.where(y == y, y, -infinity), infinity), axis=0))
    tl.store(highest + of_logits, tl.max(tl.where(inside & (x == x), x, -infinity), axis=0))
    tl.store(highest + of_targets, tl.max(tl.where(inside & (y == y), y, -infinity), axis=0))


@any_size
def summarise(
    lowest,  # (2, B, BLOCKS), of `scan`
    highest,  # (2, B, BLOCKS)
    numbers,  # (B, BLOCKS)
    before,  # (B, BLOCKS) int32: the number of positives in all blocks before, of earlier rows too
    statistics,  # (B, 5) float64: lowest and highest logit, lowest and highest target, number of positives
    B,
    BLOCKS,
    SCAN: tl.constexpr = SCAN,
):
    """What the host reads of each row. One program a row."""
    row = tl.program_id(0).to(tl.int64)
    first = _total(numbers, row * BLOCKS, SCAN)
    reached = first
    infinity = float("inf")
    least_x, least_y = tl.full((), infinity, lowest.dtype.element_ty), tl.full((), infinity, lowest.dtype.element_ty)
    most_x, most_y = tl.full((), -infinity, lowest.dtype.element_ty), tl.full((), -infinity, lowest.dtype.element_ty)
    start = 0
    while start < BLOCKS:
        block = start + tl.arange(0, SCAN)
        inside = block < BLOCKS
        of_logits = row * BLOCKS + block
        of_targets = (B + row) * BLOCKS + block
        least_x = tl.minimum(least_x, tl.min(tl.load(lowest + of_logits, mask=inside, other=infinity), axis=0))
        most_x = tl.maximum(most_x, tl.max(tl.load(highest + of_logits, mask=inside, other=-infinity), axis=0))
        least_y = tl.minimum(least_y, tl.min(tl.load(lowest + of_targets, mask=inside, other=infinity), axis=0))
        most_y = tl.maximum(most_y, tl.max(tl.load(highest + of_targets, mask=inside, other=-infinity), axis=0))
        number = tl.load(numbers + of_logits, mask=inside, other=0)
        tl.store(before + of_logits, reached + tl.cumsum(number, axis=0) - number, mask=inside)
        reached += tl.sum(number, axis=0)
        start += SCAN
    tl.store(statistics + 5 * row, least_x.to(tl.float64))
    tl.store(statistics + 5 * row + 1, most_x.to(tl.float64))
    tl.store(statistics + 5 * row + 2, least_y.to(tl.float64))
    tl.store(statistics + 5 * row + 3, most_y.to(tl.float64))
    tl.store(statistics + 5 * row + 4, (reached - first).to(tl.float64))


@triton.jit
def _total(numbers, length, SCAN: tl.constexpr):
    """The sum of the first of them."""
    total = tl.zeros((), tl.int32)
    start = tl.zeros((), tl.int64)
    while start < length:
        place = start + tl.arange(0, SCAN)
        total += tl.sum(tl.load(numbers + place, mask=place < length, other=0), axis=0)
        start += SCAN
    return total


@any_size
def collect(
    logits,  # (B, N)
    targets,  # (B, N)
    numbers,  # (B, BLOCKS), of `scan`: blocks without positives are not read
    before,  # (B, BLOCKS), of `summarise`
    fields,  # (2, M) float64: logits and targets of the positives, in the order of their places
    source,  # (M,) int64: these places in the flattened (B, N)
    N,
    M,
    BLOCKS,
    BLOCK: tl.constexpr = BLOCK,
):
    """The positives."""
    row = tl.program_id(1).to(tl.int64)
    block = row * BLOCKS + tl.program_id(0)
    column = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    place = row * N + column
    y = tl.load(targets + place, mask=(column < N) & (tl.load(numbers + block) > 0), other=0)
    positive = y > 0
    x = tl.load(logits + place, mask=positive, other=0)
    rank = tl.load(before + block) + tl.cumsum(positive.to(tl.int32), axis=0) - 1
    tl.store(fields + rank, x.to(tl.float64), mask=positive)
    tl.store(fields + M + rank, y.to(tl.float64), mask=positive)
    tl.store(source + rank, place, mask=positive)


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
def _bucket(x, wanted, thresholds, cells, row, E, CELLS):
    """How many thresholds of the row are <= x: those of the grid cells below x's, and a search inside x's."""
    low, scale = grid_of(thresholds, row, E, CELLS)
    cell = cell_of(x, low, scale, CELLS)
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
    counts,  # (B, COPIES, E + 1) int32, zeros
    offsets,  # (B, COPIES, E + 1) int64, zeros
    per_width,  # both powers of two, so that nothing is rounded: offset * per_width <= 1 on the ramp,
    units,  # and is counted in this many units
    N,
    E,
    CELLS,
    COPIES,
    BLOCK: tl.constexpr = BLOCK,
):
    """Number of negatives in each bucket, and the sum of their offsets from its threshold."""
    row = tl.program_id(1).to(tl.int64)
    _, _, x, relevant = _block(logits, targets, lowest_relevant, row, N, BLOCK)
    bucket = _bucket(x, relevant, thresholds, cells, row, E, CELLS)
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
    value,  # (B, E + 1)
    slope,  # (B, E + 1)
    result,  # (B, N)
    N,
    E,
    CELLS,
    BLOCK: tl.constexpr = BLOCK,
):
    """value + slope * offset of the bucket of each relevant negative, 0 for every other sample."""
    row = tl.program_id(1).to(tl.int64)
    places, inside, x, relevant = _block(logits, targets, lowest_relevant, row, N, BLOCK)
    bucket = row * (E + 1) + _bucket(x, relevant, thresholds, cells, row, E, CELLS)
    offset = x - tl.load(origin + bucket, mask=relevant, other=0)
    g = tl.load(value + bucket, mask=relevant, other=0) + offset * tl.load(slope + bucket, mask=relevant, other=0)
    tl.store(result + row * N + places, tl.where(relevant, g, 0), mask=inside)


@any_size
def put(
    result,  # (B, N)
    values,  # (B, P) float64
    source,  # (B, P) int64: places in the flattened result, negative for what has none
    P,
    TILE: tl.constexpr = TILE,
):
    """Writes the gradients of the positives to their places."""
    column = tl.program_id(0) * TILE + tl.arange(0, TILE)
    p = tl.program_id(1).to(tl.int64) * P + column
    place = tl.load(source + p, mask=column < P, other=-1)
    value = tl.load(values + p, mask=column < P, other=0)
    if result.dtype.element_ty == tl.float64:
        tl.store(result + place, value, mask=place >= 0)
    else:
        tl.store(result + place, value.to(tl.float32), mask=place >= 0)
