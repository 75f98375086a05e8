"""How the queries of DETR-style heads get their targets: matched to objects, all layers together, or known.

A head that ranks knows its layers and calls `match`. A head of mmdet finds them one by one as it computes their
losses, each of which has to wait until all layers are known:

loss_by_feat ──> loss_by_feat_single, layer by layer ──> Later ──> match ──> the losses, known
"""

import operator
from collections.abc import Callable
from itertools import groupby
from typing import Any, NamedTuple

import torch
from mmdet.models import DETRHead
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy, bbox_xyxy_to_cxcywh
from mmdet.utils import InstanceList
from mmengine.structures import InstanceData
from torch import Tensor

from .assigner import BatchedHungarianAssigner, Matches, match_together, matching
from .host import image_scales
from .together import Later, known


class QueryTargets(NamedTuple):
    """Known targets of queries, in the order of mmdet's `DETRHead.get_targets`: lists of one tensor an image.

    labels: (Q,); label_weights: (Q,); box_targets, box_weights: (Q, 4) cxcywh in 0..1. The numbers of positives
    and negatives normalise the losses of heads that do not rank. That of positives is the number of labels that are
    object classes, or None, if the host does not know it.
    """

    labels: list[Tensor]
    label_weights: list[Tensor]
    box_targets: list[Tensor]
    box_weights: list[Tensor]
    num_total_pos: int | None = None
    num_total_neg: int = 0


class LayerOutputs(NamedTuple):
    """Predictions of one decoder layer, or of the encoder: a tensor (N, Q, ...), or (Q, ...) of each image.

    prefix, name: what its losses and its error messages begin with. logits: classes last; boxes: cxcywh in 0..1.
    ground_truth: the objects to match, or targets known in advance.
    """

    prefix: str
    name: str
    logits: Tensor | list[Tensor]
    boxes: Tensor | list[Tensor]
    ground_truth: InstanceList | QueryTargets


class Postponed:
    """The losses of a step's layers, until all layers are known and matched together."""

    def __init__(self, match: Callable[[list[LayerOutputs], list[dict]], list[QueryTargets]], decoder: int) -> None:
        self.decoder, self.layers = decoder, list[LayerOutputs]()
        self.img_metas: list[dict] = []
        self._targets = Later(lambda: match(self.layers, self.img_metas))

    def losses(
        self,
        logits: Tensor | list[Tensor],
        boxes: Tensor | list[Tensor],
        ground_truth: InstanceList,
        img_metas: list[dict],
        compute: Callable[[QueryTargets], tuple],
    ) -> tuple[Later, ...]:
        """The three losses that `compute` makes of the layer's targets, later."""
        place, self.img_metas = len(self.layers), img_metas
        name = f"decoder layer {place}" if place < self.decoder else "encoder proposals"
        self.layers.append(LayerOutputs("", name, logits, boxes, ground_truth))
        losses = Later(compute, Later(operator.getitem, self._targets, place))
        return tuple(Later(operator.getitem, losses, k) for k in range(3))


