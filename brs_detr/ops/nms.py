"""Non-maximum suppression of boxes of one class, of a batch of images, also as an operator of ONNX."""

from typing import Any

import torch
import torchvision
from torch import Tensor
from torch.autograd import Function


class NonMaxSuppression(Function):
    """ONNX's operator of the name: kept boxes as (image, 0, place), at most `most` an image, best first."""

    @staticmethod
    def forward(ctx: Any, boxes: Tensor, scores: Tensor, iou_threshold: float, most: int) -> Tensor:
        kept = [torchvision.ops.nms(*image, iou_threshold)[:most] for image in zip(boxes, scores, strict=True)]
        return torch.cat([_selection(image, places) for image, places in enumerate(kept)])

    @staticmethod
    def symbolic(graph: Any, boxes: Any, scores: Any, iou_threshold: float, most: int) -> Any:
        scores = graph.op("Unsqueeze", scores, _constant(graph, [1], torch.int64))
        limits = _constant(graph, [most], torch.int64), _constant(graph, [iou_threshold], torch.float32)
        return graph.op("NonMaxSuppression", boxes, scores, *limits)


def _selection(image: int, places: Tensor) -> Tensor:
    return torch.stack([torch.full_like(places, image), torch.zeros_like(places), places], dim=1)


def _constant(graph: Any, values: list, dtype: torch.dtype) -> Any:
    return graph.op("Constant", value_t=torch.tensor(values, dtype=dtype))


def survive(boxes: Tensor, scores: Tensor, iou_threshold: float, most: int) -> Tensor:
    """Which boxes (B, N, 4) xyxy survive, (B, N): no better one of the image overlaps them more than the threshold.

    scores: (B, N). most: so many of each image at most, the best.
    """
    image, _, place = NonMaxSuppression.apply(boxes, scores, float(iou_threshold), int(most)).unbind(1)
    ones = torch.ones_like(place, dtype=boxes.dtype)
    return torch.zeros_like(scores).index_put((image, place), ones) > 0
