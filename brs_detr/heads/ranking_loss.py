"""The ranking losses as mmdet knows losses: registered, and with the little contract its heads ask of `loss_cls`."""

from typing import Any

import torch
from mmdet.registry import MODELS
from torch import Tensor

from brs_detr import losses


class SigmoidScores:
    """What mmdet's heads read from a classification loss: one sigmoid logit a class, no background class."""

    custom_cls_channels = True

    def __init__(self, *args: Any, use_sigmoid: bool = True, **kwargs: Any) -> None:
        if not use_sigmoid:
            raise ValueError(f"{type(self).__name__} ranks sigmoid logits: use_sigmoid=False is not possible")
        super().__init__(*args, **kwargs)
        self.use_sigmoid = True

    def get_cls_channels(self, num_classes: int) -> int:
        return num_classes

    def get_activation(self, logits: Tensor) -> Tensor:
        """Scores (N, classes + 1) of logits (N, classes): mmdet drops the last column, the background's."""
        return torch.cat([logits.sigmoid(), logits.new_zeros(len(logits), 1)], dim=1)


@MODELS.register_module()
class RankSortLoss(SigmoidScores, losses.RankSortLoss):
    """`brs_detr.losses.RankSortLoss` for mmdet's registry and heads."""


@MODELS.register_module()
class APLoss(SigmoidScores, losses.APLoss):
    """`brs_detr.losses.APLoss` for mmdet's registry and heads."""
