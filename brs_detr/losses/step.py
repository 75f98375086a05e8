"""The smoothed step function H, which says how much one sample outranks another, and prefix sums."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

EPS = 1e-10  # sums of H at or below this count as zero, as in the published code


@dataclass(frozen=True)
class SmoothedStep:
    """H(z) = clip(z / (2 delta) + 1/2, 0, 1) for delta > 0, and H(z) = [z >= 0] for delta = 0.

    For sums over sorted positives both are one formula, H = clip(u + at_zero, 0, 1), where u is a difference
    of `positions`: at delta = 0 distinct positions are two units apart, so that the ramp is never seen.
    """

    delta: float

    @property
    def slope(self) -> float:
        """dH/dz on the ramp; 0 at delta = 0, where there is none."""
        return 0.5 / self.delta if self.delta > 0 else 0.0

    @property
    def at_zero(self) -> float:
        """H(0): how much a sample outranks itself and its ties."""
        return 0.5 if self.delta > 0 else 1.0

    def __call__(self, difference: Tensor) -> Tensor:
        if self.delta > 0:
            return difference.mul(self.slope).add_(0.5).clamp_(0, 1)
        return (difference >= 0).to(difference.dtype)

    def positions(self, logits: Tensor) -> Tensor:
        """Ascending logits (..., P) in units of 2 delta, counted from the lowest.

        Gaps wider than two units are cut to two. H cannot tell, as it saturates within one, and sums of
        positions keep their precision however far apart the logits lie.
        """
        gaps = logits.diff(dim=-1)
        units = (gaps * self.slope).clamp(max=2) if self.delta > 0 else 2.0 * (gaps > 0)
        return prefix_sum(units.to(logits.dtype), exclusive=True)


def prefix_sum(values: Tensor, exclusive: bool = False) -> Tensor:
    """Cumulative sum over the last dimension; `exclusive` starts from 0 and is one element longer.

    On CUDA torch's cumulative sum of floats is not reproducible; when deterministic algorithms are asked
    for, it is taken by doubling instead.
    """
    if exclusive:
        values = pad(values, (1, 0))
    if not (values.is_cuda and values.is_floating_point() and torch.are_deterministic_algorithms_enabled()):
        return values.cumsum(-1)
    return sum_by_doubling(values)


def sum_by_doubling(values: Tensor) -> Tensor:
    """Cumulative sum over the last dimension in log2(P) additions of shifted copies."""
    shift = 1
    while shift < values.shape[-1]:
        values = torch.cat([values[..., :shift], values[..., shift:] + values[..., :-shift]], dim=-1)
        shift *= 2
    return values


def suffix_sum(values: Tensor) -> Tensor:
    """Sum from each element to the last one, over the last dimension."""
    return prefix_sum(values.flip(-1)).flip(-1)
