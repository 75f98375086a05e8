"""The negatives of a tile: all of them, or only those that any positive can feel."""

from __future__ import annotations

import torch
from torch import Tensor

SAMPLE = 61  # every 61st logit of a tile tells whether few of them are relevant,
FEW = 0.3  # few enough for picking them out first to pay


def negatives(logits: Tensor, targets: Tensor, reach: Tensor, may_wait: bool) -> tuple[Tensor, Tensor | None]:
    """The logits (r, n) of a tile with -inf for what is no negative; or, if few of its negatives are relevant,
    these alone (1, m) and their places in the flattened tile.

    reach: (r, 1), see `Positives`. may_wait: whether the host may ask a GPU how many they are.
    """
    negative = targets == 0
    if len(logits) > 1 or not _few(logits, reach, may_wait):
        return logits.where(negative, -float("inf")), None
    places = torch.nonzero((logits >= reach).logical_and_(negative).view(-1))[:, 0]
    return logits.view(-1).index_select(0, places)[None], places


def _few(logits: Tensor, reach: Tensor, may_wait: bool) -> bool:
    if logits.is_cuda:
        return may_wait
    sample = logits[:, ::SAMPLE] >= reach
    return int(torch.count_nonzero(sample)) <= FEW * sample.nelement()
