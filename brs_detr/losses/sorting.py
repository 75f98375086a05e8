"""How the positives rank among themselves: rank+, the sorting error and its gradient, over all pairs.

Rank & Sort Loss, ICCV 2021: a positive should be outranked only by positives of an IoU as high as its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from .positives import Positives
from .step import EPS, Step
from .tiles import pairs_at_a_time, slices

# Up to so many pairs, looking at all is quicker than dominance.py; measured on a CPU, estimated for CUDA.
FEW = {"cpu": 400_000, "cuda": 1 << 24}


class Sorting(NamedTuple):
    """For each positive, (B, P)."""

    rank: Tensor  # rank+(i), itself included
    error: Tensor  # s_i
    gradient: Tensor  # of sum_i s_i, by identity update


def few_positives(positives: Positives) -> bool:
    """Is it quicker to look at all pairs of positives than to avoid it?"""
    batch, width = positives.logits.shape
    return batch * width**2 <= FEW.get(positives.logits.device.type, FEW["cuda"])


def dense_ranks(positives: Positives, step: Step) -> Tensor:
    """rank+(i) = sum_k H(x_k - x_i), (B, P), over all pairs in blocks of bounded memory."""
    return torch.cat([pairs.sum(-1) for _, pairs in _pairs(positives, step)], dim=-1)


def dense_sorting(positives: Positives, step: Step) -> Sorting:
    """The definition over all pairs, O(P^2) time in blocks of bounded memory."""
    y, badness = positives.targets, (1 - positives.targets)[..., None]
    rank, error, gradient = (torch.zeros_like(y) for _ in range(3))
    for i, pairs in _pairs(positives, step):
        target = pairs * (y[:, None, :] >= y[:, i, None])  # those that may outrank i
        wrong = pairs - target
        rank[:, i], excess = pairs.sum(-1), wrong.sum(-1)
        error[:, i] = (pairs @ badness)[..., 0] / rank[:, i] - (target @ badness)[..., 0] / target.sum(-1)
        gradient[:, i] -= error[:, i] * (excess > EPS)
        gradient += (blame(error[:, i], excess)[:, None] @ wrong)[:, 0]
    return Sorting(rank, error, gradient)


def blame(error: Tensor, excess: Tensor) -> Tensor:
    """s_k / D_k: what a positive that wrongly outranks k is charged for a full step, 0 where none does."""
    return torch.where(excess > EPS, error / excess, 0.0)


def _pairs(positives: Positives, step: Step) -> Iterator[tuple[slice, Tensor]]:
    """Yields some positives i and H(x_k - x_i) for all k, (B, i, k). A padding is seen by itself alone."""
    x, weights = positives.logits, positives.weights
    batch, width = x.shape
    for i in slices(width, max(1, pairs_at_a_time(x.device) // max(batch * width, 1))):
        pairs = step(x[:, None, :] - x[:, i, None]) * weights[:, None, :] * weights[:, i, None]
        pairs[:, :, i].diagonal(dim1=1, dim2=2).add_(1 - weights[:, i])
        yield i, pairs