class BatchedMatchingMixin(DETRHead):
    """Matches the queries of all layers and images in one round trip, if the assigner is a `BatchedHungarianAssigner`.

    Mixed into a DETR-style head of mmdet, before it. With any other assigner the head works as mmdet's.
    """

    postponed: Postponed | None = None
    assigner: Any

    def loss_by_feat(self, all_layers_cls_scores: Tensor, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """The losses of mmdet's head.

        Raises NotFiniteError, naming the layer, if its queries cannot be matched.
        """
        if not isinstance(self.assigner, BatchedHungarianAssigner):
            return super().loss_by_feat(all_layers_cls_scores, *args, **kwargs)
        self.postponed = Postponed(self.match, len(all_layers_cls_scores))
        try:
            losses = super().loss_by_feat(all_layers_cls_scores, *args, **kwargs)
        finally:
            del self.postponed
        return {name: known(loss) for name, loss in losses.items()}

    def loss_by_feat_single(
        self,
        cls_scores: Tensor,
        bbox_preds: Tensor,
        batch_gt_instances: InstanceList | QueryTargets,
        batch_img_metas: list[dict],
    ) -> tuple:
        """Losses of one layer, of classes, boxes and IoU; while `loss_by_feat` collects layers, a `Later` of each."""
        layer, compute = (cls_scores, bbox_preds), super().loss_by_feat_single
        if self.postponed is None or isinstance(batch_gt_instances, QueryTargets):
            return compute(*layer, batch_gt_instances, batch_img_metas)
        return self.postponed.losses(
            *layer, batch_gt_instances, batch_img_metas, lambda targets: compute(*layer, targets, batch_img_metas)
        )

    def get_targets(
        self,
        cls_scores_list: list[Tensor],
        bbox_preds_list: list[Tensor],
        batch_gt_instances: InstanceList | QueryTargets,
        batch_img_metas: list[dict],
    ) -> QueryTargets:
        """Targets of one layer, matched by the assigner, or the given ones as they are."""
        if isinstance(batch_gt_instances, QueryTargets):
            return batch_gt_instances
        return QueryTargets(*super().get_targets(cls_scores_list, bbox_preds_list, batch_gt_instances, batch_img_metas))

    def match(self, layers: list[LayerOutputs], img_metas: list[dict]) -> list[QueryTargets]:
        """Targets of each layer, known ones as they are.

        Raises NotFiniteError, naming the layer, if its queries cannot be matched.
        """
        unknown = [layer for layer in layers if not isinstance(layer.ground_truth, QueryTargets)]
        batched = unknown and isinstance(self.assigner, BatchedHungarianAssigner)
        matched = iter((self._match_together if batched else self._match_each)(unknown, img_metas))
        return [
            layer.ground_truth if isinstance(layer.ground_truth, QueryTargets) else next(matched) for layer in layers
        ]

    def _match_each(self, layers: list[LayerOutputs], img_metas: list[dict]) -> list[QueryTargets]:
        targets = []
        for layer in layers:
            with matching(layer.name):
                targets.append(self.get_targets(list(layer.logits), list(layer.boxes), layer.ground_truth, img_metas))
        return targets

    def _match_together(self, layers: list[LayerOutputs], img_metas: list[dict]) -> list[QueryTargets]:
        scales = image_scales([meta["img_shape"][:2] for meta in img_metas], layers[0].boxes[0])
        costs: list[list[Tensor]] = []
        for _, group in groupby(layers, key=lambda layer: id(layer.ground_truth)):
            costs += self._costs(list(group), scales, img_metas)
        matches = match_together(costs, [layer.name for layer in layers])
        return [self._targets(*layer, scales) for layer in zip(layers, matches, strict=True)]

    def _costs(self, layers: list[LayerOutputs], scales: Tensor, img_metas: list[dict]) -> list[list[Tensor]]:
        """Of each layer the cost matrices of its images. The layers have the same objects: one matrix an image."""
        images = []
        for i, (objects, meta) in enumerate(zip(layers[0].ground_truth, img_metas, strict=True)):
            logits = torch.cat([layer.logits[i].detach() for layer in layers]).float()  # 1 - sigmoid is 0 in float16
            boxes = bbox_cxcywh_to_xyxy(torch.cat([layer.boxes[i].detach() for layer in layers])) * scales[i]
            costs = self.assigner.costs(InstanceData(scores=logits, bboxes=boxes), objects, meta)
            images.append(costs.split([len(layer.logits[i]) for layer in layers]))
        return [list(layer) for layer in zip(*images, strict=True)]

    def _targets(self, layer: LayerOutputs, matches: Matches, scales: Tensor) -> QueryTargets:
        """As mmdet's `_get_targets_single`, for all images; a query without object is background."""
        objects: Any = layer.ground_truth
        labels = torch.cat([image.labels for image in objects])
        boxes = bbox_xyxy_to_cxcywh(torch.cat([gt.bboxes / scale for gt, scale in zip(objects, scales, strict=True)]))
        labels = torch.cat([labels, labels.new_full((1,), self.num_classes)])[matches.objects]
        boxes = torch.cat([boxes, boxes.new_zeros(1, 4)])[matches.objects]
        box_weights = (matches.objects >= 0)[:, None].expand(-1, 4).to(boxes.dtype)
        fields = labels, torch.ones_like(boxes[:, 0]), boxes, box_weights
        sizes = [len(image) for image in layer.logits]
        by_image = (list(field.split(sizes)) for field in fields)
        return QueryTargets._make((*by_image, matches.number, len(labels) - matches.number))
