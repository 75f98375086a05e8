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
    """`loss_by_feat` of an anchor head, by ranking. `get_targets` must return the anchors first, as ATSS's does.

    Raises ValueError if `loss_cls` does not say `use_sigmoid=True`: there is no background class.
    """

    def __init__(
        self, *args: Any, score_weighted: bool = True, zero_iou_is_negative: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        if not self.use_sigmoid_cls:
            raise ValueError(f"{type(self).__name__} ranks sigmoid logits: give its loss_cls use_sigmoid=True")
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
        ground_truth = batch_gt_instances, batch_img_metas, batch_gt_instances_ignore
        targets = self.targets_by_level(cls_scores, bbox_preds, anchors, valid, *ground_truth)
        anchors, labels, label_weights, box_targets = (
            torch.cat([level.flatten(0, 1) for level in levels]) for levels in targets
        )
        logits = torch.cat([flatten_level(scores, self.cls_out_channels) for scores in cls_scores])
        deltas = torch.cat([flatten_level(deltas, self.bbox_coder.encode_size) for deltas in bbox_preds])
        positives = positive_indices(labels, self.num_classes)
        boxes = self.positive_boxes(anchors[positives], deltas[positives], box_targets[positives])
        return self.ranking_losses(Samples(logits, labels, label_weights, *boxes))

    def targets_by_level(
        self, cls_scores: list[Tensor], bbox_preds: list[Tensor], *assignment: Any
    ) -> tuple[list[Tensor], ...]:
        """Anchors (N, A, 4), labels and label weights (N, A), and target boxes (N, A, 4): a level each.

        assignment: what `get_targets` takes. Predictions are for heads that assign by them.
        """
        return self.get_targets(*assignment)[:4]

    def positive_boxes(self, anchors: Tensor, deltas: Tensor, box_targets: Tensor) -> tuple[Tensor, Tensor]:
        """Predicted boxes of the positives, and the boxes to compare them with; all (P, 4), boxes xyxy."""
        return self.bbox_coder.decode(anchors, deltas), box_targets
