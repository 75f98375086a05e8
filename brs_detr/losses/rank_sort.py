"""Rank & Sort Loss (Oksuz et al., "Rank & Sort Loss for Object Detection and Instance Segmentation", ICCV 2021).

Every positive above every negative, and among positives the better box above the worse.

    l_R(i)  = N_FP(i) / rank(i)                                                     ranking error, its target is 0
    l_S(i)  = sum_k H(x_k - x_i) (1 - y_k) / rank+(i)                               sorting error
    l_S*(i) = the same two sums over the k with y_k >= y_i                          its target
    L_ij    = l_R(i) p_R(j|i) for negatives j, (l_S(i) - l_S*(i)) p_S(k|i) for positives k
    p_R(j|i) = H(x_j - x_i) / N_FP(i),   p_S(k|i) = H(x_k - x_i) [y_k < y_i] / sum of these
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributed import ProcessGroup

from .checks import check_delta
from .fused import FusedPositives
from .interface import RankingLoss
from .positives import Positives
from .ranking import PositiveSums, RankingDefinition, Term, share, shared_among_negatives
from .solving import Call, solve
from .step import EPS, SmoothedStep

MIN_IOU = 1e-6
"""The target of a positive whose box misses its ground truth. A positive is a sample with a target above 0,
so an IoU of 0 has to be raised, or a matched query would be pushed down as a negative. Small enough not to
matter, yet 1 - 1e-6 differs from 1 in float32 and 1e-6 from 0 in float16."""


def positive_targets(ious: Tensor) -> Tensor:
    """IoUs of positives (any shape) as targets: cut to [MIN_IOU, 1] and detached."""
    return ious.detach().clamp(MIN_IOU, 1)


class RankSortLosses(NamedTuple):
    """Two 0-dim tensors, each with its own gradient: drop, weigh or back-propagate them as you like."""

    ranking: Tensor  # mean over positives of the share of negatives among those ranked above
    sorting: Tensor  # mean over positives of how far those above have too low an IoU


@dataclass(frozen=True)
class RankAndSort(RankingDefinition):
    """The definition, for any way of summing."""

    targets_are_ious = True

    def terms(self, sums: PositiveSums, positives: Positives, false_positives: Tensor) -> tuple[Term, Term]:
        w, y = positives.weights, positives.targets
        of_all, of_as_good = sums.over_all_and_as_good(torch.stack([w, w * (1 - y)]))
        (all_above, iou_errors), (as_good_above, as_good_errors) = of_all, of_as_good
        rank_plus = all_above.clamp(min=self.step.at_zero)  # each i counts itself, whatever rounding says
        ranking = shared_among_negatives(false_positives / (rank_plus + false_positives), false_positives)

        target = as_good_errors / as_good_above.clamp(min=self.step.at_zero)
        sorting = iou_errors / rank_plus - target  # l_S(i) - l_S*(i)
        worse_above = all_above - as_good_above  # sum_k H(x_k - x_i) [y_k < y_i]
        charged = sums.from_better((share(sorting, worse_above) * w)[None])[0]
        return ranking, Term(sorting, charged - sorting * (worse_above > EPS))

    def weighted_terms(
        self, sums: PositiveSums, positives: Positives, false_positives: Tensor
    ) -> tuple[Tensor, Tensor]:
        """By two kernels, where kernels sum over the positives."""
        if isinstance(sums, FusedPositives):
            return sums.rank_and_sort(false_positives)
        return super().weighted_terms(sums, positives, false_positives)

    def result(self, *terms: Tensor) -> RankSortLosses:
        return RankSortLosses(*terms)


def rank_sort_loss(
    logits: Tensor | Sequence[tuple[Tensor, Tensor]],
    targets: Tensor | None = None,
    *,
    delta: float = 0.5,
    method: str = "exact",
    name: str | Sequence[str] = "ranking loss",
    group: ProcessGroup | None = None,
    backend: str | None = None,
) -> Any:
    """Rank & Sort Loss of one problem, a batch of them, or a list of any sizes.

    Args:
        logits: (N,) for one problem, (B, N) for B of them, or a list of (logits, targets) pairs of any
            sizes; many problems in one call are quicker than many calls. float16 and bfloat16 are computed
            in float32. The (queries, classes) of a DETR are one problem: flatten them.
        targets: of the same shape. In (0, 1] a positive, by its IoU (see `positive_targets`); 0 a negative;
            below 0 ignored.
        delta: half the width of the ramp that smooths the step H; 0 for the plain step.
        method: "exact" is exact for every delta and near-linear in the numbers of logits and positives;
            "bucketed" is the bucketed loss of ECCV 2024, exact at delta = 0 only; "pairwise" sums over all
            pairs.
        name: what error messages begin with, one for all problems or one for each.
        group: of processes that make the same calls, each with samples of its own, which are ranked together,
            positives of one against negatives of another: see `solving.solve`. Not with "bucketed".
        backend: of "exact"; the other methods are torch. "triton" sums over many negatives by Triton kernels, on
            NVIDIA GPUs of compute capability 8.0 or later; "torch" does without; "auto" takes the kernels where
            they can run and give torch's numbers in a test at their first use. None: what the environment variable
            BRS_DETR_BACKEND says, or "auto".

    Returns:
        RankSortLosses for one problem, a list of them for several. Without positives both terms are 0, with a
        gradient of 0.

    Raises:
        ValueError: sizes or devices differ; a logit or target is NaN or infinite, or a target above 1;
            unknown method or backend, or "triton" where it is not possible; negative delta; samples of another
            process of the group cannot be ranked.
        TypeError: logits are no dense tensor of floating-point numbers.
    """
    check_delta(delta)
    definition = RankAndSort(SmoothedStep(float(delta)))
    return solve([Call(definition, method, (logits, targets), name, backend)], group)[0]


class RankSortLoss(RankingLoss):
    """`rank_sort_loss` as a module. Box losses are balanced to ranking + sorting."""

    term_names = RankSortLosses._fields
    balances_boxes = True

    def __init__(
        self,
        delta: float = 0.5,
        method: str = "exact",
        loss_weight: float = 1.0,
        sync: bool = False,
        backend: str | None = None,
    ) -> None:
        super().__init__(delta, method, loss_weight, sync, backend)

    @property
    def definition(self) -> RankAndSort:
        return RankAndSort(SmoothedStep(float(self.delta)))
