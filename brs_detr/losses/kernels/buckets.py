"""From counts and offsets of the buckets to N_FP(i), and from coefficients of the positives to the buckets' gradients.

E = 2P break points bound E + 1 buckets. Prefix sums run in one program a row, a tile after the other.
"""

import triton.language as tl

from .compiling import SCAN, TILE, any_size


@any_size
def fold(
    counts,  # (B, COPIES, E + 1), of `histogram`
    offsets,  # (B, COPIES, E + 1)
    sloped,  # (B, E)
    rounding,  # (B, E)
    number,  # (B, E) float64: negatives in the bucket above each break point
    inside,  # (B, E) float64: how far they lie above it, on a ramp and in units of 2 delta
    per_unit: tl.float64,  # units of 2 delta in a unit of the offsets
    E,
    COPIES,
    TILE: tl.constexpr = TILE,
):
    """Adds up the copies."""
    row = tl.program_id(1).to(tl.int64)
    m = tl.program_id(0) * TILE + tl.arange(0, TILE)
    count = tl.zeros(m.shape, tl.int64)
    offset = tl.zeros(m.shape, tl.int64)
    copy = 0
    while copy < COPIES:
        place = (row * COPIES + copy) * (E + 1) + m + 1
        count += tl.load(counts + place, mask=m < E, other=0)
        offset += tl.load(offsets + place, mask=m < E, other=0)
        copy += 1
    above = offset.to(tl.float64) * per_unit + count * tl.load(rounding + row * E + m, mask=m < E, other=0)
    on_ramp = tl.load(sloped + row * E + m, mask=m < E, other=0) != 0
    tl.store(number + row * E + m, count.to(tl.float64), mask=m < E)
    tl.store(inside + row * E + m, tl.where(on_ramp, above, 0), mask=m < E)


@any_size
def heights(
    number,  # (B, E), of `fold`
    inside,  # (B, E)
    width,  # (B, E)
    height,  # (B, E) float64
    E,
    SCAN: tl.constexpr = SCAN,
):
    """For each break point the sum over negatives of their distance above it on ramps, in units of 2 delta."""
    row = tl.program_id(0).to(tl.int64) * E
    negatives = tl.zeros((), tl.float64)
    reached = tl.zeros((), tl.float64)
    start = 0
    while start < E:
        m = E - 1 - start - tl.arange(0, SCAN)  # from the highest down
        here = tl.load(number + row + m, mask=m >= 0, other=0)
        above = negatives + tl.cumsum(here, axis=0) - here
        rise = tl.load(inside + row + m, mask=m >= 0, other=0)
        rise += above * tl.load(width + row + m, mask=m >= 0, other=0)
        tl.store(height + row + m, reached + tl.cumsum(rise, axis=0), mask=m >= 0)
        negatives += tl.sum(here, axis=0)
        reached += tl.sum(rise, axis=0)
        start += SCAN


@any_size
def false_positives(
    height,  # (B, 2P), of `heights`
    places,  # (B, 2, P), of `break_points`
    result,  # (B, P) float64
    P,
    TILE: tl.constexpr = TILE,
):
    """N_FP(i): what the negatives climb between the foot and the top of i."""
    row = tl.program_id(1).to(tl.int64)
    i = tl.program_id(0) * TILE + tl.arange(0, TILE)
    foot = tl.load(places + row * 2 * P + i, mask=i < P, other=0)
    top = tl.load(places + row * 2 * P + P + i, mask=i < P, other=0)
    climbed = tl.load(height + row * 2 * P + foot) - tl.load(height + row * 2 * P + top)
    tl.store(result + row * P + i, climbed, mask=i < P)


@any_size
def tables(
    coefficients,  # (B, P) float64: c_i
    elements,  # (B, 2P), of `break_points`
    sloped,  # (B, 2P)
    width,  # (B, 2P)
    rounding,  # (B, 2P)
    value,  # (B, 2P + 1)
    slope,  # (B, 2P + 1)
    per_width: tl.float64,  # 1 / (2 delta); 0 for delta = 0
    P,
    SCAN: tl.constexpr = SCAN,
):
    """g(x) = sum_i c_i H(x - x_i) in each bucket: its value at the bucket's threshold, and its slope."""
    row = tl.program_id(0).to(tl.int64)
    tl.store(value + row * (2 * P + 1), 0.0)
    tl.store(slope + row * (2 * P + 1), 0.0)
    on_ramps = tl.zeros((), tl.float64)
    reached = tl.zeros((), tl.float64)
    start = 0
    while start < 2 * P:
        m = start + tl.arange(0, SCAN)
        inside = m < 2 * P
        here = row * 2 * P + m
        element = tl.load(elements + here, mask=inside, other=0)
        c = tl.load(coefficients + row * P + element % P, mask=inside, other=0)
        c = tl.where(element < P, c, -c)
        on_ramp = tl.load(sloped + here, mask=inside, other=0) != 0
        steepness = tl.where(on_ramp, on_ramps + tl.cumsum(c, axis=0), 0)
        rise = steepness * tl.load(width + here, mask=inside, other=0)
        at_threshold = reached + tl.cumsum(rise, axis=0) - rise
        at_threshold += steepness * tl.load(rounding + here, mask=inside, other=0)
        tl.store(value + here + row + 1, at_threshold.to(value.dtype.element_ty), mask=inside)
        tl.store(slope + here + row + 1, (steepness * per_width).to(slope.dtype.element_ty), mask=inside)
        on_ramps += tl.sum(c, axis=0)
        reached += tl.sum(rise, axis=0)
        start += SCAN
