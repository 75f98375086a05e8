"""DETR heads that rank: BRS-DETR's, DINO's, Co-DINO's and DDQ-DETR's. Each says which layers there are."""

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models import DINOHead
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy, bbox_xyxy_to_cxcywh
from mmdet.utils import InstanceList, OptInstanceList
from mmengine.structures import InstanceData
from torch import Tensor

from .assigner import matching
from .batched_heads import BatchedDDQDETRHead
from .co_detr_heads import CoDETRHead, CoDINOHead, QueryGroup
from .detr_ranking import DETRRankingMixin, decoder_layers
from .host import image_scales, indices_of_each
from .matching import LayerOutputs, QueryTargets


def layers_of(groups: Sequence[QueryGroup]) -> list[LayerOutputs]:
    """Every decoder layer of each group of auxiliary queries."""
    return [
        layer._replace(prefix=group.prefix + layer.prefix)
        for group in groups
        for layer in decoder_layers(group.logits, group.boxes, group.targets, f"auxiliary queries ({group.head}) of ")
    ]


@MODELS.register_module()
class RankingDETRHead(DETRRankingMixin, CoDETRHead):
    """`CoDETRHead` in which decoder layers, encoder proposals and auxiliary queries rank: BRS-DETR's."""

    def loss_by_feat(
        self,
        all_layers_cls_scores: Tensor,
        all_layers_bbox_preds: Tensor,
        enc_cls_scores: Tensor,
        enc_bbox_preds: Tensor,
        batch_gt_instances: InstanceList,
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: OptInstanceList = None,
        *,
        groups: Sequence[QueryGroup] = (),
    ) -> dict[str, Tensor]:
        """Losses of all decoder layers, of the encoder's proposals, which know a single class, 0, and of `groups`."""
        outputs = all_layers_cls_scores, all_layers_bbox_preds, enc_cls_scores, enc_bbox_preds
        layers = self.matched_layers(*outputs, batch_gt_instances, batch_img_metas)
        return self.layer_losses([*layers, *layers_of(groups)], batch_img_metas)

    def matched_layers(
        self,
        logits: Tensor,
        boxes: Tensor,
        enc_logits: Tensor,
        enc_boxes: Tensor,
        objects: InstanceList,
        img_metas: list[dict],
    ) -> list[LayerOutputs]:
        """What `loss_by_feat` is given, by layer."""
        class_agnostic = [InstanceData(bboxes=gt.bboxes, labels=torch.zeros_like(gt.labels)) for gt in objects]
        encoder = LayerOutputs("enc_", "encoder proposals", enc_logits, enc_boxes, class_agnostic)
        return [*decoder_layers(logits, boxes, objects), encoder]

    def losses_of_groups(self, groups: list[QueryGroup], *matched: Any, **denoising: Any) -> dict[str, Tensor]:
        """The layers of all groups are solved in one call of `loss_cls`."""
        return self.loss_by_feat(*matched, groups=groups, **denoising)


@MODELS.register_module()
class RankingDINOHead(DETRRankingMixin, DINOHead):
    """mmdet's `DINOHead` in which decoder layers, chosen encoder proposals and denoising queries rank.

    Each layer's denoising queries form a problem of their own: they know their objects and would outrank the rest.
    """

    def loss_by_feat(
        self,
        all_layers_cls_scores: Tensor,
        all_layers_bbox_preds: Tensor,
        enc_cls_scores: Tensor,
        enc_bbox_preds: Tensor,
        batch_gt_instances: InstanceList,
        batch_img_metas: list[dict],
        dn_meta: dict[str, int],
        batch_gt_instances_ignore: OptInstanceList = None,
        *,
        groups: Sequence[QueryGroup] = (),
    ) -> dict[str, Tensor]:
        """Losses of all decoder layers, of the chosen encoder proposals with their true classes, and of denoising.

        groups: of auxiliary queries, which Co-DINO has.
        """
        outputs = all_layers_cls_scores, all_layers_bbox_preds, enc_cls_scores, enc_bbox_preds
        layers = self.matched_layers(*outputs, batch_gt_instances, batch_img_metas, dn_meta)
        return self.layer_losses([*layers, *layers_of(groups)], batch_img_metas)

    def matched_layers(
        self,
        logits: Tensor,
        boxes: Tensor,
        enc_logits: Tensor,
        enc_boxes: Tensor,
        objects: InstanceList,
        img_metas: list[dict],
        dn_meta: dict[str, int],
    ) -> list[LayerOutputs]:
        """What `loss_by_feat` is given, by layer."""
        encoder = LayerOutputs("enc_", "encoder proposals", enc_logits, enc_boxes, objects)
        return self.layer_outputs(logits, boxes, encoder, img_metas, dn_meta)

    def layer_outputs(
        self, logits: Tensor, boxes: Tensor, encoder: LayerOutputs, img_metas: list[dict], dn_meta: dict[str, int]
    ) -> list[LayerOutputs]:
        """The groups that rank apart: matching queries of each decoder layer, `encoder`, and denoising queries.

        logits, boxes: (layers, N, Q, classes) and (layers, N, Q, 4) of denoising and matching queries.
        """
        logits, boxes, dn_logits, dn_boxes = self.split_outputs(logits, boxes, dn_meta)
        noised = QueryTargets(*self.get_dn_targets(encoder.ground_truth, img_metas, dn_meta))
        return [
            *decoder_layers(logits, boxes, encoder.ground_truth),
            encoder,
            *decoder_layers(dn_logits, dn_boxes, noised, kind="denoising queries of ", prefix="dn_"),
        ]


