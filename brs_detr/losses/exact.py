"""Buckets between the break points of H, on each of which H is linear: exact and near-linear.

Every H(x - x_i) changes its slope only at x_i - delta and x_i + delta. Between two neighbours among these 2P break
points all of them are linear in x, so that a bucket's count and its sum of offsets represent it without error, and
the gradient of a negative is linear inside its bucket. Prefix sums over the break points give everything:
O((N + P) log P) time, O(N + P) memory, no sorting of the negatives.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from .blocks import Tile, negatives_of_tile, tiles
from .grid import Lookup, bucket_lookup
from .positives import Positives
from .step import SmoothedStep, prefix_sum, suffix_sum


class BreakPoints:
    """The 2P break points x_i -+ delta of ascending positives (B, P), and the buckets that they bound.

    Bucket 0 lies below all break points, bucket m from the m-th one to the next: x is in bucket m if m
    `thresholds` are <= x. A threshold is the smallest number of the logits' own precision that is not below
    its break point, so that comparing in that precision is exact; `rounding` is how far it lies above, in
    units of 2 delta. A bucket is `sloped` if it lies on the ramp of any positive; on the others every H is
    constant.
    """

    def __init__(self, logits: Tensor, positions: Tensor, step: SmoothedStep, dtype: torch.dtype) -> None:
        self.step = step
        foot = positions - step.at_zero
        ordered, self.order = torch.cat([foot, foot + 1], dim=-1).sort(dim=-1, stable=True)
        number = torch.arange(self.order.shape[-1], device=logits.device).expand_as(self.order)
        place = torch.empty_like(self.order).scatter_(-1, self.order, number)
        self.feet, self.tops = place.chunk(2, dim=-1)

        is_foot = self.order < logits.shape[-1]
        self.sloped = torch.where(is_foot, 1, -1).cumsum(-1) > 0
        self.width = pad(ordered.diff(dim=-1), (0, 1)) * self.sloped

        self.thresholds = self._ordered(*_thresholds(logits, step.delta, dtype)).cummax(-1).values
        to_centre = step.delta * torch.where(is_foot, 1.0, -1.0).double()  # delta itself would become float32
        rounding = (self.thresholds.double() - self._ordered(logits, logits) + to_centre) * step.slope
        self.rounding = rounding.where(self.sloped, 0.0)
        self.origin = pad(self.thresholds.where(self.sloped, 0.0), (1, 0))

    def false_positives(self, counts: Tensor, offsets: Tensor) -> Tensor:
        """N_FP(i) = sum_j H(x_j - x_i), (B, P), from the number of negatives in each bucket and the sum of
        their offsets from its threshold, (B, 2P + 1)."""
        count, offset = counts[:, 1:], offsets[:, 1:]
        inside = (offset * self.step.slope + count * self.rounding).where(self.sloped, 0.0)
        above = suffix_sum(count) - count
        # for each break point the sum over negatives of their distance above it on sloped buckets, in units of 2 delta
        height = suffix_sum(inside + above * self.width)
        return height.gather(-1, self.feet) - height.gather(-1, self.tops)

    def gradient(self, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        """g(x) = sum_i c_i H(x - x_i), linear in each bucket: its value at the bucket's threshold and its
        slope, each (B, 2P + 1)."""
        slope = prefix_sum(self._ordered(coefficients, -coefficients)) * self.sloped
        value = prefix_sum(slope * self.width, exclusive=True)[..., :-1] + slope * self.rounding
        return pad(value, (1, 0)), pad(slope * self.step.slope, (1, 0))

    def _ordered(self, of_feet: Tensor, of_tops: Tensor) -> Tensor:
        return torch.cat([of_feet, of_tops], dim=-1).gather(-1, self.order)


def _thresholds(logits: Tensor, delta: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The smallest finite numbers of `dtype` not below logits - delta and logits + delta (float64)."""
    feet, tops = _round_up(logits - delta, dtype), _round_up(logits + delta, dtype)
    if delta > 0:  # above the logit even where delta is lost in rounding
        tops = tops.maximum(_next(logits.to(dtype)))
    limit = torch.finfo(dtype).max
    return feet.clamp(-limit, limit), tops.clamp(-limit, limit)


def _round_up(values: Tensor, dtype: torch.dtype) -> Tensor:
    nearest = values.to(dtype)
    return torch.where(nearest.double() < values, _next(nearest), nearest)


def _next(values: Tensor) -> Tensor:
    return torch.nextafter(values, torch.full_like(values, float("inf")))


class BucketMembers(NamedTuple):
    """The negatives of a tile, or the few of them that are relevant, and the bucket that each is in."""

    tile: Tile
    places: Tensor | None  # of the few in the flattened tile
    buckets: Tensor  # int32, in the flattened buckets of the tile's rows


class ExactNegatives:
    """Sums over the buckets between break points.

    Passes over the negatives run in the precision of the logits (at least float32): a negative is only ever
    seen as its offset from the threshold below it. All that adds up is float64. Bucket 0, below all break
    points, takes whatever does not count.
    """

    def __init__(self, positives: Positives, step: SmoothedStep, logits: Tensor) -> None:
        self.dtype = torch.promote_types(logits.dtype, torch.float32)
        self.break_points = BreakPoints(positives.logits, positives.positions, step, self.dtype)
        self.lowest_relevant = positives.lowest_relevant(step.delta).to(self.dtype)
        self.members: list[BucketMembers] = []

    def false_positives(self, logits: Tensor, targets: Tensor) -> Tensor:
        counts, offsets = (torch.zeros_like(self.break_points.origin, dtype=torch.float64) for _ in range(2))
        one = counts.new_ones(1)
        for tile, find in self._tiles(logits):
            x = logits[tile].to(self.dtype)
            x, places = negatives_of_tile(x, targets[tile], self.lowest_relevant[tile.rows], may_synchronise=False)
            buckets = find(x)
            self.members.append(BucketMembers(tile, places, buckets))
            offset = x.view(-1) - _look_up(self.break_points.origin, tile, buckets)
            offsets[tile.rows].view(-1).index_add_(0, buckets, offset.double())
            counts[tile.rows].view(-1).index_add_(0, buckets, one.expand(len(buckets)))
        return self.break_points.false_positives(counts, offsets)

    def gradient(self, logits: Tensor, targets: Tensor, coefficients: Tensor) -> Tensor:
        value, slope = (table.to(self.dtype) for table in self.break_points.gradient(coefficients))
        result = torch.empty_like(logits, dtype=self.dtype)
        for tile, places, buckets in self.members:
            x = logits[tile].to(self.dtype).reshape(-1)
            x = x if places is None else x.index_select(0, places)
            offset = x - _look_up(self.break_points.origin, tile, buckets)
            g = _look_up(slope, tile, buckets).mul_(offset).add_(_look_up(value, tile, buckets))
            if places is None:
                result[tile] = g.view(result[tile].shape)
            else:
                result[tile].zero_().view(-1).index_copy_(0, places, g)
        return result

    def _tiles(self, logits: Tensor) -> Iterator[tuple[Tile, Lookup]]:
        """The tiles of (B, N), each with the function that finds buckets among the thresholds of its rows."""
        rows = None
        for tile in tiles(logits):
            if tile.rows != rows:
                rows, find = tile.rows, bucket_lookup(self.break_points.thresholds[tile.rows], logits.shape[1])
            yield tile, find


def _look_up(table: Tensor, tile: Tile, buckets: Tensor) -> Tensor:
    """Entries of a (B, 2P + 1) table, for buckets counted through the rows of a tile."""
    return table[tile.rows].view(-1).index_select(0, buckets)
