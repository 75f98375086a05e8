"""How much is worked on at a time, and every threshold that chooses a way of computing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor


class Limits(NamedTuple):
    """Sizes at which one way of computing overtakes another. None changes a result by more than rounding.

    `python -m benchmarks.losses limits` measures the first three again.
    """

    few_pairs: int  # of a positive and a negative: up to so many, "exact" takes all pairs where there are no kernels
    few_positives: int  # likewise: one pass over the negatives for each positive is quicker than any table
    few_positive_pairs: int  # up to so many, all pairs of positives are quicker than dominance sums
    pairs_at_a_time: int  # in a block of pairs; bounds memory
    tile: int | None  # logits worked on at a time, so that they stay in the cache; None for all
    cells_per_break_point: int  # of a grid: so fine that few cells hold two, so coarse that it stays in the cache
    most_cells: int


# Measured on 2 threads of an AMD EPYC, torch 2.11.0. A tile is too short for torch to start threads in every pass.
CPU = Limits(400_000, 6, 400_000, pairs_at_a_time=1 << 16, tile=1 << 15, cells_per_break_point=16, most_cells=1 << 18)
# Estimates: they were not measured on a GPU. Kernels search within a cell, so that cells may be wider than on a CPU.
GPU = Limits(1 << 22, 0, 1 << 24, pairs_at_a_time=1 << 26, tile=None, cells_per_break_point=4, most_cells=1 << 17)

STACKED = 1 << 18  # logits: longer problems of a list are solved alone, as copying costs more than another pass
# On a CPU only:
LOOKUPS = 1 << 13  # numbers to look up from which on making a grid over the break points pays
RELEVANT_SHARE = 0.3  # of a tile's negatives: up to so many are picked out before they are looked up,
SAMPLED_EVERY = 61  # as every 61st logit of the tile tells


def limits(device: torch.device) -> Limits:
    """The thresholds of a device."""
    return CPU if device.type == "cpu" else GPU


class Tile(NamedTuple):
    """A block of a (B, N) batch: part of one row, or several whole rows."""

    rows: slice
    columns: slice


def tiles(values: Tensor) -> Iterator[Tile]:
    """Cuts (B, N) into blocks of `Limits.tile` numbers to be worked through one by one."""
    batch, length = values.shape
    size = limits(values.device).tile or max(batch * length, 1)
    height = max(1, size // max(length, 1))
    width = max(1, length) if height > 1 else size
    for rows in slices(batch, height):
        for columns in slices(length, width):
            yield Tile(rows, columns)


def slices(length: int, width: int) -> Iterator[slice]:
    """Cuts 0 ... length into pieces of at most `width`."""
    for start in range(0, length, width):
        yield slice(start, min(start + width, length))


def negatives_of_tile(
    logits: Tensor, targets: Tensor, lowest_relevant: Tensor, may_synchronise: bool
) -> tuple[Tensor, Tensor | None]:
    """The logits (r, n) of a tile, -inf for what is no negative. If few of its negatives are relevant, these alone
    (1, m) and their places in the flattened tile.

    lowest_relevant: (r, 1), see `Positives`. may_synchronise: whether the host may ask a GPU how many they are.
    """
    negative = targets == 0
    if len(logits) > 1 or not _few_are_relevant(logits, lowest_relevant, may_synchronise):
        return logits.where(negative, -float("inf")), None
    places = torch.nonzero((logits >= lowest_relevant).logical_and_(negative).view(-1))[:, 0]
    return logits.view(-1).index_select(0, places)[None], places


def _few_are_relevant(logits: Tensor, lowest_relevant: Tensor, may_synchronise: bool) -> bool:
    if logits.is_cuda:
        return may_synchronise
    sample = logits[:, ::SAMPLED_EVERY] >= lowest_relevant
    return int(torch.count_nonzero(sample)) <= RELEVANT_SHARE * sample.nelement()  # nothing to wait for on a CPU
