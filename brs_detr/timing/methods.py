"""The ways to solve a recorded call, each as a cell that can be run and timed."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mmdet.models.losses.focal_loss import py_sigmoid_focal_loss
from torch import Tensor

from brs_detr.losses import APLoss, RankSortLoss

from .calls import PlainCall, Problem, RankingCall, RankingLoss, Run

RANKING_METHODS = ("exact", "bucketed", "pairwise")
METHODS = (*RANKING_METHODS, "focal")
ALL_LAYERS = "all layers in one call"


@dataclass(frozen=True)
class Cell:
    """One thing to time. inputs: the logits that `run` takes, and gets gradients for.

    called: whether training makes this very call, so that it counts in the total.
    """

    head: str
    layer: str
    method: str
    positives: int
    negatives: int
    inputs: list[Tensor]
    run: Run
    called: bool


def focal_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """mmdet's sigmoid focal loss of (N,) logits: target above 0 is a positive, below 0 ignored."""
    positive = targets > 0
    return py_sigmoid_focal_loss(logits, positive, (targets >= 0).float(), avg_factor=positive.sum().clamp(min=1))


def with_method(loss: RankingLoss, method: str, delta: float | None = None) -> RankingLoss:
    """The ranking loss with another way to sum, and another delta if one is given."""
    delta = loss.delta if delta is None else delta
    settings: dict[str, Any] = dict(delta=delta, method=method, loss_weight=loss.loss_weight)
    if isinstance(loss, APLoss):
        return APLoss(interpolated=loss.interpolated, half_of_itself=loss.half_of_itself, **settings)
    return RankSortLoss(**settings)


def plain_cell(call: PlainCall) -> Cell:
    """The call as it was made."""
    name = type(call.loss).__name__
    return Cell(call.head, call.layer, name, call.positives, call.negatives, call.inputs, call.run, True)


def ranking_cells(call: RankingCall, method: str, delta: float | None = None) -> Iterator[Cell]:
    """Each problem of the call alone; and the whole list in one call, where training makes one call of it."""
    loss = None if method == "focal" else with_method(call.loss, method, delta)
    for problem in call.problems:
        yield _cell(call.head, problem.layer, method, [problem], loss, together=False, called=not call.together)
    if call.together:
        yield _cell(call.head, ALL_LAYERS, method, call.problems, loss, together=True, called=True)


def _cell(
    head: str,
    layer: str,
    method: str,
    problems: list[Problem],
    loss: RankingLoss | None,
    together: bool,
    called: bool,
) -> Cell:
    targets = [problem.targets for problem in problems]

    def run(logits: list[Tensor]) -> Any:
        if loss is None:
            return [focal_loss(x, y) for x, y in zip(logits, targets, strict=True)]
        return loss(list(zip(logits, targets, strict=True))) if together else loss(logits[0], targets[0])

    positives, negatives = (sum(getattr(p, kind) for p in problems) for kind in ("positives", "negatives"))
    return Cell(head, layer, method, positives, negatives, [p.logits for p in problems], run, called)
