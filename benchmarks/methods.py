"""What is compared: each method runs forward and backward on one problem."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from brs_detr.losses import rank_sort_loss
from brs_detr.timing.methods import focal_loss
from tests.losses.baselines import loop_over_buckets, loop_over_positives

DELTA = 0.5
Run = Callable[[Tensor, Tensor], object]


def ranking(logits: Tensor, targets: Tensor, method: str) -> Tensor:
    x = logits.detach().requires_grad_()
    losses = rank_sort_loss(x, targets, delta=DELTA, method=method)
    return torch.autograd.grad(losses.ranking + losses.sorting, x)[0]


def focal(logits: Tensor, targets: Tensor) -> Tensor:
    x = logits.detach().requires_grad_()
    return torch.autograd.grad(focal_loss(x, targets), x)[0]


METHODS: dict[str, Run] = {
    "exact": partial(ranking, method="exact"),
    "bucketed": partial(ranking, method="bucketed"),
    "pairwise": partial(ranking, method="pairwise"),
    "loop over buckets": lambda x, y: loop_over_buckets(x, y, DELTA),  # as the paper's code computes it
    "loop over positives": lambda x, y: loop_over_positives(x, y, DELTA),  # as the original Rank & Sort Loss
    "focal": focal,
    "torch.sort": lambda x, y: x.sort(),
    "bandwidth": lambda x, y: torch.add(x, y),  # reads logits and targets once, writes a gradient once
}
LIMITS = {  # cells beyond would take minutes or tens of gigabytes
    "bucketed": lambda p, n: p <= 16_384 and p * n <= 1.2e11,
    "pairwise": lambda p, n: p * n <= 2.2e9 or (p <= 1000 and n <= 7e6),
    "loop over buckets": lambda p, n: p <= 4096 and n <= 7e6,
    "loop over positives": lambda p, n: p * n <= 2.2e9 and n <= 7e6,
}


def feasible(method: str, positives: int, negatives: int) -> bool:
    return method not in LIMITS or LIMITS[method](positives, negatives)
