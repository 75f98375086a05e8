"""The one autograd function of all ranking losses: errors forward, identity update backward."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .batch import Batch
from .bucketed import BucketedNegatives
from .dominance import quick_ranks, quick_sorting
from .exact import ExactNegatives
from .fused import FusedNegatives, supported
from .pairwise import PairwiseNegatives, few_pairs
from .positives import Positives, Survey
from .sorting import Sorting, blame, dense_ranks, dense_sorting, few_positives
from .step import EPS, Step


class Negatives(Protocol):
    """A way to sum over the negatives of B problems; made from logits and targets, (B, N)."""

    def __init__(self, logits: Tensor, targets: Tensor, positives: Positives, step: Step) -> None: ...

    def false_positives(self, logits: Tensor) -> Tensor:
        """FP(i) = sum_j H(x_j - x_i), (B, P) in float64."""

    def gradient(self, logits: Tensor, coefficients: Tensor) -> Tensor:
        """g(x_j) = sum_i c_i H(x_j - x_i) for given c (B, P), and 0 for ignored samples; (B, N)."""


SUMMATIONS: dict[str, type[Negatives]] = {
    "exact": ExactNegatives,
    "bucketed": BucketedNegatives,
    "pairwise": PairwiseNegatives,
}


@dataclass(frozen=True)
class Ranking:
    """Which ranking loss, and how it sums."""

    step: Step
    method: str
    sorts: bool  # Rank & Sort Loss, rather than AP Loss
    interpolated: bool = False  # AP Loss: precision is the best of all lower-scoring positives
    half_of_itself: bool = False  # AP Loss: a positive counts itself H(0), not 1

    def negatives(self, logits: Tensor, targets: Tensor, positives: Positives) -> Negatives:
        """The way to sum over the negatives. If the pairs are few, taking all is the quickest."""
        way = SUMMATIONS[self.method]
        if self.method == "exact" and few_pairs(logits, positives):
            way = PairwiseNegatives
        elif self.method == "exact" and supported(logits):
            way = FusedNegatives
        return way(logits, targets, positives, self.step)

    def among_positives(self, positives: Positives, learns: bool) -> Sorting:
        """rank+ and, for Rank & Sort Loss, the sorting error and its gradient. AP Loss counts i itself as 1."""
        dense = self.method != "exact" or few_positives(positives)
        if self.sorts and dense:
            return dense_sorting(positives, self.step)
        if self.sorts:
            return quick_sorting(positives, self.step, learns)
        rank = (dense_ranks if dense else quick_ranks)(positives, self.step)
        if not self.half_of_itself:
            rank += 1 - self.step.at_zero
        return Sorting(rank, torch.zeros_like(rank), torch.zeros_like(rank))

    def errors(self, rank: Tensor, false_positives: Tensor) -> Tensor:
        """Ranking error of each positive, in ascending order of logits: 1 - precision, (B, P)."""
        error = false_positives / (rank + false_positives)
        return error.cummin(-1).values if self.interpolated else error


class RankingFunction(torch.autograd.Function):
    """Mean ranking error and mean sorting error of each problem, (B,) each, with one gradient each.

    The gradients are the identity update: positive i is raised by its error, and the samples above it,
    negatives for the ranking error and positives for the sorting error, are lowered by as much, in
    proportion to H.
    """

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, targets: Tensor, positives: Positives, loss: Ranking, learns: bool
    ) -> tuple[Tensor, Tensor]:
        with torch.autocast(logits.device.type, enabled=False):
            negatives = loss.negatives(logits, targets, positives)
            false_positives = negatives.false_positives(logits)
            rank, sorting_error, of_sorting = loss.among_positives(positives, learns)
            error = loss.errors(rank, false_positives)
            if learns:
                raised = torch.where(false_positives > EPS, error, 0.0) * positives.weights / positives.number
                ctx.save_for_backward(logits, raised, blame(raised, false_positives), of_sorting / positives.number)
                ctx.negatives, ctx.positives = negatives, positives
            ctx.set_materialize_grads(False)
            dtype = torch.promote_types(logits.dtype, torch.float32)
            return positives.mean(error).to(dtype), positives.mean(sorting_error).to(dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, ranking: Tensor | None, sorting: Tensor | None) -> tuple[Tensor | None, ...]:
        logits, raised, lowered, of_sorting = ctx.saved_tensors
        of_positives = torch.zeros_like(raised)
        with torch.autocast(logits.device.type, enabled=False):
            if sorting is not None:
                of_positives += sorting[:, None] * of_sorting
            if ranking is not None:
                of_positives -= ranking[:, None] * raised
                gradient = ctx.negatives.gradient(logits, ranking[:, None] * lowered)
            else:
                gradient = torch.zeros_like(logits)
            slots, source = ctx.positives.slots, ctx.positives.source
            gradient.view(-1)[source] = of_positives.view(-1)[slots].to(gradient.dtype)
        return gradient.to(logits.dtype), None, None, None, None


def solve(batches: list[Batch], loss: Ranking) -> list[tuple[Tensor, Tensor]]:
    """(ranking, sorting) of every problem in the order of the call, two 0-dim tensors each.

    All batches are surveyed before the host reads anything: that read is the one synchronisation.
    """
    surveys = [Survey(batch) for batch in batches]
    lines = iter(_read([survey.statistics for survey in surveys]))
    results: dict[int, tuple[Tensor, Tensor]] = {}
    for batch, survey in zip(batches, surveys, strict=True):
        positives = survey.positives(list(islice(lines, len(survey.statistics))))
        learns = batch.logits.requires_grad and torch.is_grad_enabled()
        losses = RankingFunction.apply(batch.logits, batch.targets, positives, loss, learns)
        results |= zip(batch.members, zip(*(loss.unbind() for loss in losses), strict=True), strict=True)
    return [results[k] for k in sorted(results)]


def _read(statistics: list[Tensor]) -> list[list[float]]:
    """The only read by the host: the numbers of positives, which are sizes, and what is wrong with the input."""
    return torch.cat([s.to(statistics[0].device) for s in statistics]).tolist() if statistics else []
