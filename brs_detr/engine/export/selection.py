"""A fixed number of detections of each image: thresholds, non-maximum suppression and top-k without a loop over images.

mmdet selects image by image, each with as many boxes as there happen to be. A graph of ONNX gives one tensor for the
batch, so what is left out here is marked by a negative score, and stands last.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from brs_detr.ops.nms import survive

NONE = -1.0  # the score of what is no detection


class Candidates(NamedTuple):
    """N boxes of each of B images, in any order.

    boxes: (B, N, 4) xyxy in pixels. scores: (B, N), negative where there is none. labels: (B, N) int64.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor

    @classmethod
    def joined(cls, parts: list["Candidates"]) -> "Candidates":
        return cls(*(torch.cat(part, dim=1) for part in zip(*parts, strict=True)))

    def take(self, places: Tensor) -> "Candidates":
        """Those at `places` (B, K)."""
        return Candidates(rows(self.boxes, places), self.scores.gather(1, places), self.labels.gather(1, places))

    def only(self, valid: Tensor) -> "Candidates":
        """None where `valid` (B, N) is false."""
        return self._replace(scores=self.scores.where(valid, torch.full_like(self.scores, NONE)))

    def best(self, most: int) -> "Candidates":
        """At most so many of each image, best first."""
        return self.take(self.scores.topk(min(int(most), int(self.scores.shape[1])))[1])


def rows(values: Tensor, places: Tensor) -> Tensor:
    """(B, K, D) of (B, N, D) at places (B, K)."""
    return values.gather(1, places[..., None].expand(-1, -1, values.shape[2]))


def suppressed(found: Candidates, nms: dict[str, Any], most: int) -> Candidates:
    """The best of each image after non-maximum suppression within each label, as `mmcv.ops.batched_nms` has it.

    nms: its config, of type "nms".
    """
    apart = 0 if nms.get("class_agnostic") else found.boxes.amax((1, 2))[:, None] + 1  # no label meets another
    boxes = found.boxes + (found.labels * apart)[..., None]
    return found.only(survive(boxes, found.scores, nms["iou_threshold"], most)).best(most)


def clipped(boxes: Tensor, sizes: Tensor) -> Tensor:
    """Boxes (B, N, 4) xyxy within the images. sizes: (B, 2), height and width."""
    height, width = sizes.to(boxes.dtype)[:, None].unbind(2)
    bounds = torch.stack([width, height, width, height], dim=2)
    return boxes.clamp(min=0).minimum(bounds)
