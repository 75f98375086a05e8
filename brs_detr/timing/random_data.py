"""Random batches with the sizes, counts and classes of COCO's boxes, and outputs of a detector early in training."""

from typing import Any

import numpy as np
import torch
from mmdet.structures import DetDataSample, SampleList
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy, bbox_xyxy_to_cxcywh
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

MEAN_BOXES = 7.3  # an image of COCO train2017 has 7.3 boxes,
BOX_SIDE, BOX_SIDE_SPREAD = 0.081, 1.2  # whose sides are lognormal around 8% of the image's: 41% small, 24% large
ASPECT_SPREAD = 0.5
MOST_COMMON = 0.3  # of all boxes are persons; the other classes are a tail

PRIOR_LOGIT = -4.6  # a score of 0.01, the prior that heads start with
LOGIT_SPREAD = 1.0
DELTA_SPREAD = 0.3
NEAR_OBJECTS = 0.5  # of all predicted boxes
JITTER = 0.15  # of those, in shares of the object's sides


def number_of_classes(model: nn.Module) -> int:
    return max(getattr(module, "num_classes", 1) or 1 for module in model.modules())


def random_boxes(count: int, height: int, width: int) -> Tensor:
    """(count, 4) xyxy in pixels, inside the image."""
    side = BOX_SIDE * (BOX_SIDE_SPREAD * torch.randn(count)).exp()
    stretch = (ASPECT_SPREAD * torch.randn(count)).exp()
    smallest = 4 / min(height, width)
    sides = torch.stack([side * stretch, side / stretch], dim=1).clamp(smallest, 0.95)
    corner = torch.rand(count, 2) * (1 - sides)
    return torch.cat([corner, corner + sides], dim=1) * torch.tensor([width, height, width, height])


def random_labels(count: int, num_classes: int) -> Tensor:
    """(count,): class 0 is the most common, as persons are in COCO."""
    weights = torch.full((num_classes,), (1 - MOST_COMMON) / max(num_classes - 1, 1))
    weights[0] = MOST_COMMON
    return torch.multinomial(weights, count, replacement=True)


def random_sample(image: int, height: int, width: int, num_classes: int) -> DetDataSample:
    """The ground truth of one image, masks included."""
    count = 1 + int(torch.poisson(torch.distributions.Exponential(1 / (MEAN_BOXES - 1)).sample()))
    boxes = random_boxes(count, height, width)
    masks = np.zeros((count, height, width), dtype=np.uint8)
    for mask, (left, top, right, bottom) in zip(masks, boxes.int().numpy(), strict=True):
        mask[top:bottom, left:right] = 1
    shape = (height, width)
    sample = DetDataSample(
        metainfo=dict(img_shape=shape, ori_shape=shape, pad_shape=shape, scale_factor=(1.0, 1.0), img_id=image)
    )
    sample.gt_instances = InstanceData(
        bboxes=boxes, labels=random_labels(count, num_classes), masks=BitmapMasks(masks, height, width)
    )
    sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
    return sample


def random_batch(images: int, size: tuple[int, int], num_classes: int) -> dict[str, Any]:
    """As a data loader gives it. size: of the first image; the others are at most as wide, as padded batches are."""
    height, widest = size
    widths = [widest, *(round(widest * (0.8 + 0.2 * share)) for share in torch.rand(images - 1).tolist())]
    return dict(
        inputs=[torch.randint(0, 256, (3, height, width), dtype=torch.uint8) for width in widths],
        data_samples=[random_sample(i, height, width, num_classes) for i, width in enumerate(widths)],
    )


def random_outputs(like: tuple, device: torch.device) -> tuple:
    """Leaves with gradient in the shapes of a head's outputs: first class logits, then box deltas and the like."""
    logits, *others = like
    of_classes = tree_map_only(Tensor, lambda x: random_logits(x.shape, device), logits)
    return (of_classes, *tree_map_only(Tensor, lambda x: _normal(x.shape, 0.0, DELTA_SPREAD, device), others))


def random_logits(shape: Any, device: torch.device) -> Tensor:
    return _normal(shape, PRIOR_LOGIT, LOGIT_SPREAD, device)


def _normal(shape: Any, mean: float, spread: float, device: torch.device) -> Tensor:
    return torch.randn(shape, device=device).mul_(spread).add_(mean).requires_grad_()


def random_predictions(samples: SampleList, count: int) -> Tensor:
    """Boxes (N, count, 4) cxcywh in 0..1: a half around the objects of each image, the rest anywhere."""
    predictions = []
    for sample in samples:
        height, width = sample.img_shape
        truth = sample.gt_instances.bboxes
        objects = bbox_xyxy_to_cxcywh(truth / truth.new_tensor([width, height, width, height]))
        near = int(count * NEAR_OBJECTS) if len(objects) else 0
        chosen = objects[torch.randint(len(objects), (near,), device=truth.device)] if near else objects[:0]
        anywhere = torch.rand(count - near, 4, device=truth.device) * truth.new_tensor([1, 1, 0.4, 0.4])
        predictions.append(torch.cat([jittered(chosen), anywhere]))
    return torch.stack(predictions)[:, torch.randperm(count)].clamp(1e-3, 1 - 1e-3)


def jittered(boxes: Tensor) -> Tensor:
    """Boxes (..., 4) cxcywh, moved and scaled at random in proportion to their sides."""
    centre, sides = boxes.split(2, dim=-1)
    centre = centre + JITTER * torch.randn_like(centre) * sides
    return torch.cat([centre, sides * (JITTER * torch.randn_like(sides)).exp()], dim=-1).clamp(1e-3, 1 - 1e-3)


def in_pixels(boxes: Tensor, img_shape: tuple[int, int]) -> Tensor:
    """Boxes (..., 4) cxcywh in 0..1 as xyxy in pixels."""
    height, width = img_shape
    return bbox_cxcywh_to_xyxy(boxes) * boxes.new_tensor([width, height, width, height])
