"""PAA, trained by ranking: anchors are still assigned by a mixture fitted to their costs, and then ranked."""

from typing import Any

import torch
from mmdet.models import PAAHead
from mmdet.models.utils import images_to_levels, levels_to_images, multi_apply
from mmdet.registry import MODELS
from mmdet.utils import ConfigType, InstanceList
from mmengine.structures import InstanceData
from torch import Tensor

from .atss_head import RankingATSSHead
from .ranking import positive_losses

FOCAL = dict(type="FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0)


@MODELS.register_module()
class RankingPAAHead(RankingATSSHead, PAAHead):
    """PAA without its IoU branch: a ranking loss needs no second score to order the boxes.

    A rank is no cost of one anchor, so `candidate_loss` takes the place of `loss_cls` where candidates are
    compared (PAA, ECCV 2020, section 3.2).
    """

    ranking_name = "PAA head"

    def __init__(self, *args: Any, candidate_loss: ConfigType = FOCAL, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.candidate_loss = MODELS.build(candidate_loss)

    @torch.no_grad()
    def targets_by_level(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        anchors: list[list[Tensor]],
        *ground_truth: Any,
    ) -> tuple[list[Tensor], ...]:
        """PAA's two steps: candidates by their anchors' IoU, then positives by the candidates' costs."""
        targets = self.get_targets(anchors, *ground_truth)
        labels, weights, box_targets, box_weights, candidates, objects = targets
        logits = [image.reshape(-1, self.cls_out_channels) for image in levels_to_images(cls_scores)]
        deltas = [image.reshape(-1, self.bbox_coder.encode_size) for image in levels_to_images(bbox_preds)]
        (costs,) = multi_apply(self.get_pos_loss, anchors, logits, deltas, *targets[:5])
        labels, weights, *_ = multi_apply(
            self.paa_reassign, costs, labels, weights, box_weights, candidates, objects, anchors
        )
        sizes = [len(level) for level in anchors[0]]
        images = [torch.cat(image) for image in anchors], labels, weights, box_targets
        return tuple(images_to_levels(list(kind), sizes) for kind in images)

    def get_pos_loss(
        self,
        anchors: list[Tensor],
        cls_score: Tensor,
        bbox_pred: Tensor,
        label: Tensor,
        label_weight: Tensor,
        bbox_target: Tensor,
        bbox_weight: Tensor,
        pos_inds: Tensor,
    ) -> tuple[Tensor]:
        """Costs (P,) of one image's candidates: classification summed over classes, plus box loss."""
        classification = self.candidate_loss(cls_score[pos_inds], label[pos_inds], reduction_override="none").sum(-1)
        boxes = self.bbox_coder.decode(torch.cat(anchors)[pos_inds], bbox_pred[pos_inds])
        return (classification + positive_losses(self.loss_bbox, boxes, bbox_target[pos_inds]),)

    def predict_by_feat(
        self, cls_scores: list[Tensor], bbox_preds: list[Tensor], *args: Any, **kwargs: Any
    ) -> InstanceList:
        """PAA's prediction and score voting, with the IoU of every box taken to be 1."""
        certain = [torch.full_like(level[:, :: self.cls_out_channels], float("inf")) for level in cls_scores]
        return super().predict_by_feat(cls_scores, bbox_preds, certain, *args, **kwargs)

    def _bbox_post_process(self, results: InstanceData, *args: Any, **kwargs: Any) -> InstanceData:
        results.scores = results.scores.square()  # PAA takes the root of score x IoU
        return super()._bbox_post_process(results, *args, **kwargs)
