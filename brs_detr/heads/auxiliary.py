"""Co-DETR's auxiliary heads: their positives become extra queries of the DETR decoder (Co-DETR, section 3.2).

RoI / ATSS head ──> AuxiliarySamples, one an image ──> select_queries ──> AuxiliaryQueries (+ QueryTargets)
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from mmdet.models import StandardRoIHead
from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from mmdet.structures.bbox import bbox_xyxy_to_cxcywh
from mmdet.utils import InstanceList
from torch import Tensor
from torch.nn.functional import pad

from .anchor_assignment import OneReadATSSMixin
from .anchor_heads import RankingATSSHead
from .host import image_scales
from .matching import QueryTargets
from .ranking import is_positive


class AuxiliarySamples(NamedTuple):
    """What one auxiliary head assigned in one image. S samples, boxes xyxy in pixels.

    boxes: (S, 4) anchors or proposals; labels: (S,), `num_classes` is background; box_targets: (S, 4), of the
    positives; weights: (S,), 0 where the sample is not to be used; feats: (S, channels). num_positives: of labels that
    are object classes, none of them with weight 0; the head's sampler knows it already.
    """

    boxes: Tensor
    labels: Tensor
    box_targets: Tensor
    weights: Tensor
    feats: Tensor
    num_positives: int


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
    counts = [s.num_positives for s in samples]
    num_queries = min(max(*counts, least), most)
    chosen = [_choose(s, num_queries, num_classes) for s in samples]
    num_total_pos = sum(s.num_positives for s in chosen)
    scales = image_scales(img_shapes, chosen[0].boxes)
    targets = QueryTargets(
        [s.labels for s in chosen],
        [s.weights for s in chosen],
        [bbox_xyxy_to_cxcywh(s.box_targets / scale) for s, scale in zip(chosen, scales, strict=True)],
        [is_positive(s.labels, num_classes)[:, None].expand(-1, 4).float() for s in chosen],
        num_total_pos,
        len(samples) * num_queries - num_total_pos,
    )
    boxes = torch.stack([bbox_xyxy_to_cxcywh(s.boxes / scale) for s, scale in zip(chosen, scales, strict=True)])
    return AuxiliaryQueries(boxes, torch.stack([s.feats for s in chosen]), targets)


def _choose(samples: AuxiliarySamples, number: int, num_classes: int) -> AuxiliarySamples:
    """`number` samples: positives in random order, then background in random order, then padding."""
    *fields, positives = samples
    unused = 2.0 * (samples.weights == 0)
    order = torch.rand_like(samples.weights) + ~is_positive(samples.labels, num_classes) + unused
    index, padding = order.argsort()[:number], max(0, number - len(order))
    boxes, labels, targets, weights, feats = (
        pad(field[index], (0, 0) * (field.dim() - 1) + (0, padding), value=filling)
        for field, filling in zip(fields, (0, num_classes, 0, 0, 0), strict=True)
    )
    return AuxiliarySamples(boxes, labels, targets, weights, feats, min(positives, number))


@contextmanager
def collecting(head: Any) -> Iterator[list]:
    """The list in which `head` collects samples while it computes its losses; afterwards the head has none."""
    collected: list = []
    head.collected = collected
    try:
        yield collected
    finally:
        del head.collected


class CoATSSMixin(OneReadATSSMixin):
    """Returns the assigned anchors of a training step beside its losses."""

    collected: list[tuple] | None = None

    def loss_and_samples(
        self, x: tuple[Tensor, ...], batch_data_samples: SampleList
    ) -> tuple[dict[str, Tensor], list[AuxiliarySamples]]:
        """Losses, and one `AuxiliarySamples` an image, whose features are those of the maps at each anchor."""
        with collecting(self) as assigned:
            losses = self.loss(x, batch_data_samples)
        anchors_per_location = self.prior_generator.num_base_priors[0]
        feats = torch.cat([level.flatten(2) for level in x], dim=2).transpose(1, 2)
        feats = feats.repeat_interleave(anchors_per_location, dim=1)
        return losses, [
            AuxiliarySamples(anchors, labels, targets, weights, image_feats, len(positives))
            for (anchors, labels, weights, targets, _, positives), image_feats in zip(assigned, feats, strict=True)
        ]

    def _get_targets_single(self, *args: Any, **kwargs: Any) -> tuple:
        targets = super()._get_targets_single(*args, **kwargs)
        if self.collected is not None:
            self.collected.append(targets[:6])
        return targets


@MODELS.register_module()
class CoATSSHead(CoATSSMixin):
    """mmdet's ATSS head as an auxiliary head of Co-DETR."""


@MODELS.register_module()
class RankingCoATSSHead(CoATSSMixin, RankingATSSHead):
    """The ranking ATSS head as an auxiliary head of BRS-DETR."""


@MODELS.register_module()
class CoRoIHead(StandardRoIHead):
    """`StandardRoIHead` that also returns its sampled proposals. A query's feature is the mean over its RoI."""

    collected: list[AuxiliarySamples] | None = None

    def loss_and_samples(
        self, x: tuple[Tensor, ...], rpn_results_list: InstanceList, batch_data_samples: SampleList
    ) -> tuple[dict[str, Tensor], list[AuxiliarySamples]]:
        """Losses, and one `AuxiliarySamples` an image."""
        with collecting(self) as samples:
            return self.loss(x, rpn_results_list, batch_data_samples), samples

    def bbox_loss(self, x: tuple[Tensor, ...], sampling_results: list[SamplingResult]) -> dict:
        results = super().bbox_loss(x, sampling_results)
        if self.collected is not None:
            feats = results["bbox_feats"].mean(dim=(2, 3)).split([len(s.priors) for s in sampling_results])
            self.collected += [self._image_samples(*pair) for pair in zip(sampling_results, feats, strict=True)]
        return results

    def _image_samples(self, sampled: SamplingResult, feats: Tensor) -> AuxiliarySamples:
        labels, weights, targets, _ = self.bbox_head.get_targets([sampled], self.train_cfg)
        return AuxiliarySamples(sampled.priors, labels, targets, weights, feats, len(sampled.pos_priors))
