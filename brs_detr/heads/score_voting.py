"""PAA's score voting without boxes that voting makes NaN.

A box that clipping to its image has left without area overlaps nothing, not even itself, so that no box votes on it,
and their weighted mean is 0 / 0. Anchors in the padding of a batch give such boxes.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from mmdet.models import PAAHead
from torch import Tensor

Vote = Callable[..., tuple[Tensor, Tensor]]


def with_area_alone(vote: Vote) -> Vote:
    """`PAAHead.score_voting`, of the boxes that have an area."""

    @wraps(vote)
    def vote_with_area(self: PAAHead, boxes: Tensor, labels: Tensor, *args: Any) -> tuple[Tensor, Tensor]:
        real = (boxes[:, 2:4] > boxes[:, :2]).all(dim=1)
        boxes, labels = boxes[real], labels[real]
        return vote(self, boxes, labels, *args) if len(boxes) else (boxes, labels)

    return vote_with_area


def mend_score_voting() -> None:
    """Let mmdet's head, and the ranking one that inherits from it, vote so."""
    if not hasattr(PAAHead.score_voting, "__wrapped__"):
        PAAHead.score_voting = with_area_alone(PAAHead.score_voting)
