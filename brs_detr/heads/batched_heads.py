"""mmdet's own DETR heads, matched in one round trip a step: give them `assigner=dict(type="BatchedHungarianAssigner")`.

Beside that, each is the head that its name says.
"""

from mmdet.models import ConditionalDETRHead, DABDETRHead, DDQDETRHead, DeformableDETRHead, DETRHead, DINOHead
from mmdet.registry import MODELS
from mmdet.utils import InstanceList
from torch import Tensor

from .host import indices_of_each
from .matching import BatchedMatchingMixin, QueryTargets


@MODELS.register_module()
class BatchedDETRHead(BatchedMatchingMixin, DETRHead):
    """`DETRHead`: DETR's."""


@MODELS.register_module()
class BatchedConditionalDETRHead(BatchedMatchingMixin, ConditionalDETRHead):
    """`ConditionalDETRHead`: Conditional DETR's."""


@MODELS.register_module()
class BatchedDABDETRHead(BatchedMatchingMixin, DABDETRHead):
    """`DABDETRHead`: DAB-DETR's."""


@MODELS.register_module()
class BatchedDeformableDETRHead(BatchedMatchingMixin, DeformableDETRHead):
    """`DeformableDETRHead`: that of Deformable DETR, also with two stages."""


@MODELS.register_module()
class BatchedDINOHead(BatchedMatchingMixin, DINOHead):
    """`DINOHead`: DINO's, whose denoising queries know their objects."""


@MODELS.register_module()
class BatchedDDQDETRHead(BatchedMatchingMixin, DDQDETRHead):
    """`DDQDETRHead`: DDQ-DETR's, whose distinct queries alone are matched together.

    Dense queries keep DDQ's own assigner, which matches several of them to each object.
    """

    def distinct_masks(self, layer: int) -> list[Tensor]:
        """(Q,) of each image: which queries decoder layer `layer` finds distinct."""
        return list(self.cache_dict["distinct_query_mask"][layer][:: self.cache_dict["num_heads"], 0])  # as mmdet's

    def _loss_for_distinct_queries_single(
        self,
        cls_scores: Tensor,
        bbox_preds: Tensor,
        l_id: int,
        batch_gt_instances: InstanceList | QueryTargets,
        batch_img_metas: list[dict],
    ) -> tuple:
        """As `loss_by_feat_single`, of the queries that the layer before found distinct."""
        compute = super()._loss_for_distinct_queries_single
        layer, others = (cls_scores, bbox_preds, l_id), (batch_gt_instances, batch_img_metas)
        if self.postponed is None:
            return compute(*layer, *others)
        logits, boxes = list(cls_scores), list(bbox_preds)
        if l_id > 0:
            kept = indices_of_each(self.distinct_masks(l_id - 1))
            logits, boxes = ([v[k] for v, k in zip(values, kept, strict=True)] for values in (logits, boxes))
        return self.postponed.losses(logits, boxes, *others, lambda targets: compute(*layer, targets, batch_img_metas))
