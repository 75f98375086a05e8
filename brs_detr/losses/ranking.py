"""What a ranking loss is, and the one autograd function that computes all of them.

A loss is a small class (`RankingDefinition`): the errors l(i) of each positive, and how identity update shares them
out. It asks for sums over pairs, and does not know how they are taken: `positive_sums` and `negative_sums` choose.

logits, targets ──> Positives ──> negative_sums: N_FP(i) ──┐
                        └───────> positive_sums: rank+(i) ─┴─> definition.terms ──> l(i), and the shares of its gradient
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import islice
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor

from .blocks import limits
from .bucketed import BucketedNegatives
from .dominance import DominancePositives
from .exact import ExactNegatives
from .fused import FusedNegatives, supported
from .pairwise import PairwiseNegatives, PairwisePositives
from .positives import BatchScan, Positives, warn_of_rows
from .problems import as_batches
from .step import EPS, SmoothedStep

METHODS = ("exact", "bucketed", "pairwise")


class PositiveSums(Protocol):
    """Sums over the positives of a problem for each positive i. Values (V, B, P), 0 at paddings, to (V, B, P)."""

    def over_all(self, values: Tensor) -> Tensor:
        """sum_k v_k H(x_k - x_i); with v = 1 that is rank+(i)."""

    def over_all_and_as_good(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """The same, and over the k alone that may outrank i, those with y_k >= y_i."""

    def from_better(self, values: Tensor) -> Tensor:
        """sum_k v_k H(x_i - x_k) over the k that i should not outrank, those with y_k > y_i."""


class NegativeSums(Protocol):
    """Sums over the negatives of B problems."""

    def false_positives(self, logits: Tensor, targets: Tensor) -> Tensor:
        """N_FP(i) = sum_j H(x_j - x_i), (B, P) in float64."""

    def gradient(self, logits: Tensor, targets: Tensor, coefficients: Tensor) -> Tensor:
        """g(x_j) = sum_i c_i H(x_j - x_i) for given c (B, P), and 0 for ignored samples; (B, N)."""


def check_method(method: str) -> None:
    """Raises ValueError for an unknown way of summing."""
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; choose one of {', '.join(map(repr, METHODS))}")


def negative_sums(method: str, logits: Tensor, positives: Positives, step: SmoothedStep) -> NegativeSums:
    """How the negatives of a batch are summed.

    pairwise  all pairs
    bucketed  the published buckets, represented by their means
    exact     all pairs where they are few (`blocks.Limits`); else buckets between the break points of H, by Triton
              kernels on a GPU that has them, by torch elsewhere
    """
    bounds = limits(logits.device)
    few = positives.logits.nelement() * logits.shape[1] <= bounds.few_pairs
    few |= positives.logits.shape[1] <= bounds.few_positives
    if method == "pairwise" or (method == "exact" and few):
        return PairwiseNegatives(positives, step, logits.dtype, may_synchronise=not few)
    if method == "bucketed":
        return BucketedNegatives(positives, step)
    return (FusedNegatives if supported(logits) else ExactNegatives)(positives, step, logits)


def positive_sums(method: str, positives: Positives, step: SmoothedStep) -> PositiveSums:
    """All pairs of positives, as published; for "exact" dominance sums, unless the pairs are few."""
    batch, width = positives.logits.shape
    few = batch * width**2 <= limits(positives.logits.device).few_positive_pairs
    if method == "exact" and not few:
        return DominancePositives(positives, step)
    return PairwisePositives(positives, step, keep=few)


class Term(NamedTuple):
    """One term of a loss, the mean over positives of l(i), and the gradient of sum_i l(i). All (B, P), or None for 0.

    of_negatives: c_i; the gradient of negative j is sum_i c_i H(x_j - x_i).
    """

    errors: Tensor
    of_positives: Tensor | None = None
    of_negatives: Tensor | None = None
    of_localisation: Tensor | None = None


@dataclass(frozen=True)
class RankingDefinition(ABC):
    """A ranking loss, for any way of summing."""

    step: SmoothedStep
    targets_are_ious: ClassVar[bool] = False  # then those above 1 are refused

    @abstractmethod
    def terms(self, sums: PositiveSums, positives: Positives, false_positives: Tensor) -> tuple[Term, ...]:
        """The terms of B problems. Entries at paddings are not read. false_positives: N_FP(i), (B, P)."""


def share(errors: Tensor, total: Tensor) -> Tensor:
    """l(i) / sum_k H(x_k - x_i): what each k that i is charged to pays for a whole H, 0 where nobody outranks i."""
    return torch.where(total > EPS, errors / total, 0.0)


def shared_among_negatives(errors: Tensor, false_positives: Tensor, value: Tensor | None = None) -> Term:
    """Identity update with p_R(j|i) = H(x_j - x_i) / N_FP(i): i is raised by l(i), negative j lowered by its share.

    value: what the term reports, if not the errors.
    """
    raised = torch.where(false_positives > EPS, errors, 0.0)
    return Term(errors if value is None else value, -raised, share(raised, false_positives))


class RankingFunction(torch.autograd.Function):
    """The mean of each term over the positives, (B,) each, with a gradient for each."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        localisation: Tensor | None,
        targets: Tensor,
        positives: Positives,
        definition: RankingDefinition,
        method: str,
    ) -> tuple[Tensor, ...]:
        with torch.autocast(logits.device.type, enabled=False):
            negatives = negative_sums(method, logits, positives, definition.step)
            false_positives = negatives.false_positives(logits, targets)
            terms = definition.terms(positive_sums(method, positives, definition.step), positives, false_positives)
            scale = positives.weights / positives.number
            gradients = [None if part is None else part * scale for term in terms for part in term[1:]]
            ctx.save_for_backward(logits, targets, *gradients)  # which notices if these are changed in between
            ctx.negatives, ctx.positives = negatives, positives
            ctx.localisation_dtype = None if localisation is None else localisation.dtype
            ctx.set_materialize_grads(False)
            dtype = torch.promote_types(logits.dtype, torch.float32)
            return tuple(positives.mean(term.errors).to(dtype) for term in terms)

    @staticmethod
    def backward(ctx: Any, *of_terms: Tensor | None) -> tuple[Tensor | None, ...]:
        logits, targets, *gradients = ctx.saved_tensors
        with torch.no_grad(), torch.autocast(logits.device.type, enabled=False):
            on_positives, on_negatives, on_localisation = (
                _weighted_sum(of_terms, gradients[kind :: len(Term._fields) - 1]) for kind in range(3)
            )
            if on_negatives is None:
                gradient = torch.zeros_like(logits)
            else:
                gradient = ctx.negatives.gradient(logits, targets, on_negatives)
            _put(gradient, ctx.positives, on_positives)
            of_localisation = None
            if ctx.localisation_dtype is not None:
                of_localisation = torch.zeros_like(logits, dtype=ctx.localisation_dtype)
                _put(of_localisation, ctx.positives, on_localisation)
        gradient = gradient.to(logits.dtype)
        if torch.is_grad_enabled():  # create_graph=True
            gradient = _OnlyOnce.apply(gradient, logits)
        return gradient, of_localisation, None, None, None, None


