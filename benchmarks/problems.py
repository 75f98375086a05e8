"""Ranking problems of given sizes, and what is compared on them: each method runs forward and backward on one."""

from collections.abc import Callable
from functools import partial
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor

from brs_detr.losses import METHODS as RANKING_METHODS
from brs_detr.losses import rank_sort_loss
from brs_detr.timing.recording import focal_loss

from .published import loop_over_buckets, loop_over_positives

DELTA = 0.5


class Problem(NamedTuple):
    """logits, targets: (P + N,)."""

    logits: Tensor
    targets: Tensor


def make(positives: int, negatives: int, seed: int = 0, device: torch.device | str = "cpu") -> Problem:
    """All logits are normal and IoUs uniform: positives reach so deep that hardly a negative is irrelevant, the
    hardest case for every method. Positives are spread evenly, as anchors of objects are over an image."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(positives + negatives, generator=generator)
    targets = torch.zeros(positives + negatives)
    places = torch.linspace(0, positives + negatives - 1, positives, dtype=torch.float64).long()
    targets[places] = torch.rand(positives, generator=generator).clamp(min=0.01)
    return Problem(logits.to(device), targets.to(device))


STEP = {  # of BRS-DETR R50 with 4 COCO images: (P, N, how many)
    "encoder proposals": (28, 7_100_000, 1),
    "decoder layers": (28, 96_000, 6),
    "auxiliary queries, RoI": (600, 96_000, 6),
    "auxiliary queries, ATSS": (800, 96_000, 6),
    "RPN": (1500, 800_000, 1),
    "RoI head": (1500, 1_280_000, 1),
    "ATSS head": (800, 7_100_000, 1),
}
QUERIES = 4  # of these are encoder proposals, and queries of all kinds


def training_step(device: torch.device | str = "cpu") -> list[list[Problem]]:
    """The ranking problems of one step, in the calls that the detector makes: encoder proposals and all queries, and
    each auxiliary head."""
    groups = [
        [make(positives, negatives, seed, device) for seed in range(times)]
        for positives, negatives, times in STEP.values()
    ]
    return [[*chain(*groups[:QUERIES])], *groups[QUERIES:]]


def ranking(logits: Tensor, targets: Tensor, method: str) -> Tensor:
    """The gradient of Rank & Sort Loss."""
    x = logits.detach().requires_grad_()
    terms = rank_sort_loss(x, targets, delta=DELTA, method=method)
    return torch.autograd.grad(terms.ranking + terms.sorting, x)[0]


def focal(logits: Tensor, targets: Tensor) -> Tensor:
    """The gradient of focal loss."""
    x = logits.detach().requires_grad_()
    return torch.autograd.grad(focal_loss(x, targets), x)[0]


METHODS: dict[str, Callable[[Tensor, Tensor], object]] = {
    **{method: partial(ranking, method=method) for method in RANKING_METHODS},
    "loop over buckets": lambda x, y: loop_over_buckets(x, y, DELTA),  # as the paper's code computes it
    "loop over positives": lambda x, y: loop_over_positives(x, y, DELTA),  # as the original Rank & Sort Loss
    "focal": focal,
    "torch.sort": lambda x, y: x.sort(),
    "bandwidth": lambda x, y: torch.add(x, y),  # reads logits and targets once, writes a gradient once
}
LIMITS = {  # cases beyond would take minutes or tens of gigabytes
    "bucketed": lambda p, n: p <= 16_384 and p * n <= 1.2e11,
    "pairwise": lambda p, n: p * n <= 2.2e9 or (p <= 1000 and n <= 7e6),
    "loop over buckets": lambda p, n: p <= 4096 and n <= 7e6,
    "loop over positives": lambda p, n: p * n <= 2.2e9 and n <= 7e6,
}


def feasible(method: str, positives: int, negatives: int) -> bool:
    return method not in LIMITS or LIMITS[method](positives, negatives)
