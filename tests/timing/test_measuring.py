"""The methods solve the same problems, and what is measured of them is right."""

import time

import pytest
import torch
from mmdet.models.losses import FocalLoss
from torch import Tensor

from brs_detr.losses import APLoss, RankSortLosses
from brs_detr.timing.calls import PlainCall
from brs_detr.timing.measuring import Effort, measure
from brs_detr.timing.memory import peak_memory
from brs_detr.timing.methods import (
    METHODS,
    RANKING_METHODS,
    Cell,
    focal_loss,
    plain_cell,
    ranking_cells,
    with_method,
)
from brs_detr.timing.synchronisations import count_synchronisations
from tests.timing.examples import ranking_call

CPU = torch.device("cpu")


def values(losses: list[RankSortLosses]) -> Tensor:
    return torch.stack([torch.stack(pair) for pair in losses])


@pytest.mark.parametrize(("delta", "methods"), [(0.0, RANKING_METHODS), (0.5, ("exact", "pairwise"))])
def test_ranking_methods_agree(delta: float, methods: tuple[str, ...]) -> None:
    call = ranking_call(delta=delta)
    for method in methods:
        *alone, together = ranking_cells(call, method)
        expected = values(call.loss([(p.logits, p.targets) for p in call.problems]))
        torch.testing.assert_close(values([cell.run(cell.inputs) for cell in alone]), expected)
        torch.testing.assert_close(values(together.run(together.inputs)), expected)


def test_delta_can_be_changed() -> None:
    first, *_ = ranking_cells(ranking_call(), "exact", delta=0.0)
    expected, *_ = ranking_cells(ranking_call(delta=0.0), "exact")
    assert torch.equal(*(values([cell.run(cell.inputs)]) for cell in (first, expected)))


def test_ap_loss_keeps_its_settings() -> None:
    changed = with_method(APLoss(delta=0.7, interpolated=False, loss_weight=3.0), "pairwise")
    assert (changed.delta, changed.method, changed.interpolated, changed.loss_weight) == (0.7, "pairwise", False, 3.0)


@pytest.mark.parametrize("method", METHODS)
def test_what_training_calls_counts(method: str) -> None:
    assert [cell.called for cell in ranking_cells(ranking_call(2), method)] == [False, False, True]
    assert [cell.called for cell in ranking_cells(ranking_call(1), method)] == [True]


def test_focal_loss_is_that_of_mmdet() -> None:
    logits, labels = torch.randn(30, 4), torch.randint(0, 5, (30,))
    weight = (torch.arange(30) > 3).float()
    expected = FocalLoss()(logits, labels, weight, avg_factor=((labels < 4) & (weight > 0)).sum())
    targets = torch.nn.functional.one_hot(labels, 5)[:, :4].float().masked_fill(weight[:, None] == 0, -1)
    torch.testing.assert_close(focal_loss(logits.flatten(), targets.flatten()), expected)


def test_a_plain_call_is_repeated_as_it_was() -> None:
    loss, logits, labels = FocalLoss(), torch.randn(6, 3, requires_grad=True), torch.tensor([0, 1, 2, 3, 3, 3])
    cell = plain_cell(PlainCall("head", "level 0", loss, (logits, labels), dict(avg_factor=3)))
    assert (cell.method, cell.positives, cell.negatives) == ("FocalLoss", 3, 15)
    assert torch.equal(cell.run(cell.inputs), loss(logits, labels, avg_factor=3))
    measure(cell, Effort(3, 0.0))
    assert logits.grad is None


class Sleep(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, logits: Tensor) -> Tensor:
        time.sleep(0.01)
        return logits.sum()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        time.sleep(0.02)
        return gradient.expand(10)


def slow_cell() -> Cell:
    return Cell("head", "layer", "exact", 1, 9, [torch.zeros(10)], lambda x: Sleep.apply(x[0]), called=True)


def test_forward_and_backward_apart() -> None:
    measured = measure(slow_cell(), Effort(5, 10.0))
    assert 10 <= measured.forward.p20 <= measured.forward.p50 <= measured.forward.p80
    assert measured.backward.p50 >= 20
    assert measured.forward.p50 < measured.backward.p50
    assert measured.repeats == 5


def test_slow_cells_are_repeated_less() -> None:
    assert measure(slow_cell(), Effort(50, 0.0)).repeats == 3
    assert 3 < measure(slow_cell(), Effort(50, 0.3)).repeats < 50


def test_memory_is_the_most_at_any_time() -> None:
    x = torch.zeros(1000)

    def run() -> None:
        x.view(10, 100).add_(1)  # none
        first = x + 1
        del first
        (x + 2).add_(x * 3)  # two tensors of 4,000 bytes

    assert peak_memory(run, CPU) == 8000
    x.requires_grad_()
    assert 8000 <= peak_memory(lambda: torch.autograd.grad(x.exp().sum(), x), CPU) < 8200  # result and gradient


def test_synchronisations() -> None:
    x = torch.arange(4.0)
    assert count_synchronisations(lambda: x.exp().sum() + x[1:], CPU) == 0
    assert count_synchronisations(lambda: (x.sum().item(), x.tolist(), float(x[0]), bool(x[1] > 0)), CPU) == 4
    assert count_synchronisations(lambda: (x[x > 1], torch.nonzero(x), x.nonzero()), CPU) == 3


def test_synchronisations_of_the_backward_pass() -> None:
    class Reads(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: object, gradient: Tensor) -> Tensor:
            return gradient * gradient[0].item()

    x = torch.ones(2, requires_grad=True)
    assert count_synchronisations(lambda: Reads.apply(x).sum().backward(), CPU) == 1
