"""The losses against a plain float64 evaluation of their definition."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from brs_detr.losses import METHODS, rank_sort_loss

from . import brute_force
from .problems import (
    DEFINING,
    Case,
    alrp,
    as_if_large,
    assert_agree,
    average_precision,
    box_errors,
    cases,
    make,
    rank_sort,
)

compare = settings(settings.get_profile("definition"))


@compare
@given(case=cases())
def test_rank_sort_is_the_definition(case: Case) -> None:
    expected = brute_force.rank_sort(case.logits, case.targets, case.delta)
    for method in DEFINING:
        assert_agree(rank_sort(case.logits, case.targets, delta=case.delta, method=method), expected)
    with as_if_large():
        assert_agree(rank_sort(case.logits, case.targets, delta=case.delta), expected)


@compare
@given(case=cases())
def test_ap_is_the_definition(case: Case) -> None:
    for interpolated in (True, False):
        expected = brute_force.average_precision(case.logits, case.targets, case.delta, interpolated)
        for method in DEFINING:
            ours = average_precision(
                case.logits, case.targets, delta=case.delta, method=method, interpolated=interpolated
            )
            assert_agree(ours, expected)
        with as_if_large():
            ours = average_precision(case.logits, case.targets, delta=case.delta, interpolated=interpolated)
            assert_agree(ours, expected)


@compare
@given(case=cases())
def test_alrp_is_the_definition(case: Case) -> None:
    errors = box_errors(case.targets)
    expected = brute_force.alrp(case.logits, case.targets, errors, case.delta)
    for method in DEFINING:
        assert_agree(alrp(case.logits, case.targets, errors, delta=case.delta, method=method), expected)
    with as_if_large():
        assert_agree(alrp(case.logits, case.targets, errors, delta=case.delta), expected)


@compare
@given(problems=st.lists(cases(), max_size=5))
def test_several_problems_are_the_definition(problems: list[Case]) -> None:
    delta = problems[0].delta if problems else 0.5
    logits = [case.logits.clone().requires_grad_() for case in problems]
    with as_if_large():
        losses = rank_sort_loss([(x, case.targets) for x, case in zip(logits, problems, strict=True)], delta=delta)
        for x, case, pair in zip(logits, problems, losses, strict=True):
            gradients = [torch.autograd.grad(loss, x, retain_graph=True)[0].numpy() for loss in pair]
            expected = brute_force.rank_sort(case.logits, case.targets, delta)
            assert_agree((pair.ranking.item(), pair.sorting.item(), *gradients), expected)


@compare
@given(case=cases())
def test_bucketed_is_exact_without_a_ramp(case: Case) -> None:
    """Theorem 4.1 of the bucketed losses, with ties counted as the definition says."""
    expected = brute_force.rank_sort(case.logits, case.targets, 0)
    assert_agree(rank_sort(case.logits, case.targets, delta=0, method="bucketed"), expected)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("delta", [0.0, 0.5])
def test_larger_problems(method: str, delta: float) -> None:
    logits, targets = make(1, 300, 20_000, 50, "normal", "random")
    expected = brute_force.rank_sort(logits, targets, delta)
    tolerance = 0.1 if method == "bucketed" and delta > 0 else 1e-5
    assert_agree(rank_sort(logits, targets, delta=delta, method=method), expected, tolerance)
    errors = box_errors(targets)
    expected = brute_force.alrp(logits, targets, errors, delta)
    assert_agree(alrp(logits, targets, errors, delta=delta, method=method), expected, tolerance)


def test_buckets_are_approximate_with_a_ramp() -> None:
    """The reason for the exact method: few positives, and a bucket's mean is a poor stand-in for its
    members."""
    logits, targets = make(2, 5, 40, 0, "normal", "random")
    expected = brute_force.rank_sort(logits, targets, 0.5)[2]
    error = {
        method: np.abs(rank_sort(logits, targets, delta=0.5, method=method)[2] - expected).max()
        for method in ("bucketed", "exact")
    }
    assert error["bucketed"] > 0.01 * np.abs(expected).max()
    assert error["exact"] < 1e-6 * np.abs(expected).max()


@pytest.mark.parametrize("delta", [0.0, 0.01, 0.5, 1.0])
@pytest.mark.parametrize(("positives", "negatives"), [(30, 100_000), (800, 20_000), (2, 300_000)])
def test_error_budget(positives: int, negatives: int, delta: float) -> None:
    """The quick evaluation errs no more than the naive one in the same precision."""
    logits, targets = make(3, positives, negatives, 0, "normal", "random")
    truth = rank_sort(logits.double(), targets.double(), delta=delta, method="pairwise")
    naive = rank_sort(logits, targets, delta=delta, method="pairwise")
    quick = rank_sort(logits, targets, delta=delta, method="exact")
    for exact, slow, fast in zip(truth, naive, quick, strict=True):
        scale = np.abs(exact).max()
        assert np.abs(fast - exact).max() <= np.abs(slow - exact).max() + 3e-7 * scale


@pytest.mark.parametrize("delta", [0.1, 0.3, 0.5, 1 / 3])
@pytest.mark.parametrize("method", DEFINING)
def test_double_precision_is_kept(method: str, delta: float) -> None:
    """Also where delta is no float32."""
    logits, targets = make(4, 40, 3000, 5, "normal", "random")
    logits, targets = logits.double() + 1e-9 * torch.arange(len(logits)), targets.double()
    expected = brute_force.rank_sort(logits, targets, delta)
    assert_agree(rank_sort(logits, targets, delta=delta, method=method), expected, 1e-12)
    with as_if_large():
        assert_agree(rank_sort(logits, targets, delta=delta, method=method), expected, 1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("method", METHODS)
def test_half_precision_is_computed_in_single(dtype: torch.dtype, method: str) -> None:
    logits, targets = make(5, 40, 3000, 5, "normal", "random")
    logits, half = logits.to(dtype).float(), logits.to(dtype)
    full = rank_sort(logits, targets, delta=0.5, method=method)
    ours = rank_sort(half, targets, delta=0.5, method=method)
    assert abs(ours[0] - full[0]) < 1e-6
    np.testing.assert_allclose(ours[2], torch.from_numpy(full[2]).to(dtype).double().numpy(), rtol=1e-2, atol=1e-7)
