"""The positives in the order of their logits, and the break points of H between which negatives are counted."""

import triton
import triton.language as tl

from .compiling import SCAN, TILE, any_size


@any_size
def pad(
    values,  # (M,) float64, row after row
    first,  # (B + 1,) int64: where each row begins
    padded,  # (B, P)
    P,
    TILE: tl.constexpr = TILE,
):
    """Lays rows of different lengths side by side; infinity behind them."""
    row = tl.program_id(1).to(tl.int64)
    column = tl.program_id(0) * TILE + tl.arange(0, TILE)
    place = tl.load(first + row) + column
    real = place < tl.load(first + row + 1)
    tl.store(padded + row * P + column, tl.load(values + place, mask=real, other=float("inf")), mask=column < P)


@any_size
def arrange(
    ordered,  # (B, P) logits, ascending, infinite at paddings
    order,  # (B, P) int64: the place of each in its row before
    first,  # (B + 1,) int64: where each row begins among the M positives
    fields,  # (2, M): logits and targets of the positives
    of_positive,  # (M,) int64
    logits,  # (B, P), and so all that follows; see `Positives`
    targets,
    weights,
    positions,
    source,
    number,  # (B,)
    per_width: tl.float64,  # 1 / (2 delta); 0 for delta = 0
    units,  # a power of two: positions are counted in this many parts of 2 delta
    P,
    M,
    SCAN: tl.constexpr = SCAN,
):
    """The positives of each row. Positions add up in integers, so that they ascend, however they are added."""
    row = tl.program_id(0).to(tl.int64)
    begin = tl.load(first + row)
    total = tl.load(first + row + 1) - begin
    highest = tl.load(ordered + row * P + tl.maximum(total - 1, 0), mask=total > 0, other=0)
    tl.store(number + row, tl.maximum(total, 1).to(tl.float64))
    reached = tl.zeros((), tl.int64)
    start = 0
    while start < P:
        p = start + tl.arange(0, SCAN)
        here = row * P + p
        inside = p < P
        real = p < total
        x = tl.load(ordered + here, mask=real, other=0)
        gap = tl.where(real & (p > 0), x - tl.load(ordered + here - 1, mask=real & (p > 0), other=0), 0)
        unit = tl.where(per_width > 0, tl.minimum(gap * per_width, 2), tl.where(gap > 0, 2.0, 0.0).to(tl.float64))
        unit = (unit * units).to(tl.int64)
        position = reached + tl.cumsum(unit, axis=0)
        place = begin + tl.load(order + here, mask=real, other=0)
        tl.store(logits + here, tl.where(real, x, highest), mask=inside)
        tl.store(targets + here, tl.load(fields + M + place, mask=real, other=1), mask=inside)
        tl.store(weights + here, real.to(tl.float64), mask=inside)
        tl.store(positions + here, position.to(tl.float64) / units, mask=inside)
        tl.store(source + here, tl.load(of_positive + place, mask=real, other=-1), mask=inside)
        reached += tl.sum(unit, axis=0)
        start += SCAN


@any_size
def break_points(
    logits,  # (B, P)
    weights,  # (B, P)
    positions,  # (B, P)
    places,  # (B, 2, P) int32: of the foot and of the top of each positive's ramp among the 2P break points
    elements,  # (B, 2P) int32: the inverse, i for the foot of i, P + i for its top
    sloped,  # (B, 2P) bool; see `exact.BreakPoints` for these
    width,  # (B, 2P)
    rounding,  # (B, 2P)
    thresholds,  # (B, 2P) in the precision of the logits, and so all that follows
    origin,  # (B, 2P + 1)
    lowest_relevant,  # (B,)
    delta: tl.float64,
    per_width: tl.float64,  # 1 / (2 delta); 0 for delta = 0
    at_zero,  # H(0)
    P,
    TILE: tl.constexpr = TILE,
):
    """Merges feet and tops, each of which ascend: an element's place is its own, and the number of others before it."""
    row = tl.program_id(1).to(tl.int64)
    i = tl.program_id(0) * TILE + tl.arange(0, TILE)
    inside = i < P
    row_x, row_at = logits + row * P, positions + row * P
    x = tl.load(row_x + i, mask=inside, other=0)
    foot = tl.load(row_at + i, mask=inside, other=0) - at_zero
    top = foot + 1
    next_foot = tl.load(row_at + i + 1, mask=i + 1 < P, other=float("inf")) - at_zero

    tops = _number_below(row_at, foot, at_zero, 1, False, inside, P)  # before this foot, at most i
    threshold = _threshold_of_foot(x, delta, thresholds.dtype.element_ty)
    x_before = tl.load(row_x + tops - 1, mask=inside & (tops > 0), other=0)
    before = _threshold_of_top(x_before, delta, thresholds.dtype.element_ty)
    threshold = tl.where(tops > 0, tl.maximum(threshold, before), threshold)
    next_top = tl.load(row_at + tops, mask=inside, other=0) - at_zero + 1
    place = row * 2 * P + i + tops
    tl.store(places + row * 2 * P + i, i + tops, mask=inside)
    tl.store(elements + place, i, mask=inside)
    tl.store(sloped + place, inside, mask=inside)  # a ramp begins here
    tl.store(width + place, tl.minimum(next_foot, next_top) - foot, mask=inside)
    tl.store(rounding + place, (threshold.to(tl.float64) - x + delta) * per_width, mask=inside)
    tl.store(thresholds + place, threshold, mask=inside)
    tl.store(origin + place + row + 1, threshold, mask=inside)

    feet = _number_below(row_at, top, at_zero, 0, True, inside, P)  # before this top, above i
    threshold = _threshold_of_top(x, delta, thresholds.dtype.element_ty)
    x_before = tl.load(row_x + feet - 1, mask=inside, other=0)
    threshold = tl.maximum(threshold, _threshold_of_foot(x_before, delta, thresholds.dtype.element_ty))
    on_ramp = feet > i + 1
    later_foot = tl.load(row_at + feet, mask=inside & (feet < P), other=float("inf")) - at_zero
    place = row * 2 * P + i + feet
    tl.store(places + row * 2 * P + P + i, i + feet, mask=inside)
    tl.store(elements + place, P + i, mask=inside)
    tl.store(sloped + place, on_ramp, mask=inside)
    tl.store(width + place, tl.where(on_ramp, tl.minimum(later_foot, next_foot + 1) - top, 0), mask=inside)
    tl.store(rounding + place, tl.where(on_ramp, (threshold.to(tl.float64) - x - delta) * per_width, 0), mask=inside)
    tl.store(thresholds + place, threshold, mask=inside)
    tl.store(origin + place + row + 1, tl.where(on_ramp, threshold, 0), mask=inside)

    if tl.program_id(0) == 0:
        lowest = tl.load(row_x) - delta
        lowest = tl.where(tl.load(weights + row * P) > 0, lowest, float("inf"))
        tl.store(lowest_relevant + row, lowest.to(lowest_relevant.dtype.element_ty))
        tl.store(origin + row * (2 * P + 1), 0.0)


