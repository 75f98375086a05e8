"""Soft non-maximum suppression (Bodla et al., ICCV 2017) with the signature of mmcv's extension, on a CPU."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from brs_detr.ops.box_ops import at_least_float32

NAIVE, LINEAR, GAUSSIAN = range(3)  # mmcv's numbers for its methods
Decay = Callable[[np.ndarray], np.ndarray]


def _decay(method: int, iou_threshold: float, sigma: float) -> Decay:
    """What the score of a box is multiplied by, from its IoU with a better one."""
    if method == GAUSSIAN:
        return lambda ious: np.exp(-ious * ious / sigma)
    if method == LINEAR:
        return lambda ious: np.where(ious >= iou_threshold, 1 - ious, 1)
    return lambda ious: np.where(ious >= iou_threshold, 0, 1)


def _ious(box: np.ndarray, others: np.ndarray, offset: int) -> np.ndarray:
    """IoUs (N,) of one box (4,) with others (N, 4); 0 where both boxes are empty."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    shared = np.maximum(high - low + offset, 0).prod(1)
    areas = (others[:, 2:] - others[:, :2] + offset).prod(1) + (box[2:] - box[:2] + offset).prod()
    union = areas - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    *,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Indices of the kept boxes, best decayed score first; they and their scores are written into ``dets``.

    Args:
        boxes: (N, 4), x1 y1 x2 y2 in pixels.
        scores: (N,).
        dets: (N, 5), its first rows are overwritten with box and decayed score.
        iou_threshold: from this IoU on, the naive and the linear method lower a score.
        sigma: of the Gaussian method.
        min_score: a box goes when its score falls below this; the best box of all always stays.
        method: 0 naive, 1 linear, 2 Gaussian.
        offset: 0 or 1; a box is x2 - x1 + offset pixels wide.
    """
    corners, left = at_least_float32(boxes).numpy(), at_least_float32(scores).numpy().copy()
    decay, rest = _decay(method, iou_threshold, sigma), np.arange(len(left))
    kept, kept_scores = [], []
    while rest.size:  # one box after another: every choice changes the scores among which the next is made
        best = left.argmax()
        kept.append(rest[best])
        kept_scores.append(left[best])
        left = left * decay(_ious(corners[rest[best]], corners[rest], offset))
        stays = left >= min_score
        stays[best] = False
        rest, left = rest[stays], left[stays]
    indices = torch.from_numpy(np.array(kept, dtype=np.int64))
    dets[: len(indices), :4] = boxes[indices]
    dets[: len(indices), 4] = torch.from_numpy(np.array(kept_scores, dtype=left.dtype))
    return indices
