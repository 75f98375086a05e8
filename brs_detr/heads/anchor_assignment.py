"""Assigning anchors and proposals to objects as mmdet does, without its loop over objects and boolean indices.

For each of those the host waits for a GPU. Here it waits once an image, for the numbers of positives and negatives.
"""

from typing import Any

import torch
from mmdet.models import ATSSHead
from mmdet.models.dense_heads.anchor_head import AnchorHead
from mmdet.models.task_modules import AssignResult, MaxIoUAssigner, PseudoSampler, SamplingResult
from mmdet.registry import TASK_UTILS
from mmengine.structures import InstanceData
from torch import Tensor

from .host import indices_of_each, to_device


class PlacedAnchorsMixin(AnchorHead):
    """Anchors of one location, which mmdet copies to the device at each step and level, are there from the first on."""

    def get_anchors(self, featmap_sizes: list, batch_img_metas: list[dict], device: Any = "cuda") -> tuple:
        """As mmdet's: anchors (A, 4) xyxy and which are valid (A,), by image and level."""
        base = self.prior_generator.base_anchors
        if not base[0].is_cuda:
            placed = to_device(torch.cat(base), torch.device(device))
            self.prior_generator.base_anchors = list(placed.split([len(anchors) for anchors in base]))
        return super().get_anchors(featmap_sizes, batch_img_metas, device=device)


class OneReadATSSMixin(PlacedAnchorsMixin, ATSSHead):
    """mmdet's ATSS head, of whose levels the host reads together how many anchors are inside."""

    def get_num_level_anchors_inside(self, num_level_anchors: list[int], inside_flags: Tensor) -> list[int]:
        """inside_flags: (A,), of the anchors of all levels, so many each."""
        return torch.stack([flags.sum() for flags in inside_flags.split(num_level_anchors)]).tolist()


@TASK_UTILS.register_module()
class VectorizedMaxIoUAssigner(MaxIoUAssigner):
    """mmdet's `MaxIoUAssigner`, by operators on all objects at once; the host does not wait for any of them."""

    def assign_wrt_overlaps(self, overlaps: Tensor, gt_labels: Tensor) -> AssignResult:
        """overlaps: (G, A) IoU of objects and anchors; gt_labels: (G,). An anchor is -1 ignored, 0 background, 1..G."""
        if overlaps.numel() == 0:
            return super().assign_wrt_overlaps(overlaps, gt_labels)
        highest, best = overlaps.max(dim=0)
        low, high = self.neg_iou_thr if isinstance(self.neg_iou_thr, tuple) else (0.0, self.neg_iou_thr)
        assigned = torch.where((highest >= low) & (highest < high), 0, -1)
        assigned = torch.where(highest >= self.pos_iou_thr, best + 1, assigned)
        if self.match_low_quality:
            last = self._last_object_best_matched(overlaps)
            assigned = torch.where(last > 0, last, assigned)
        labels = torch.where(assigned > 0, gt_labels[(assigned - 1).clamp(min=0)], -1)
        return AssignResult(len(gt_labels), assigned, highest, labels=labels)

    def _last_object_best_matched(self, overlaps: Tensor) -> Tensor:
        """(A,): the last object, counted from 1, that has no better anchor than this one; 0 where there is none."""
        highest, anchor = overlaps.max(dim=1, keepdim=True)
        if self.gt_max_assign_all:
            best = overlaps == highest
        else:
            best = torch.zeros_like(overlaps, dtype=torch.bool).scatter_(1, anchor, True)
        numbers = torch.arange(1, len(overlaps) + 1, device=overlaps.device)[:, None]
        return torch.where(best & (highest >= self.min_pos_iou), numbers, 0).amax(dim=0)


@TASK_UTILS.register_module()
class OneReadPseudoSampler(PseudoSampler):
    """mmdet's `PseudoSampler`, which takes all anchors; the host reads their numbers together, once an image."""

    def sample(
        self, assign_result: AssignResult, pred_instances: InstanceData, gt_instances: InstanceData, **kwargs: Any
    ) -> SamplingResult:
        """Positives and negatives in ascending order. pred_instances: with `priors` (A, 4) xyxy."""
        priors = pred_instances.priors
        positives, negatives = indices_of_each([assign_result.gt_inds > 0, assign_result.gt_inds == 0])
        flags = priors.new_zeros(len(priors), dtype=torch.uint8)  # none of them is an object itself
        return SamplingResult(
            positives, negatives, priors, gt_instances.bboxes, assign_result, flags, avg_factor_with_neg=False
        )
