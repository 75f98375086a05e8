"""What a head ranks: its samples' logits and targets, and their boxes, which its loss does not see.

queries     the last decoder layer's matching queries       `DETRRankingMixin.layer_samples`
anchors     all levels and images                           `AnchorRankingMixin.loss_by_feat`
proposals   of the RoI head, of a cascade the last stage    `RankingBBoxHead.loss`
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy
from torch import Tensor, nn

from brs_detr.detectors import CoDETR
from brs_detr.heads.anchor_heads import AnchorRankingMixin, flatten_level
from brs_detr.heads.detr_ranking import DETRRankingMixin, LayerOutputs
from brs_detr.heads.ranking import RankingMixin, Samples, ranking_targets
from brs_detr.heads.roi_heads import RankingBBoxHead


@dataclass(frozen=True)
class Ranked:
    """One ranking problem of S samples, of a batch of images.

    logits, targets: (S, classes), see `ranking_targets`; images: (S,), places in the batch.
    boxes: (S, 4), or (S, classes, 4) where each class has its own; object_boxes: (S, 4), those of the objects that
    positives are to find, zeros for others; all xyxy in pixels of the network's input.
    """

    logits: Tensor
    targets: Tensor
    images: Tensor
    boxes: Tensor
    object_boxes: Tensor

    def on_host(self) -> "Ranked":
        return Ranked(*(values.cpu() for values in vars(self).values()))

    def box(self, sample: int, label: int) -> Tensor:
        return self.boxes[sample] if self.boxes.ndim == 2 else self.boxes[sample, label]


def detecting_head(model: nn.Module) -> nn.Module | None:
    """The head whose detections are the model's, None where it does not rank."""
    if isinstance(model, CoDETR):
        heads = {"detr": model.bbox_head, "one-stage": model.atss_head, "two-stage": model.roi_head.bbox_head}
        head = heads[model.eval_module]
    else:
        head = getattr(getattr(model, "roi_head", None) or model, "bbox_head", None)
    head = head[-1] if isinstance(head, nn.ModuleList) else head
    return head if isinstance(head, (DETRRankingMixin, AnchorRankingMixin, RankingBBoxHead)) else None


class Found(Exception):
    """Ends the computation of losses: what was looked for is here, and the others are not needed."""

    def __init__(self, ranked: Ranked) -> None:
        super().__init__()
        self.ranked = ranked


def ranked_by(head: nn.Module, compute_losses: Callable[[], Any]) -> Ranked:
    """What the head ranks when losses are computed; of a DETR head with auxiliary queries its own queries."""
    with _ending(head):
        try:
            compute_losses()
        except Found as found:
            return found.ranked
    raise RuntimeError(f"{type(head).__name__} has ranked nothing")


@contextmanager
def _ending(head: Any) -> Iterator[None]:
    """Let the head raise `Found` instead of ranking."""
    if isinstance(head, DETRRankingMixin):
        with patch.object(head, "layer_samples", _of_queries(head)):
            yield
        return
    noted: dict[str, Any] = {}
    method, boxes_of = ("loss", _proposals) if isinstance(head, RankingBBoxHead) else ("loss_by_feat", _anchors)

    def noting(*args: Any, **kwargs: Any) -> Any:
        noted.update(args=args)
        return original(*args, **kwargs)

    def ranking(samples: Samples) -> Any:
        raise Found(_ranked(head, samples, *boxes_of(head, *noted["args"])))

    original = getattr(head, method)
    with patch.object(head, method, noting), patch.object(head, "ranking_losses", ranking):
        yield


def _ranked(head: RankingMixin, samples: Samples, boxes: Tensor, images: Tensor) -> Ranked:
    objects = boxes.new_zeros(len(samples.logits), 4)
    objects[samples.positives] = samples.box_targets.to(objects)
    targets = ranking_targets(samples, head.zero_iou_is_negative)
    return Ranked(samples.logits.detach().float(), targets, images, boxes.detach(), objects)


def _of_queries(head: Any) -> Callable[..., Any]:
    original = head.layer_samples

    def layer_samples(layers: list[LayerOutputs], metas: list[dict]) -> Any:
        samples = original(layers, metas)
        last = next(k for k, layer in enumerate(layers) if not layer.prefix)
        boxes = [
            bbox_cxcywh_to_xyxy(image) * image.new_tensor([*meta["img_shape"][1::-1]] * 2)
            for image, meta in zip(layers[last].boxes, metas, strict=True)
        ]
        images = torch.cat([image.new_full((len(image),), k, dtype=torch.long) for k, image in enumerate(boxes)])
        raise Found(_ranked(head, samples[last].samples, torch.cat(boxes), images))

    return layer_samples


def _anchors(head: Any, scores: list[Tensor], deltas: list[Tensor], _: Any, metas: list[dict], *__: Any) -> Any:
    """Boxes (S, 4) and places of their images (S,), level by level as the losses have them."""
    anchors, _ = head.get_anchors([level.shape[-2:] for level in scores], metas, device=scores[0].device)
    boxes, images = [], []
    for level, of_level in enumerate(deltas):
        priors = torch.stack([image[level] for image in anchors])
        decoded = head.bbox_coder.decode(priors.flatten(0, 1), flatten_level(of_level, head.bbox_coder.encode_size))
        boxes.append(decoded)
        images.append(torch.arange(len(metas), device=decoded.device).repeat_interleave(priors.shape[1]))
    return torch.cat(boxes), torch.cat(images)


def _proposals(head: Any, scores: Tensor, deltas: Tensor, rois: Tensor, *_: Any) -> Any:
    """Boxes (S, 4), or (S, classes, 4), and places of their images (S,)."""
    deltas = deltas.unflatten(1, (-1, head.bbox_coder.encode_size))
    priors = rois[:, None, 1:].expand(-1, deltas.shape[1], -1)
    boxes = head.bbox_coder.decode(priors.flatten(0, 1), deltas.flatten(0, 1)).view(*deltas.shape[:2], 4)
    return boxes[:, 0] if head.reg_class_agnostic else boxes, rois[:, 0].long()
