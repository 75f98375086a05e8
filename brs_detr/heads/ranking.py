"""What every ranking head shares: how labels and boxes become one ranking problem, and how its boxes are weighed.

labels, boxes ──> ranking_problem ──> self.loss_cls ──> named terms: loss_rank, loss_sort
      │                                                     │ detached sum
      └─ pos. boxes ──> box loss ──> score-weighted mean ──> self_balanced ──> loss_bbox

Which terms there are, and what box losses are balanced to, is known by the ranking loss alone. Beside AP Loss
nothing is balanced: its loss_bbox is the mean itself. aLRP Loss asks for the box losses, and weighs them by rank.
Over several processes (`sync=True`) ranks, means and balances are those of all samples, and known later: `together`.
"""

from typing import Any, NamedTuple

import torch
from mmdet.structures.bbox import bbox_overlaps
from torch import Tensor, nn

from brs_detr.losses import MIN_IOU, RankingLoss, named_terms, self_balanced

from .together import losses_when_known, means, ranked, when_known

LOGGED_TERMS = {"ranking": "rank", "sorting": "sort"}  # any other term is logged by its own name


class Samples(NamedTuple):
    """The S samples (anchors, proposals or queries) that one head ranks together: a whole batch's.

    logits: (S, classes); labels: (S,), `classes` is background; label_weights: (S,), 0 is ignored.
    positives: (P,), indices of the samples whose label is an object class, see `positive_indices`.
    boxes, box_targets: (P, 4) xyxy in pixels, of the positives.
    """

    logits: Tensor
    labels: Tensor
    label_weights: Tensor
    positives: Tensor
    boxes: Tensor
    box_targets: Tensor


def positive_indices(labels: Tensor, num_classes: int) -> Tensor:
    """Indices (P,) of the samples (S,) whose label is an object class. The host reads P."""
    return is_positive(labels, num_classes).nonzero().squeeze(1)


def is_positive(labels: Tensor, num_classes: int) -> Tensor:
    """Whether a label is an object class, of the labels' shape."""
    return (labels >= 0) & (labels < num_classes)


def ious_of_positives(boxes: Tensor, targets: Tensor) -> Tensor:
    """(P,), without gradients."""
    return bbox_overlaps(boxes.detach().float(), targets.float(), is_aligned=True)


def ranking_targets(samples: Samples, zero_iou_is_negative: bool = False, ious: Tensor | None = None) -> Tensor:
    """Targets of the ranking problem, (S, classes): IoU at a positive's class, -1 where ignored, 0 elsewhere.

    ious: of the positives (P,), where they are known.

    A positive stays one when its box misses its object: its IoU is raised to `MIN_IOU`. `zero_iou_is_negative`
    restores the released BRS code, where such a positive was pushed down as a negative; it is off because the
    queries matched early in training, when most boxes miss, are the ones that must rise.
    """
    if ious is None:
        ious = ious_of_positives(samples.boxes, samples.box_targets)
    ious = ious.clamp(min=0.0 if zero_iou_is_negative else MIN_IOU, max=1.0)
    targets = torch.zeros_like(samples.logits, dtype=torch.float32)
    targets[samples.positives, samples.labels[samples.positives]] = ious
    return targets.masked_fill(samples.label_weights[:, None] == 0, -1.0)


