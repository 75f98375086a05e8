"""The one interface of all ranking losses as modules, and how box losses are weighed against them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import ProcessGroup

from .backends import check_backend
from .checks import check_delta
from .gathering import processes, world
from .ranking import RankingDefinition, check_method
from .solving import Call, solve

PERFECT = 1e-3  # box loss of boxes with which nothing is wrong any more


class RankingLoss(nn.Module):
    """A ranking loss with its settings; its terms are multiplied by `loss_weight`.

    What it returns for a problem is a 0-dim tensor, or a named tuple of them: see `named_terms`.

    sync: rank the samples of all processes together, where there are several. They must make the same calls.
    backend: "auto", "triton" or "torch", see `rank_sort_loss`.

    Raises ValueError for an unknown method or backend, a method that cannot be synchronised, or an impossible delta.
    """

    settings: ClassVar[tuple[str, ...]] = ("delta", "method", "loss_weight", "sync", "backend")  # kept as attributes
    term_names: ClassVar[tuple[str, ...]]  # as `named_terms` gives them
    needs_localisation: ClassVar[bool] = False  # whether it takes the positives' box errors, and has a term for them
    balances_boxes: ClassVar[bool] = False  # whether box losses are scaled to its value

    def __init__(self, delta: float, method: str, loss_weight: float, sync: bool, backend: str | None = None) -> None:
        super().__init__()
        self.delta, self.method, self.loss_weight, self.sync, self.backend = delta, method, loss_weight, sync, backend
        self._check()

    def _check(self) -> None:
        check_delta(self.delta)
        check_method(self.method, over_processes=self.sync)
        check_backend(self.backend)

    @property
    def definition(self) -> RankingDefinition:
        """The loss itself, with its settings."""
        raise NotImplementedError

    @property
    def group(self) -> ProcessGroup | None:
        """The processes whose samples are ranked together, None for this one alone."""
        return world() if self.sync else None

    def forward(
        self,
        logits: Tensor | Sequence[tuple[Tensor, ...]],
        targets: Tensor | None = None,
        localisation: Tensor | None = None,
        *,
        name: str | Sequence[str] = "ranking loss",
    ) -> Any:
        """As the loss's function: (N,), (B, N), or a list of tuples. localisation: where the loss needs it."""
        return solve([self.call(logits, targets, localisation, name=name)], self.group)[0]

    def call(self, *problems: Any, name: str | Sequence[str]) -> Call:
        """What `forward` solves, to be solved together with the calls of other losses."""
        given = (*problems, None, None)[: 3 if self.needs_localisation else 2]
        return Call(self.definition, self.method, given, name, self.backend, self.loss_weight)

    def balance(self, terms: dict[str, Tensor]) -> Tensor | None:
        """The value that a head's box losses are scaled to, given the named terms; None if they keep their own.

        terms: 0-dim, or (L,) of L problems, each of which has a value.
        """
        return torch.stack(list(terms.values())).sum(0) if self.balances_boxes else None

    def with_settings(self, **changed: Any) -> RankingLoss:
        """The same loss with other settings. Raises ValueError as the constructor, TypeError for an unknown one."""
        if unknown := changed.keys() - set(self.settings):
            raise TypeError(f"{type(self).__name__} has no setting {', '.join(sorted(unknown))}")
        other = copy.copy(self)
        vars(other).update(changed)
        other._check()
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
    return weighted_means([(values, weights)])[0]


def weighted_means(pairs: Sequence[tuple[Tensor, Tensor]], group: ProcessGroup | None = None) -> list[Tensor]:
    """`weighted_mean` of each pair (values, weights), over the positives of all processes where there is a group.

    One collective for all pairs. Gradients are those of the own losses times the number of processes, see `solve`.
    """
    if not pairs:
        return []
    sums, weights = _weighted_sums(pairs)
    if group is None:
        return list((sums / torch.where(weights > 0, weights, 1)).unbind())
    totals = torch.stack([sums.detach(), weights]).double()
    dist.all_reduce(totals, group=group)
    weights = torch.where(totals[1] > 0, totals[1], 1)
    of_own = processes(group) * (sums - sums.detach()) / weights  # 0, with the gradient
    return list((totals[0] / weights + of_own).to(sums.dtype).unbind())


def _weighted_sums(pairs: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """sum(w l) and sum(w) of the K pairs, (K,) each; of equal lengths, as decoder layers have them, at once."""
    if len({len(values) for values, _ in pairs}) == 1:
        values, weights = map(torch.stack, zip(*pairs, strict=True))
        return (values * weights).sum(1), weights.sum(1)
    sums = [((values * weights).sum(), weights.sum()) for values, weights in pairs]
    first, second = map(torch.stack, zip(*sums, strict=True))
    return first, second


def self_balanced(box_loss: Tensor, ranking_loss: Tensor) -> Tensor:
    """box_loss * detach(ranking_loss / box_loss): as large as the ranking loss, with the box loss's gradient.

    Rank & Sort Loss, ICCV 2021, section 4.3. A box loss below `PERFECT` is divided by that instead, and so fades to 0
    with it: where proposals are the objects themselves it is rounding, whose gradient would outweigh all others.
    """
    return box_loss * (ranking_loss / box_loss.clamp(min=PERFECT)).detach()
