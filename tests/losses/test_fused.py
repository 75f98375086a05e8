"""The Triton kernels in Triton's interpreter; `test_cuda.py` runs them where there is a GPU."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from brs_detr.losses import rank_sort_loss
from brs_detr.losses.exact import BreakPoints
from brs_detr.losses.grid import GridTables, grid_tables
from brs_detr.losses.step import SmoothedStep

from . import brute_force
from .problems import Case, as_if_large, as_if_large_on_a_gpu, assert_agree, average_precision, cases, make, rank_sort
from .test_interface import BAD

pytest.importorskip("triton", reason="Triton has no release for this platform")

# numpy, which interprets, warns where a GPU is silent: of a number too far off the grid
pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")

definition = settings.get_profile("definition")
kernels_are_slow_to_interpret = settings(definition, max_examples=definition.max_examples // 4)


@kernels_are_slow_to_interpret
@given(case=cases())
def test_kernels_give_the_definition(case: Case) -> None:
    with as_if_large_on_a_gpu():
        ours = rank_sort(case.logits, case.targets, delta=case.delta)
        ap = average_precision(case.logits, case.targets, delta=case.delta)
    assert_agree(ours, brute_force.rank_sort(case.logits, case.targets, case.delta))
    assert_agree(ap, brute_force.average_precision(case.logits, case.targets, case.delta))


@settings(definition, max_examples=definition.max_examples // 12)
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
    logits, targets = make(6, 300, 20_000, 50, "normal", "random")
    logits, tolerance = logits.to(dtype), 1e-12 if dtype == torch.float64 else 3e-6
    with as_if_large():
        expected = rank_sort(logits, targets, delta=delta)
    with as_if_large_on_a_gpu():
        ours = rank_sort(logits, targets, delta=delta)
    assert_agree(ours, expected, tolerance if dtype.itemsize > 2 else 1e-2)


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


def find_in_grid(grid: GridTables, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What the kernel searches: from how many thresholds lie in lower cells, to as many as lie up to its own."""
    last = grid.before.shape[1] - 2
    cell = ((x - grid.low) * grid.scale).clamp(0, last).long()
    return grid.before.gather(1, cell), grid.before.gather(1, cell + 1)


@pytest.mark.parametrize("spread", [1e-30, 1e-3, 1.0, 1e30])
def test_a_cell_bounds_the_bucket(spread: float) -> None:
    generator = torch.Generator().manual_seed(0)
    positives = (torch.randn(2, 50, generator=generator).double() * spread).sort().values
    thresholds = BreakPoints(positives, SmoothedStep(0.5), torch.float32).thresholds
    x = torch.cat([torch.randn(2, 500, generator=generator) * spread * 2, thresholds], dim=1)
    low, high = find_in_grid(grid_tables(thresholds), x)
    bucket = torch.searchsorted(thresholds, x, right=True)
    assert (low <= bucket).all()
    assert (bucket <= high).all()
    if spread == 1.0:
        assert (high - low).float().mean() < 2  # little is left to search


def test_kernels_compile_for_gpus(tmp_path: Path) -> None:
    script = Path(__file__).with_name("compile_kernels.py")
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | {"TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 20