def ranking_problem(
    samples: Samples, zero_iou_is_negative: bool = False, ious: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Logits and targets (S * classes,): every class of every sample competes with every other."""
    return samples.logits.flatten(), ranking_targets(samples, zero_iou_is_negative, ious).flatten()


def localisation_errors(samples: Samples, box_losses: Tensor) -> Tensor:
    """The positives' box losses (P,) at their places in the ranking problem, (S * classes,), zeros elsewhere."""
    errors = box_losses.new_zeros(samples.logits.shape)
    return errors.index_put((samples.positives, samples.labels[samples.positives]), box_losses).flatten()


def positive_losses(loss: nn.Module, boxes: Tensor, targets: Tensor) -> Tensor:
    """Box losses (P,), summed over coordinates. Without positives mmdet's losses leave the graph: this stays."""
    if len(boxes) == 0:
        return boxes.sum(-1)
    return loss(boxes, targets, reduction_override="none").reshape(len(boxes), -1).sum(-1)


def logged_name(term: str) -> str:
    """The name of a term of a ranking loss as it is logged: `loss_rank`, `loss_sort`."""
    return f"loss_{LOGGED_TERMS.get(term, term)}"


def logged_terms(terms: dict[str, Tensor]) -> dict[str, Tensor]:
    """The terms of a ranking loss as they are logged."""
    return {logged_name(name): value for name, value in terms.items()}


def named_by_term(logged: dict[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `logged_terms`."""
    names = {f"loss_{short}": name for name, short in LOGGED_TERMS.items()}
    return {names.get(key, key.removeprefix("loss_")): value for key, value in logged.items()}


def balanced(box_loss: Tensor, balance: Tensor | None) -> Tensor:
    """Box losses, each balanced to `balance`, or as they are if that is None."""
    return box_loss if balance is None else self_balanced(box_loss, balance)


class RankingMixin:
    """The classification and box losses of a head that ranks. Mixed into an mmdet head with `loss_cls`, `loss_bbox`.

    Box losses are balanced to the ranking loss where that says so (Rank & Sort Loss, ICCV 2021, section 4.3).

    score_weighted: weigh each positive's box loss by its highest class score, as RS Loss does.
    zero_iou_is_negative: see `ranking_targets`.
    """

    ranking_name = "head"
    score_weighted = True
    zero_iou_is_negative = False
    loss_cls: RankingLoss
    loss_bbox: nn.Module

    def ranking_losses(self, samples: Samples) -> dict[str, Tensor]:
        """The terms of `loss_cls` and the losses of the boxes, as they are logged."""
        box_losses = positive_losses(self.loss_bbox, samples.boxes, samples.box_targets)
        problem = self.ranking_problem(samples, box_losses)
        solved = ranked(self.loss_cls, [problem], [self.ranking_name])
        box_means = means([(box_losses, self.box_weights(samples))], self.loss_cls.group)
        names = [*self.logged_names(), "loss_bbox", "bbox_unscaled"]
        return losses_when_known(names, self._logged, *solved, *box_means)

    def _logged(self, losses: Any, box_loss: Tensor) -> dict[str, Tensor]:
        terms = named_terms(losses)
        balance = self.loss_cls.balance(terms)
        box_loss = terms.pop("localisation", box_loss)  # of losses that weigh boxes by rank themselves
        return logged_terms(terms) | {"loss_bbox": balanced(box_loss, balance), "bbox_unscaled": box_loss.detach()}

    def logged_names(self) -> list[str]:
        """The terms that rank, as they are logged."""
        return [logged_name(term) for term in self.loss_cls.term_names if term != "localisation"]

    def ranking_problem(self, samples: Samples, box_losses: Tensor, ious: Tensor | None = None) -> tuple[Tensor, ...]:
        """What `loss_cls` is given: logits and targets, and box losses (P,) of the positives if it asks for them.

        ious: of the positives (P,), where they are known.
        """
        problem = ranking_problem(samples, self.zero_iou_is_negative, ious)
        if self.loss_cls.needs_localisation:
            return (*problem, localisation_errors(samples, box_losses))
        return problem

    def balance_of(self, losses: dict[str, Tensor]) -> Tensor | None:
        """What further losses of the same objects, such as masks, are balanced to; from `ranking_losses`' result."""
        names = self.logged_names()
        return when_known(
            lambda *values: self.loss_cls.balance(named_by_term(dict(zip(names, values, strict=True)))),
            *(losses[name] for name in names),
        )

    def box_weights(self, samples: Samples) -> Tensor:
        """Weights (P,) of the positives' box losses: detached highest class scores, or ones."""
        if not self.score_weighted:
            return samples.boxes.new_ones(len(samples.boxes))
        return samples.logits.detach()[samples.positives].float().sigmoid().amax(dim=1)
