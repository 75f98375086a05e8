"""What must hold of a ranking whatever its numbers, and that the methods train alike."""

import numpy as np
import pytest
import torch
from torch import nn

from brs_detr.losses import METHODS, rank_sort_loss

from .problems import assert_agree, average_precision, make, rank_sort


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("delta", [0.0, 0.5])
def test_shifting_all_logits_changes_nothing(method: str, delta: float) -> None:
    logits, targets = make(1, 30, 500, 5, "quantised", "random")
    settings = {"delta": delta, "method": method}
    assert_agree(rank_sort(logits + 64, targets, **settings), rank_sort(logits, targets, **settings), 1e-6)
    shifted = average_precision(logits - 64, targets, **settings)
    assert_agree(shifted, average_precision(logits, targets, **settings), 1e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("delta", [0.0, 0.5])
def test_order_of_samples_does_not_matter(method: str, delta: float) -> None:
    logits, targets = make(2, 30, 500, 5, "quantised", "ties")
    order = torch.randperm(len(logits), generator=torch.Generator().manual_seed(0))
    ranking, sorting, *gradients = rank_sort(logits, targets, delta=delta, method=method)
    expected = (ranking, sorting, *(g[order.numpy()] for g in gradients))
    assert_agree(rank_sort(logits[order], targets[order], delta=delta, method=method), expected, 1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_doubling_every_sample_keeps_the_loss(method: str) -> None:
    """At delta > 0 every rank doubles, and each of a pair of twins gets half the gradient."""
    logits, targets = make(3, 30, 500, 5, "normal", "random")
    ranking, sorting, *gradients = rank_sort(logits, targets, delta=0.5, method=method)
    expected = (ranking, sorting, *(np.tile(g / 2, 2) for g in gradients))
    assert_agree(rank_sort(logits.repeat(2), targets.repeat(2), delta=0.5, method=method), expected, 1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_ignored_and_hopeless_samples_do_not_matter(method: str) -> None:
    logits, targets = make(4, 30, 500, 0, "normal", "random")
    ranking, sorting, *gradients = rank_sort(logits, targets, delta=0.5, method=method)
    more_logits = torch.cat([logits, torch.tensor([9.0, -9.0]), logits.min() - torch.rand(400) - 1.0])
    more_targets = torch.cat([targets, torch.tensor([-1.0, -0.5]), torch.zeros(400)])
    expected = (ranking, sorting, *(np.pad(g, (0, 402)) for g in gradients))
    assert_agree(rank_sort(more_logits, more_targets, delta=0.5, method=method), expected, 1e-6)


def test_perfect_ranking_has_no_loss() -> None:
    logits = torch.tensor([9.0, 7.0, 5.0, 3.0, 1.0])
    targets = torch.tensor([0.9, 0.8, 0.7, 0.0, 0.0])
    for method in METHODS:
        assert all(np.all(v == 0) for v in rank_sort(logits, targets, delta=0.5, method=method))


def test_repeated_runs_are_identical() -> None:
    logits, targets = make(5, 700, 60_000, 5, "normal", "random")
    first, second = (rank_sort(logits, targets, delta=0.5) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def train(method: str, steps: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Loss curve and final weights of a small scorer learning to rank noisy samples by their IoU."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2000, 8, generator=generator, dtype=torch.float64)
    hidden = features @ torch.randn(8, generator=generator, dtype=torch.float64)
    targets = torch.where(hidden > hidden.quantile(0.97), torch.rand(2000, generator=generator, dtype=torch.float64), 0)
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1)).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3, generator=generator)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    curve = []
    for _ in range(steps):
        ranking, sorting = rank_sort_loss(model(features)[:, 0], targets, delta=0.5, method=method)
        optimizer.zero_grad()
        (ranking + sorting).backward()
        optimizer.step()
        curve.append([ranking.item(), sorting.item()])
    return np.array(curve), nn.utils.parameters_to_vector(model.parameters()).detach().numpy()


def test_training_with_exact_is_training_with_pairwise() -> None:
    curve, weights = train("exact")
    reference_curve, reference_weights = train("pairwise")
    np.testing.assert_allclose(curve, reference_curve, atol=1e-9)
    np.testing.assert_allclose(weights, reference_weights, atol=1e-8)
    assert curve[-1, 0] < 0.5 * curve[0, 0]
