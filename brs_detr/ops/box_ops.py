"""Non-maximum suppression and RoIAlign with the signatures of mmcv's extension, computed by torchvision."""

import torch
import torchvision  # noqa: F401  (registers torch.ops.torchvision)
from torch import Tensor

ROI_ALIGN_AVERAGE = 1  # mmcv's number for pool_mode="avg"


def at_least_float32(tensor: Tensor) -> Tensor:
    """torchvision has no bfloat16 kernels, and half precision is too coarse for coordinates."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Indices of the kept boxes, best score first.

    Args:
        boxes: (N, 4), x1 y1 x2 y2 in pixels.
        scores: (N,).
        iou_threshold: a box goes when its IoU with a better kept box is above this.
        offset: 0 or 1; a box is x2 - x1 + offset pixels wide.
    """
    boxes = at_least_float32(boxes)
    if offset:
        boxes = torch.cat([boxes[:, :2], boxes[:, 2:] + offset], dim=1)
    return torch.ops.torchvision.nms(boxes, scores.to(boxes.dtype), iou_threshold)


def _check_pool_mode(pool_mode: int) -> None:
    if pool_mode != ROI_ALIGN_AVERAGE:
        raise NotImplementedError("RoIAlign with pool_mode='max' needs a compiled mmcv; use pool_mode='avg'.")


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    *,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """RoIAlign (Mask R-CNN, ICCV 2017; ``aligned`` shifts by half a pixel), written into ``output``.

    Args:
        input: (B, C, H, W) feature map.
        rois: (R, 5), image index then x1 y1 x2 y2 in image pixels (``spatial_scale`` feature pixels each).
        output: (R, C, aligned_height, aligned_width), overwritten.
        argmax_y: unused, of max pooling.
        argmax_x: unused, of max pooling.
    """
    _check_pool_mode(pool_mode)
    features = at_least_float32(input)
    output.copy_(
        torch.ops.torchvision.roi_align(
            features,
            rois.to(features.dtype),
            spatial_scale,
            aligned_height,
            aligned_width,
            sampling_ratio,
            aligned,
        )
    )


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    *,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Gradient of :func:`roi_align_forward` for its feature map, written into ``grad_input`` (B, C, H, W)."""
    _check_pool_mode(pool_mode)
    grad = at_least_float32(grad_output)
    grad_input.copy_(
        torch.ops.torchvision._roi_align_backward(
            grad,
            rois.to(grad.dtype),
            spatial_scale,
            aligned_height,
            aligned_width,
            *grad_input.shape,
            sampling_ratio,
            aligned,
        )
    )
