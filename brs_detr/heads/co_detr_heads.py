"""The DETR heads of Co-DETR, baseline: mmdet's Deformable DETR and DINO heads, plus auxiliary queries."""

import torch
from mmcv.ops import batched_nms
from mmdet.models import DeformableDETRHead, DETRHead, DINOHead
from mmdet.models.layers import inverse_sigmoid
from mmdet.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor

from .matching import BatchedMatchingMixin, QueryTargets

DECODER_EPS = 1e-3  # of the inverse sigmoid by which mmdet's DINO decoder refines its references


@MODELS.register_module()
class CoDETRHead(BatchedMatchingMixin, DeformableDETRHead):
    """Baseline head (focal, L1 and GIoU losses). Its queries' targets are matched, or known in advance.

    `test_cfg` may hold `nms`, a config for `mmcv.ops.batched_nms`; without it no detection is suppressed.
    """

    def forward(self, hidden_states: Tensor, references: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Logits (layers, N, Q, classes) and boxes (layers, N, Q, 4) cxcywh in 0..1 of every decoder layer.

        hidden_states: (layers, N, Q, channels); references: layers + 1 detached boxes (N, Q, 4) cxcywh. Look
        forward twice (DINO, section 3.5): a layer's box loss also reaches the refinement of the layer before,
        so the reference that it adds to is made anew here from that layer's deltas, with their gradient.
        """
        logits, boxes, reference = [], [], references[0]
        for layer, hidden in enumerate(hidden_states):
            deltas = self.reg_branches[layer](hidden)
            logits.append(self.cls_branches[layer](hidden))
            boxes.append((deltas + inverse_sigmoid(reference)).sigmoid())
            reference = (deltas + inverse_sigmoid(references[layer])).sigmoid()
        return torch.stack(logits), torch.stack(boxes)

    def loss_of_auxiliary_queries(
        self, hidden_states: Tensor, references: list[Tensor], targets: QueryTargets, img_metas: list[dict]
    ) -> dict[str, Tensor]:
        """Losses of every decoder layer for queries whose targets an auxiliary head already knows."""
        outputs = self(hidden_states, references)
        return DETRHead.loss_by_feat(self, *outputs, targets, img_metas)

    def _predict_by_feat_single(
        self, cls_score: Tensor, bbox_pred: Tensor, img_meta: dict, rescale: bool = True
    ) -> InstanceData:
        found = super()._predict_by_feat_single(cls_score, bbox_pred, img_meta, rescale)
        nms = self.test_cfg.get("nms")
        if nms is None:
            return found
        detections, kept = batched_nms(found.bboxes, found.scores, found.labels, nms)
        found = found[kept]
        found.scores = detections[:, -1]  # soft suppression lowers them
        return found


@MODELS.register_module()
class CoDINOHead(CoDETRHead, DINOHead):
    """mmdet's DINO head (give it the quality focal loss, L1 and GIoU), which also takes auxiliary queries."""

    def forward(self, hidden_states: Tensor, references: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Logits (layers, N, Q, classes) and boxes (layers, N, Q, 4) cxcywh in 0..1 of every decoder layer.

        hidden_states: (layers, N, Q, channels); references: layers + 1 boxes (N, Q, 4) cxcywh, with the gradient
        of the layer before: the decoder itself looks forward twice.
        """
        layers = list(zip(self.cls_branches, self.reg_branches, hidden_states, references, strict=False))
        logits = [classify(hidden) for classify, _, hidden, _ in layers]
        boxes = [(refine(h) + inverse_sigmoid(r, eps=DECODER_EPS)).sigmoid() for _, refine, h, r in layers]
        return torch.stack(logits), torch.stack(boxes)
