"""Co-Deformable-DETR (Zong et al., ICCV 2023), baseline and ranking: the heads decide.

image ──> backbone, neck ──> encoder ──> memory ──┬──> decoder <── queries          (bbox_head)
                                                  │      ^
                                                  │      └── positives as queries ──────┐
                                                  └──> maps ──> RPN ──> RoI head ───────┤
                                                        └─────> ATSS head ──────────────┘
                                                                (training only)
"""

from typing import Any

import torch
from mmdet.models import DeformableDETR
from mmdet.models.layers import inverse_sigmoid
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from mmdet.utils import ConfigType, OptConfigType
from mmengine.structures import InstanceData
from torch import Tensor, nn

from brs_detr.errors import InputError
from brs_detr.heads import AuxiliarySamples, select_queries
from brs_detr.layers import AuxiliaryQueryEmbedding, MemoryMaps


@MODELS.register_module()
class CoDETR(DeformableDETR):
    """Two-stage Deformable DETR with box refinement, mixed query selection and collaborative auxiliary heads.

    rpn_head, roi_head, atss_head: configs of the auxiliary heads. train_cfg and test_cfg: `detr`, `rpn`,
    `rpn_proposal`, `rcnn`, `atss`, of which `train_cfg` and `test_cfg` of the heads are made.
    max_auxiliary_queries: the most queries that one auxiliary head returns.
    """

    def __init__(
        self,
        *args: Any,
        bbox_head: ConfigType,
        rpn_head: ConfigType,
        roi_head: ConfigType,
        atss_head: ConfigType,
        train_cfg: OptConfigType = None,
        test_cfg: OptConfigType = None,
        max_auxiliary_queries: int = 300,
        **kwargs: Any,
    ) -> None:
        train_cfg, test_cfg = train_cfg or {}, test_cfg or {}
        super().__init__(
            *args,
            bbox_head=bbox_head,
            train_cfg=train_cfg.get("detr"),
            test_cfg=test_cfg.get("detr"),
            with_box_refine=True,
            as_two_stage=True,
            **kwargs,
        )
        self.max_auxiliary_queries = max_auxiliary_queries
        self.proposal_cfg = train_cfg.get("rpn_proposal", test_cfg.get("rpn"))
        self.rpn_head, self.roi_head, self.atss_head = (
            MODELS.build({**head, "train_cfg": train_cfg.get(name), "test_cfg": test_cfg.get(name)})
            for head, name in ((rpn_head, "rpn"), (roi_head, "rcnn"), (atss_head, "atss"))
        )

    def _init_layers(self) -> None:
        super()._init_layers()
        self.query_embedding = nn.Embedding(self.num_queries, self.embed_dims)
        self.memory_maps = MemoryMaps(self.embed_dims)
        self.auxiliary_query_embedding = AuxiliaryQueryEmbedding(2, self.embed_dims)

    def get_proposal_pos_embed(self, proposals: Tensor) -> Tensor:
        """Sine embedding (N, Q, 2 * channels) of boxes (N, Q, 4), cxcywh before the sigmoid, for any width."""
        return DeformableDETR.get_proposal_pos_embed(proposals, num_pos_feats=self.embed_dims // 2)

    def pre_decoder(self, memory: Tensor, memory_mask: Tensor, spatial_shapes: Tensor) -> tuple[dict, dict]:
        """Mixed query selection (DINO, section 3.4): positions come from the encoder, content is learned.

        Raises InputError if the images are too small for the number of queries.
        """
        if memory.shape[1] < self.num_queries:
            raise InputError(
                f"Images of this size give {memory.shape[1]} encoder proposals, fewer than the {self.num_queries} "
                "queries: enlarge them in the pipeline, or lower model.num_queries."
            )
        decoder_inputs, head_inputs = super().pre_decoder(memory, memory_mask, spatial_shapes)
        content = self.query_embedding.weight.expand_as(decoder_inputs["query"])
        return {**decoder_inputs, "query": content}, head_inputs

    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> dict[str, Tensor]:
        """Losses of the queries, the auxiliary heads, and the queries that these return.

        batch_inputs: (N, 3, H, W), normalised.
        """
        feats = self.extract_feat(batch_inputs)
        encoder_inputs, memory_inputs = self.pre_transformer(feats, batch_data_samples)
        encoder_outputs = self.forward_encoder(**encoder_inputs)
        memory_inputs["memory"] = encoder_outputs["memory"]
        queries, head_inputs = self.pre_decoder(**encoder_outputs)
        decoder_outputs = self.forward_decoder(**{**memory_inputs, **queries})
        losses = self.bbox_head.loss(**decoder_outputs, **head_inputs, batch_data_samples=batch_data_samples)
        maps = self.memory_maps(encoder_outputs["memory"], [tuple(feat.shape[-2:]) for feat in feats])
        for index, (name, samples) in enumerate(self._auxiliary_heads(maps, batch_data_samples, losses)):
            query_losses = self._auxiliary_queries(index, samples, memory_inputs, batch_data_samples)
            losses.update({f"{name}_queries.{key}": value for key, value in query_losses.items()})
        return losses

    def _auxiliary_heads(
        self, maps: tuple[Tensor, ...], batch_data_samples: SampleList, losses: dict[str, Tensor]
    ) -> list[tuple[str, list[AuxiliarySamples]]]:
        """Adds the losses of RPN, RoI and ATSS head; returns the samples of the last two, one an image."""
        rpn_losses, proposals = self.rpn_head.loss_and_predict(
            maps, _class_agnostic(batch_data_samples), proposal_cfg=self.proposal_cfg
        )
        roi_losses, roi_samples = self.roi_head.loss_and_samples(maps, proposals, batch_data_samples)
        atss_losses, atss_samples = self.atss_head.loss_and_samples(maps, batch_data_samples)
        losses.update(rpn_losses)
        losses.update({f"roi.{key}": value for key, value in roi_losses.items()})
        losses.update({f"atss.{key}": value for key, value in atss_losses.items()})
        return [("roi", roi_samples), ("atss", atss_samples)]

    def _auxiliary_queries(
        self, head: int, samples: list[AuxiliarySamples], memory_inputs: dict, batch_data_samples: SampleList
    ) -> dict[str, Tensor]:
        """Losses of the decoder for the positives of auxiliary head `head`."""
        metas = [sample.metainfo for sample in batch_data_samples]
        shapes = [meta["img_shape"][:2] for meta in metas]
        group = select_queries(samples, shapes, self.bbox_head.num_classes, most=self.max_auxiliary_queries)
        box_embed = self.get_proposal_pos_embed(inverse_sigmoid(group.boxes))
        query, query_pos = self.auxiliary_query_embedding(head, box_embed, group.feats)
        outputs = self.forward_decoder(query=query, query_pos=query_pos, reference_points=group.boxes, **memory_inputs)
        return self.bbox_head.loss_of_auxiliary_queries(**outputs, targets=group.targets, img_metas=metas)


def _class_agnostic(batch_data_samples: SampleList) -> SampleList:
    """The same samples with every label 0, for the RPN."""
    copies = [sample.new() for sample in batch_data_samples]
    for copy in copies:
        boxes, labels = copy.gt_instances.bboxes, copy.gt_instances.labels
        copy.gt_instances = InstanceData(bboxes=boxes, labels=torch.zeros_like(labels))
    return copies
