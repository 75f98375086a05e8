"""What RoI heads (Faster, Cascade, Mask R-CNN) detect, for a batch at once: mmdet's `predict` without loops."""

import torch
from mmdet.models import BBoxHead, CascadeRoIHead, SingleRoIExtractor, StandardRoIHead
from torch import Tensor
from torchvision.ops import roi_align

from brs_detr.engine.export.selection import Candidates, clipped, suppressed


def detect(
    roi_head: StandardRoIHead | CascadeRoIHead, maps: tuple[Tensor, ...], proposals: Candidates, sizes: Tensor
) -> Candidates:
    """Detections of the last stage after suppression.

    maps: (B, C, H, W) a level. sizes: (B, 2), height and width of what an image holds of the input.
    """
    boxes, stages = proposals.boxes, list(_stages(roi_head))
    logits: list[Tensor] = []
    for number, (extractor, head) in enumerate(stages, start=1):
        features = roi_features(extractor, maps[: extractor.num_inputs], boxes)
        outputs, deltas = head(features)[:2]
        logits.append(outputs)
        choices = _decoded(head, boxes, deltas, sizes)
        if number < len(stages):
            boxes = _of_best_class(choices, _scores(head, outputs).reshape(*boxes.shape[:2], -1))
    scores = _scores(head, sum(logits[1:], logits[0]) / len(stages)).reshape(*boxes.shape[:2], -1)
    found = _by_class(choices, scores, proposals.scores >= 0, roi_head.test_cfg.score_thr)
    return suppressed(found, roi_head.test_cfg.nms, roi_head.test_cfg.max_per_img)


def _stages(roi_head: StandardRoIHead | CascadeRoIHead) -> zip:
    """The extractor and the box head of each stage."""
    if isinstance(roi_head, CascadeRoIHead):
        return zip(roi_head.bbox_roi_extractor, roi_head.bbox_head, strict=True)
    return zip([roi_head.bbox_roi_extractor], [roi_head.bbox_head], strict=True)


def roi_features(extractor: SingleRoIExtractor, maps: tuple[Tensor, ...], boxes: Tensor) -> Tensor:
    """Features (B * N, C, h, w) of boxes (B, N, 4): `SingleRoIExtractor` for graphs, where a level may have no RoI."""
    image = torch.arange(boxes.shape[0], device=boxes.device, dtype=boxes.dtype)[:, None, None]
    rois = torch.cat([image.expand(-1, boxes.shape[1], 1), boxes], dim=2).flatten(0, 1)
    levels = extractor.map_roi_levels(rois, len(maps))
    places = [(levels == level).nonzero()[:, 0] for level in range(len(maps))]
    features = [
        roi_align(feats, rois[place], layer.output_size, layer.spatial_scale, layer.sampling_ratio, layer.aligned)
        for feats, place, layer in zip(maps, places, extractor.roi_layers, strict=True)
    ]
    return torch.cat(features)[torch.cat(places).argsort()]


def _scores(head: BBoxHead, logits: Tensor) -> Tensor:
    """(R, classes), without the background's column."""
    scores = head.loss_cls.get_activation(logits) if head.custom_cls_channels else logits.softmax(-1)
    return scores[:, :-1]


def _decoded(head: BBoxHead, boxes: Tensor, deltas: Tensor, sizes: Tensor) -> Tensor:
    """Boxes (B, N, classes or 1, 4) of deltas (B * N, classes * 4 or 4)."""
    size = head.bbox_coder.encode_size
    kinds = 1 if head.reg_class_agnostic else head.num_classes
    repeated = boxes[:, :, None].expand(-1, -1, kinds, -1).reshape(-1, 4)
    decoded = head.bbox_coder.decode(repeated, deltas.reshape(-1, size)).reshape(boxes.shape[0], -1, 4)
    decoded = clipped(decoded, sizes) if head.bbox_coder.clip_border else decoded
    return decoded.reshape(*boxes.shape[:2], kinds, 4)


def _of_best_class(choices: Tensor, scores: Tensor) -> Tensor:
    """Boxes (B, N, 4), of the class with the highest score where each has its own."""
    if int(choices.shape[2]) == 1:
        return choices.squeeze(2)
    label = scores.argmax(2)[..., None, None].expand(-1, -1, 1, 4)
    return choices.gather(2, label).squeeze(2)


def _by_class(choices: Tensor, scores: Tensor, valid: Tensor, threshold: float) -> Candidates:
    """A candidate for each class of each box, above the threshold."""
    labels = torch.arange(scores.shape[2], device=scores.device).expand_as(scores)
    boxes = choices.expand(-1, -1, scores.shape[2], -1)
    found = Candidates(boxes.flatten(1, 2), scores.flatten(1), labels.flatten(1))
    return found.only(((scores > threshold) & valid[..., None]).flatten(1))
