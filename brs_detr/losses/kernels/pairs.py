"""Sums over pairs of positives, which are never written down: a program adds up those of its positives in order."""

import triton
import triton.language as tl

from .compiling import COLUMNS, ROWS, any_size

EPS = tl.constexpr(1e-10)  # as in step.py, which Triton does not read


@triton.jit
def _step(difference, at_zero):
    return tl.minimum(tl.maximum(difference + at_zero, 0), 1)


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
    ROWS: tl.constexpr = ROWS,
    COLUMNS: tl.constexpr = COLUMNS,
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
        share = v * _step((at_k - at_i) * sign, at_zero)
        better = (y_k > y_i) | ((y_k == y_i) & (ties > 0))
        all_sum += tl.sum(share, axis=1)
        better_sum += tl.sum(tl.where(better, share, 0), axis=1)
        start += COLUMNS
    tl.store(of_all + problem * P + i, all_sum, mask=i < P)
    tl.store(of_better + problem * P + i, better_sum, mask=i < P)


@any_size
def rank_and_sort(
    positions,  # (B, P)
    targets,  # (B, P)
    weights,  # (B, P)
    number,  # (B,)
    false_positives,  # (B, P)
    errors,  # (2, B, P): of ranking and sorting
    shares,  # (2, 2, B, P): of positives and of negatives, for ranking and sorting
    paid,  # (B, P): what each k charges for a whole H(x_i - x_k)
    at_zero,  # H(0)
    B,
    P,
    ROWS: tl.constexpr = ROWS,
    COLUMNS: tl.constexpr = COLUMNS,
):
    """`RankAndSort.terms`, each of which weighs 1 / P, but for what positives are charged: see `charge`."""
    row = tl.program_id(1).to(tl.int64)
    i = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    here = row * P + i
    at_i = tl.load(positions + here, mask=i < P, other=0)
    y_i = tl.load(targets + here, mask=i < P, other=0)
    all_above = tl.zeros((ROWS,), tl.float64)
    as_good_above = tl.zeros((ROWS,), tl.float64)
    iou_errors = tl.zeros((ROWS,), tl.float64)
    as_good_errors = tl.zeros((ROWS,), tl.float64)
    start = 0
    while start < P:
        k = start + tl.arange(0, COLUMNS)
        at_k = tl.load(positions + row * P + k, mask=k < P, other=0)[None, :]
        y_k = tl.load(targets + row * P + k, mask=k < P, other=0)[None, :]
        h = tl.load(weights + row * P + k, mask=k < P, other=0)[None, :] * _step(at_k - at_i[:, None], at_zero)
        h_as_good = tl.where(y_k >= y_i[:, None], h, 0)
        all_above += tl.sum(h, axis=1)
        as_good_above += tl.sum(h_as_good, axis=1)
        iou_errors += tl.sum(h * (1 - y_k), axis=1)
        as_good_errors += tl.sum(h_as_good * (1 - y_k), axis=1)
        start += COLUMNS

    w = tl.load(weights + here, mask=i < P, other=0)
    scale = w / tl.load(number + row)
    negatives = tl.load(false_positives + here, mask=i < P, other=0)
    rank_plus = tl.maximum(all_above, at_zero)
    ranking = negatives / (rank_plus + negatives)
    raised = tl.where(negatives > EPS, ranking, 0) * scale
    tl.store(errors + here, ranking * scale, mask=i < P)
    tl.store(shares + here, -raised, mask=i < P)
    tl.store(shares + 2 * B * P + here, raised / tl.where(negatives > EPS, negatives, 1), mask=i < P)

    sorting = iou_errors / rank_plus - as_good_errors / tl.maximum(as_good_above, at_zero)
    worse_above = all_above - as_good_above
    raised = tl.where(worse_above > EPS, sorting, 0)
    tl.store(errors + B * P + here, sorting * scale, mask=i < P)
    tl.store(shares + B * P + here, -raised * scale, mask=i < P)
    tl.store(shares + 3 * B * P + here, tl.zeros((ROWS,), tl.float64), mask=i < P)
    tl.store(paid + here, raised / tl.where(worse_above > EPS, worse_above, 1) * w, mask=i < P)


@any_size
def charge(
    positions,  # (B, P)
    targets,  # (B, P)
    weights,  # (B, P)
    number,  # (B,)
    paid,  # (B, P), of `rank_and_sort`
    shares,  # (B, P): those of positives for sorting, to which this adds
    at_zero,  # H(0)
    P,
    ROWS: tl.constexpr = ROWS,
    COLUMNS: tl.constexpr = COLUMNS,
):
    """What each positive is charged by better ones that it outranks."""
    row = tl.program_id(1).to(tl.int64)
    i = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    here = row * P + i
    at_i = tl.load(positions + here, mask=i < P, other=0)
    y_i = tl.load(targets + here, mask=i < P, other=0)
    charged = tl.zeros((ROWS,), tl.float64)
    start = 0
    while start < P:
        k = start + tl.arange(0, COLUMNS)
        at_k = tl.load(positions + row * P + k, mask=k < P, other=0)[None, :]
        y_k = tl.load(targets + row * P + k, mask=k < P, other=0)[None, :]
        h = tl.load(paid + row * P + k, mask=k < P, other=0)[None, :] * _step(at_i[:, None] - at_k, at_zero)
        charged += tl.sum(tl.where(y_k > y_i[:, None], h, 0), axis=1)
        start += COLUMNS
    scale = tl.load(weights + here, mask=i < P, other=0) / tl.load(number + row)
    tl.store(shares + here, tl.load(shares + here, mask=i < P, other=0) + charged * scale, mask=i < P)
