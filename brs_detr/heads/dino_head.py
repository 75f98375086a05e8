"""The DETR heads of Co-DINO, baseline and ranking: denoising queries beside matched and auxiliary ones."""

import torch
from mmdet.models import DINOHead
from mmdet.models.layers import inverse_sigmoid
from mmdet.registry import MODELS
from mmdet.utils import InstanceList, OptInstanceList
from torch import Tensor

from .auxiliary import QueryTargets
from .detr_head import CoDETRHead
from .ranking_detr_head import LayerOutputs, RankingDETRHead

DECODER_EPS = 1e-3  # of the inverse sigmoid by which mmdet's DINO decoder refines its references


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


@MODELS.register_module()
class RankingCoDINOHead(RankingDETRHead, CoDINOHead):
    """`CoDINOHead` in which decoder layers, encoder proposals, denoising and auxiliary queries rank.

    Each layer's denoising queries form a problem of their own: they know their objects and would outrank the rest.
    """

    def loss_by_feat(  # type: ignore[override]  # DINO's has `dn_meta`
        self,
        all_layers_cls_scores: Tensor,
        all_layers_bbox_preds: Tensor,
        enc_cls_scores: Tensor,
        enc_bbox_preds: Tensor,
        batch_gt_instances: InstanceList,
        batch_img_metas: list[dict],
        dn_meta: dict[str, int],
        batch_gt_instances_ignore: OptInstanceList = None,
    ) -> dict[str, Tensor]:
        """Losses of all decoder layers, of the chosen encoder proposals with their true classes, and of denoising."""
        logits, boxes, dn_logits, dn_boxes = self.split_outputs(all_layers_cls_scores, all_layers_bbox_preds, dn_meta)
        noised = QueryTargets(*self.get_dn_targets(batch_gt_instances, batch_img_metas, dn_meta))
        layers = [
            *self._decoder_layers(logits, boxes, batch_gt_instances),
            LayerOutputs("enc_", "encoder proposals", enc_cls_scores, enc_bbox_preds, batch_gt_instances),
            *self._decoder_layers(dn_logits, dn_boxes, noised, kind="denoising queries of ", prefix="dn_"),
        ]
        return self._layer_losses(layers, batch_img_metas)
