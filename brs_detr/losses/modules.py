"""The ranking losses as modules, for configs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .api import RankSortLosses, ap_loss, rank_sort_loss
from .checks import check_settings


def named_terms(result: Any) -> dict[str, Tensor]:
    """The terms of what a ranking loss returned for one problem; AP Loss has only `ranking`."""
    return {"ranking": result} if isinstance(result, Tensor) else result._asdict()


class RankingLoss(nn.Module):
    """What heads may ask of any ranking loss.

    needs_localisation: `forward` also takes the box error of every sample, and one of its terms is the box loss.
    """

    needs_localisation = False
    delta: float
    method: str
    loss_weight: float

    def balance(self, terms: dict[str, Tensor]) -> Tensor | None:
        """The value that box losses are balanced to, 0-dim; None where they keep their own weights."""
        return None


class RankSortLoss(RankingLoss):
    """`rank_sort_loss` with its settings; both terms are multiplied by `loss_weight`.

    Raises ValueError for an unknown method or a negative delta.
    """

    def __init__(self, delta: float = 0.5, method: str = "exact", loss_weight: float = 1.0) -> None:
        super().__init__()
        check_settings(delta, method)
        self.delta, self.method, self.loss_weight = delta, method, loss_weight

    def forward(
        self,
        logits: Tensor | Sequence[tuple[Tensor, Tensor]],
        targets: Tensor | None = None,
        *,
        name: str | Sequence[str] = "ranking loss",
    ) -> Any:
        losses = rank_sort_loss(logits, targets, delta=self.delta, method=self.method, name=name)  # type: ignore[arg-type]
        if isinstance(losses, RankSortLosses):
            return self._weighted(losses)
        return [self._weighted(pair) for pair in losses]

    def balance(self, terms: dict[str, Tensor]) -> Tensor | None:
        return torch.stack(list(terms.values())).sum()

    def _weighted(self, losses: RankSortLosses) -> RankSortLosses:
        return RankSortLosses(*(self.loss_weight * loss for loss in losses))

    def extra_repr(self) -> str:
        return f"delta={self.delta}, method={self.method!r}, loss_weight={self.loss_weight}"


class APLoss(RankingLoss):
    """`ap_loss` with its settings, multiplied by `loss_weight`.

    Raises ValueError for an unknown method or a negative delta.
    """

    def __init__(
        self,
        delta: float = 1.0,
        method: str = "exact",
        interpolated: bool = True,
        half_of_itself: bool = False,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        check_settings(delta, method)
        self.delta, self.method, self.loss_weight = delta, method, loss_weight
        self.interpolated, self.half_of_itself = interpolated, half_of_itself

    def forward(
        self,
        logits: Tensor | Sequence[tuple[Tensor, Tensor]],
        targets: Tensor | None = None,
        *,
        name: str | Sequence[str] = "AP loss",
    ) -> Any:
        losses = ap_loss(
            logits,  # type: ignore[arg-type]
            targets,  # type: ignore[arg-type]
            delta=self.delta,
            method=self.method,
            interpolated=self.interpolated,
            half_of_itself=self.half_of_itself,
            name=name,
        )
        if isinstance(losses, Tensor):
            return self.loss_weight * losses
        return [self.loss_weight * loss for loss in losses]

    def extra_repr(self) -> str:
        kind = f"interpolated={self.interpolated}, half_of_itself={self.half_of_itself}"
        return f"delta={self.delta}, method={self.method!r}, {kind}, loss_weight={self.loss_weight}"
