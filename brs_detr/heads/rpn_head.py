"""The region proposal network, trained by ranking objects above background."""

from typing import Any

import torch
from mmdet.models import RPNHead
from mmdet.models.utils import images_to_levels
from mmdet.registry import MODELS, TASK_UTILS
from mmdet.utils import OptConfigType
from torch import Tensor

from .anchor_ranking import AnchorRankingMixin


@MODELS.register_module()
class RankingRPNHead(AnchorRankingMixin, RPNHead):
    """RPN with a ranking loss over all anchors (no sampling; give `train_cfg` no sampler) and GIoU on boxes.

    loss_box_coder: restores the released BRS-DETR, whose loss decodes predicted and target deltas with stds
    .1 .1 .2 .2 although its coder, and so its proposals, have stds 1. Off by default: it pulls every box
    towards its anchor, so that IoU targets average 0.88 where the boxes' true IoU is 0.38.
    """

    ranking_name = "RPN"

    def __init__(self, *args: Any, loss_box_coder: OptConfigType = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.loss_box_coder = TASK_UTILS.build(loss_box_coder) if loss_box_coder else None

    def get_targets(self, anchor_list: list[list[Tensor]], *args: Any, **kwargs: Any) -> tuple:
        """`AnchorHead.get_targets`, preceded by the anchors of each level, (N, anchors, 4)."""
        sizes = [len(anchors) for anchors in anchor_list[0]]
        anchors = images_to_levels([torch.cat(anchors) for anchors in anchor_list], sizes)
        return (anchors, *super().get_targets(anchor_list, *args, **kwargs))

    def positive_boxes(self, anchors: Tensor, deltas: Tensor, box_targets: Tensor) -> tuple[Tensor, Tensor]:
        if self.loss_box_coder is None:
            return super().positive_boxes(anchors, deltas, box_targets)
        target_deltas = self.bbox_coder.encode(anchors, box_targets)
        return self.loss_box_coder.decode(anchors, deltas), self.loss_box_coder.decode(anchors, target_deltas)

    def loss_by_feat(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        losses = super().loss_by_feat(*args, **kwargs)
        return {name.replace("loss_", "loss_rpn_").replace("bbox_u", "rpn_bbox_u"): v for name, v in losses.items()}
