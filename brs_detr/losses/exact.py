"""Buckets between the break points of the step, on each of which H is linear: exact and near-linear.

Every H(x - x_i) bends only at x_i - delta and x_i + delta. Between two neighbours among these 2P edges all of
them are linear in x, so that a bucket's count and its sum of offsets represent it without error, and the
gradient of a negative is linear inside its bucket. Prefix sums over the edges give everything: O((N + P) log
P) time, O(N + P) memory, no sorting of the negatives.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from .edges import Edges
from .grid import Finder, finder
from .positives import Positives
from .relevance import negatives
from .step import Step
from .tiles import Tile, tiles


class Members(NamedTuple):
    """The negatives of a tile, or the few of them that are relevant, and the bucket that each is in."""

    tile: Tile
    places: Tensor | None  # of the few in the flattened tile
    buckets: Tensor  # int32, in the flattened buckets of the tile's rows


class ExactNegatives:
    """Sums over the buckets between break points.

    Passes over the negatives run in the precision of the logits (at least float32): a negative is only ever
    seen as its offset from the threshold below it. All that adds up is float64. Bucket 0, below all edges,
    takes whatever does not count.
    """

    def __init__(self, logits: Tensor, targets: Tensor, positives: Positives, step: Step) -> None:
        self.dtype = torch.promote_types(logits.dtype, torch.float32)
        self.edges = Edges(positives.logits, step, self.dtype)
        self.targets, self.reach = targets, positives.reach(step.delta).to(self.dtype)
        self.members: list[Members] = []

    def false_positives(self, logits: Tensor) -> Tensor:
        counts, offsets = (torch.zeros_like(self.edges.origin, dtype=torch.float64) for _ in range(2))
        one = counts.new_ones(1)
        for tile, find in self._tiles(logits):
            x = logits[tile].to(self.dtype)
            x, places = negatives(x, self.targets[tile], self.reach[tile.rows], may_wait=False)
            buckets = find(x)
            self.members.append(Members(tile, places, buckets))
            offset = x.view(-1) - _look_up(self.edges.origin, tile, buckets)
            offsets[tile.rows].view(-1).index_add_(0, buckets, offset.double())
            counts[tile.rows].view(-1).index_add_(0, buckets, one.expand(len(buckets)))
        return self.edges.false_positives(counts, offsets)

    def gradient(self, logits: Tensor, coefficients: Tensor) -> Tensor:
        value, slope = (table.to(self.dtype) for table in self.edges.gradient(coefficients))
        result = torch.empty_like(logits, dtype=self.dtype)
        for tile, places, buckets in self.members:
            x = logits[tile].to(self.dtype).reshape(-1)
            x = x if places is None else x.index_select(0, places)
            offset = x - _look_up(self.edges.origin, tile, buckets)
            g = _look_up(slope, tile, buckets).mul_(offset).add_(_look_up(value, tile, buckets))
            if places is None:
                result[tile] = g.view(result[tile].shape)
            else:
                result[tile].zero_().view(-1).index_copy_(0, places, g)
        return result

    def _tiles(self, logits: Tensor) -> Iterator[tuple[Tile, Finder]]:
        """The tiles of (B, N), each with the way to find buckets among the thresholds of its rows."""
        rows = None
        for tile in tiles(logits):
            if tile.rows != rows:
                rows, find = tile.rows, finder(self.edges.thresholds[tile.rows], logits.shape[1])
            yield tile, find


def _look_up(table: Tensor, tile: Tile, buckets: Tensor) -> Tensor:
    """Entries of a (B, 2P + 1) table, for buckets counted through the rows of a tile."""
    return table[tile.rows].view(-1).index_select(0, buckets)