class _OnlyOnce(torch.autograd.Function):
    """The gradient as it is, which is not differentiated in silence where a graph of it is asked for."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, logits: Tensor) -> Tensor:
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, *of_gradient: Tensor) -> tuple[Tensor | None, ...]:
        raise RuntimeError("a ranking loss has no second derivative: identity update gives its gradient")


def _weighted_sum(weights: Sequence[Tensor | None], values: Sequence[Tensor | None]) -> Tensor | None:
    """sum_t w_t v_t of weights (B,) and values (B, P), each 0 where it is None; None where all are."""
    pairs = zip(weights, values, strict=True)
    products = [w[:, None] * v for w, v in pairs if w is not None and v is not None]
    return reduce(torch.add, products) if products else None


def _put(gradient: Tensor, positives: Positives, values: Tensor | None) -> None:
    """Writes (B, P) values of positives to their places in (B, N), zeros for None."""
    of_source = 0.0 if values is None else values.view(-1)[positives.slots].to(gradient.dtype)
    gradient.view(-1)[positives.source] = of_source


def solve(
    definition: RankingDefinition, method: str, problems: Any, others: Sequence[Any], name: str | Sequence[str]
) -> tuple[list[tuple[Tensor, ...]], bool]:
    """The terms of every problem in the order of the call, 0-dim tensors, and whether it was a single problem.

    All batches are scanned before the host reads anything: that read is the one synchronisation.

    Raises ValueError or TypeError, see `rank_sort_loss`.
    """
    check_method(method)
    batches, single = as_batches(problems, others, name)
    scans = [BatchScan(batch) for batch in batches]
    lines = iter(_read([scan.statistics for scan in scans]))
    results: dict[int, tuple[Tensor, ...]] = {}
    for batch, scan in zip(batches, scans, strict=True):
        positives = scan.positives(list(islice(lines, len(scan.statistics))), definition.targets_are_ious)
        terms = RankingFunction.apply(batch.logits, batch.localisation, batch.targets, positives, definition, method)
        results |= zip(batch.members, zip(*(term.unbind() for term in terms), strict=True), strict=True)
        if isinstance(problems, Tensor):
            warn_of_rows(batch.names[0], scan.numbers)
    return [results[k] for k in sorted(results)], single


def _read(statistics: list[Tensor]) -> list[list[float]]:
    """The only read by the host: the numbers of positives, which are sizes, and what is wrong with the input."""
    return torch.cat([s.to(statistics[0].device) for s in statistics]).tolist() if statistics else []
