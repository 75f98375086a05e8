"""Positives of the auxiliary heads become extra queries of the DETR decoder (Co-DETR, section 3.2).

RoI / ATSS head ──> AuxiliarySamples, one an image ──> select_queries ──> AuxiliaryQueries (+ QueryTargets)
"""

from typing import NamedTuple

import torch
from mmdet.structures.bbox import bbox_xyxy_to_cxcywh
from torch import Tensor


class AuxiliarySamples(NamedTuple):
    """What one auxiliary head assigned in one image. S samples, boxes xyxy in pixels.

    boxes: (S, 4) anchors or proposals; labels: (S,), `num_classes` is background; box_targets: (S, 4), of the
    positives; weights: (S,), 0 where the sample is not to be used; feats: (S, channels).
    """

    boxes: Tensor
    labels: Tensor
    box_targets: Tensor
    weights: Tensor
    feats: Tensor


class QueryTargets(NamedTuple):
    """Known targets of queries, in the order of mmdet's `DETRHead.get_targets`: lists of one tensor an image.

    labels: (Q,); label_weights: (Q,); box_targets, box_weights: (Q, 4) cxcywh in 0..1.
    """

    labels: list[Tensor]
    label_weights: list[Tensor]
    box_targets: list[Tensor]
    box_weights: list[Tensor]
    num_total_pos: int
    num_total_neg: int


class AuxiliaryQueries(NamedTuple):
    """One group of extra queries. boxes: (N, Q, 4) cxcywh in 0..1; feats: (N, Q, channels)."""

    boxes: Tensor
    feats: Tensor
    targets: QueryTargets


def select_queries(
    samples: list[AuxiliarySamples],
    img_shapes: list[tuple[int, int]],
    num_classes: int,
    least: int = 9,
    most: int = 300,
) -> AuxiliaryQueries:
    """The same number of queries in each image: its positives, filled up with random background.

    The number is the largest count of positives over the images, within [least, most]; surplus positives are
    dropped at random. Where an image has too few samples the rest is padding that no loss sees.
    """
    counts = torch.stack([_is_positive(s, num_classes).sum() for s in samples])
    num_queries = min(max(int(counts.max()), least), most)  # host copy: it is the shape of what follows
    chosen = [_choose(s, num_queries, num_classes) for s in samples]
    scales = [s.boxes.new_tensor([w, h, w, h]) for s, (h, w) in zip(chosen, img_shapes, strict=True)]
    positive = [_is_positive(s, num_classes) for s in chosen]
    num_total_pos = int(torch.stack(positive).sum())  # host copy: mmdet's normaliser is a Python number
    targets = QueryTargets(
        [s.labels for s in chosen],
        [s.weights for s in chosen],
        [bbox_xyxy_to_cxcywh(s.box_targets / scale) for s, scale in zip(chosen, scales, strict=True)],
        [p[:, None].expand(-1, 4).float() for p in positive],
        num_total_pos,
        len(samples) * num_queries - num_total_pos,
    )
    boxes = torch.stack([bbox_xyxy_to_cxcywh(s.boxes / scale) for s, scale in zip(chosen, scales, strict=True)])
    return AuxiliaryQueries(boxes, torch.stack([s.feats for s in chosen]), targets)


def _is_positive(samples: AuxiliarySamples, num_classes: int) -> Tensor:
    return (samples.labels >= 0) & (samples.labels < num_classes) & (samples.weights > 0)


def _choose(samples: AuxiliarySamples, number: int, num_classes: int) -> AuxiliarySamples:
    """`number` samples: positives in random order, then background in random order, then padding."""
    unused = 2.0 * (samples.weights == 0)
    order = torch.rand_like(samples.weights) + ~_is_positive(samples, num_classes) + unused
    chosen = AuxiliarySamples(*(field[order.argsort()[:number]] for field in samples))
    missing = number - len(chosen.boxes)
    if missing == 0:
        return chosen
    padding = AuxiliarySamples(*(field.new_zeros(missing, *field.shape[1:]) for field in samples))
    padding = padding._replace(labels=padding.labels + num_classes)
    return AuxiliarySamples(*(torch.cat(pair) for pair in zip(chosen, padding, strict=True)))
