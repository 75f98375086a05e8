"""ATSS, trained by ranking; and the ATSS heads of Co-DETR, which also hand their anchors on as queries."""

from typing import Any

import torch
from mmdet.models import ATSSHead
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from torch import Tensor, nn

from .anchor_ranking import AnchorRankingMixin
from .auxiliary import AuxiliarySamples


@MODELS.register_module()
class RankingATSSHead(AnchorRankingMixin, ATSSHead):
    """ATSS without its centerness branch: a ranking loss needs no second score to order the boxes."""

    ranking_name = "ATSS head"

    def _init_layers(self) -> None:
        super()._init_layers()
        del self.atss_centerness

    def forward_single(self, x: Tensor, scale: nn.Module) -> tuple[Tensor, Tensor]:
        """Class logits (N, anchors * classes, H, W) and box deltas (N, anchors * 4, H, W) of one level."""
        cls_feat = reg_feat = x
        for cls_conv, reg_conv in zip(self.cls_convs, self.reg_convs, strict=True):
            cls_feat, reg_feat = cls_conv(cls_feat), reg_conv(reg_feat)
        return self.atss_cls(cls_feat), scale(self.atss_reg(reg_feat)).float()


class CoATSSMixin(ATSSHead):
    """Returns the assigned anchors of a training step beside its losses."""

    def loss_and_samples(
        self, x: tuple[Tensor, ...], batch_data_samples: SampleList
    ) -> tuple[dict[str, Tensor], list[AuxiliarySamples]]:
        """Losses, and one `AuxiliarySamples` an image, whose features are those of the maps at each anchor."""
        self._assigned: list[tuple] = []
        losses = self.loss(x, batch_data_samples)
        anchors_per_location = self.prior_generator.num_base_priors[0]
        feats = torch.cat([level.flatten(2) for level in x], dim=2).transpose(1, 2)
        feats = feats.repeat_interleave(anchors_per_location, dim=1)
        return losses, [
            AuxiliarySamples(anchors, labels, targets, weights, image_feats)
            for (anchors, labels, weights, targets), image_feats in zip(self._assigned, feats, strict=True)
        ]

    def _get_targets_single(self, *args: Any, **kwargs: Any) -> tuple:
        targets = super()._get_targets_single(*args, **kwargs)
        self._assigned.append(targets[:4])
        return targets


@MODELS.register_module()
class CoATSSHead(CoATSSMixin):
    """mmdet's ATSS head as an auxiliary head of Co-DETR."""


@MODELS.register_module()
class RankingCoATSSHead(CoATSSMixin, RankingATSSHead):
    """The ranking ATSS head as an auxiliary head of BRS-DETR."""
