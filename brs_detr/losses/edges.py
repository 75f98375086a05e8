"""The break points of all H(x - x_i), and what follows from the buckets between them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from .step import Step, prefix_sum, suffix_sum


class Edges:
    """The 2P break points x_i -+ delta of ascending positives (B, P), and the buckets that they bound.

    Bucket 0 lies below all edges, bucket m from the m-th edge to the next: x is in bucket m if m
    `thresholds` are <= x. A threshold is the smallest number of the logits' own precision that is not below
    its edge, so that comparing in that precision is exact; `beyond` is how far it lies above its edge, in
    units of 2 delta. A bucket is `active` if it lies on the ramp of any positive; on the others every H is
    constant.
    """

    def __init__(self, logits: Tensor, step: Step, dtype: torch.dtype) -> None:
        self.step = step
        foot = step.positions(logits) - step.at_zero
        ordered, self.order = torch.cat([foot, foot + 1], dim=-1).sort(dim=-1, stable=True)
        number = torch.arange(self.order.shape[-1], device=logits.device).expand_as(self.order)
        place = torch.empty_like(self.order).scatter_(-1, self.order, number)
        self.feet, self.tops = place.chunk(2, dim=-1)

        is_foot = self.order < logits.shape[-1]
        self.active = torch.where(is_foot, 1, -1).cumsum(-1) > 0
        self.width = pad(ordered.diff(dim=-1), (0, 1)) * self.active

        self.thresholds = self._ordered(*_thresholds(logits, step.delta, dtype)).cummax(-1).values
        edge_to_centre = torch.where(is_foot, step.delta, -step.delta)
        beyond = (self.thresholds.double() - self._ordered(logits, logits) + edge_to_centre) * step.slope
        self.beyond = beyond.where(self.active, 0.0)
        self.origin = pad(self.thresholds.where(self.active, 0.0), (1, 0))

    def false_positives(self, counts: Tensor, offsets: Tensor) -> Tensor:
        """FP(i) = sum_j H(x_j - x_i), (B, P), from the number of negatives in each bucket and the sum of
        their offsets from its threshold, (B, 2P + 1)."""
        count, offset = counts[:, 1:], offsets[:, 1:]
        inside = (offset * self.step.slope + count * self.beyond).where(self.active, 0.0)
        above = suffix_sum(count) - count
        climbed = suffix_sum(inside + above * self.width)  # by all negatives, up the ramps from each edge
        return climbed.gather(-1, self.feet) - climbed.gather(-1, self.tops)

    def gradient(self, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        """g(x) = sum_i c_i H(x - x_i), linear in each bucket: its value at the bucket's threshold and its
        slope, each (B, 2P + 1)."""
        slope = prefix_sum(self._ordered(coefficients, -coefficients)) * self.active
        value = prefix_sum(slope * self.width, exclusive=True)[..., :-1] + slope * self.beyond
        return pad(value, (1, 0)), pad(slope * self.step.slope, (1, 0))

    def _ordered(self, of_feet: Tensor, of_tops: Tensor) -> Tensor:
        return torch.cat([of_feet, of_tops], dim=-1).gather(-1, self.order)


def _thresholds(logits: Tensor, delta: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The smallest finite numbers of `dtype` not below logits - delta and logits + delta (float64)."""
    feet, tops = _round_up(logits - delta, dtype), _round_up(logits + delta, dtype)
    if delta > 0:  # above the logit even where delta is lost in rounding
        tops = tops.maximum(_next(logits.to(dtype)))
    limit = torch.finfo(dtype).max
    return feet.clamp(-limit, limit), tops.clamp(-limit, limit)


def _round_up(values: Tensor, dtype: torch.dtype) -> Tensor:
    nearest = values.to(dtype)
    return torch.where(nearest.double() < values, _next(nearest), nearest)


def _next(values: Tensor) -> Tensor:
    return torch.nextafter(values, torch.full_like(values, float("inf")))
