"""The one interface of all ranking losses as modules, and how box losses are weighed against them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from .checks import check_delta
from .ranking import check_method


class RankingLoss(nn.Module):
    """A ranking loss with its settings; its terms are multiplied by `loss_weight`.

    What it returns for a problem is a 0-dim tensor, or a named tuple of them: see `named_terms`.

    Raises ValueError for an unknown method or an impossible delta.
    """

    settings: ClassVar[tuple[str, ...]] = ("delta", "method", "loss_weight")  # arguments, kept as attributes
    needs_localisation: ClassVar[bool] = False  # whether it takes the positives' box errors, and has a term for them
    balances_boxes: ClassVar[bool] = False  # whether box losses are scaled to its value

    def __init__(self, delta: float, method: str, loss_weight: float) -> None:
        super().__init__()
        check_delta(delta)
        check_method(method)
        self.delta, self.method, self.loss_weight = delta, method, loss_weight

    def forward(
        self,
        logits: Tensor | Sequence[tuple[Tensor, ...]],
        targets: Tensor | None = None,
        localisation: Tensor | None = None,
        *,
        name: str | Sequence[str] | None = None,
    ) -> Any:
        """As the loss's function: (N,), (B, N), or a list of tuples. localisation: where the loss needs it."""
        problems = (logits, targets, localisation) if self.needs_localisation else (logits, targets)
        named = {} if name is None else {"name": name}
        losses = self.solve(*problems, **named)
        return [self._weighted(each) for each in losses] if isinstance(losses, list) else self._weighted(losses)

    def solve(self, *problems: Any, **named: Any) -> Any:
        """The loss's function with these settings."""
        raise NotImplementedError

    def _weighted(self, losses: Any) -> Any:
        if isinstance(losses, Tensor):
            return self.loss_weight * losses
        return type(losses)(*(self.loss_weight * term for term in losses))

    def balance(self, terms: dict[str, Tensor]) -> Tensor | None:
        """The value that a head's box losses are scaled to, given the named terms; None if they keep their own."""
        return torch.stack(list(terms.values())).sum() if self.balances_boxes else None

    def with_settings(self, **changed: Any) -> RankingLoss:
        """The same loss with other settings. Raises ValueError as the constructor, TypeError for an unknown one."""
        if unknown := changed.keys() - set(self.settings):
            raise TypeError(f"{type(self).__name__} has no setting {', '.join(sorted(unknown))}")
        other = copy.copy(self)
        vars(other).update(changed)
        check_delta(other.delta)
        check_method(other.method)
        return other

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in self.settings)


def named_terms(losses: Any) -> dict[str, Tensor]:
    """The terms of what a ranking loss returned for one problem, by name."""
    return {"ranking": losses} if isinstance(losses, Tensor) else losses._asdict()


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """sum(w l) / sum(w) over losses l and weights w >= 0 of the positives, both (P,), as a 0-dim tensor.

    Without positives, or when all weights are 0, it is 0 and still part of the graph.
    """
    total = weights.sum()
    return (values * weights).sum() / torch.where(total > 0, total, 1)


def self_balanced(box_loss: Tensor, ranking_loss: Tensor) -> Tensor:
    """box_loss * detach(ranking_loss / box_loss): as large as the ranking loss, with the box loss's gradient.

    Rank & Sort Loss, ICCV 2021, section 4.3. A box loss of 0 (no positives, or perfect boxes) stays 0.
    """
    box, ranking = box_loss.detach(), ranking_loss.detach()
    real = box > torch.finfo(box.dtype).tiny
    return box_loss * torch.where(real, ranking / torch.where(real, box, 1), 0)
