"""What every ranking head shares: how labels and boxes become one ranking problem, and how its boxes are weighed.

labels, boxes ──> ranking_problem ──> self.loss_cls ──> loss_rank, loss_sort
      │                                                     │ detached sum
      └─ pos. boxes ──> box loss ──> score-weighted mean ──> self_balanced ──> loss_bbox

AP Loss does not sort, and nothing is balanced to it: its loss_bbox is the mean itself.
"""

from typing import NamedTuple

import torch
from mmdet.structures.bbox import bbox_overlaps
from torch import Tensor, nn

from brs_detr.losses import MIN_IOU, RankSortLosses, self_balanced, weighted_mean


class Samples(NamedTuple):
    """The S samples (anchors, proposals or queries) that one head ranks together: a whole batch's.

    logits: (S, classes); labels: (S,), `classes` is background; label_weights: (S,), 0 is ignored.
    boxes, box_targets: (P, 4) xyxy in pixels, of the P positives in the order of `positive_indices(labels)`.
    """

    logits: Tensor
    labels: Tensor
    label_weights: Tensor
    boxes: Tensor
    box_targets: Tensor


def positive_indices(labels: Tensor, num_classes: int) -> Tensor:
    """Indices (P,) of the samples (S,) whose label is an object class."""
    return ((labels >= 0) & (labels < num_classes)).nonzero().squeeze(1)


def ranking_targets(samples: Samples, zero_iou_is_negative: bool = False) -> Tensor:
    """Targets of the ranking problem, (S, classes): IoU at a positive's class, -1 where ignored, 0 elsewhere.

    A positive stays one when its box misses its object: its IoU is raised to `MIN_IOU`. `zero_iou_is_negative`
    restores the released BRS code, where such a positive was pushed down as a negative; it is off because the
    queries matched early in training, when most boxes miss, are the ones that must rise.
    """
    ious = bbox_overlaps(samples.boxes.detach().float(), samples.box_targets.float(), is_aligned=True)
    ious = ious.clamp(min=0.0 if zero_iou_is_negative else MIN_IOU, max=1.0)
    positives = positive_indices(samples.labels, samples.logits.shape[1])
    targets = torch.zeros_like(samples.logits, dtype=torch.float32)
    targets[positives, samples.labels[positives]] = ious
    return targets.masked_fill(samples.label_weights[:, None] == 0, -1.0)


def ranking_problem(samples: Samples, zero_iou_is_negative: bool = False) -> tuple[Tensor, Tensor]:
    """Logits and targets (S * classes,): every class of every sample competes with every other."""
    return samples.logits.flatten(), ranking_targets(samples, zero_iou_is_negative).flatten()


def positive_losses(loss: nn.Module, boxes: Tensor, targets: Tensor) -> Tensor:
    """Box losses (P,), summed over coordinates. Without positives mmdet's losses leave the graph: this stays."""
    if len(boxes) == 0:
        return boxes.sum(-1)
    return loss(boxes, targets, reduction_override="none").reshape(len(boxes), -1).sum(-1)


def named_losses(ranking: RankSortLosses | Tensor) -> tuple[dict[str, Tensor], Tensor | None]:
    """What `loss_cls` returned, by name, and the value to balance box losses to: None beside AP Loss."""
    if isinstance(ranking, Tensor):
        return {"loss_rank": ranking}, None
    return {"loss_rank": ranking.ranking, "loss_sort": ranking.sorting}, ranking.ranking + ranking.sorting


class RankingMixin:
    """The classification and box losses of a head that ranks. Mixed into an mmdet head with `loss_cls`, `loss_bbox`.

    score_weighted: weigh each positive's box loss by its highest class score, as RS Loss does.
    zero_iou_is_negative: see `ranking_targets`.
    """

    ranking_name = "head"
    score_weighted = True
    zero_iou_is_negative = False
    loss_cls: nn.Module
    loss_bbox: nn.Module

    def ranking_losses(self, samples: Samples) -> dict[str, Tensor]:
        """`loss_rank`, `loss_sort` unless AP, `loss_bbox`, and `bbox_unscaled`, which shows convergence."""
        problem = ranking_problem(samples, self.zero_iou_is_negative)
        losses, balance = named_losses(self.loss_cls(*problem, name=self.ranking_name))
        box_losses = positive_losses(self.loss_bbox, samples.boxes, samples.box_targets)
        box_loss = weighted_mean(box_losses, self.box_weights(samples))
        losses["loss_bbox"] = box_loss if balance is None else self_balanced(box_loss, balance)
        return losses | {"bbox_unscaled": box_loss.detach()}

    def box_weights(self, samples: Samples) -> Tensor:
        """Weights (P,) of the positives' box losses: detached highest class scores, or ones."""
        if not self.score_weighted:
            return samples.boxes.new_ones(len(samples.boxes))
        positives = positive_indices(samples.labels, samples.logits.shape[1])
        return samples.logits.detach()[positives].float().sigmoid().amax(dim=1)
