"""The ranking losses as modules, for configs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from .api import RankSortLosses, ap_loss, rank_sort_loss
from .checks import check_settings


class RankSortLoss(nn.Module):
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

    def _weighted(self, losses: RankSortLosses) -> RankSortLosses:
        return RankSortLosses(*(self.loss_weight * loss for loss in losses))

    def extra_repr(self) -> str:
        return f"delta={self.delta}, method={self.method!r}, loss_weight={self.loss_weight}"


class APLoss(nn.Module):
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
