"""The mask head of a ranking detector: Dice loss, each object weighted by its score."""

import torch
from mmdet.models import FCNMaskHead
from mmdet.registry import MODELS
from mmdet.utils import ConfigType, InstanceList
from torch import Tensor

from brs_detr.losses import weighted_mean

from .ranking_roi_head import MaskSamples


@MODELS.register_module()
class RankingFCNMaskHead(FCNMaskHead):
    """`FCNMaskHead` for `RankingRoIHead`, which chooses the objects, gives their scores and balances the loss.

    `loss_mask` is a loss of one mask against one target such as mmdet's `DiceLoss`; with `eps=5e-6` that is
    1 - 2 sum(x t) / (sum(x^2) + sum(t^2) + 1e-5) of Rank & Sort Loss.
    """

    def loss_and_target(
        self,
        mask_preds: Tensor,
        sampling_results: list[MaskSamples],
        batch_gt_instances: InstanceList,
        rcnn_train_cfg: ConfigType,
    ) -> dict:
        """Score-weighted mean loss of the masks of the labelled class. mask_preds: (P, classes, H, W) logits."""
        targets = self.get_targets(sampling_results, batch_gt_instances, rcnn_train_cfg)
        labels = torch.cat([samples.pos_gt_labels for samples in sampling_results])
        scores = torch.cat([samples.scores for samples in sampling_results])
        channel = torch.zeros_like(labels) if self.class_agnostic else labels
        masks = mask_preds[torch.arange(len(labels), device=labels.device), channel].float()
        losses = self.loss_mask(masks, targets, reduction_override="none")
        return dict(loss_mask=dict(loss_mask=weighted_mean(losses, scores)), mask_targets=targets)
