"""Rank and sorting error below P^2: O(P log P), by prefix sums and a wavelet matrix.

In the order of logits, H(x_k - x_i) is 0 up to the ramp of i, linear on it and 1 beyond, so that a sum over
all k is a few differences of prefix sums. The sorting error restricts the sum to the m positives of highest
IoU: a two-dimensional dominance sum. The wavelet matrix answers it bit by bit. Positives, in the order of
logits, are stably partitioned by one bit of their place in the order of IoU at a time; a run of them stays a
run in either part, its new ends follow from counting, and each bit set in m contributes one run from the
lower part.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .positives import Positives
from .sorting import Sorting, blame
from .step import EPS, Step, prefix_sum


def quick_ranks(positives: Positives, step: Step) -> Tensor:
    """rank+(i), (B, P)."""
    ramps = Ramps(step.positions(positives.logits), step)
    return ramps.sums(positives.weights[None])[0].clamp(min=step.at_zero)


def quick_sorting(positives: Positives, step: Step, learns: bool) -> Sorting:
    """Rank, sorting error and, if wanted, its gradient for each positive."""
    z, y, weights = step.positions(positives.logits), positives.targets, positives.weights
    ascending, order = y.sort(dim=-1)
    place = _inverse(order.flip(-1))  # by falling IoU
    higher = y.shape[1] - torch.searchsorted(ascending, y, right=True)  # how many have a higher IoU than i,
    as_high = y.shape[1] - torch.searchsorted(ascending, y)  # or one at least as high

    samples = torch.stack([weights, weights * (1 - y)])
    ramps = Ramps(z, step)
    rank, badness = ramps.sums(samples)
    target_rank, target_badness = ramps.sums_within(samples, place, as_high)
    excess = rank - target_rank
    rank, target_rank = rank.clamp(min=step.at_zero), target_rank.clamp(min=step.at_zero)
    error = badness / rank - target_badness / target_rank
    if not learns:
        return Sorting(rank, error, torch.zeros_like(error))

    mirrored = Ramps(-z.flip(-1), step)  # H(x_i - x_k), where i is charged for outranking k
    charge = (blame(error, excess) * weights)[None]
    charges = mirrored.sums_within(charge.flip(-1), place.flip(-1), higher.flip(-1))[0].flip(-1)
    return Sorting(rank, error, charges - error * (excess > EPS))


class Ramps:
    """For each i, sums of v_k H(z_k - z_i) at ascending positions z (B, P), which Step defines."""

    def __init__(self, positions: Tensor, step: Step) -> None:
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
