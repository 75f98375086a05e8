"""Sums over the positives below P^2: O(P log P), by prefix sums and a wavelet matrix.

In the order of logits, H(x_k - x_i) is 0 up to the ramp of i, linear on it and 1 beyond, so that a sum over
all k is a few differences of prefix sums. The sorting error restricts the sum to the m positives of highest
IoU: a two-dimensional dominance sum. The wavelet matrix answers it bit by bit. Positives, in the order of
logits, are stably partitioned by one bit of their place in the order of IoU at a time; a run of them stays a
run in either part, its new ends follow from counting, and each bit set in m contributes one run from the
lower part.
"""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from .positives import Positives
from .step import SmoothedStep, prefix_sum


class DominancePositives:
    """Sums over the positives, in float64."""

    def __init__(self, positives: Positives, step: SmoothedStep) -> None:
        self.step, self.targets = step, positives.targets
        self.positions = positives.positions
        self.ramps = Ramps(self.positions, step)

    def over_all(self, values: Tensor) -> Tensor:
        return self.ramps.sums(values)

    def over_all_and_as_good(self, values: Tensor) -> tuple[Tensor, Tensor]:
        as_good = self.targets.shape[1] - torch.searchsorted(self._ascending[0], self.targets)  # how many they are
        return self.ramps.sums(values), self.ramps.sums_within(values, self._place, as_good)

    def from_better(self, values: Tensor) -> Tensor:
        better = self.targets.shape[1] - torch.searchsorted(self._ascending[0], self.targets, right=True)
        mirrored = Ramps(-self.positions.flip(-1), self.step)  # where i outranks k as k outranks i here
        return mirrored.sums_within(values.flip(-1), self._place.flip(-1), better.flip(-1)).flip(-1)

    @cached_property
    def _ascending(self) -> tuple[Tensor, Tensor]:
        """Targets in ascending order, and that order."""
        return self.targets.sort(dim=-1)

    @cached_property
    def _place(self) -> Tensor:
        """(B, P): the place of each positive in the order of falling targets."""
        return _inverse(self._ascending[1].flip(-1))


class Ramps:
    """For each i, sums of v_k H(z_k - z_i) at ascending positions z (B, P), which SmoothedStep defines."""

    def __init__(self, positions: Tensor, step: SmoothedStep) -> None:
        self.positions, self.foot = positions, positions - step.at_zero
        foot, top = (torch.searchsorted(positions, self.foot + height) for height in (0, 1))
        self.ends = torch.stack([foot, top, torch.full_like(foot, positions.shape[1])])

    def sums(self, values: Tensor) -> Tensor:
        """Over all k, from v (V, B, P) to (V, B, P)."""
        return self._sums(self._moments(values), self.ends)

    def sums_within(self, values: Tensor, place: Tensor, limit: Tensor) -> Tensor:
        """Over all k with place_k < limit_i. Each row of `place` (B, P) is a permutation."""
        moments, ends, result = self._moments(values), self.ends, torch.zeros_like(values)
        number = torch.arange(place.shape[1], device=place.device)
        for bit in reversed(range(place.shape[1].bit_length())):
            upper = (place >> bit) & 1
            lower_before = prefix_sum(1 - upper, exclusive=True)
            lower = lower_before[:, -1:]
            new = torch.where(upper > 0, lower + number - lower_before[:, :-1], lower_before[:, :-1])
            place, moments = _scatter(place, new), _scatter(moments, new)

            ends_in_lower = _gather(lower_before, ends)
            all_lower = (limit >> bit) & 1 > 0
            result += torch.where(all_lower, self._sums(moments, ends_in_lower), 0.0)
            ends = torch.where(all_lower, lower + ends - ends_in_lower, ends_in_lower)
        return result

    def _moments(self, values: Tensor) -> Tensor:
        return torch.stack([values, values * self.positions])

    def _sums(self, moments: Tensor, ends: Tensor) -> Tensor:
        """From the moments (2, V, B, P), wherever the run that matters to i has the foot of its ramp, the
        top of its ramp, and its end (3, B, P)."""
        at_ends = _gather(prefix_sum(moments, exclusive=True)[:, :, None], ends)
        (foot, top, end), (moment_at_foot, moment_at_top, _) = at_ends.transpose(1, 2)
        return end - top + (moment_at_top - moment_at_foot) - self.foot * (top - foot)


def _inverse(permutation: Tensor) -> Tensor:
    number = torch.arange(permutation.shape[-1], device=permutation.device)
    return _scatter(number.expand_as(permutation), permutation)


def _scatter(values: Tensor, places: Tensor) -> Tensor:
    return torch.empty_like(values).scatter_(-1, places.expand_as(values), values)


def _gather(values: Tensor, places: Tensor) -> Tensor:
    shape = torch.broadcast_shapes(values.shape[:-1], places.shape[:-1])
    return values.expand(*shape, -1).gather(-1, places.expand(*shape, -1))
