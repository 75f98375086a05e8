"""Ranking for mmdet's anchor heads: the anchors of all levels and images form one ranking problem.

RPN, ATSS and PAA differ in how they assign anchors, and lose what a ranking does not need: samplers, and the
centerness or IoU branch as a second score.
"""

from typing import Any

import torch
from mmdet.models import PAAHead, RPNHead
from mmdet.models.utils import images_to_levels, levels_to_images, multi_apply
from mmdet.registry import MODELS, TASK_UTILS
from mmdet.utils import ConfigType, InstanceList, OptConfigType, OptInstanceList
from mmengine.structures import InstanceData
from torch import Tensor, nn

from .anchor_assignment import OneReadATSSMixin, PlacedAnchorsMixin
from .ranking import RankingMixin, Samples, positive_indices, positive_losses

FOCAL = dict(type="FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0)


def flatten_level(prediction: Tensor, channels: int) -> Tensor:
    """(N, anchors * channels, H, W) -> (N * H * W * anchors, channels), the order of mmdet's targets."""
    return prediction.permute(0, 2, 3, 1).reshape(-1, channels)


class AnchorRankingMixin(RankingMixin, PlacedAnchorsMixin):
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
        return self.ranking_losses(Samples(logits, labels, label_weights, positives, *boxes))

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


@MODELS.register_module()
class RankingRPNHead(AnchorRankingMixin, RPNHead):
    """RPN with a ranking loss over all anchors, and GIoU on boxes.

    It does not sample: give `train_cfg` no sampler, or `OneReadPseudoSampler`.

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


@MODELS.register_module()
class RankingATSSHead(AnchorRankingMixin, OneReadATSSMixin):
    """ATSS without its centerness branch: a ranking loss needs no second score to order the boxes."""

    ranking_name = "ATSS head"

    def _init_layers(self) -> None:
        super()._init_layers()
        del self.atss_centerness

    def forward_single(self, x: Tensor, scale: nn.Module) -> tuple[Tensor, Tensor]:
        """Class logits (N, anchors * classes, H, W) and box deltas (N, anchors * 4, H, W) of one level."""
        cls_feat = reg_feat = x
        for cls_conv, reg_conv in zip(self.cls_convs, self.reg_convs, strict=True):
            cls_feat, reg_feat = cls_conv(cls_feat), reg_conv(reg_feat)
        return self.atss_cls(cls_feat), scale(self.atss_reg(reg_feat)).float()


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
