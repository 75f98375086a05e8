"""Rank & Sort Loss with each class a ranking problem of its own, as COCO's AP is a mean over classes: an experiment.

A class without objects in the batch then gives no gradient, where in the one ranking of all classes its samples are
pushed below the objects of the others.
"""

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.registry import MODELS
from torch import Tensor

from brs_detr.heads.ranking_loss import RankSortLoss

Problem = tuple[Tensor, Tensor]


@MODELS.register_module()
class RankSortLossByClass(RankSortLoss):
    """The mean over the classes that have positives; 0 where none has. For the project's own heads, in one process.

    classes: of the head, whose problems hold samples * classes logits and targets, the classes of a sample together.
    """

    def __init__(self, *args: Any, classes: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.classes = classes

    def forward(  # type: ignore[override]
        self, problems: Tensor | Sequence[Problem], targets: Tensor | None = None, *, name: Any
    ) -> Any:
        """The terms of a problem (samples * classes,), or of each problem of a list."""
        if isinstance(problems, Tensor):
            assert targets is not None
            return self._of_each([(problems, targets)], [name])[0]
        return self._of_each(problems, name)

    def _of_each(self, problems: Sequence[Problem], names: Sequence[str]) -> list[Any]:
        of_classes = [
            (x, y)
            for logits, targets in problems
            for x, y in zip(logits.view(-1, self.classes).T, targets.view(-1, self.classes).T, strict=True)
        ]
        labels = [f"{name}, class {label}" for name in names for label in range(self.classes)]
        terms = super().forward(of_classes, name=labels)
        first_of_each = range(0, len(terms), self.classes)
        return [
            mean(terms[first : first + self.classes], targets.view(-1, self.classes))
            for first, (_, targets) in zip(first_of_each, problems, strict=True)
        ]


def mean(terms: list[Any], targets: Tensor) -> Any:
    """Over the classes with positives among targets (samples, classes)."""
    present = (targets > 0).any(0)
    number = present.sum().clamp(min=1)
    return type(terms[0])(*((torch.stack(each) * present).sum() / number for each in zip(*terms, strict=True)))
