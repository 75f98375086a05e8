"""The positives of a batch of ranking problems, and the one look at a batch that finds them."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import torch
from torch import Tensor

from .blocks import Tile, tiles
from .checks import check_localisation, check_logits, check_targets
from .problems import Batch
from .step import SmoothedStep

INFINITY = float("inf")
PADDINGS = (1.0, 0.0)  # targets and localisation errors at paddings


class Positives(NamedTuple):
    """The positives of B problems, sorted by logit and padded at the end to the largest number P >= 1 of them.

    A padding repeats the highest logit and weighs 0, so that every weighted sum may run over all P.
    """

    logits: Tensor  # (B, P) float64, ascending
    positions: Tensor  # (B, P) float64, see `SmoothedStep.positions`
    targets: Tensor  # (B, P) float64
    localisation: Tensor | None  # (B, P) float64
    weights: Tensor  # (B, P) float64: 1, or 0 for a padding
    number: Tensor  # (B, 1) float64, at least 1
    source: Tensor  # (B, P) places in the flattened (B, N), -1 for a padding and what another process holds
    held: int  # by this process: so many of `source` are places
    totals: list[int]  # of positives in each row

    def lowest_relevant(self, delta: float) -> Tensor:
        """(B, 1): the lowest logit with H(x - x_i) > 0 for any positive i, infinite where there is no positive."""
        return (self.logits[:, :1] - delta).where(self.weights[:, :1] > 0, INFINITY)

    def put(self, values: Tensor, result: Tensor) -> None:
        """Writes (B, P) values of positives to their places in (B, N)."""
        held = nonzero(self.source.view(-1) >= 0, self.held)[:, 0]
        result.view(-1)[self.source.view(-1)[held]] = values.reshape(-1)[held].to(result.dtype)


class Found(NamedTuple):
    """The M positives of a batch, row by row.

    fields: (2 or 3, M) float64: logits, targets and, for losses that read it, localisation errors.
    source: (M,), places in the flattened (B, N); -1 for a positive that another process holds.
    totals: of positives in each row.
    """

    fields: Tensor
    source: Tensor
    totals: list[int]


class BatchScan:
    """One pass over a batch that checks it and counts its positives; the host reads `statistics` once."""

    def __init__(self, batch: Batch, step: SmoothedStep, targets_are_ious: bool) -> None:
        self.batch, self.step, self.targets_are_ious = batch, step, targets_are_ious
        self.logits, self.targets = batch.logits.detach(), batch.targets
        self._scan()

    def _scan(self) -> None:
        self.tiles = list(tiles(self.logits))
        self.masks = [self.targets[tile] > 0 for tile in self.tiles]
        scanned = [self._statistics(tile, mask) for tile, mask in zip(self.tiles, self.masks, strict=True)]
        self.statistics = torch.cat(scanned) if scanned else torch.zeros(0)

    def _statistics(self, tile: Tile, positive: Tensor) -> Tensor:
        """(rows, 5 or 7) float64: lowest and highest logit, target and localisation error of a positive, NaN if any
        is, and the number of positives."""
        columns = [self.logits[tile], self.targets[tile]]
        if self.batch.localisation is not None:
            columns.append(self.batch.localisation.detach()[tile].where(positive, 0))
        if len(positive) == 1:  # reducing everything is much quicker than reducing a dimension
            extremes = [extreme for values in columns for extreme in torch.aminmax(values)]
            return torch.stack([*extremes, torch.count_nonzero(positive).double()])[None]
        extremes = [extreme for values in columns for extreme in (values.amin(-1), values.amax(-1))]
        return torch.stack([*extremes, positive.sum(-1).double()], dim=-1)

    def find(self, statistics: list[list[float]]) -> Found:
        """The positives, given the statistics as numbers; does not synchronise again.

        Raises ValueError, naming the problem, if its logits, targets or localisation errors cannot be ranked.
        """
        totals, source, lines = [0] * len(self.logits), [], iter(statistics)
        for tile, mask in zip(self.tiles, self.masks, strict=True):
            rows = range(tile.rows.start, tile.rows.stop)
            inside = [self._checked(row, next(lines)) for row in rows]
            for row, more in zip(rows, inside, strict=True):
                totals[row] += more
            if sum(inside):
                source.append(self._places(tile, mask, sum(inside)))
        places = torch.cat([self.targets.new_zeros(0, dtype=torch.long), *source])
        columns = [self.logits, self.targets, *([] if self.batch.localisation is None else [self.batch.localisation])]
        fields = [values.detach().reshape(-1)[places].double() for values in columns]
        return Found(torch.stack(fields), places, totals)

    def arrange(self, found: Found) -> Positives:
        """Of this batch, or of the same problems in all processes."""
        return arrange(found, self.step)

    def _checked(self, row: int, statistics: list[float]) -> int:
        """The number of positives, unless a comparison fails, as every comparison with NaN does."""
        lowest, highest, least, most, *errors, number = statistics
        batch, name = self.batch, self.batch.names[row]
        if not (lowest > -INFINITY and highest < INFINITY):
            check_logits(batch.row(batch.logits, row), name)
        if not (least > -INFINITY and most < INFINITY and (most <= 1 or not self.targets_are_ious)):
            check_targets(batch.row(batch.targets, row), name, self.targets_are_ious)
        if batch.localisation is not None and not (errors[0] >= 0 and errors[1] < INFINITY):
            check_localisation(batch.row(batch.localisation, row), batch.row(batch.targets, row) > 0, name)
        return int(number)

    def _places(self, tile: Tile, mask: Tensor, number: int) -> Tensor:
        """Where a tile's positives are in the flattened batch."""
        inside = nonzero(mask, number)
        length = self.targets.shape[1]
        return inside[:, 0] * length + inside[:, 1] + (tile.rows.start * length + tile.columns.start)


