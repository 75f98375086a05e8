"""Ranking for mmdet's dense anchor heads: the anchors of all levels and images form one ranking problem."""

from typing import Any

import torch
from mmdet.models.dense_heads.anchor_head import AnchorHead
from mmdet.utils import InstanceList, OptInstanceList
from torch import Tensor

from .ranking import RankingMixin, Samples, positive_indices


def flatten_level(prediction: Tensor, channels: int) -> Tensor:
    """(N, anchors * channels, H, W) -> (N * H * W * anchors, channels), the order of mmdet's targets."""
    return prediction.permute(0, 2, 3, 1).reshape(-1, channels)


class AnchorRankingMixin(RankingMixin, AnchorHead):
    """`loss_by_feat` of an anchor head, by ranking. `get_targets` must return the anchors first, as ATSS's does."""

    def __init__(
        self, *args: Any, score_weighted: bool = True, zero_iou_is_negative: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.score_weighted = score_weighted
        self.zero_iou_is_negative = zero_iou_is_negative
        self.reg_decoded_bbox = True  # IoU targets and GIoU need boxes, not deltas

    def loss_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        batch_gt_instances: InstanceList,
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: OptInstanceList = None,
    ) -> dict[str, Tensor]:
        """Ranking and box losses of one batch.

        cls_scores, bbox_preds: a level each, (N, anchors * classes, H, W) and (N, anchors * 4, H, W).
        """
        sizes = [scores.shape[-2:] for scores in cls_scores]
        anchors, valid = self.get_anchors(sizes, batch_img_metas, device=cls_scores[0].device)
        targets = self.get_targets(anchors, valid, batch_gt_instances, batch_img_metas, batch_gt_instances_ignore)
        anchors, labels, label_weights, box_targets = (
            torch.cat([level.flatten(0, 1) for level in levels]) for levels in targets[:4]
        )
        logits = torch.cat([flatten_level(scores, self.cls_out_channels) for scores in cls_scores])
        deltas = torch.cat([flatten_level(deltas, self.bbox_coder.encode_size) for deltas in bbox_preds])
        positives = positive_indices(labels, self.num_classes)
        boxes = self.positive_boxes(anchors[positives], deltas[positives], box_targets[positives])
        return self.ranking_losses(Samples(logits, labels, label_weights, *boxes))

    def positive_boxes(self, anchors: Tensor, deltas: Tensor, box_targets: Tensor) -> tuple[Tensor, Tensor]:
        """Predicted boxes of the positives, and the boxes to compare them with; all (P, 4), boxes xyxy."""
        return self.bbox_coder.decode(anchors, deltas), box_targets