@MODELS.register_module()
class RankingCoDINOHead(RankingDINOHead, RankingDETRHead, CoDINOHead):  # type: ignore[misc]  # DINO's has `dn_meta`
    """`CoDINOHead` that ranks as `RankingDINOHead`, and auxiliary queries as `RankingDETRHead`.

    In our and the released BRS variant of Co-DINO boxes keep their own weights: `balance_boxes=False`.
    """


@MODELS.register_module()
class RankingDDQDETRHead(RankingDINOHead, BatchedDDQDETRHead):
    """mmdet's `DDQDETRHead` in which all groups of queries rank, also the dense ones of its auxiliary heads.

    As in DDQ (CVPR 2023) a decoder layer trains its distinct queries only, and each object is matched to several
    dense queries; these rank by their IoU, without DDQ's alignment metric.
    """

    def loss(
        self,
        hidden_states: Tensor,
        references: list[Tensor],
        enc_outputs_class: Tensor,
        enc_outputs_coord: Tensor,
        batch_data_samples: SampleList,
        dn_meta: dict[str, int],
        aux_enc_outputs_class: Tensor,
        aux_enc_outputs_coord: Tensor,
    ) -> dict[str, Tensor]:
        """Losses of distinct, denoising and dense queries of every decoder layer, and of the encoder's proposals."""
        ground_truth = [sample.gt_instances for sample in batch_data_samples]
        metas = [sample.metainfo for sample in batch_data_samples]
        encoder = LayerOutputs("enc_", "encoder proposals", enc_outputs_class, enc_outputs_coord, ground_truth)
        dense = LayerOutputs(
            "dense_enc_", "dense encoder proposals", aux_enc_outputs_class, aux_enc_outputs_coord, ground_truth
        )
        logits, boxes = self(hidden_states, references)
        layers = self.layer_outputs(logits, boxes, encoder, metas, dn_meta)
        return self.layer_losses([*layers, dense._replace(ground_truth=self.dense_targets(dense, metas))], metas)

    def layer_outputs(
        self, logits: Tensor, boxes: Tensor, encoder: LayerOutputs, img_metas: list[dict], dn_meta: dict[str, int]
    ) -> list[LayerOutputs]:
        """As DINO's, of which only distinct queries are matched, and the dense queries that come last in a layer."""
        number, last = dn_meta["num_dense_queries"], len(logits) - 1
        (logits, dense_logits), (boxes, dense_boxes) = (
            outputs.split([outputs.shape[2] - number, number], dim=2) for outputs in (logits, boxes)
        )
        first, *others = super().layer_outputs(logits, boxes, encoder, img_metas, dn_meta)
        dense = decoder_layers(dense_logits, dense_boxes, encoder.ground_truth, "dense queries of ", "dense_")
        return [
            first,
            *self.distinct_queries(others[:last]),
            *others[last:],
            *(layer._replace(ground_truth=self.dense_targets(layer, img_metas)) for layer in dense),
        ]

    def distinct_queries(self, layers: list[LayerOutputs]) -> list[LayerOutputs]:
        """Of each layer the queries that the layer before found distinct; in the first all are."""
        masks = [image for before in range(len(layers)) for image in self.distinct_masks(before)]
        kept = iter(indices_of_each(masks))
        selected = []
        for layer in layers:
            indices = [next(kept) for _ in layer.logits]
            logits, boxes = (
                [values[index] for values, index in zip(images, indices, strict=True)]
                for images in (layer.logits, layer.boxes)
            )
            selected.append(layer._replace(logits=logits, boxes=boxes))
        return selected

    def dense_targets(self, layer: LayerOutputs, img_metas: list[dict]) -> QueryTargets:
        """Targets of dense queries, several of which are matched to each object, by DDQ's own assigner."""
        scales = image_scales([meta["img_shape"][:2] for meta in img_metas], layer.boxes[0])
        with matching(layer.name):
            images = [
                self._dense_targets_single(*image)
                for image in zip(layer.logits, layer.boxes, layer.ground_truth, img_metas, scales, strict=True)
            ]
        labels, box_targets = map(list, zip(*images, strict=True))
        weights = [torch.ones_like(targets) for targets in box_targets]
        return QueryTargets(labels, [weight[:, 0] for weight in weights], box_targets, weights)

    def _dense_targets_single(
        self, logits: Tensor, boxes: Tensor, gt_instances: InstanceData, img_meta: dict, scale: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Labels (Q,) and target boxes (Q, 4) cxcywh in 0..1 of one image; an unmatched query has the index -1."""
        pixels = bbox_cxcywh_to_xyxy(boxes) * scale
        objects, classes = gt_instances.bboxes, gt_instances.labels
        assigner = self.aux_loss_for_dense.assigner
        matched = assigner.assign(logits.float().sigmoid(), pixels, objects, classes, img_meta).gt_inds - 1
        classes = torch.cat([classes, classes.new_full((1,), self.num_classes)])
        objects = torch.cat([bbox_xyxy_to_cxcywh(objects / scale), objects.new_zeros(1, 4)])
        return classes[matched], objects[matched]
