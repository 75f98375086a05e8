"""The positives of a batch of ranking problems, and the one look at a batch that finds them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .batch import Batch
from .checks import check_logits, check_targets
from .tiles import Tile, tiles


class Positives(NamedTuple):
    """The positives of B problems, sorted by logit and padded at the end to the largest number P >= 1 of
    them.

    A padding repeats the highest logit and weighs 0, so that every weighted sum may run over all P.
    """

    logits: Tensor  # (B, P) float64, ascending
    targets: Tensor  # (B, P) float64
    weights: Tensor  # (B, P) float64: 1, or 0 for a padding
    number: Tensor  # (B, 1) float64, at least 1
    slots: Tensor  # (M,) places in the flattened (B, P) that are no padding
    source: Tensor  # (M,) their places in the flattened (B, N)

    def reach(self, delta: float) -> Tensor:
        """(B, 1): the lowest logit that any positive can feel, infinite where there is no positive."""
        return (self.logits[:, :1] - delta).where(self.weights[:, :1] > 0, float("inf"))

    def mean(self, values: Tensor) -> Tensor:
        """(B, P) -> (B,): mean over the positives of each problem, 0 where there are none."""
        return (values * self.weights / self.number).sum(-1)


class Survey:
    """One pass over a batch that checks it and counts its positives; the host reads `statistics` once."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.logits, self.targets = batch.logits.detach(), batch.targets
        self.tiles = list(tiles(self.logits))
        self.masks = [self.targets[tile] > 0 for tile in self.tiles]
        found = [_statistics(self.logits[t], self.targets[t], m) for t, m in zip(self.tiles, self.masks, strict=True)]
        self.statistics = torch.cat([self.logits.new_zeros(0, 5, dtype=torch.float64), *found])

    def positives(self, statistics: list[list[float]]) -> Positives:
        """The positives, given the statistics as numbers; does not synchronise again.

        Raises ValueError, naming the problem, if its logits or targets cannot be ranked.
        """
        number, source, lines = [0] * len(self.logits), [], iter(statistics)
        for tile, mask in zip(self.tiles, self.masks, strict=True):
            rows = range(tile.rows.start, tile.rows.stop)
            inside = [self._checked(row, *next(lines)) for row in rows]
            for row, more in zip(rows, inside, strict=True):
                number[row] += more
            if sum(inside):
                source.append(self._places(tile, mask, sum(inside)))
        places = torch.cat([self.targets.new_zeros(0, dtype=torch.long), *source])
        return self._sorted(places, width=max([1, *number]))

    def _checked(self, row: int, low: float, high: float, worst: float, best: float, number: float) -> int:
        if not (low > -float("inf") and high < float("inf")):
            logits, _, name = self.batch.problem(row)
            check_logits(logits, name)
        if not (worst > -float("inf") and best <= 1):
            _, targets, name = self.batch.problem(row)
            check_targets(targets, name)
        return int(number)

    def _places(self, tile: Tile, mask: Tensor, number: int) -> Tensor:
        """Where a tile's positives are in the flattened batch."""
        inside = _nonzero(mask, number)
        length = self.targets.shape[1]
        return inside[:, 0] * length + inside[:, 1] + (tile.rows.start * length + tile.columns.start)

    def _sorted(self, source: Tensor, width: int) -> Positives:
        batch, length = self.logits.shape
        row = source // max(length, 1)
        number = row.new_zeros(batch).index_add_(0, row, torch.ones_like(row))
        column = torch.arange(len(row), device=row.device) - (number.cumsum(0) - number)[row]

        def padded(values: Tensor, filling: float) -> Tensor:
            return values.new_full((batch, width), filling).index_put_((row, column), values)

        real = torch.arange(width, device=row.device) < number[:, None]
        logits, order = padded(self.logits.view(-1)[source].double(), float("inf")).sort(dim=-1)
        slots = _nonzero(real.view(-1), len(row))[:, 0]
        return Positives(
            logits=_repeat_highest(logits, real),
            targets=padded(self.targets.view(-1)[source].double(), 1.0).gather(-1, order),
            weights=real.double(),
            number=number[:, None].clamp(min=1).double(),
            slots=slots,
            source=padded(source, 0).gather(-1, order).view(-1)[slots],
        )


def _statistics(logits: Tensor, targets: Tensor, positive: Tensor) -> Tensor:
    """(rows, 5): lowest and highest logit, lowest and highest target (NaN if any is), number of positives."""
    if len(logits) == 1:  # reducing everything is much quicker than reducing a dimension
        number = torch.count_nonzero(positive).double()
        return torch.stack([*torch.aminmax(logits), *torch.aminmax(targets), number])[None]
    extremes = [logits.amin(-1), logits.amax(-1), targets.amin(-1), targets.amax(-1)]
    return torch.stack([*extremes, positive.sum(-1).double()], dim=-1)


def _repeat_highest(ascending: Tensor, real: Tensor) -> Tensor:
    """Fills the padding at the end of each row with the row's last real value, or 0 if it has none."""
    highest = ascending.where(real, -float("inf")).amax(-1, keepdim=True)
    return ascending.where(real, highest.where(real[:, :1], 0.0))


def _nonzero(mask: Tensor, number: int) -> Tensor:
    """torch.nonzero where the number is known, so that CUDA need not stop to ask."""
    return torch.nonzero_static(mask, size=number) if mask.is_cuda else torch.nonzero(mask)
