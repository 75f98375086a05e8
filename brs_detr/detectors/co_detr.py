"""Co-Deformable-DETR (Zong et al., ICCV 2023), baseline and ranking: the heads decide.

image ──> backbone, neck ──> encoder ──> memory ──┬──> decoder <── queries          (bbox_head)
                                                  │      ^
                                                  │      └── positives as queries ──────┐
                                                  └──> maps ──> RPN ──> RoI head ───────┤
                                                        └─────> ATSS head ──────────────┘
At test time one of the three detects: the decoder, or RPN and RoI head, or the ATSS head.
"""

from typing import Any

import torch
from mmdet.models import DeformableDETR
from mmdet.models.layers import inverse_sigmoid
from mmdet.registry import MODELS
from mmdet.structures import OptSampleList, SampleList
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy
from mmdet.utils import ConfigType, InstanceList, OptConfigType
from mmengine.structures import InstanceData
from torch import Tensor, nn

from brs_detr.errors import InputError
from brs_detr.heads import AuxiliaryQueries, AuxiliarySamples, select_queries
from brs_detr.ops.deformable_attention import level_sizes
from brs_detr.ops.nms import survive

from .auxiliary_layers import AuxiliaryQueryEmbedding, MemoryMaps, encoder_reference_points, joined_queries
from .proposals import at_least_the_queries

EVAL_MODULES = ("detr", "one-stage", "two-stage")
CANDIDATES = 10  # proposals for each query, among which repeated ones are looked for


