"""Targets and box weights that all ranking heads share."""

import torch

from brs_detr.heads.ranking import (
    RankingMixin,
    Samples,
    logged_terms,
    named_by_term,
    positive_indices,
    ranking_targets,
)
from brs_detr.losses import MIN_IOU, APLoss, RankSortLoss


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
