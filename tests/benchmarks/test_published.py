"""What the benchmarks compare with computes the same losses."""

import numpy as np
import torch

from benchmarks.published import loop_over_buckets, loop_over_positives
from tests.losses import brute_force
from tests.losses.problems import make, rank_sort


def assert_same(ours: tuple[torch.Tensor, ...], expected: tuple[np.ndarray, ...]) -> None:
    ranking, sorting, gradient = (value.double().numpy() for value in ours)
    np.testing.assert_allclose(ranking, expected[0], rtol=1e-5)
    np.testing.assert_allclose(sorting, expected[1], rtol=1e-4)
    of_both = expected[2] + expected[3]
    np.testing.assert_allclose(gradient, of_both, atol=1e-5 * np.abs(of_both).max())


def test_loop_over_positives_is_the_definition() -> None:
    logits, targets = make(0, 30, 3000, 5, "normal", "random")
    assert_same(loop_over_positives(logits, targets, 0.5), brute_force.rank_sort(logits.numpy(), targets.numpy(), 0.5))


def test_loop_over_buckets_is_the_bucketed_method() -> None:
    logits, targets = make(0, 30, 3000, 5, "normal", "random")
    assert_same(loop_over_buckets(logits, targets, 0.5), rank_sort(logits, targets, delta=0.5, method="bucketed"))
