"""Weighing box losses against ranking losses."""

import pytest
import torch

from brs_detr.losses import self_balanced, weighted_mean


def test_weighted_mean() -> None:
    values = torch.tensor([1.0, 2.0, 6.0], requires_grad=True)
    mean = weighted_mean(values, torch.tensor([1.0, 0.0, 3.0]))
    assert mean == (1 + 18) / 4
    assert torch.autograd.grad(mean, values)[0].tolist() == [0.25, 0.0, 0.75]


def test_weighted_mean_of_nothing_keeps_the_graph() -> None:
    for values, weights in [(torch.zeros(0), torch.zeros(0)), (torch.ones(2), torch.zeros(2))]:
        values.requires_grad_()
        mean = weighted_mean(values, weights)
        assert mean == 0
        assert torch.autograd.grad(mean, values)[0].count_nonzero() == 0


def test_balanced_loss_has_the_ranking_losss_size_and_the_box_losss_gradient() -> None:
    boxes = torch.tensor([0.5, 1.5], requires_grad=True)
    ranking = torch.tensor(0.8, requires_grad=True)
    balanced = self_balanced(boxes.sum(), ranking)
    torch.testing.assert_close(balanced, ranking)
    of_boxes, of_ranking = torch.autograd.grad(balanced, [boxes, ranking], allow_unused=True)
    torch.testing.assert_close(of_boxes, torch.tensor([0.4, 0.4]))
    assert of_ranking is None


def test_a_box_loss_of_rounding_does_not_outweigh_all_others() -> None:
    def gradient(size: float) -> float:
        box = torch.tensor(size, requires_grad=True)
        return float(torch.autograd.grad(self_balanced(box, torch.tensor(2.0)), box)[0])

    assert [round(gradient(size)) for size in (0.0, 1e-7, 1e-3, 2e-3)] == [2000, 2000, 2000, 1000]
    assert self_balanced(torch.tensor(1e-7), torch.tensor(2.0)) == pytest.approx(2e-4)


def test_balancing_is_finite_without_a_box_loss() -> None:
    for size in (0.0, 1e-42):
        box = torch.tensor(size, requires_grad=True)
        balanced = self_balanced(box, torch.tensor(0.8))
        balanced.backward()
        assert balanced.isfinite()
        assert box.grad is not None
        assert box.grad.isfinite()
    assert self_balanced(torch.zeros(0).sum(), torch.tensor(0.0)) == 0
