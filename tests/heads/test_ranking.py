"""Targets and box weights that all ranking heads share."""

import pytest
import torch
from mmdet.models.losses import GIoULoss

from brs_detr.heads import AlrpLoss
from brs_detr.heads.ranking import (
    RankingMixin,
    Samples,
    logged_terms,
    named_by_term,
    positive_indices,
    ranking_targets,
)
from brs_detr.losses import MIN_IOU, APLoss, RankSortLoss, alrp_loss


def make_samples() -> Samples:
    """Five samples, three classes: a perfect box, a half box, a miss; one background, one ignored."""
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 5, 5]])
    targets = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5], [20.0, 20, 30, 30]])
    labels = torch.tensor([2, 3, 0, 1, 3])
    weights = torch.tensor([1.0, 1, 1, 1, 0])
    return Samples(torch.randn(5, 3), labels, weights, positive_indices(labels, 3), boxes, targets)


def test_targets_are_ious_at_the_positive_class() -> None:
    expected = torch.zeros(5, 3)
    expected[0, 2], expected[2, 0], expected[3, 1] = 1.0, 0.5, MIN_IOU
    expected[4] = -1
    torch.testing.assert_close(ranking_targets(make_samples()), expected)


def test_a_positive_that_misses_its_object_stays_positive() -> None:
    assert (ranking_targets(make_samples()) > 0).sum() == 3
    assert (ranking_targets(make_samples(), zero_iou_is_negative=True) > 0).sum() == 2


def test_targets_carry_no_gradient() -> None:
    samples = make_samples()
    samples.boxes.requires_grad_()
    assert not ranking_targets(samples).requires_grad


def test_bf16_logits_keep_float32_ious() -> None:
    samples = make_samples()._replace(logits=torch.randn(5, 3).bfloat16())
    assert ranking_targets(samples).dtype == torch.float32


def test_box_weights_are_highest_class_scores() -> None:
    samples = make_samples()
    mixin = RankingMixin()
    torch.testing.assert_close(mixin.box_weights(samples), samples.logits[[0, 2, 3]].sigmoid().max(1).values)
    mixin.score_weighted = False
    assert torch.equal(mixin.box_weights(samples), torch.ones(3))


def test_terms_are_logged_by_short_names() -> None:
    terms = {name: torch.tensor(1.0) for name in ("ranking", "sorting", "localisation")}
    assert list(logged_terms(terms)) == ["loss_rank", "loss_sort", "loss_localisation"]
    assert named_by_term(logged_terms(terms)) == terms


def test_what_masks_are_balanced_to() -> None:
    """The sum of Rank & Sort's terms, whatever else a head logs; nothing beside AP Loss."""
    mixin = RankingMixin()
    losses = {"loss_rank": torch.tensor(0.5), "loss_sort": torch.tensor(0.25), "loss_bbox": torch.tensor(9.0)}
    losses["bbox_unscaled"] = torch.tensor(7.0)
    mixin.loss_cls = RankSortLoss()
    assert float(mixin.balance_of(losses)) == 0.75
    mixin.loss_cls = APLoss()
    del losses["loss_sort"]
    assert mixin.balance_of(losses) is None


def test_alrp_weighs_boxes_by_rank() -> None:
    """Its second term is the box loss, balanced to the sum of both; only boxes get its gradient."""
    samples = make_samples()
    samples.boxes.requires_grad_()
    samples.logits.requires_grad_()
    mixin = RankingMixin()
    mixin.loss_cls, mixin.loss_bbox = AlrpLoss(), GIoULoss(loss_weight=0.5)
    losses = mixin.ranking_losses(samples)

    errors = torch.zeros(5, 3)
    errors[[0, 2, 3], [2, 0, 1]] = mixin.loss_bbox(samples.boxes, samples.box_targets, reduction_override="none")
    assert 0 <= errors.min() <= errors.max() <= 1
    expected = alrp_loss(samples.logits.flatten(), ranking_targets(samples).flatten(), errors.flatten())
    torch.testing.assert_close(losses["loss_classification"], expected.classification)
    torch.testing.assert_close(losses["bbox_unscaled"], expected.localisation.detach())
    torch.testing.assert_close(losses["loss_bbox"], expected.classification + expected.localisation)
    losses["loss_bbox"].backward()
    assert samples.boxes.grad.count_nonzero() > 0
    assert samples.logits.grad is None or samples.logits.grad.count_nonzero() == 0


def test_alrp_is_refused_by_heads_that_pass_no_box_errors() -> None:
    with pytest.raises(TypeError, match="AlrpLoss needs box errors"):
        AlrpLoss()(torch.randn(5, 3), torch.tensor([2, 3, 0, 1, 3]), avg_factor=3.0)