@triton.jit
def _number_below(row_at, bound, at_zero, raised, ties, wanted, P):
    """How many feet (raised = 0) or tops (raised = 1) lie below the bound, or on it if ties count."""
    low = tl.zeros(bound.shape, tl.int32)
    high = tl.where(wanted, P, 0)
    while tl.max(high - low) > 0:
        middle = (low + high) // 2
        open_ = low < high
        value = tl.load(row_at + middle, mask=open_, other=0) - at_zero + raised
        below = (value < bound) | ((value == bound) & ties)
        low, high = tl.where(open_ & below, middle + 1, low), tl.where(open_ & ~below, middle, high)
    return low


@triton.jit
def _threshold_of_foot(x, delta, dtype: tl.constexpr):
    """The smallest finite number of the dtype not below x - delta."""
    return _finite(_round_up(x - delta, dtype))


@triton.jit
def _threshold_of_top(x, delta, dtype: tl.constexpr):
    """The smallest finite number of the dtype not below x + delta; above x even where delta is lost in rounding."""
    threshold = _round_up(x + delta, dtype)
    return _finite(tl.where(delta > 0, tl.maximum(threshold, _next(x.to(dtype))), threshold))


@triton.jit
def _round_up(values, dtype: tl.constexpr):
    nearest = values.to(dtype)
    return tl.where(nearest.to(tl.float64) < values, _next(nearest), nearest)


@triton.jit
def _next(x):
    """The next number above finite x or -inf: floats of one sign are ordered as the integers of the same bits."""
    bits = x.to(tl.int64 if x.dtype == tl.float64 else tl.int32, bitcast=True)
    following = tl.where(x == 0, 1, tl.where(x > 0, bits + 1, bits - 1)).to(bits.dtype)
    return following.to(x.dtype, bitcast=True)


@triton.jit
def _finite(x):
    largest = 1.7976931348623157e308 if x.dtype == tl.float64 else 3.4028234663852886e38
    return tl.minimum(tl.maximum(x, -largest), largest)


@triton.jit
def grid_of(thresholds, row, E, CELLS):
    """The uniform grid over the thresholds of a row: x lies in cell (x - low) * scale."""
    low = tl.load(thresholds + row * E)
    width = tl.load(thresholds + row * E + E - 1).to(tl.float64) - low.to(tl.float64)
    if low.dtype == tl.float64:
        least, most = 2.2250738585072014e-308, 1.7976931348623157e308
    else:
        least, most = 1.1754943508222875e-38, 3.4028234663852886e38
    scale = tl.where(width > 0, CELLS / tl.where(width > 0, width, 1), most)
    return low, tl.minimum(tl.maximum(scale, least), most).to(low.dtype)


@triton.jit
def cell_of(x, low, scale, CELLS):
    return tl.minimum(tl.maximum((x - low) * scale, 0), CELLS - 1).to(tl.int32)


@any_size
def grid(
    thresholds,  # (B, E), ascending
    cells,  # (B, CELLS + 1) int32
    E,
    CELLS,
    TILE: tl.constexpr = TILE,
):
    """How many thresholds lie in lower cells than each."""
    row = tl.program_id(1).to(tl.int64)
    cell = tl.program_id(0) * TILE + tl.arange(0, TILE)
    low, scale = grid_of(thresholds, row, E, CELLS)
    low_end = tl.zeros(cell.shape, tl.int32)
    high_end = tl.where(cell <= CELLS, E, 0)
    while tl.max(high_end - low_end) > 0:
        middle = (low_end + high_end) // 2
        open_ = low_end < high_end
        threshold = tl.load(thresholds + row * E + middle, mask=open_, other=0)
        below = cell_of(threshold, low, scale, CELLS) < cell
        low_end, high_end = tl.where(open_ & below, middle + 1, low_end), tl.where(open_ & ~below, middle, high_end)
    tl.store(cells + row * (CELLS + 1) + cell, low_end, mask=cell <= CELLS)
