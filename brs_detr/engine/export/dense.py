"""What anchor heads (RPN, ATSS, RetinaNet) detect, for a batch at once: mmdet's `predict_by_feat` without loops."""

from typing import Any

import torch
from mmdet.models.dense_heads.anchor_head import AnchorHead
from torch import Tensor

from brs_detr.engine.export.selection import Candidates, clipped, rows, suppressed


def detect(head: AnchorHead, maps: tuple[Tensor, ...], sizes: Tensor) -> Candidates:
    """Detections of a head after suppression.

    maps: (B, C, H, W) a level. sizes: (B, 2), height and width of what an image holds of the input.
    """
    found = candidates(head, maps, sizes, threshold=head.test_cfg.get("score_thr", 0))
    return suppressed(found, head.test_cfg.nms, head.test_cfg.max_per_img)


def propose(head: AnchorHead, maps: tuple[Tensor, ...], sizes: Tensor) -> Candidates:
    """Proposals of an RPN; those of different levels, which their labels tell, do not suppress each other."""
    levels = candidates(head, maps, sizes, threshold=None, by_level=True)
    return suppressed(levels, head.test_cfg.nms, head.test_cfg.max_per_img)


def candidates(
    head: AnchorHead, maps: tuple[Tensor, ...], sizes: Tensor, *, threshold: float | None, by_level: bool = False
) -> Candidates:
    """What is suppressed next: the `nms_pre` best of each level above the threshold, larger than `min_bbox_size`."""
    outputs = head(maps)
    shapes = [tuple(map(int, scores.shape[-2:])) for scores in outputs[0]]
    anchors = head.prior_generator.grid_priors(shapes, dtype=maps[0].dtype, device=maps[0].device)
    levels = [_of_level(head, *level, threshold) for level in zip(anchors, *outputs, strict=True)]
    if by_level:
        levels = [level._replace(labels=torch.full_like(level.labels, i)) for i, level in enumerate(levels)]
    found = Candidates.joined(levels)
    if head.bbox_coder.clip_border:
        found = found._replace(boxes=clipped(found.boxes, sizes))
    least = head.test_cfg.get("min_bbox_size", -1)
    sides = found.boxes[..., 2:] - found.boxes[..., :2]
    return found.only((sides > least).all(2)) if least >= 0 else found


def _of_level(head: AnchorHead, anchors: Tensor, *outputs: Any) -> Candidates:
    """Candidates of one level. anchors: (n, 4); outputs: logits, deltas, perhaps centerness; then the threshold."""
    logits, deltas, *factors, threshold = outputs
    scores = _scores(head, _by_anchor(logits, head.cls_out_channels))
    classes = int(scores.shape[2])
    number = int(anchors.shape[0]) * classes
    most = head.test_cfg.get("nms_pre", -1)
    scores, places = scores.flatten(1).topk(min(most, number) if most > 0 else number)
    anchor = places.div(classes, rounding_mode="floor")
    deltas = rows(_by_anchor(deltas, head.bbox_coder.encode_size), anchor)
    boxes = head.bbox_coder.decode(anchors[anchor.flatten()], deltas.flatten(0, 1))
    found = Candidates(boxes.reshape(*anchor.shape, 4), scores, places - anchor * classes)
    valid = scores > threshold if threshold is not None else scores >= 0
    for factor in factors:
        weights = rows(_by_anchor(factor, 1).sigmoid(), anchor).squeeze(2)
        found = found._replace(scores=scores * weights)
    return found.only(valid)


def _by_anchor(prediction: Tensor, channels: int) -> Tensor:
    """(B, anchors * channels, H, W) -> (B, H * W * anchors, channels)."""
    return prediction.permute(0, 2, 3, 1).reshape(prediction.shape[0], -1, channels)


def _scores(head: AnchorHead, logits: Tensor) -> Tensor:
    return logits.sigmoid() if head.use_sigmoid_cls else logits.softmax(-1)[..., :-1]
