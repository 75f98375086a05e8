"""CUDA, even where there is none: tensors without data take the same way through the code, and whatever
would have to wait for the device raises."""

import multiprocessing
import os
from collections.abc import Callable
from contextlib import ExitStack
from inspect import signature
from unittest import mock

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from brs_detr.losses import alrp_loss, ap_loss, gathering, named_terms, rank_sort_loss, solving, step
from brs_detr.losses.problems import FIELDS

from .problems import as_if_large


def losses_on_fake_cuda(batch: int, loss: Callable) -> tuple[list[int], tuple[torch.Tensor | None, ...]]:
    """The reads by the host, and the gradients of logits and localisation errors."""
    reads = []

    def read(statistics: list[torch.Tensor]) -> list[list[list[float]]]:
        reads.append(len(statistics))
        return [[[-1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 5.0] for _ in found] for found in statistics]

    with FakeTensorMode(), mock.patch.object(gathering, "_read", read):
        logits, *others = (torch.empty(batch, 1000, device="cuda") for _ in signature(loss).parameters if _ in FIELDS)
        terms = named_terms(loss(logits.requires_grad_(), *others)[0])
        node = next(iter(terms.values())).grad_fn.next_functions[0][0]
        return reads, solving.RankingFunction.backward(node, torch.ones(len(terms) * batch, device="cuda"))


@pytest.mark.parametrize("loss", [rank_sort_loss, ap_loss, alrp_loss])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("way", ["small", "torch", "kernels"])
def test_the_host_reads_once(batch: int, way: str, loss: Callable) -> None:
    with ExitStack() as stack:
        if way != "small":
            stack.enter_context(as_if_large())
        if way == "kernels":
            kernels = pytest.importorskip("brs_detr.losses.kernels", reason="Triton has no release for this platform")
            stack.enter_context(mock.patch.object(solving, "use_kernels", return_value=True))
            stack.enter_context(mock.patch.object(torch.cuda, "device_of"))
            stack.enter_context(mock.patch.multiple(kernels, **{name: mock.MagicMock() for name in kernels.NAMES}))
        reads, gradients = losses_on_fake_cuda(batch, loss)
    assert reads == [1]
    assert gradients[0].shape == (batch, 1000)
    assert gradients[0].device.type == "cuda"


def test_a_second_read_would_be_noticed() -> None:
    with FakeTensorMode(), pytest.raises(DataDependentOutputException):
        torch.empty(3, device="cuda").sum().item()


def test_deterministic_sums_are_cumulative_sums() -> None:
    values = torch.rand(3, 37, dtype=torch.float64)
    torch.testing.assert_close(step.sum_by_doubling(values), values.cumsum(-1))
    torch.testing.assert_close(step.sum_by_doubling(values[:, :1]), values[:, :1])


def results_on(devices: tuple[str, ...]) -> list[list[np.ndarray]]:
    """Values and gradient of a large problem, computed on each device in turn."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(200_000, generator=generator)
    targets = torch.where(torch.rand(200_000, generator=generator) < 0.01, torch.rand(200_000, generator=generator), 0)
    results = []
    torch.use_deterministic_algorithms(True)
    for device in devices:
        x = logits.detach().to(device).requires_grad_()
        ranking, sorting = rank_sort_loss(x, targets.to(device))
        values = ranking, sorting, *torch.autograd.grad(ranking + sorting, x)
        results.append([value.detach().cpu().numpy() for value in values])
    return results


def in_a_new_process(devices: tuple[str, ...]) -> list[list[np.ndarray]]:
    """Where kernels are not interpreted."""
    with mock.patch.dict(os.environ):
        del os.environ["TRITON_INTERPRET"]
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            return pool.apply(results_on, (devices,))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_cuda_agrees_with_the_cpu_and_repeats_itself() -> None:
    for expected, first, second in zip(*in_a_new_process(("cpu", "cuda", "cuda")), strict=True):
        np.testing.assert_allclose(first, expected, rtol=1e-5, atol=1e-9)
        assert np.array_equal(first, second)
