"""The second stage of a ranking detector: its box head, its mask head, and the RoI head that holds both.

RoIs rank by sigmoid logits without a background class, with GIoU on decoded boxes; scores weigh the masks, and the
ranking loss sets their scale (Rank & Sort Loss, ICCV 2021).
"""

from typing import Any, NamedTuple

import torch
from mmdet.models import FCNMaskHead, Shared2FCBBoxHead, SingleRoIExtractor, StandardRoIHead
from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.registry import MODELS
from mmdet.utils import ConfigType, InstanceList
from torch import Tensor

from .host import to_device
from .ranking import RankingMixin, Samples, balanced, positive_indices
from .together import Later, means, when_known


@MODELS.register_module()
class Float32RoIExtractor(SingleRoIExtractor):
    """`SingleRoIExtractor` in float32: mmdet casts RoIs to the maps' dtype, and bfloat16 is off by pixels near 1000."""

    def forward(self, feats: tuple[Tensor, ...], rois: Tensor, roi_scale_factor: float | None = None) -> Tensor:
        """Features (R, channels, h, w) of RoIs (R, 5): image, xyxy in pixels. feats: (N, channels, H, W) a level."""
        return super().forward(tuple(level.float() for level in feats), rois.float(), roi_scale_factor)


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
        return self.ranking_losses(Samples(cls_score, labels, label_weights, positives, boxes, bbox_targets[positives]))


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
    drawn = torch.randperm(sum(counts))[:most].sort().values  # on the host, which so knows the number of each image
    ends = torch.tensor(counts).cumsum(0)
    image_of = torch.bucketize(drawn, ends, right=True)
    places = [drawn[image_of == i] - (ends[i] - count) for i, count in enumerate(counts)]
    return [
        MaskSamples(*(values[to_device(chosen, values.device)] for values in image))
        for image, chosen in zip(samples, places, strict=True)
    ]


@MODELS.register_module()
class RankingRoIHead(StandardRoIHead):
    """`StandardRoIHead` with a mask head whose loss is balanced to what the boxes are: the RoIs' Rank & Sort Loss.

    max_masks: the most objects of a batch whose masks are trained, to bound memory. The released code cuts masks
    and weights in different orders; here both belong to the same objects, drawn at random.
    """

    def __init__(self, *args: Any, max_masks: int = 200, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.with_mask and self.share_roi_extractor:
            raise ValueError(f"{type(self).__name__} needs a mask_roi_extractor of its own")
        self.max_masks = max_masks
        self._forget()

    def _forget(self) -> None:
        self._balance: Tensor | Later | None = None
        self._scores = torch.zeros(0)

    def loss(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Losses of boxes and masks, as `StandardRoIHead.loss`; nothing of the step stays with the head."""
        try:
            return super().loss(*args, **kwargs)
        finally:
            self._forget()

    def bbox_loss(self, x: tuple[Tensor, ...], sampling_results: list[SamplingResult]) -> dict:
        """As the base class, and keeps the ranking loss and the scores for `mask_loss`."""
        results = super().bbox_loss(x, sampling_results)
        if isinstance(self.bbox_head, RankingMixin):
            self._balance = self.bbox_head.balance_of(results["loss_bbox"])
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
        if isinstance(self.mask_head, RankingFCNMaskHead):
            ranks = isinstance(self.bbox_head, RankingMixin)
            (loss,) = means([loss], self.bbox_head.loss_cls.group if ranks else None)
        results["loss_mask"] = {
            "loss_mask": when_known(balanced, loss, self._balance),
            "mask_unscaled": when_known(Tensor.detach, loss),
        }
        return results


@MODELS.register_module()
class RankingFCNMaskHead(FCNMaskHead):
    """`FCNMaskHead` for `RankingRoIHead`, which chooses the objects, weighs their losses by score and balances them.

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
        """Losses (P,) of the masks of the labelled class, and their scores. mask_preds: (P, classes, H, W) logits."""
        targets = self.get_targets(sampling_results, batch_gt_instances, rcnn_train_cfg)
        labels = torch.cat([samples.pos_gt_labels for samples in sampling_results])
        scores = torch.cat([samples.scores for samples in sampling_results])
        channel = torch.zeros_like(labels) if self.class_agnostic else labels
        masks = mask_preds[torch.arange(len(labels), device=labels.device), channel].float()
        losses = self.loss_mask(masks, targets, reduction_override="none")
        return dict(loss_mask=dict(loss_mask=(losses, scores)), mask_targets=targets)
