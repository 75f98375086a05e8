"""The RoI box head, trained by ranking: sigmoid logits without a background class, GIoU on decoded boxes."""

from typing import Any

import torch
from mmdet.models import Shared2FCBBoxHead
from mmdet.registry import MODELS
from torch import Tensor

from .ranking import RankingMixin, Samples, positive_indices


@MODELS.register_module()
class RankingBBoxHead(RankingMixin, Shared2FCBBoxHead):
    """Two shared fully connected layers whose RoIs are ranked, all classes and images of the batch together."""

    ranking_name = "RoI head"

    def __init__(
        self, *args: Any, score_weighted: bool = True, zero_iou_is_negative: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(*args, **{**kwargs, "reg_decoded_bbox": True})
        self.score_weighted = score_weighted
        self.zero_iou_is_negative = zero_iou_is_negative

    def loss(
        self,
        cls_score: Tensor,
        bbox_pred: Tensor,
        rois: Tensor,
        labels: Tensor,
        label_weights: Tensor,
        bbox_targets: Tensor,
        bbox_weights: Tensor,
        reduction_override: str | None = None,
    ) -> dict[str, Tensor]:
        """cls_score: (S, classes); bbox_pred: (S, 4 * classes) deltas, or (S, 4); rois: (S, 5); targets xyxy."""
        positives = positive_indices(labels, self.num_classes)
        deltas = bbox_pred[positives].unflatten(1, (-1, self.bbox_coder.encode_size))
        channel = torch.zeros_like(positives) if self.reg_class_agnostic else labels[positives]
        deltas = deltas[torch.arange(len(positives), device=positives.device), channel]
        boxes = self.bbox_coder.decode(rois[positives, 1:], deltas)
        return self.ranking_losses(Samples(cls_score, labels, label_weights, boxes, bbox_targets[positives]))
