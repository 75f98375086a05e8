"""AP Loss (Chen et al., "Towards Accurate One-Stage Object Detection with AP-Loss", CVPR 2019).

l(i) = N_FP(i) / rank(i) = 1 - precision(i),   L_ij = l(i) H(x_j - x_i) / N_FP(i) for negatives j
where rank(i) = 1 + sum over other positives k of H(x_k - x_i) + N_FP(i)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.distributed import ProcessGroup

from .checks import check_delta
from .interface import RankingLoss
from .positives import Positives
from .ranking import PositiveSums, RankingDefinition, Term, shared_among_negatives
from .solving import Call, solve
from .step import SmoothedStep


@dataclass(frozen=True)
class AveragePrecision(RankingDefinition):
    """The definition, for any way of summing; see `ap_loss`."""

    interpolated: bool
    half_of_itself: bool

    def terms(self, sums: PositiveSums, positives: Positives, false_positives: Tensor) -> tuple[Term]:
        of_itself = self.step.at_zero if self.half_of_itself else 1.0
        rank_plus = rank_among_positives(sums, positives, self.step, of_itself)
        error = false_positives / (rank_plus + false_positives)
        if self.interpolated:
            error = error.cummin(-1).values  # 1 - the best precision of all lower-scoring positives
        return (shared_among_negatives(error, false_positives),)

    def result(self, *terms: Tensor) -> Tensor:
        return terms[0]


def rank_among_positives(sums: PositiveSums, positives: Positives, step: SmoothedStep, of_itself: float) -> Tensor:
    """rank+(i), (B, P), in which a positive counts itself `of_itself` instead of H(0)."""
    rank_plus = sums.over_all(positives.weights[None])[0].clamp(min=step.at_zero)
    return rank_plus + (of_itself - step.at_zero)


def ap_loss(
    logits: Tensor | Sequence[tuple[Tensor, Tensor]],
    targets: Tensor | None = None,
    *,
    delta: float = 1.0,
    method: str = "exact",
    interpolated: bool = True,
    half_of_itself: bool = False,
    name: str | Sequence[str] = "AP loss",
    group: ProcessGroup | None = None,
    backend: str | None = None,
) -> Any:
    """AP Loss of one problem, a batch of them, or a list of any sizes.

    Args:
        logits: as for `rank_sort_loss`.
        targets: of the same shape. Above 0 a positive, however far above; 0 a negative; below 0 ignored.
        delta: half the width of the ramp that smooths the step H; 0 for the plain step.
        method: as for `rank_sort_loss`.
        interpolated: precision is the best at any lower-scoring positive, as in the original AP Loss and the
            results published for it; those of the bucketed AP Loss (ECCV 2024) are without.
        half_of_itself: restores the released code of the bucketed AP Loss, where a positive outranks itself by
            H(0), 1/2 for delta > 0, as in Rank & Sort Loss. Off by default: AP counts it as 1.
        name, group, backend: as for `rank_sort_loss`.

    Returns:
        1 - AP as a 0-dim tensor, or a list of them for several problems. Without positives 0, with a gradient
        of 0.

    Raises:
        ValueError, TypeError: as `rank_sort_loss`.
    """
    check_delta(delta)
    definition = AveragePrecision(SmoothedStep(float(delta)), interpolated, half_of_itself)
    return solve([Call(definition, method, (logits, targets), name, backend)], group)[0]


class APLoss(RankingLoss):
    """`ap_loss` as a module. Box losses keep their own weight."""

    settings = ("delta", "method", "interpolated", "half_of_itself", "loss_weight", "sync", "backend")
    term_names = ("ranking",)

    def __init__(
        self,
        delta: float = 1.0,
        method: str = "exact",
        interpolated: bool = True,
        half_of_itself: bool = False,
        loss_weight: float = 1.0,
        sync: bool = False,
        backend: str | None = None,
    ) -> None:
        super().__init__(delta, method, loss_weight, sync, backend)
        self.interpolated, self.half_of_itself = interpolated, half_of_itself

    @property
    def definition(self) -> AveragePrecision:
        return AveragePrecision(SmoothedStep(float(self.delta)), self.interpolated, self.half_of_itself)
