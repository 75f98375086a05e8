"""The DETR head of BRS-DETR: decoder layers, encoder proposals and auxiliary queries all rank."""

from typing import Any, NamedTuple

import torch
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy
from mmdet.utils import InstanceList, OptInstanceList
from mmengine.structures import InstanceData
from torch import Tensor

from brs_detr.losses import NotFiniteError, RankSortLosses, self_balanced, weighted_mean

from .auxiliary import QueryTargets
from .detr_head import CoDETRHead
from .ranking import RankingMixin, Samples, positive_indices, positive_losses, ranking_problem


class LayerOutputs(NamedTuple):
    """Predictions of one decoder layer, or of the encoder. logits: (N, Q, classes); boxes: (N, Q, 4) cxcywh."""

    prefix: str
    name: str
    logits: Tensor
    boxes: Tensor
    ground_truth: InstanceList | QueryTargets


class LayerSamples(NamedTuple):
    """One layer's ranking problem, and its positives' boxes (P, 4) cxcywh in 0..1 for the L1 loss."""

    samples: Samples
    normalised_boxes: Tensor
    normalised_targets: Tensor


@MODELS.register_module()
class RankingDETRHead(RankingMixin, CoDETRHead):
    """`CoDETRHead` whose classification ranks; L1 and GIoU each balance to the ranking loss of their layer.

    All layers are solved in one call of `loss_cls`. Give `loss_bbox` and `loss_iou` the weight 1.
    balance_boxes: off, L1 and GIoU keep their own weights, as in our and the released BRS variant of Co-DINO.
    """

    score_weighted = False

    def __init__(
        self, *args: Any, zero_iou_is_negative: bool = False, balance_boxes: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.zero_iou_is_negative = zero_iou_is_negative
        self.balance_boxes = balance_boxes

    def loss_by_feat(
        self,
        all_layers_cls_scores: Tensor,
        all_layers_bbox_preds: Tensor,
        enc_cls_scores: Tensor,
        enc_bbox_preds: Tensor,
        batch_gt_instances: InstanceList,
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: OptInstanceList = None,
    ) -> dict[str, Tensor]:
        """Losses of all decoder layers and of the encoder's proposals, which know a single class, 0."""
        layers = self._decoder_layers(all_layers_cls_scores, all_layers_bbox_preds, batch_gt_instances)
        class_agnostic = [
            InstanceData(bboxes=gt.bboxes, labels=torch.zeros_like(gt.labels)) for gt in batch_gt_instances
        ]
        layers.append(LayerOutputs("enc_", "encoder proposals", enc_cls_scores, enc_bbox_preds, class_agnostic))
        return self._layer_losses(layers, batch_img_metas)

    def loss_of_auxiliary_queries(
        self, hidden_states: Tensor, references: list[Tensor], targets: QueryTargets, img_metas: list[dict]
    ) -> dict[str, Tensor]:
        logits, boxes = self(hidden_states, references)
        layers = self._decoder_layers(logits, boxes, targets, kind="auxiliary queries of ")
        return self._layer_losses(layers, img_metas)

    def _decoder_layers(
        self,
        logits: Tensor,
        boxes: Tensor,
        ground_truth: InstanceList | QueryTargets,
        kind: str = "",
        prefix: str = "",
    ) -> list[LayerOutputs]:
        last = len(logits) - 1
        return [
            LayerOutputs(
                ("" if i == last else f"d{i}.") + prefix,
                f"{kind}decoder layer {i}",
                logits[i],
                boxes[i],
                ground_truth,
            )
            for i in range(len(logits))
        ]

    def _layer_losses(self, layers: list[LayerOutputs], img_metas: list[dict]) -> dict[str, Tensor]:
        shapes = layers[0].boxes.new_tensor([meta["img_shape"][:2] for meta in img_metas])
        scales = shapes.flip(1).repeat(1, 2)  # (w, h, w, h) of each image
        samples = [self._layer_samples(layer, scales, img_metas) for layer in layers]
        problems = [ranking_problem(s.samples, self.zero_iou_is_negative) for s in samples]
        solved = self.loss_cls(problems, name=[layer.name for layer in layers])
        losses: dict[str, Tensor] = {}
        for layer, layer_samples, ranking in zip(layers, samples, solved, strict=True):
            for key, value in self._balanced_losses(layer_samples, ranking).items():
                losses[layer.prefix + key] = value
        return losses

    def _layer_samples(self, layer: LayerOutputs, scales: Tensor, img_metas: list[dict]) -> LayerSamples:
        targets = self._named_targets(layer, img_metas)
        labels = torch.cat(targets.labels)
        positives = positive_indices(labels, self.num_classes)
        boxes = layer.boxes.flatten(0, 1)[positives]
        box_targets = torch.cat(targets.box_targets)[positives]
        scale = scales[positives // layer.boxes.shape[1]]
        samples = Samples(
            layer.logits.flatten(0, 1),
            labels,
            torch.cat(targets.label_weights),
            bbox_cxcywh_to_xyxy(boxes) * scale,
            bbox_cxcywh_to_xyxy(box_targets) * scale,
        )
        return LayerSamples(samples, boxes, box_targets)

    def _named_targets(self, layer: LayerOutputs, img_metas: list[dict]) -> QueryTargets:
        try:
            return self.get_targets(list(layer.logits), list(layer.boxes), layer.ground_truth, img_metas)
        except ValueError as error:  # scipy refuses to match on NaN
            raise NotFiniteError(
                f"{layer.name}: logits or boxes are NaN or infinite, so its queries cannot be matched"
            ) from error

    def _balanced_losses(self, layer: LayerSamples, ranking: RankSortLosses) -> dict[str, Tensor]:
        total = ranking.ranking + ranking.sorting
        weights = self.box_weights(layer.samples)
        l1 = positive_losses(self.loss_bbox, layer.normalised_boxes, layer.normalised_targets)
        l1 = weighted_mean(l1, weights)
        giou = positive_losses(self.loss_iou, layer.samples.boxes, layer.samples.box_targets)
        giou = weighted_mean(giou, weights)
        return {
            "loss_rank": ranking.ranking,
            "loss_sort": ranking.sorting,
            "loss_bbox": self_balanced(l1, total) if self.balance_boxes else l1,
            "loss_iou": self_balanced(giou, total) if self.balance_boxes else giou,
            "bbox_unscaled": l1.detach(),
            "iou_unscaled": giou.detach(),
        }