def arrange(found: Found, step: SmoothedStep) -> Positives:
    """The positives sorted by logit and padded."""
    batch, width, (logits, *others) = len(found.totals), max([1, *found.totals]), found.fields
    full = logits.nelement() == batch * width  # no padding, as for a single problem with positives
    slots = None if full else _slots(found.totals, width, logits.device)

    def padded(values: Tensor, filling: float) -> Tensor:
        if slots is None:
            return values.view(batch, width)
        return values.new_full((batch * width,), filling).index_put_((slots,), values).view(batch, width)

    weights = padded(torch.ones_like(logits), 0.0)
    logits, order = padded(logits, INFINITY).sort(dim=-1)
    logits = logits if full else _repeat_highest(logits, weights > 0)
    targets, *localisation = (
        padded(values, filling).gather(-1, order) for values, filling in zip(others, PADDINGS, strict=False)
    )
    return Positives(
        logits=logits,
        positions=step.positions(logits),
        targets=targets,
        localisation=next(iter(localisation), None),
        weights=weights,
        number=weights.sum(-1, keepdim=True).clamp(min=1),
        source=padded(found.source, -1).gather(-1, order),
        held=len(found.source),
        totals=found.totals,
    )


def _slots(totals: list[int], width: int, device: torch.device) -> Tensor:
    """(M,): places in the flattened (B, P) of rows with so many positives, in ascending order; counted by the host."""
    number = torch.tensor(totals)
    row = torch.repeat_interleave(torch.arange(len(totals)), number, output_size=sum(totals))
    column = torch.arange(sum(totals)) - (number.cumsum(0) - number)[row]
    return (row * width + column).to(device, non_blocking=True)


def warn_of_rows(name: str, totals: list[int]) -> None:
    """Logits (queries, classes) of a DETR would be taken for a problem each query: tell whoever meant one problem.

    totals: of positives in each row of logits (B, N).
    """
    empty = sum(total == 0 for total in totals)
    if 2 * empty > len(totals) and len(totals) > 1:
        warnings.warn(
            f"{name}: logits (B, N) are B ranking problems, and {empty} of these {len(totals)} have no positive. If "
            "all samples and classes are to be ranked together, flatten logits and targets first.",
            stacklevel=5,
        )


def _repeat_highest(ascending: Tensor, real: Tensor) -> Tensor:
    """Fills the padding at the end of each row with the row's last real value, or 0 if it has none."""
    highest = ascending.where(real, -INFINITY).amax(-1, keepdim=True)
    return ascending.where(real, highest.where(real[:, :1], 0.0))


def nonzero(mask: Tensor, number: int) -> Tensor:
    """`torch.nonzero` where the number is known, so that CUDA need not stop to ask."""
    return torch.nonzero_static(mask, size=number) if mask.is_cuda else torch.nonzero(mask)
