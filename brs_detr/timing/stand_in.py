"""Lets a detector take a training step without its network: random outputs of the right shapes take its place.

Everything from the heads' outputs on is the detector's own: targets, assigners, samplers, losses.
"""

from collections.abc import Callable
from typing import Any

import torch
from mmdet.models import DINO
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.detectors import BaseDetector, SingleStageDetector, TwoStageDetector
from mmdet.models.roi_heads.base_roi_head import BaseRoIHead
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.models.roi_heads.roi_extractors.base_roi_extractor import BaseRoIExtractor
from mmdet.structures import SampleList
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_map_only

from brs_detr.detectors import CoDETR

from .random_data import in_pixels, jittered, random_logits, random_outputs, random_predictions

Maps = tuple[Tensor, ...]
SUPPORTED = (CoDETR, SingleStageDetector, TwoStageDetector)


def nothing(shape: Any, device: torch.device) -> Tensor:
    """Zeros that take no memory."""
    return torch.zeros(1, device=device).expand(shape)


def replace_methods(module: nn.Module, **methods: Callable[..., Any]) -> None:
    """Of this one object."""
    for name, method in methods.items():
        setattr(module, name, method)


def replace_network(model: BaseDetector, images: Tensor, samples: SampleList) -> None:
    """Change the model for good, so that `model.loss(images, samples)` runs no layer of backbone, neck and heads.

    images: (N, 3, H, W).
    """
    model.eval()  # batch normalisation would update its statistics
    feats = outputs_without_computing(model.extract_feat, images)
    replace_methods(model, extract_feat=lambda images: feats)
    maps = replace_transformer(model, feats, samples) if isinstance(model, CoDETR) else feats
    for head in model.children():
        if isinstance(head, BaseDenseHead):
            replace_dense_head(head, maps)
    if getattr(model, "roi_head", None) is not None:
        replace_proposals(model.rpn_head, samples)
        replace_roi_head(model.roi_head)
    model.train()


def outputs_without_computing(function: Callable[[Any], Any], inputs: Any) -> Any:
    """What a network returns for tensors, in shape only: zeros that take no memory."""
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    with fake, torch.no_grad():
        outputs = function(tree_map_only(Tensor, lambda x: torch.empty(x.shape, device=x.device), inputs))
    return tree_map_only(Tensor, lambda x: nothing(x.shape, x.device), outputs)


def replace_dense_head(head: BaseDenseHead, maps: Maps) -> None:
    outputs = outputs_without_computing(head.forward, maps)
    replace_methods(head, forward=lambda maps: random_outputs(outputs, maps[0].device))


def replace_proposals(rpn_head: BaseDenseHead, samples: SampleList) -> None:
    """As many proposals as the config wants, without non-maximum suppression."""

    def predict(*outputs: Any, cfg: Any = None, **others: Any) -> list[InstanceData]:
        count = (cfg or rpn_head.test_cfg).max_per_img
        boxes = random_predictions(samples, count)
        scores = torch.rand(count, device=boxes.device)
        return [
            InstanceData(bboxes=in_pixels(b, s.img_shape), scores=scores, labels=torch.zeros_like(scores).long())
            for b, s in zip(boxes, samples, strict=True)
        ]

    replace_methods(rpn_head, predict_by_feat=predict)


def replace_roi_head(roi_head: BaseRoIHead) -> None:
    """Features of no content, and random logits and deltas for them. Masks are no classification: without them."""
    roi_head.mask_head = None
    for module in roi_head.modules():
        if isinstance(module, BaseRoIExtractor):
            _replace_extractor(module)
        elif isinstance(module, BBoxHead):
            _replace_bbox_head(module, module.forward)


def _replace_extractor(extractor: BaseRoIExtractor) -> None:
    height, width = extractor.roi_layers[0].output_size
    shape = (extractor.out_channels, height, width)
    replace_methods(extractor, forward=lambda maps, rois, *scale: nothing((len(rois), *shape), rois.device))


def _replace_bbox_head(head: BBoxHead, forward: Callable[[Tensor], Any]) -> None:
    replace_methods(head, forward=lambda feats: random_outputs(outputs_without_computing(forward, feats), feats.device))


def replace_transformer(model: CoDETR, feats: Maps, samples: SampleList) -> Maps:
    """Queries, their logits and boxes, and the encoder's proposals are then random.

    feats: the detector's levels, (N, channels, H, W).

    Returns the maps that it then gives to its auxiliary heads.
    """
    device, images = feats[0].device, len(feats[0])
    coarsest = tuple((side + 1) // 2 for side in feats[-1].shape[2:])
    maps = (*feats, nothing((*feats[-1].shape[:2], *coarsest), device))
    length = sum(feat[0, 0].numel() for feat in feats)

    def pre_decoder(**memory: Any) -> tuple[dict, dict]:
        boxes, denoising, proposals = random_predictions(samples, model.num_queries), {}, length
        if isinstance(model, DINO):  # it hands only the chosen proposals to its head
            _, noised, _, denoising["dn_meta"] = model.dn_query_generator(samples)
            boxes, proposals = torch.cat([noised.sigmoid(), boxes], dim=1), model.num_queries
        classes = model.bbox_head.cls_out_channels
        outputs = {
            "enc_outputs_class": random_logits((images, proposals, classes), device),
            "enc_outputs_coord": random_predictions(samples, proposals).requires_grad_(),
        }
        content = nothing((*boxes.shape[:2], model.embed_dims), device)
        return {"query": content, "query_pos": content, "reference_points": boxes}, outputs | denoising

    def forward_decoder(reference_points: Tensor, **inputs: Any) -> dict:
        return {"hidden_states": None, "references": [reference_points]}

    replace_methods(
        model,
        pre_transformer=lambda feats, samples: ({}, {}),
        forward_encoder=lambda **inputs: {"memory": None},
        pre_decoder=pre_decoder,
        forward_decoder=forward_decoder,
    )
    replace_methods(model.memory_maps, forward=lambda memory, shapes: maps)
    replace_methods(model.bbox_head, forward=lambda hidden, references: _layers(model, references[0]))
    return maps


def _layers(model: CoDETR, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (layers, N, Q, classes) and boxes (layers, N, Q, 4), close to those given."""
    layers = model.bbox_head.num_pred_layer - 1
    logits = random_logits((layers, *boxes.shape[:2], model.bbox_head.cls_out_channels), boxes.device)
    return logits, jittered(boxes.detach().expand(layers, *boxes.shape)).requires_grad_()
