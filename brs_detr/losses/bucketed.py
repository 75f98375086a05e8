"""Buckets between the positives, each represented by its mean: the published algorithm.

Yavuz et al., "Bucketed Ranking-based Losses for Efficient Training of Object Detectors", ECCV 2024:
O(max(N log N, P^2)). Exact at delta = 0 (Theorem 4.1 there); at delta > 0 the mean stands for logits on
which H is not linear, so that values and gradients are approximate. `exact.py` cuts at the break points of H instead.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from .blocks import limits, slices
from .positives import Positives
from .step import SmoothedStep


class Buckets:
    """One problem's relevant negatives, sorted and cut at its P positives: bucket b lies above b of them."""

    def __init__(self, logits: Tensor, targets: Tensor, positives: Tensor, lowest_relevant: Tensor) -> None:
        relevant = torch.nonzero((targets == 0) & (logits >= lowest_relevant))[:, 0]
        ordered, order = logits[relevant].sort()
        ordered = ordered.double()
        cuts = torch.searchsorted(ordered, positives)
        starts = torch.cat([cuts.new_zeros(1), cuts])
        ends = torch.cat([cuts, cuts.new_full((1,), len(ordered))])
        self.members = relevant[order]
        self.of_member = torch.repeat_interleave(ends - starts, output_size=len(ordered))
        self.sizes = (ends - starts).double()
        self.means = self._means(ordered, starts, ends)

    def _means(self, ordered: Tensor, starts: Tensor, ends: Tensor) -> Tensor:
        """Bucket means, kept between the lowest and the highest member, lest rounding move one past a
        positive. An empty bucket, of size 0, may have any mean."""
        if not len(ordered):
            return torch.zeros_like(self.sizes)
        total = torch.zeros_like(self.sizes).index_add_(0, self.of_member, ordered)
        last = len(ordered) - 1
        lowest, highest = ordered[starts.clamp(max=last)], ordered[(ends - 1).clamp(0, last)]
        return (total / self.sizes.clamp(min=1)).maximum(lowest).minimum(highest)


class BucketedNegatives:
    """Sums over the P + 1 buckets that P positives cut the sorted negatives into."""

    def __init__(self, positives: Positives, step: SmoothedStep) -> None:
        self.step, self.positives = step, positives.logits
        self.lowest_relevant = positives.lowest_relevant(step.delta)

    def false_positives(self, logits: Tensor, targets: Tensor) -> Tensor:
        lowest = self.lowest_relevant.to(logits.dtype)
        self.buckets = [Buckets(*row) for row in zip(logits, targets, self.positives, lowest, strict=True)]
        result = torch.zeros_like(self.positives)
        for row, p, pairs in self._blocks():
            result[row, p] = pairs @ self.buckets[row].sizes
        return result

    def gradient(self, logits: Tensor, targets: Tensor, coefficients: Tensor) -> Tensor:
        batch, width = self.positives.shape
        of_bucket = coefficients.new_zeros(batch, width + 1)
        for row, p, pairs in self._blocks():
            of_bucket[row] += coefficients[row, p] @ pairs
        result = torch.zeros_like(logits, dtype=torch.promote_types(logits.dtype, torch.float32))
        for row, buckets in enumerate(self.buckets):
            result[row, buckets.members] = of_bucket[row].to(result.dtype)[buckets.of_member]
        return result

    def _blocks(self) -> Iterator[tuple[int, slice, Tensor]]:
        """Yields a problem, some positives, and H(mean_b - x_i) of these (positives, buckets)."""
        width = self.positives.shape[1]
        for row, (positives, buckets) in enumerate(zip(self.positives, self.buckets, strict=True)):
            for p in slices(width, max(1, limits(positives.device).pairs_at_a_time // (width + 1))):
                yield row, p, self.step(buckets.means - positives[p, None])
