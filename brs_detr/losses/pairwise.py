"""All pairs: the definition itself, and the reference.

This is how Rank & Sort Loss sums (Oksuz et al., "Rank & Sort Loss for Object Detection and Instance
Segmentation", ICCV 2021): O(P (N + P)) time, here in blocks of bounded memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from .blocks import Tile, limits, negatives_of_tile, slices, tiles
from .positives import Positives
from .step import SmoothedStep


class Block(NamedTuple):
    """Some pairs of a positive and a negative, and where they belong."""

    tile: Tile
    places: Tensor | None  # of the negatives in the flattened tile; None for all of it
    positives: slice
    pairs: Tensor  # H(x_j - x_i), (rows, positives, negatives)


class PairwiseNegatives:
    """Sums over the negatives, in the precision of the logits (at least float32).

    may_synchronise: whether the host may ask a GPU how many negatives are relevant, to leave out the rest.
    """

    def __init__(self, positives: Positives, step: SmoothedStep, dtype: torch.dtype, may_synchronise: bool) -> None:
        self.step, self.dtype, self.may_synchronise = step, torch.promote_types(dtype, torch.float32), may_synchronise
        self.positives = positives.logits.to(self.dtype)
        self.lowest_relevant = positives.lowest_relevant(step.delta).to(self.dtype)

    def false_positives(self, logits: Tensor, targets: Tensor) -> Tensor:
        result = torch.zeros_like(self.positives, dtype=torch.float64)
        for tile, _, p, pairs in self._blocks(logits, targets):
            result[tile.rows, p] += pairs.sum(-1)
        return result

    def gradient(self, logits: Tensor, targets: Tensor, coefficients: Tensor) -> Tensor:
        result = torch.zeros_like(logits, dtype=self.dtype)
        for tile, places, p, pairs in self._blocks(logits, targets):
            g = (coefficients[tile.rows, None, p].to(self.dtype) @ pairs)[:, 0]
            if places is None:
                result[tile] += g
            else:
                result[tile].view(-1).index_add_(0, places, g.view(-1))
        return result

    def _blocks(self, logits: Tensor, targets: Tensor) -> Iterator[Block]:
        size = limits(logits.device).pairs_at_a_time
        for tile in tiles(logits):
            x = logits[tile].to(self.dtype)
            x, places = negatives_of_tile(x, targets[tile], self.lowest_relevant[tile.rows], self.may_synchronise)
            for p in slices(self.positives.shape[1], max(1, size // max(1, x.nelement()))):
                yield Block(tile, places, p, self.step(x[:, None, :] - self.positives[tile.rows, p, None]))


class PairwisePositives:
    """Sums over the positives, in float64.

    keep: hold all pairs, as there are few, instead of making them again for every sum.
    """

    def __init__(self, positives: Positives, step: SmoothedStep, keep: bool) -> None:
        self.logits, self.targets, self.step = positives.logits, positives.targets, step
        self.kept = list(self._blocks()) if keep else None

    def over_all(self, values: Tensor) -> Tensor:
        return torch.cat([_sums(pairs, values) for _, pairs in self._pairs()], dim=-1)

    def over_all_and_as_good(self, values: Tensor) -> tuple[Tensor, Tensor]:
        y, of_all, of_as_good = self.targets, [], []
        for i, pairs in self._pairs():
            of_all.append(_sums(pairs, values))
            of_as_good.append(_sums(pairs * (y[:, None, :] >= y[:, i, None]), values))
        return torch.cat(of_all, dim=-1), torch.cat(of_as_good, dim=-1)

    def from_better(self, values: Tensor) -> Tensor:
        y, result = self.targets, torch.zeros_like(values)
        for k, pairs in self._pairs():  # H(x_i - x_k), (B, k, i)
            result += (values[:, :, None, k] @ (pairs * (y[:, None, :] < y[:, k, None])))[:, :, 0]
        return result

    def _pairs(self) -> Iterator[tuple[slice, Tensor]]:
        return iter(self.kept) if self.kept is not None else self._blocks()

    def _blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """Yields some positives i and H(x_k - x_i) for all k, (B, i, k)."""
        batch, width = self.logits.shape
        size = limits(self.logits.device).pairs_at_a_time
        for i in slices(width, max(1, size // max(batch * width, 1))):
            yield i, self.step(self.logits[:, None, :] - self.logits[:, i, None])


def _sums(pairs: Tensor, values: Tensor) -> Tensor:
    """sum_k v_k H_ik of pairs (B, i, k) and values (V, B, k), (V, B, i)."""
    return (pairs @ values.permute(1, 2, 0)).permute(2, 0, 1)
