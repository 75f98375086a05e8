"""The RoI head of a ranking detector with masks: scores weigh the masks, the ranking loss sets their scale."""

from typing import Any, NamedTuple

import torch
from mmdet.models import StandardRoIHead
from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.registry import MODELS
from mmdet.utils import InstanceList
from torch import Tensor

from brs_detr.losses import self_balanced


class MaskSamples(NamedTuple):
    """Objects of one image whose masks are trained, P of them, under the names of mmdet's `SamplingResult`.

    pos_priors: (P, 4) xyxy; pos_assigned_gt_inds, pos_gt_labels: (P,); scores: (P,), highest over the classes.
    """

    pos_priors: Tensor
    pos_assigned_gt_inds: Tensor
    pos_gt_labels: Tensor
    scores: Tensor


def choose(samples: list[MaskSamples], most: int) -> list[MaskSamples]:
    """At most `most` objects of the batch, drawn at random."""
    counts = [len(image.scores) for image in samples]
    if sum(counts) <= most:
        return samples
    device = samples[0].scores.device
    kept = torch.zeros(sum(counts), dtype=torch.bool, device=device)
    kept[torch.randperm(sum(counts), device=device)[:most]] = True
    return [
        MaskSamples(*(values[chosen] for values in image))
        for image, chosen in zip(samples, kept.split(counts), strict=True)
    ]


@MODELS.register_module()
class RankingRoIHead(StandardRoIHead):
    """`StandardRoIHead` with a mask head whose loss is balanced to the RoIs' Rank & Sort Loss; not to AP Loss.

    max_masks: the most objects of a batch whose masks are trained, to bound memory. The released code cuts masks
    and weights in different orders; here both belong to the same objects, drawn at random.
    """

    def __init__(self, *args: Any, max_masks: int = 200, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.with_mask and self.share_roi_extractor:
            raise ValueError(f"{type(self).__name__} needs a mask_roi_extractor of its own")
        self.max_masks = max_masks

    def bbox_loss(self, x: tuple[Tensor, ...], sampling_results: list[SamplingResult]) -> dict:
        """As the base class, and keeps the ranking loss and the scores for `mask_loss`."""
        results = super().bbox_loss(x, sampling_results)
        losses = {name: value.detach() for name, value in results["loss_bbox"].items()}
        self._balance = losses["loss_rank"] + losses["loss_sort"] if "loss_sort" in losses else None
        self._scores = results["cls_score"].detach().float().sigmoid().amax(dim=1)
        return results

    def mask_loss(
        self,
        x: tuple[Tensor, ...],
        sampling_results: list[SamplingResult],
        bbox_feats: Tensor,
        batch_gt_instances: InstanceList,
    ) -> dict:
        """The balanced `loss_mask`, and `mask_unscaled`, which shows convergence."""
        scores = self._scores.split([len(image.priors) for image in sampling_results])
        samples = [
            MaskSamples(s.pos_priors, s.pos_assigned_gt_inds, s.pos_gt_labels, score[: len(s.pos_priors)])
            for s, score in zip(sampling_results, scores, strict=True)  # positives come before negatives
        ]
        results = super().mask_loss(x, choose(samples, self.max_masks), bbox_feats, batch_gt_instances)
        loss = results["loss_mask"]["loss_mask"]
        results["loss_mask"] = {
            "loss_mask": loss if self._balance is None else self_balanced(loss, self._balance),
            "mask_unscaled": loss.detach(),
        }
        return results
