"""The ranking losses as mmdet knows losses: registered, and with the contract its heads ask of `loss_cls`."""

from typing import Any

import torch
from mmdet.models.losses import QualityFocalLoss, accuracy
from mmdet.registry import MODELS
from torch import Tensor, nn

from brs_detr import losses

from .ranking import positive_indices

LOGIT_EPS = 1e-6  # scores are cut to [eps, 1 - eps] before they are turned back into logits


def class_targets(labels: Tensor, scores: Tensor, num_classes: int) -> Tensor:
    """Targets (N, classes): a positive's score (an IoU, at least `MIN_IOU`) at its label, 0 elsewhere.

    labels: (N,), outside 0 .. classes - 1 is background; scores: (N,).
    """
    positives = positive_indices(labels, num_classes)
    targets = scores.new_zeros(len(labels), num_classes, dtype=torch.float32)
    targets[positives, labels[positives]] = losses.positive_targets(scores[positives].float())
    return targets


class RankingClassLoss(nn.Module):
    """What mmdet's heads expect of a classification loss that knows IoUs: the contract of `QualityFocalLoss`.

    One sigmoid logit a class, no background class. Mixed into a ranking loss and `QualityFocalLoss`, which is
    there by name only, because the DETR heads of mmdet hand IoUs to nothing else. The project's own heads call
    it with logits and targets of equal shape, and get what `brs_detr.losses` returns.

    activated: stock heads such as TOOD's hand over scores instead of logits, which are turned back.
    """

    custom_cls_channels = True
    custom_activation = True  # Cascade R-CNN takes the last of the logits for the background's elsewhere
    needs_ious = True
    needs_localisation: bool

    def __init__(self, *args: Any, use_sigmoid: bool = True, activated: bool = False, **kwargs: Any) -> None:
        if not use_sigmoid:
            raise ValueError(f"{type(self).__name__} ranks sigmoid logits: use_sigmoid=False is not possible")
        super().__init__(*args, **kwargs)
        self.use_sigmoid, self.activated = True, activated

    def forward(
        self,
        logits: Any,
        targets: Any = None,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
        **own: Any,
    ) -> Any:
        """A head of mmdet passes an `avg_factor` or pairs, and gets one scalar: the sum of the loss's terms.

        Args:
            logits: (N, classes).
            targets: (labels (N,), IoUs (N,)) or IoUs at the class (N, classes); labels (N,) for a loss that
                needs no IoUs.
            weight: (N,), 0 is ignored. Other weights are not used: a rank has no parts.
            avg_factor: not used: a ranking loss is a mean over its own positives already.

        Raises:
            TypeError: the head passes no IoUs, or wants a loss for each sample; or `sync` is on: it may leave out its
                loss where a process has no objects, and the others would wait.
        """
        if avg_factor is None and not isinstance(targets, tuple):
            return super().forward(logits, targets, **own)
        if self.needs_localisation:
            raise TypeError(f"{type(self).__name__} needs box errors, which this head has not: use a ranking head")
        if self.group is not None:
            raise TypeError(f"{type(self).__name__} ranks over processes (sync=True) in ranking heads only")
        if reduction_override not in (None, "mean"):
            raise TypeError(f"{type(self).__name__} has no loss for each sample, as this head asks: use another head")
        if self.activated:
            logits = logits.float().logit(LOGIT_EPS)
        targets = self._targets(logits, targets)
        if weight is not None:
            targets = targets.masked_fill(weight.reshape(-1, 1) == 0, -1.0)
        terms = losses.named_terms(super().forward(logits.flatten(), targets.flatten(), **own))
        return torch.stack(list(terms.values())).sum()

    def _targets(self, logits: Tensor, targets: Tensor | tuple[Tensor, Tensor]) -> Tensor:
        if isinstance(targets, tuple):
            return class_targets(*targets, logits.shape[1])
        if targets.shape == logits.shape:
            return targets
        if self.needs_ious:
            raise TypeError(f"{type(self).__name__} sorts by IoU, but this head passes labels only: use APLoss")
        return class_targets(targets, torch.ones_like(targets, dtype=torch.float32), logits.shape[1])

    def get_cls_channels(self, num_classes: int) -> int:
        return num_classes

    def get_activation(self, logits: Tensor) -> Tensor:
        """Scores (N, classes + 1) of logits (N, classes): mmdet drops the last column, the background's."""
        return torch.cat([logits.sigmoid(), torch.zeros_like(logits[:, :1])], dim=1)

    def get_accuracy(self, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """What mmdet's own losses log of logits (N, classes) and labels (N,)."""
        return {"acc": accuracy(logits, labels)}


@MODELS.register_module()
class RankSortLoss(RankingClassLoss, losses.RankSortLoss, QualityFocalLoss):  # type: ignore[misc]  # weight is third
    """`brs_detr.losses.RankSortLoss` for mmdet's registry and heads."""


@MODELS.register_module()
class APLoss(RankingClassLoss, losses.APLoss, QualityFocalLoss):  # type: ignore[misc]
    """`brs_detr.losses.APLoss` for mmdet's registry and heads."""

    needs_ious = False


@MODELS.register_module()
class AlrpLoss(RankingClassLoss, losses.AlrpLoss, QualityFocalLoss):  # type: ignore[misc]
    """`brs_detr.losses.AlrpLoss` for mmdet's registry and the ranking heads: it needs their box errors.

    Give the head's GIoU loss the weight 0.5, so that errors are normalised: (1 - GIoU) / 2.
    """
