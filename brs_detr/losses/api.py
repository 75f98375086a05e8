"""rank_sort_loss and ap_loss: for one problem, a batch of them, or a list of any sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, overload

from torch import Tensor

from .batch import as_batches
from .checks import check_settings
from .function import Ranking, solve
from .step import Step

MIN_IOU = 1e-6
"""The target of a positive whose box misses its ground truth. A positive is a sample with a target above 0,
so an IoU of 0 has to be raised, or a matched query would be pushed down as a negative. Small enough not to
matter, yet 1 - 1e-6 differs from 1 in float32 and 1e-6 from 0 in float16."""


class RankSortLosses(NamedTuple):
    """Two 0-dim tensors, each with its own gradient: drop, weigh or back-propagate them as you like."""

    ranking: Tensor  # mean over positives of the share of negatives among those ranked above
    sorting: Tensor  # mean over positives of how far those above have too low an IoU


def positive_targets(ious: Tensor) -> Tensor:
    """IoUs of positives (any shape) as targets: cut to [MIN_IOU, 1] and detached."""
    return ious.detach().clamp(MIN_IOU, 1)


@overload
def rank_sort_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    delta: float = ...,
    method: str = ...,
    name: str | Sequence[str] = ...,
) -> Any: ...  # RankSortLosses for (N,), a list of them for (B, N)
@overload
def rank_sort_loss(
    logits: Sequence[tuple[Tensor, Tensor]],
    targets: None = None,
    *,
    delta: float = ...,
    method: str = ...,
    name: str | Sequence[str] = ...,
) -> list[RankSortLosses]: ...


def rank_sort_loss(
    logits: Tensor | Sequence[tuple[Tensor, Tensor]],
    targets: Tensor | None = None,
    *,
    delta: float = 0.5,
    method: str = "exact",
    name: str | Sequence[str] = "ranking loss",
) -> Any:
    """Rank & Sort Loss (Oksuz et al., ICCV 2021): positives above negatives, and sorted by IoU.

    Args:
        logits: (N,) for one problem, (B, N) for B of them, or a list of (logits, targets) pairs of any
            sizes; many problems in one call are quicker than many calls. float16 and bfloat16 are computed
            in float32.
        targets: of the same shape. In (0, 1] a positive, by its IoU (see `positive_targets`); 0 a negative;
            below 0 ignored.
        delta: half the width of the ramp that relaxes the ranking step; 0 for the plain step.
        method: "exact" is exact for every delta and near-linear in the numbers of logits and positives;
            "bucketed" is the bucketed loss of ECCV 2024, exact at delta = 0 only; "pairwise" sums over all
            pairs.
        name: what error messages begin with, one for all problems or one for each.

    Returns:
        RankSortLosses for one problem, a list of them for several. Without positives both terms are 0, with a
        gradient of 0.

    Raises:
        ValueError: sizes or devices differ; a logit or target is NaN or infinite, or a target above 1;
            unknown method; negative delta.
        TypeError: logits are not floating point.
    """
    check_settings(delta, method)
    loss = Ranking(Step(float(delta)), method, sorts=True)
    batches, single = as_batches(logits, targets, name)
    losses = [RankSortLosses(*pair) for pair in solve(batches, loss)]
    return losses[0] if single else losses


@overload
def ap_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    delta: float = ...,
    method: str = ...,
    interpolated: bool = ...,
    half_of_itself: bool = ...,
    name: str | Sequence[str] = ...,
) -> Any: ...  # a 0-dim tensor for (N,), a list of them for (B, N)
@overload
def ap_loss(
    logits: Sequence[tuple[Tensor, Tensor]],
    targets: None = None,
    *,
    delta: float = ...,
    method: str = ...,
    interpolated: bool = ...,
    half_of_itself: bool = ...,
    name: str | Sequence[str] = ...,
) -> list[Tensor]: ...


def ap_loss(
    logits: Tensor | Sequence[tuple[Tensor, Tensor]],
    targets: Tensor | None = None,
    *,
    delta: float = 1.0,
    method: str = "exact",
    interpolated: bool = True,
    half_of_itself: bool = False,
    name: str | Sequence[str] = "AP loss",
) -> Any:
    """AP Loss (Chen et al., "Towards Accurate One-Stage Object Detection with AP-Loss", CVPR 2019).

    Args:
        logits: as for `rank_sort_loss`.
        targets: above 0 a positive (how far above does not matter), 0 a negative, below 0 ignored.
        delta: half the width of the ramp that relaxes the ranking step; 0 for the plain step.
        method: as for `rank_sort_loss`.
        interpolated: precision is the best at any lower-scoring positive, as in the original AP Loss and the
            results published for it; those of the bucketed AP Loss (ECCV 2024) are without.
        half_of_itself: restores the released code of the bucketed AP Loss, where a positive outranks itself by
            H(0), 1/2 for delta > 0, as in Rank & Sort Loss. Off by default: AP counts it as 1.
        name: what error messages begin with, one for all problems or one for each.

    Returns:
        1 - AP as a 0-dim tensor, or a list of them for several problems. Without positives 0, with a gradient
        of 0.

    Raises:
        ValueError, TypeError: as `rank_sort_loss`.
    """
    check_settings(delta, method)
    loss = Ranking(Step(float(delta)), method, sorts=False, interpolated=interpolated, half_of_itself=half_of_itself)
    batches, single = as_batches(logits, targets, name)
    losses = [error for error, _ in solve(batches, loss)]
    return losses[0] if single else losses
