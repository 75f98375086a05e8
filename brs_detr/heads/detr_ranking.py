"""Ranking for DETR-style heads of mmdet: the queries of each decoder layer form one ranking problem.

predictions of each layer ──> LayerOutputs ──> targets (matched together, or known)
──> Samples of each layer ──> one call of `loss_cls` for all layers ──> losses, named by layer
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy
from mmdet.utils import InstanceList
from torch import Tensor, nn

from brs_detr.losses import named_terms

from .host import image_scales, indices_of_each
from .matching import BatchedMatchingMixin, LayerOutputs, QueryTargets
from .ranking import (
    RankingMixin,
    Samples,
    balanced,
    ious_of_positives,
    is_positive,
    logged_terms,
    positive_losses,
)
from .together import losses_when_known, means, ranked


class LayerSamples(NamedTuple):
    """One layer's ranking problem, and its positives' boxes (P, 4) cxcywh in 0..1 for the L1 loss."""

    samples: Samples
    normalised_boxes: Tensor
    normalised_targets: Tensor


def decoder_layers(
    logits: Tensor, boxes: Tensor, ground_truth: InstanceList | QueryTargets, kind: str = "", prefix: str = ""
) -> list[LayerOutputs]:
    """Outputs (layers, N, Q, classes) and (layers, N, Q, 4) of a decoder, layer by layer, named as mmdet does."""
    last = len(logits) - 1
    return [
        LayerOutputs(
            ("" if i == last else f"d{i}.") + prefix, f"{kind}decoder layer {i}", logits[i], boxes[i], ground_truth
        )
        for i in range(len(logits))
    ]


class DETRRankingMixin(RankingMixin, BatchedMatchingMixin):
    """The losses of a DETR-style head, by ranking; mixed into one that says which layers there are.

    All layers are solved in one call of `loss_cls`. L1 and GIoU of a layer are each balanced to its ranking loss:
    give `loss_bbox` and `loss_iou` the weight 1.
    balance_boxes: off, L1 and GIoU keep their own weights, as they do beside AP Loss.
    """

    score_weighted = False
    loss_iou: nn.Module

    def __init__(
        self, *args: Any, zero_iou_is_negative: bool = False, balance_boxes: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.zero_iou_is_negative = zero_iou_is_negative
        self.balance_boxes = balance_boxes

    def layer_losses(self, layers: list[LayerOutputs], img_metas: list[dict]) -> dict[str, Tensor]:
        """Terms of the ranking loss, `loss_bbox` (L1) and `loss_iou` (GIoU) of each layer, behind its prefix.

        Raises NotFiniteError, naming the layer, if its queries cannot be matched or ranked.
        """
        samples = self.layer_samples(layers, img_metas)
        boxes, targets = [s.samples.boxes for s in samples], [s.samples.box_targets for s in samples]
        gious = in_one(partial(positive_losses, self.loss_iou), boxes, targets)
        ious = in_one(ious_of_positives, boxes, targets)
        problems = [self.ranking_problem(s.samples, *of) for s, *of in zip(samples, gious, ious, strict=True)]
        solved = ranked(self.loss_cls, problems, [layer.name for layer in layers])
        pairs = self._box_losses(samples, gious)
        box_means = means(pairs, self.loss_cls.group)
        names = [*self.logged_names(), "loss_bbox", "loss_iou", "bbox_unscaled", "iou_unscaled"]
        prefixes = [layer.prefix for layer in layers]
        keys = [prefix + name for prefix in prefixes for name in names]
        return losses_when_known(keys, partial(self._logged_of_layers, prefixes), *solved, *box_means)

    def layer_samples(self, layers: list[LayerOutputs], img_metas: list[dict]) -> list[LayerSamples]:
        """The ranking problem of each layer. The host reads nothing but the matching, if it knows the positives."""
        targets = self.match(layers, img_metas)
        labels = [torch.cat(layer.labels) for layer in targets]
        masks = [is_positive(layer, self.num_classes) for layer in labels]
        positives = indices_of_each(masks, [layer.num_total_pos for layer in targets])
        boxes = [_flatten(layer.boxes)[chosen] for layer, chosen in zip(layers, positives, strict=True)]
        box_targets = [torch.cat(layer.box_targets)[chosen] for layer, chosen in zip(targets, positives, strict=True)]
        scales = image_scales([meta["img_shape"][:2] for meta in img_metas], layers[0].boxes[0])
        of_boxes = [_of_queries(scales, layer)[chosen] for layer, chosen in zip(layers, positives, strict=True)]
        in_pixels = in_one(_in_pixels, [*boxes, *box_targets], [*of_boxes, *of_boxes])
        samples = map(
            Samples,
            [_flatten(layer.logits) for layer in layers],
            labels,
            [torch.cat(layer.label_weights) for layer in targets],
            positives,
            in_pixels[: len(layers)],
            in_pixels[len(layers) :],
        )
        return list(map(LayerSamples, samples, boxes, box_targets))

    def _box_losses(self, layers: list[LayerSamples], gious: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """L1 and GIoU losses of the positives of each layer, one after the other, each with their weights."""
        boxes, targets = [s.normalised_boxes for s in layers], [s.normalised_targets for s in layers]
        l1s = in_one(partial(positive_losses, self.loss_bbox), boxes, targets)
        weights = [self.box_weights(s.samples) for s in layers]
        return [(loss, weight) for l1, giou, weight in zip(l1s, gious, weights, strict=True) for loss in (l1, giou)]

    def _logged_of_layers(self, prefixes: list[str], *known: Any) -> dict[str, Tensor]:
        """The losses of L layers: known are L results of `loss_cls`, and L means of L1 and GIoU in turn."""
        number = len(prefixes)
        results = [named_terms(result) for result in known[:number]]
        terms = {name: torch.stack([result[name] for result in results]) for name in results[0]}  # (L,) each
        l1, giou = torch.stack(known[number:]).view(number, 2).unbind(1)
        balance = self._balance(terms, number) if self.balance_boxes else None
        giou = terms.pop("localisation", giou)  # of losses that weigh boxes by rank themselves
        loss_bbox, loss_iou = balanced(torch.stack([l1, giou]), balance)
        boxes = dict(loss_bbox=loss_bbox, loss_iou=loss_iou, bbox_unscaled=l1.detach(), iou_unscaled=giou.detach())
        logged = {name: values.unbind() for name, values in (logged_terms(terms) | boxes).items()}
        return {prefix + name: logged[name][i] for i, prefix in enumerate(prefixes) for name in logged}

    def _balance(self, terms: dict[str, Tensor], number: int) -> Tensor | None:
        balance = self.loss_cls.balance(terms)
        if balance is not None and balance.shape != (number,):  # one value would balance all layers to their sum
            raise TypeError(
                f"{type(self.loss_cls).__name__}.balance gave {tuple(balance.shape)} for terms of shape ({number},): "
                "it must give a value for each of them."
            )
        return balance


def in_one(function: Callable[..., Tensor], *layers: list[Tensor]) -> list[Tensor]:
    """`function` of the tensors of each layer, whose rows it treats one by one: asked once for the rows of all."""
    together = function(*(torch.cat(each) for each in layers))
    return list(together.split([len(layer) for layer in layers[0]]))


def _in_pixels(boxes: Tensor, scales: Tensor) -> Tensor:
    """(P, 4) xyxy of cxcywh in 0..1."""
    return bbox_cxcywh_to_xyxy(boxes) * scales


def _of_queries(scales: Tensor, layer: LayerOutputs) -> Tensor:
    """The scale (4,) of its image for each query of a layer."""
    return torch.cat([scale.expand(len(image), 4) for scale, image in zip(scales, layer.boxes, strict=True)])


def _flatten(images: Tensor | list[Tensor]) -> Tensor:
    """The queries of all images, one after the other; a view if there are as many in each."""
    return images.flatten(0, 1) if isinstance(images, Tensor) else torch.cat(images)
