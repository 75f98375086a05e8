"""How much is worked on at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

CPU_TILE = 1 << 15  # logits: they stay in the cache, and are too few for torch to start threads in every pass
PAIRS = {"cpu": 1 << 16, "cuda": 1 << 26}


class Tile(NamedTuple):
    """A block of a (B, N) batch: part of one row, or several whole rows."""

    rows: slice
    columns: slice


def tiles(values: Tensor) -> Iterator[Tile]:
    """Cuts (B, N) into blocks to be worked through one by one; a GPU takes everything at once."""
    batch, length = values.shape
    size = CPU_TILE if values.device.type == "cpu" else max(batch * length, 1)
    height = max(1, size // max(length, 1))
    width = max(1, length) if height > 1 else size
    for rows in slices(batch, height):
        for columns in slices(length, width):
            yield Tile(rows, columns)


def slices(length: int, width: int) -> Iterator[slice]:
    """Cuts 0 ... length into pieces of at most `width`."""
    for start in range(0, length, width):
        yield slice(start, min(start + width, length))


def pairs_at_a_time(device: torch.device) -> int:
    """How many pairs of samples a block may hold."""
    return PAIRS.get(device.type, PAIRS["cuda"])