@MODELS.register_module()
class CoDETR(DeformableDETR):
    """Two-stage Deformable DETR with box refinement, mixed query selection and collaborative auxiliary heads.

    rpn_head, roi_head, atss_head: configs of the auxiliary heads. train_cfg and test_cfg: `detr`, `rpn`,
    `rpn_proposal`, `rcnn`, `atss`, of which `train_cfg` and `test_cfg` of the heads are made.
    max_auxiliary_queries: the most queries that one auxiliary head returns.
    eval_module: which head detects at test time: "detr", "one-stage" (ATSS) or "two-stage" (RPN and RoI head).
    query_nms: an IoU. Of encoder proposals that overlap more, the best alone becomes a query, as long as others are
    left: distinct queries (DDQ, CVPR 2023). None, as published, takes the best ones however they overlap.
    Raises InputError for any other.
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
        eval_module: str = "detr",
        query_nms: float | None = None,
        **kwargs: Any,
    ) -> None:
        if eval_module not in EVAL_MODULES:
            raise InputError(f"model.eval_module is '{eval_module}': it must be one of {', '.join(EVAL_MODULES)}.")
        if query_nms is not None and not 0 < query_nms < 1:
            raise InputError(f"model.query_nms is {query_nms}: it is an IoU, above 0 and below 1, or None.")
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
        self.max_auxiliary_queries, self.eval_module, self.query_nms = max_auxiliary_queries, eval_module, query_nms
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
        self.encoder.get_encoder_reference_points = encoder_reference_points

    def get_proposal_pos_embed(self, proposals: Tensor) -> Tensor:
        """Sine embedding (N, Q, 2 * channels) of boxes (N, Q, 4), cxcywh before the sigmoid, for any width."""
        return DeformableDETR.get_proposal_pos_embed(proposals, num_pos_feats=self.embed_dims // 2)

    def pre_decoder(
        self,
        memory: Tensor,
        memory_mask: Tensor,
        spatial_shapes: Tensor,
        batch_data_samples: OptSampleList = None,
    ) -> tuple[dict, dict]:
        """Mixed query selection (DINO, section 3.4): positions come from the encoder, content is learned."""
        features, anchors = self.gen_encoder_output_proposals(memory, memory_mask, spatial_shapes)
        classify, refine = (
            branches[self.decoder.num_layers] for branches in (self.bbox_head.cls_branches, self.bbox_head.reg_branches)
        )
        logits, unactivated = classify(features), refine(features) + anchors
        boxes = unactivated.sigmoid()
        chosen = self._choose_proposals(logits[..., 0].detach(), boxes.detach())
        unactivated = unactivated.detach().gather(1, chosen[..., None].expand(-1, -1, 4))
        embedded = self.pos_trans_norm(self.pos_trans_fc(self.get_proposal_pos_embed(unactivated)))
        position, _ = embedded.chunk(2, dim=2)
        content = self.query_embedding.weight.expand_as(position)
        queries = dict(query=content, query_pos=position, memory=memory, reference_points=unactivated.sigmoid())
        return queries, dict(enc_outputs_class=logits, enc_outputs_coord=boxes) if self.training else {}

    def _choose_proposals(self, logits: Tensor, boxes: Tensor) -> Tensor:
        """Places (N, num_queries) of the best proposals. logits: (N, S); boxes: (N, S, 4) cxcywh."""
        if self.query_nms is None:
            return logits.topk(self.num_queries, dim=1)[1]
        most = min(logits.shape[1], CANDIDATES * self.num_queries)
        logits, places = logits.float().topk(most, dim=1)
        corners = bbox_cxcywh_to_xyxy(boxes.float().gather(1, places[..., None].expand(-1, -1, 4)))
        repeated = ~survive(corners, logits, self.query_nms, self.num_queries)
        after_all = logits.amax(1, keepdim=True) - logits.amin(1, keepdim=True) + 1  # a repeated one only fills up
        return places.gather(1, (logits - after_all * repeated).topk(self.num_queries, dim=1)[1])

    @at_least_the_queries
    def gen_encoder_output_proposals(
        self, memory: Tensor, memory_mask: Tensor | None, spatial_shapes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """As mmdet's: memory and proposals (N, sum of H * W or more, channels or 4). spatial_shapes: (levels, 2).

        Raises InputError if the images are too small for the number of queries, in training.
        """
        return super().gen_encoder_output_proposals(memory, memory_mask, level_sizes(spatial_shapes))

    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> dict[str, Tensor]:
        """Losses of the queries, the auxiliary heads, and the queries that these return.

        batch_inputs: (N, 3, H, W), normalised.
        """
        feats = self.extract_feat(batch_inputs)
        encoder_inputs, memory_inputs = self.pre_transformer(feats, batch_data_samples)
        encoder_outputs = self.forward_encoder(**encoder_inputs)
        memory_inputs["memory"] = encoder_outputs["memory"]
        queries, head_inputs = self.pre_decoder(**encoder_outputs, batch_data_samples=batch_data_samples)
        maps = self._maps(encoder_outputs["memory"], feats)
        auxiliary_losses, samples = self._auxiliary_heads(maps, batch_data_samples)
        groups = {name: self._auxiliary_queries(each, batch_data_samples) for name, each in samples.items()}
        inputs = [self._auxiliary_decoder_inputs(head, group) for head, group in enumerate(groups.values())]
        together, sizes = joined_queries(queries, inputs)
        decoded = self.forward_decoder(**{**memory_inputs, **together})
        known = {name: group.targets for name, group in groups.items()}
        losses = self.bbox_head.loss_with_auxiliary(
            **decoded, sizes=sizes, auxiliary=known, batch_data_samples=batch_data_samples, **head_inputs
        )
        return {**losses, **auxiliary_losses}

    def _auxiliary_heads(
        self, maps: tuple[Tensor, ...], batch_data_samples: SampleList
    ) -> tuple[dict[str, Tensor], dict[str, list[AuxiliarySamples]]]:
        """Losses of RPN, RoI and ATSS head, and the samples of the last two, one an image."""
        rpn_losses, proposals = self.rpn_head.loss_and_predict(
            maps, _class_agnostic(batch_data_samples), proposal_cfg=self.proposal_cfg
        )
        roi_losses, roi_samples = self.roi_head.loss_and_samples(maps, proposals, batch_data_samples)
        atss_losses, atss_samples = self.atss_head.loss_and_samples(maps, batch_data_samples)
        losses = dict(rpn_losses)
        losses.update({f"roi.{key}": value for key, value in roi_losses.items()})
        losses.update({f"atss.{key}": value for key, value in atss_losses.items()})
        return losses, {"roi": roi_samples, "atss": atss_samples}

    def _auxiliary_queries(self, samples: list[AuxiliarySamples], batch_data_samples: SampleList) -> AuxiliaryQueries:
        """The positives of an auxiliary head, as queries."""
        shapes = [sample.metainfo["img_shape"][:2] for sample in batch_data_samples]
        return select_queries(samples, shapes, self.bbox_head.num_classes, most=self.max_auxiliary_queries)

    def _auxiliary_decoder_inputs(self, head: int, group: AuxiliaryQueries) -> dict[str, Tensor]:
        """What the decoder asks for of the queries of auxiliary head `head`."""
        box_embed = self.get_proposal_pos_embed(inverse_sigmoid(group.boxes))
        query, query_pos = self.auxiliary_query_embedding(head, box_embed, group.feats)
        return dict(query=query, query_pos=query_pos, reference_points=group.boxes)

    def forward_decoder(
        self,
        query: Tensor,
        query_pos: Tensor,
        memory: Tensor,
        memory_mask: Tensor,
        reference_points: Tensor,
        dn_mask: Tensor | None = None,
        **levels: Tensor,
    ) -> dict:
        """As mmdet's, with a mask (Q, Q) of the queries that a query does not attend to, as DINO's has it."""
        states, references = self.decoder(
            query=query,
            query_pos=query_pos,
            value=memory,
            key_padding_mask=memory_mask,
            self_attn_mask=dn_mask,
            reference_points=reference_points,
            reg_branches=self.bbox_head.reg_branches,
            **levels,
        )
        return dict(hidden_states=states, references=[reference_points, *references])

    def predict(self, batch_inputs: Tensor, batch_data_samples: SampleList, rescale: bool = True) -> SampleList:
        """Detections of the head that `eval_module` names, as `pred_instances`; boxes xyxy.

        batch_inputs: (N, 3, H, W), normalised. rescale: boxes in pixels of the original image.
        """
        if self.eval_module == "detr":
            return super().predict(batch_inputs, batch_data_samples, rescale)
        feats = self.extract_feat(batch_inputs)
        encoder_inputs, _ = self.pre_transformer(feats, batch_data_samples)
        maps = self._maps(self.forward_encoder(**encoder_inputs)["memory"], feats)
        detections = self._auxiliary_detections(maps, batch_data_samples, rescale)
        return self.add_pred_to_datasample(batch_data_samples, detections)

    def _auxiliary_detections(
        self, maps: tuple[Tensor, ...], batch_data_samples: SampleList, rescale: bool
    ) -> InstanceList:
        if self.eval_module == "one-stage":
            return self.atss_head.predict(maps, batch_data_samples, rescale=rescale)
        proposals = self.rpn_head.predict(maps, batch_data_samples, rescale=False)
        return self.roi_head.predict(maps, proposals, batch_data_samples, rescale=rescale)

    def _maps(self, memory: Tensor, feats: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The feature maps (N, channels, H, W) that the auxiliary heads read: one more than `feats`."""
        return self.memory_maps(memory, [tuple(feat.shape[-2:]) for feat in feats])


def _class_agnostic(batch_data_samples: SampleList) -> SampleList:
    """The same samples with every label 0, for the RPN."""
    copies = [sample.new() for sample in batch_data_samples]
    for copy in copies:
        boxes, labels = copy.gt_instances.bboxes, copy.gt_instances.labels
        copy.gt_instances = InstanceData(bboxes=boxes, labels=torch.zeros_like(labels))
    return copies
