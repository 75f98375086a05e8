"""aLRP Loss (Oksuz et al., "A Ranking-based, Balanced Loss Function Unifying Classification and Localisation in
Object Detection", NeurIPS 2020): the mean Localisation-Recall-Precision error, classification and boxes in one.

    l_LRP(i) = (N_FP(i) + E(i) + sum over other positives k of H(x_k - x_i) E(k)) / rank(i),   E: localisation errors
    where rank(i) is that of AP Loss. Its target E(i) / rank(i) is reached where nothing is ranked above i, so
    L_ij     = (l_LRP(i) - E(i) / rank(i)) H(x_j - x_i) / N_FP(i) for negatives j
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributed import ProcessGroup

from .average_precision import rank_among_positives
from .checks import check_delta
from .interface import RankingLoss
from .positives import Positives
from .ranking import PositiveSums, RankingDefinition, Term, shared_among_negatives
from .solving import Call, solve
from .step import SmoothedStep, prefix_sum, suffix_sum


class AlrpLosses(NamedTuple):
    """Two 0-dim tensors, each with its own gradient."""

    classification: Tensor  # mean over positives of 1 - precision, with the gradient of the LRP error in the logits
    localisation: Tensor  # mean over positives of the errors ranked at or above each, over its rank; of boxes only


@dataclass(frozen=True)
class LocalisationRecallPrecision(RankingDefinition):
    """The definition, for any way of summing."""

    def terms(self, sums: PositiveSums, positives: Positives, false_positives: Tensor) -> tuple[Term, Term]:
        assert positives.localisation is not None  # alrp_loss asks for it
        rank = rank_among_positives(sums, positives, self.step, of_itself=1.0) + false_positives
        errors = positives.localisation * positives.weights
        of_others = (sums.over_all(errors[None])[0] - self.step.at_zero * errors).clamp(min=0)
        precision_error = false_positives / rank
        classification = shared_among_negatives((false_positives + of_others) / rank, false_positives, precision_error)
        return classification, localisation_term(positives.logits, errors, positives.weights / rank)

    def result(self, *terms: Tensor) -> AlrpLosses:
        return AlrpLosses(*terms)


def localisation_term(logits: Tensor, errors: Tensor, weights: Tensor) -> Term:
    """l(i) = w_i sum over k with x_k >= x_i of E(k), linear in E. logits: ascending; all (B, P)."""
    logits = logits.contiguous()
    first = torch.searchsorted(logits, logits)  # of those with the same logit
    after = torch.searchsorted(logits, logits, right=True)
    at_or_above = suffix_sum(errors).gather(-1, first)
    by_those_below = prefix_sum(weights, exclusive=True).gather(-1, after)  # sum over i with x_i <= x_k of w_i
    return Term(weights * at_or_above, of_localisation=by_those_below)


def alrp_loss(
    logits: Tensor | Sequence[tuple[Tensor, Tensor, Tensor]],
    targets: Tensor | None = None,
    localisation: Tensor | None = None,
    *,
    delta: float = 1.0,
    method: str = "exact",
    name: str | Sequence[str] = "aLRP loss",
    group: ProcessGroup | None = None,
    backend: str | None = None,
) -> Any:
    """aLRP Loss of one problem, a batch of them, or a list of any sizes.

    Args:
        logits: (N,), (B, N), or a list of (logits, targets, localisation) triples; else as for `rank_sort_loss`.
        targets: as for `ap_loss`.
        localisation: of the same shape, the normalised box error of every sample, from 0 on, such as
            (1 - GIoU) / 2; read at positives, and differentiated.
        delta, method, name, group, backend: as for `ap_loss`.

    Returns:
        AlrpLosses for one problem, a list of them for several. Without positives both are 0, with gradients of 0.

    Raises:
        ValueError: as `rank_sort_loss`; also where a positive's localisation is not finite, or below 0.
        TypeError: as `rank_sort_loss`.
    """
    check_delta(delta)
    definition = LocalisationRecallPrecision(SmoothedStep(float(delta)))
    return solve([Call(definition, method, (logits, targets, localisation), name, backend)], group)[0]


class AlrpLoss(RankingLoss):
    """`alrp_loss` as a module. The box loss, its second term, is balanced to the sum of both."""

    term_names = AlrpLosses._fields
    needs_localisation = True
    balances_boxes = True

    def __init__(
        self,
        delta: float = 1.0,
        method: str = "exact",
        loss_weight: float = 1.0,
        sync: bool = False,
        backend: str | None = None,
    ) -> None:
        super().__init__(delta, method, loss_weight, sync, backend)

    @property
    def definition(self) -> LocalisationRecallPrecision:
        return LocalisationRecallPrecision(SmoothedStep(float(self.delta)))
