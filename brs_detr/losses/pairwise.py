"""The definition, evaluated over all pairs of a positive and a negative: the reference.

This is how Rank & Sort Loss sums (Oksuz et al., "Rank & Sort Loss for Object Detection and Instance
Segmentation", ICCV 2021): O(P N) time, here in blocks of bounded memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from .positives import Positives
from .step import Step
from .tiles import pairs_at_a_time, slices

FEW = {"cpu": 1 << 18, "cuda": 1 << 26}  # pairs; measured on a CPU, estimated for CUDA


class Block(NamedTuple):
    """Some pairs, and where they belong."""

    rows: slice
    positives: slice
    negatives: Tensor | slice
    pairs: Tensor  # H(x_j - x_i), (rows, positives, negatives)


class PairwiseNegatives:
    """Sums over the pairs themselves, in the precision of the logits (at least float32)."""

    def __init__(self, logits: Tensor, targets: Tensor, positives: Positives, step: Step) -> None:
        self.step, self.dtype = step, torch.promote_types(logits.dtype, torch.float32)
        self.positives, self.negative = positives.logits.to(self.dtype), targets == 0
        self.relevant: list[Tensor] = []
        if not few_pairs(logits, positives):
            reached = self.negative & (logits >= positives.reach(step.delta).to(self.dtype))
            self.relevant = [torch.nonzero(row)[:, 0] for row in reached]

    def false_positives(self, logits: Tensor) -> Tensor:
        result = torch.zeros_like(self.positives, dtype=torch.float64)
        for rows, p, _, pairs in self._blocks(logits):
            result[rows, p] += pairs.sum(-1)
        return result

    def gradient(self, logits: Tensor, coefficients: Tensor) -> Tensor:
        result = torch.zeros_like(logits, dtype=self.dtype)
        for rows, p, n, pairs in self._blocks(logits):
            result[rows, n] += (coefficients[rows, None, p].to(self.dtype) @ pairs)[:, 0]
        return result

    def _blocks(self, logits: Tensor) -> Iterator[Block]:
        if not self.relevant:
            everything = slice(None)
            pairs = self._pairs(logits, self.positives) * self.negative[:, None, :]
            yield Block(everything, everything, everything, pairs)
        size = pairs_at_a_time(logits.device)
        for row, relevant in enumerate(self.relevant):
            for n in relevant.split(size):
                negatives = logits[row, None, n]
                for p in slices(self.positives.shape[1], max(1, size // max(1, len(n)))):
                    yield Block(slice(row, row + 1), p, n, self._pairs(negatives, self.positives[row, None, p]))

    def _pairs(self, negatives: Tensor, positives: Tensor) -> Tensor:
        return self.step(negatives.to(self.dtype)[:, None, :] - positives[:, :, None])


def few_pairs(logits: Tensor, positives: Positives) -> bool:
    """Are there so few pairs that it is quickest to take all of them at once?"""
    return positives.logits.nelement() * logits.shape[1] <= FEW.get(logits.device.type, FEW["cuda"])
