"""Outputs of a detector early in training, drawn at random."""

from typing import Any

import torch
from mmdet.structures import SampleList
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy, bbox_xyxy_to_cxcywh
from torch import Tensor
from torch.utils._pytree import tree_map_only

PRIOR_LOGIT = -4.6  # a score of 0.01, the prior that heads start with
LOGIT_SPREAD = 1.0
DELTA_SPREAD = 0.3
NEAR_OBJECTS = 0.5  # of all drawn boxes
JITTER = 0.15  # of those, in shares of the object's sides


def draw_like(outputs: tuple, device: torch.device) -> tuple:
    """Leaves with gradient in the shapes of a head's outputs: first class logits, then box deltas and the like."""
    logits, *others = outputs
    drawn = tree_map_only(Tensor, lambda x: draw_logits(x.shape, device), logits)
    return (drawn, *tree_map_only(Tensor, lambda x: _draw(x.shape, 0.0, DELTA_SPREAD, device), others))


def draw_logits(shape: Any, device: torch.device) -> Tensor:
    return _draw(shape, PRIOR_LOGIT, LOGIT_SPREAD, device)


def _draw(shape: Any, mean: float, spread: float, device: torch.device) -> Tensor:
    return torch.randn(shape, device=device).mul_(spread).add_(mean).requires_grad_()


def draw_boxes(samples: SampleList, count: int) -> Tensor:
    """(N, count, 4) cxcywh in 0..1: a half around the objects of each image, the rest anywhere."""
    drawn = []
    for sample in samples:
        height, width = sample.img_shape
        truth = sample.gt_instances.bboxes
        objects = bbox_xyxy_to_cxcywh(truth / truth.new_tensor([width, height, width, height]))
        near = int(count * NEAR_OBJECTS) if len(objects) else 0
        chosen = objects[torch.randint(len(objects), (near,), device=truth.device)] if near else objects[:0]
        anywhere = torch.rand(count - near, 4, device=truth.device) * truth.new_tensor([1, 1, 0.4, 0.4])
        drawn.append(torch.cat([jittered(chosen), anywhere]))
    return torch.stack(drawn)[:, torch.randperm(count)].clamp(1e-3, 1 - 1e-3)


def jittered(boxes: Tensor) -> Tensor:
    """Boxes (..., 4) cxcywh, moved and scaled at random in proportion to their sides."""
    centre, sides = boxes.split(2, dim=-1)
    centre = centre + JITTER * torch.randn_like(centre) * sides
    return torch.cat([centre, sides * (JITTER * torch.randn_like(sides)).exp()], dim=-1).clamp(1e-3, 1 - 1e-3)


def in_pixels(boxes: Tensor, img_shape: tuple[int, int]) -> Tensor:
    """Boxes (..., 4) cxcywh in 0..1 as xyxy in pixels."""
    height, width = img_shape
    return bbox_cxcywh_to_xyxy(boxes) * boxes.new_tensor([width, height, width, height])
