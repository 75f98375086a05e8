"""What a ranking loss is.

A loss is a small class (`RankingDefinition`): the errors l(i) of each positive, and how identity update shares them
out. It asks for sums over pairs, and does not know how they are taken: `positive_sums` and `negative_sums` choose.

logits, targets ──> Positives ──> negative_sums: N_FP(i) ──┐
                        └───────> positive_sums: rank+(i) ─┴─> definition.terms ──> l(i), and the shares of its gradient
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor

from .blocks import limits
from .bucketed import BucketedNegatives
from .dominance import DominancePositives
from .exact import ExactNegatives
from .fused import FusedNegatives, FusedPositives
from .pairwise import PairwiseNegatives, PairwisePositives
from .positives import Positives
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


def check_method(method: str, over_processes: bool = False) -> None:
    """Raises ValueError for an unknown way of summing, or one that cannot sum over several processes."""
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; choose one of {', '.join(map(repr, METHODS))}")
    if over_processes and method == "bucketed":
        raise ValueError(
            'method "bucketed" represents buckets by the means of what one process holds, and cannot rank over several '
            'processes: use method="exact"'
        )


def negative_sums(method: str, logits: Tensor, positives: Positives, step: SmoothedStep, kernels: bool) -> NegativeSums:
    """How the negatives of a batch are summed.

    pairwise  all pairs
    bucketed  the published buckets, represented by their means
    exact     buckets between the break points of H, by Triton kernels (`backends.use_kernels`) or torch; in torch all
              pairs where they are few (`blocks.Limits`)
    """
    if kernels:
        return FusedNegatives(positives, step, logits)
    bounds = limits(logits.device)
    few = positives.logits.nelement() * logits.shape[1] <= bounds.few_pairs
    few |= positives.logits.shape[1] <= bounds.few_positives
    if method == "pairwise" or (method == "exact" and few):
        return PairwiseNegatives(positives, step, logits.dtype, may_synchronise=not few)
    if method == "bucketed":
        return BucketedNegatives(positives, step)
    return ExactNegatives(positives, step, logits)


def positive_sums(method: str, positives: Positives, step: SmoothedStep, kernels: bool) -> PositiveSums:
    """All pairs of positives, as published; for "exact" dominance sums, unless the pairs are few: then by a kernel or
    torch (`backends.use_kernels`)."""
    batch, width = positives.logits.shape
    few = batch * width**2 <= limits(positives.logits.device).few_positive_pairs
    if method == "exact" and not few:
        return DominancePositives(positives, step)
    if kernels:
        return FusedPositives(positives, step)
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

    def weighted_terms(
        self, sums: PositiveSums, positives: Positives, false_positives: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The T terms such that their sums over P are the means over positives, 0 at paddings.

        Returns the errors (T, B, P), and (3, T, B, P) what `Term` has of positives, negatives and localisation.
        """
        errors, *shares = zip(*self.terms(sums, positives, false_positives), strict=True)
        weights = positives.weights / positives.number
        nothing = torch.zeros_like(weights)
        given = [torch.stack([nothing if of is None else of for of in share]) for share in shares]
        return torch.stack(errors) * weights, torch.stack(given) * weights

    @abstractmethod
    def result(self, *terms: Tensor) -> Any:
        """What the loss returns for one problem, given its terms, 0-dim tensors."""


def share(errors: Tensor, total: Tensor) -> Tensor:
    """l(i) / sum_k H(x_k - x_i): what each k that i is charged to pays for a whole H, 0 where nobody outranks i."""
    return torch.where(total > EPS, errors / total, 0.0)


def shared_among_negatives(errors: Tensor, false_positives: Tensor, value: Tensor | None = None) -> Term:
    """Identity update with p_R(j|i) = H(x_j - x_i) / N_FP(i): i is raised by l(i), negative j lowered by its share.

    value: what the term reports, if not the errors.
    """
    raised = torch.where(false_positives > EPS, errors, 0.0)
    return Term(errors if value is None else value, -raised, share(raised, false_positives))
