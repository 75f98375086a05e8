"""The Triton kernels in Triton's interpreter; `test_cuda.py` runs them where there is a GPU."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from brs_detr.losses import alrp_loss, backends, blocks, fused, named_terms, rank_sort_loss
from brs_detr.losses.exact import BreakPoints
from brs_detr.losses.fused import FusedBreakPoints
from brs_detr.losses.positives import Found, arrange
from brs_detr.losses.step import EPS, SmoothedStep

from . import brute_force
from .problems import (
    Case,
    as_if_large,
    as_if_large_on_a_gpu,
    assert_agree,
    average_precision,
    box_errors,
    cases,
    make,
    rank_sort,
)
from .test_interface import BAD

kernels = pytest.importorskip("brs_detr.losses.kernels", reason="Triton has no release for this platform")

# numpy, which interprets, warns where a GPU is silent: of a number too far off the grid
pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")

definition = settings.get_profile("definition")
kernels_are_slow_to_interpret = settings(definition, max_examples=definition.max_examples // 24)


@kernels_are_slow_to_interpret
@given(case=cases())
def test_kernels_give_the_definition(case: Case) -> None:
    with as_if_large_on_a_gpu():
        ours = rank_sort(case.logits, case.targets, delta=case.delta)
        ap = average_precision(case.logits, case.targets, delta=case.delta)
    assert_agree(ours, brute_force.rank_sort(case.logits, case.targets, case.delta))
    assert_agree(ap, brute_force.average_precision(case.logits, case.targets, case.delta))


@settings(definition, max_examples=definition.max_examples // 60)
@given(problems=st.lists(cases(), max_size=5))
def test_several_problems(problems: list[Case]) -> None:
    delta = problems[0].delta if problems else 0.5
    logits = [case.logits.clone().requires_grad_() for case in problems]
    with as_if_large_on_a_gpu():
        losses = rank_sort_loss([(x, case.targets) for x, case in zip(logits, problems, strict=True)], delta=delta)
        for x, case, pair in zip(logits, problems, losses, strict=True):
            gradients = [torch.autograd.grad(loss, x, retain_graph=True)[0].numpy() for loss in pair]
            expected = brute_force.rank_sort(case.logits, case.targets, delta)
            assert_agree((pair.ranking.item(), pair.sorting.item(), *gradients), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("delta", [0.0, 0.5])
def test_every_precision_agrees_with_torch(dtype: torch.dtype, delta: float) -> None:
    logits, targets = make(6, 100, 6_000, 30, "normal", "random")
    logits, tolerance = logits.to(dtype), 1e-12 if dtype == torch.float64 else 3e-6
    with as_if_large():
        expected = rank_sort(logits, targets, delta=delta)
    with as_if_large_on_a_gpu():
        ours = rank_sort(logits, targets, delta=delta)
    assert_agree(ours, expected, tolerance if dtype.itemsize > 2 else 1e-2)


@contextmanager
def in_small_tiles() -> Iterator[None]:
    """Kernels work on so few numbers at a time that a small problem takes many rounds of each loop."""

    def launch(name: str, programs: tuple[int, ...], *args: Any) -> None:
        kernel = getattr(kernels, name)
        kernel[programs](*args, **{constant: SMALL[constant] for constant in SMALL if constant in kernel.arg_names})

    with mock.patch.object(fused, "_launch", launch), mock.patch.multiple(kernels.compiling, **SMALL):
        yield


SMALL = dict(BLOCK=128, TILE=16, SCAN=2, ROWS=16, COLUMNS=16)


def terms_and_gradients(loss: Callable, problems: list[tuple]) -> list[np.ndarray]:
    problems = [(x.clone().requires_grad_(), *others) for x, *others in problems]
    terms = [term for each in loss(problems, delta=0.5) for term in named_terms(each).values()]
    gradients = torch.autograd.grad(sum(terms), [x for x, *_ in problems])
    return [values.detach().numpy() for values in (*terms, *gradients)]


@pytest.mark.parametrize("loss", [rank_sort_loss, alrp_loss])
def test_problems_of_many_tiles(loss: Callable) -> None:
    """And of more pairs of positives than kernels take, which leaves the rest to them."""
    problems = [make(k, 12 + 8 * k, 300, 20, "normal", "ties") for k in range(2)]
    problems = [(x, y, box_errors(y)) if loss is alrp_loss else (x, y) for x, y in problems]
    with as_if_large():
        expected = terms_and_gradients(loss, problems)
    with as_if_large_on_a_gpu(), mock.patch.object(backends, "failure", return_value=None):
        with in_small_tiles():
            assert_agree(terms_and_gradients(loss, problems), expected, 3e-6)
        with mock.patch.object(blocks, "CPU", blocks.GPU._replace(few_positive_pairs=-1)):
            assert_agree(terms_and_gradients(loss, problems), expected, 3e-6)


def test_what_counts_as_zero_is_one_number() -> None:
    assert kernels.pairs.EPS.value == EPS


def test_the_order_of_the_negatives_changes_no_bit() -> None:
    """Sums are integers, so that however the programs of a GPU interleave, the result is the same."""
    logits, targets = make(7, 40, 5000, 5, "normal", "random")
    order = torch.randperm(len(logits), generator=torch.Generator().manual_seed(0))
    with as_if_large_on_a_gpu():
        ranking, _, gradient, _ = rank_sort(logits, targets, delta=0.5)
        shuffled, _, gradient_shuffled, _ = rank_sort(logits[order], targets[order], delta=0.5)
    assert ranking == shuffled
    assert np.array_equal(gradient[order.numpy()], gradient_shuffled)


@pytest.mark.parametrize("sentence", BAD)
def test_bad_values_are_found(sentence: str) -> None:
    with as_if_large_on_a_gpu(), pytest.raises(ValueError, match=f"^{re.escape(sentence)}"):
        BAD[sentence]()


@pytest.mark.parametrize("spread", [1e-30, 1e-3, 1.0, 1e30])
def test_a_cell_bounds_the_bucket(spread: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(100, generator=generator).double() * spread
    found = Found(torch.stack([logits, torch.ones(100)]), torch.arange(100), [50, 50])
    positives = arrange(found, SmoothedStep(0.5))
    points = FusedBreakPoints(positives, SmoothedStep(0.5), torch.float32)
    expected = BreakPoints(positives.logits, positives.positions, SmoothedStep(0.5), torch.float32)
    assert torch.equal(points.thresholds, expected.thresholds)

    x = torch.cat([torch.randn(2, 500, generator=generator) * spread * 2, points.thresholds], dim=1)
    low, high = points.thresholds[:, :1], points.thresholds[:, -1:]
    last, limits = points.cells.shape[1] - 2, torch.finfo(torch.float32)
    scale = ((last + 1) / (high.double() - low.double())).clamp(limits.tiny, limits.max).float()
    cell = ((x - low) * scale).clamp(0, last).long()
    fewest, most = (points.cells.gather(1, cell + further) for further in (0, 1))  # what the kernel searches between
    bucket = torch.searchsorted(points.thresholds, x, right=True)
    assert (fewest <= bucket).all()
    assert (bucket <= most).all()
    if spread == 1.0:
        assert (most - fewest).float().mean() < 2  # little is left to search


def test_kernels_compile_for_gpus(tmp_path: Path) -> None:
    script = Path(__file__).with_name("compile_kernels.py")
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | {"TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 35
