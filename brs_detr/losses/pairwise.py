"""The definition, evaluated over all pairs of a positive and a negative: the reference.

This is how Rank & Sort Loss sums (Oksuz et al., "Rank & Sort Loss for Object Detection and Instance
Segmentation", ICCV 2021): O(P N) time, here in blocks of bounded memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from .positives import Positives
from .relevance import negatives
from .step import Step
from .tiles import Tile, pairs_at_a_time, slices, tiles

FEW = {"cpu": 400_000, "cuda": 1 << 24}  # pairs; measured on a CPU, estimated for CUDA
FEW_POSITIVES = {"cpu": 6}  # so few that one pass over the negatives for each is quicker than any table


class Block(NamedTuple):
    """Some pairs, and where they belong."""

    tile: Tile
    places: Tensor | None  # of the negatives in the flattened tile; None for all of it
    positives: slice
    pairs: Tensor  # H(x_j - x_i), (rows, positives, negatives)


class PairwiseNegatives:
    """Sums over the pairs themselves, in the precision of the logits (at least float32)."""

    def __init__(self, logits: Tensor, targets: Tensor, positives: Positives, step: Step) -> None:
        self.step, self.dtype = step, torch.promote_types(logits.dtype, torch.float32)
        self.positives, self.targets = positives.logits.to(self.dtype), targets
        self.reach = positives.reach(step.delta).to(self.dtype)
        self.may_wait = not few_pairs(logits, positives)

    def false_positives(self, logits: Tensor) -> Tensor:
        result = torch.zeros_like(self.positives, dtype=torch.float64)
        for tile, _, p, pairs in self._blocks(logits):
            result[tile.rows, p] += pairs.sum(-1)
        return result

    def gradient(self, logits: Tensor, coefficients: Tensor) -> Tensor:
        result = torch.zeros_like(logits, dtype=self.dtype)
        for tile, places, p, pairs in self._blocks(logits):
            g = (coefficients[tile.rows, None, p].to(self.dtype) @ pairs)[:, 0]
            if places is None:
                result[tile] += g
            else:
                result[tile].view(-1).index_add_(0, places, g.view(-1))
        return result

    def _blocks(self, logits: Tensor) -> Iterator[Block]:
        size = pairs_at_a_time(logits.device)
        for tile in tiles(logits):
            x = logits[tile].to(self.dtype)
            x, places = negatives(x, self.targets[tile], self.reach[tile.rows], self.may_wait)
            for p in slices(self.positives.shape[1], max(1, size // max(1, x.nelement()))):
                yield Block(tile, places, p, self.step(x[:, None, :] - self.positives[tile.rows, p, None]))


def few_pairs(logits: Tensor, positives: Positives) -> bool:
    """Are there so few pairs, or so few positives, that it is quickest to take all pairs?"""
    device, width = logits.device.type, positives.logits.shape[1]
    pairs = positives.logits.nelement() * logits.shape[1]
    return width <= FEW_POSITIVES.get(device, 0) or pairs <= FEW.get(device, FEW["cuda"])
