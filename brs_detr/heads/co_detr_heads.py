"""The DETR heads of Co-DETR, baseline: mmdet's Deformable DETR and DINO heads, plus auxiliary queries."""

from typing import Any, NamedTuple

import torch
from mmcv.ops import batched_nms
from mmdet.models import DeformableDETRHead, DETRHead, DINOHead
from mmdet.models.layers import inverse_sigmoid
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from mmengine.structures import InstanceData
from torch import Tensor

from .matching import BatchedMatchingMixin, QueryTargets

DECODER_EPS = 1e-3  # of the inverse sigmoid by which mmdet's DINO decoder refines its references


class QueryGroup(NamedTuple):
    """What the decoder makes of an auxiliary head's queries, whose targets are known.

    logits: (layers, N, Q, classes); boxes: (layers, N, Q, 4) cxcywh in 0..1.
    """

    head: str
    logits: Tensor
    boxes: Tensor
    targets: QueryTargets

    @property
    def prefix(self) -> str:
        """What the names of their losses begin with."""
        return f"{self.head}_queries."


@MODELS.register_module()
class CoDETRHead(BatchedMatchingMixin, DeformableDETRHead):
    """Baseline head (focal, L1 and GIoU losses). Its queries' targets are matched, or known in advance.

    `test_cfg` may hold `nms`, a config for `mmcv.ops.batched_nms`; without it no detection is suppressed.
    Subclasses change `loss_by_feat`, or `loss_with_auxiliary`, which the detector calls in the place of `loss`.
    """

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "loss" in vars(cls):
            raise TypeError(f"{cls.__name__}.loss would not be called: Co-DETR calls loss_with_auxiliary of its head.")

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

    def loss_with_auxiliary(
        self,
        hidden_states: Tensor,
        references: list[Tensor],
        sizes: list[int],
        auxiliary: dict[str, QueryTargets],
        batch_data_samples: SampleList,
        enc_outputs_class: Tensor,
        enc_outputs_coord: Tensor,
        **denoising: Any,
    ) -> dict[str, Tensor]:
        """Losses of queries that were decoded together; those of an auxiliary head's begin with ``HEAD_queries.``

        hidden_states, references: see `forward`. sizes: how many queries there are to be matched, and of each
        auxiliary head, whose targets are known. The rest is what mmdet's `loss` takes.
        """
        logits, boxes = (outputs.split(sizes, dim=2) for outputs in self(hidden_states, references))
        groups = [
            QueryGroup(*of_head) for of_head in zip(auxiliary, logits[1:], boxes[1:], auxiliary.values(), strict=True)
        ]
        objects = [sample.gt_instances for sample in batch_data_samples]
        metas = [sample.metainfo for sample in batch_data_samples]
        matched = logits[0], boxes[0], enc_outputs_class, enc_outputs_coord, objects, metas
        return self.losses_of_groups(groups, *matched, **denoising)

    def losses_of_groups(self, groups: list[QueryGroup], *matched: Any, **denoising: Any) -> dict[str, Tensor]:
        """Losses of queries whose targets are known, and of those that `loss_by_feat` matches."""
        losses = self.loss_by_feat(*matched, **denoising)
        for group in groups:
            of_group = DETRHead.loss_by_feat(self, group.logits, group.boxes, group.targets, matched[-1])
            losses.update({group.prefix + key: value for key, value in of_group.items()})
        return losses

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
