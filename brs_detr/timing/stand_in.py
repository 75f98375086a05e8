"""Lets a detector take a training step without its network: outputs of the right shapes are drawn instead.

Everything from the heads' outputs on is the detector's own: targets, assigners, samplers, losses.
"""

from collections.abc import Callable
from typing import Any

import torch
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.detectors import BaseDetector, SingleStageDetector, TwoStageDetector
from mmdet.models.roi_heads.base_roi_head import BaseRoIHead
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.models.roi_heads.roi_extractors.base_roi_extractor import BaseRoIExtractor
from mmdet.structures import SampleList
from mmengine.structures import InstanceData
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_map_only

from brs_detr.detectors import CoDETR

from .drawing import draw_boxes, draw_like, in_pixels
from .stand_in_detr import Maps, nothing, replace_methods, replace_transformer

SUPPORTED = (CoDETR, SingleStageDetector, TwoStageDetector)


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
    replace_methods(head, forward=lambda maps: draw_like(outputs, maps[0].device))


def replace_proposals(rpn_head: BaseDenseHead, samples: SampleList) -> None:
    """As many proposals as the config wants, without non-maximum suppression."""

    def predict(*outputs: Any, cfg: Any = None, **others: Any) -> list[InstanceData]:
        count = (cfg or rpn_head.test_cfg).max_per_img
        boxes = draw_boxes(samples, count)
        scores = torch.rand(count, device=boxes.device)
        return [
            InstanceData(bboxes=in_pixels(b, s.img_shape), scores=scores, labels=torch.zeros_like(scores).long())
            for b, s in zip(boxes, samples, strict=True)
        ]

    replace_methods(rpn_head, predict_by_feat=predict)


def replace_roi_head(roi_head: BaseRoIHead) -> None:
    """Features of no content, and drawn logits and deltas for them. Masks are no classification: without them."""
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
    replace_methods(head, forward=lambda feats: draw_like(outputs_without_computing(forward, feats), feats.device))
