"""Synthetic ranking problems of given sizes."""

from typing import NamedTuple

import torch
from torch import Tensor


class Problem(NamedTuple):
    """logits, targets: (P + N,)."""

    logits: Tensor
    targets: Tensor


def make(positives: int, negatives: int, seed: int = 0, device: str = "cpu") -> Problem:
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


def training_step(device: str = "cpu") -> list[list[Problem]]:
    """The ranking problems of one step, in the calls that the detector makes: the encoder with the decoder
    layers, each group of auxiliary queries, and each auxiliary head."""
    groups = [
        [make(positives, negatives, seed, device) for seed in range(times)]
        for positives, negatives, times in STEP.values()
    ]
    return [groups[0] + groups[1], *groups[2:]]
