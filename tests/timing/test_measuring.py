"""The methods solve the same problems, and what is measured of them is right."""

import time
from functools import partial

import pytest
import torch
from mmdet.models.losses import FocalLoss
from torch import Tensor

from brs_detr.losses import METHODS as RANKING_METHODS
from brs_detr.losses import AlrpLoss, APLoss, RankSortLosses
from brs_detr.timing.counting import count_synchronisations, peak_memory
from brs_detr.timing.measuring import Effort, Measurement, Times, measure, race
from brs_detr.timing.recording import METHODS, Case, Problem, RankingCall, Replay, focal_loss, recorded
from tests.timing.examples import ranking_call

CPU = torch.device("cpu")


def values(losses: list[tuple[Tensor, ...]]) -> Tensor:
    return torch.stack([torch.stack(pair) for pair in losses])


def run(case: Case) -> RankSortLosses:
    return case.replay(case.replay.inputs)


@pytest.mark.parametrize(("delta", "methods"), [(0.0, RANKING_METHODS), (0.5, ("exact", "pairwise"))])
def test_ranking_methods_agree(delta: float, methods: tuple[str, ...]) -> None:
    call = ranking_call(delta=delta)
    expected = values(call.loss([problem.tensors for problem in call.problems]))
    for method in methods:
        *alone, together = call.cases([method])
        torch.testing.assert_close(values([run(case) for case in alone]), expected)
        torch.testing.assert_close(values(run(together)), expected)


def test_delta_can_be_changed() -> None:
    first, *_ = ranking_call().cases(["exact"], delta=0.0)
    expected, *_ = ranking_call(delta=0.0).cases(["exact"])
    assert torch.equal(*(values([run(case)]) for case in (first, expected)))


def test_ap_loss_keeps_its_settings() -> None:
    problem = ranking_call(1).problems[0]
    loss = APLoss(delta=0.7, interpolated=False, loss_weight=3.0)
    (case,) = RankingCall("head", loss, [problem], together=False).cases(["pairwise"])
    torch.testing.assert_close(run(case), loss(*problem.tensors))


@pytest.mark.parametrize("method", METHODS)
def test_what_training_calls_counts(method: str) -> None:
    assert [case.called for case in ranking_call(2).cases([method])] == [False, False, True]
    assert [case.called for case in ranking_call(1).cases([method])] == [True]


class Heads(torch.nn.Module):
    """Two problems of a loss that needs localisation: alone, and together."""

    def __init__(self) -> None:
        super().__init__()
        self.loss_cls = AlrpLoss(loss_weight=2.0)

    def forward(self, problems: list[Problem]) -> None:
        alone = [self.loss_cls(*problem.tensors) for problem in problems]
        assert values(alone).isfinite().all()
        self.loss_cls([problem.tensors for problem in problems], name=["first", "second"])


def test_a_loss_that_needs_localisation() -> None:
    """Recorded by its base class alone, and its box errors get a gradient when it runs again."""
    problems = [
        Problem(problem.layer, (*problem.tensors, torch.rand(500).requires_grad_()))
        for problem in ranking_call(2).problems
    ]
    model = Heads()
    expected = values([model.loss_cls(*problem.tensors) for problem in problems])
    with recorded(model, {"": model.loss_cls}) as calls:
        model(problems)
    assert [[problem.layer for problem in call.problems] for call in calls] == [
        ["call 1"],
        ["call 2"],
        ["first", "second"],
    ]
    *alone, together = (case for call in calls for case in call.cases(["exact"]) if case.called)
    torch.testing.assert_close(values([run(case) for case in alone]), expected)
    torch.testing.assert_close(values(run(together)), expected)
    assert len(together.replay.inputs) == 4
    inputs = [x.requires_grad_() for x in together.replay.inputs]
    sum(losses.localisation for losses in together.replay(inputs)).backward()
    assert all(x.grad.any() for x in inputs[1::2])
    (focal,) = calls[0].cases(["focal"])
    assert measure(focal.replay, focal.replay.inputs, Effort(3, 0.0)).forward.runs == 3


def test_focal_loss_is_that_of_mmdet() -> None:
    logits, labels = torch.randn(30, 4), torch.randint(0, 5, (30,))
    weight = (torch.arange(30) > 3).float()
    expected = FocalLoss()(logits, labels, weight, avg_factor=((labels < 4) & (weight > 0)).sum())
    targets = torch.nn.functional.one_hot(labels, 5)[:, :4].float().masked_fill(weight[:, None] == 0, -1)
    torch.testing.assert_close(focal_loss(logits.flatten(), targets.flatten()), expected)


def test_a_plain_call_is_repeated_as_it_was() -> None:
    loss, logits, labels = FocalLoss(), torch.randn(6, 3, requires_grad=True), torch.tensor([0, 1, 2, 3, 3, 3])
    model = torch.nn.ModuleDict({"head": torch.nn.ModuleDict({"loss_cls": loss})})
    with recorded(model, {"head": loss}) as calls:
        expected = loss(logits, labels, avg_factor=3)
    (case,) = calls
    assert (case.head, case.layer, case.method) == ("head", "call 1", "FocalLoss")
    assert (case.positives, case.negatives, case.called) == (3, 15, True)
    assert torch.equal(run(case), expected)
    measure(case.replay, case.replay.inputs, Effort(3, 0.0))
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


def measure_slow(effort: Effort) -> Measurement:
    replay = Replay(Sleep.apply, torch.zeros(10, requires_grad=True))
    return measure(replay, replay.inputs, effort)


def test_forward_and_backward_apart() -> None:
    measured = measure_slow(Effort(5, 10.0))
    assert 10 <= measured.forward.p20 <= measured.forward.p50 <= measured.forward.p80
    assert measured.backward.p50 >= 20
    assert measured.forward.p50 < measured.backward.p50
    assert measured.forward.runs == measured.backward.runs == 5


def test_slow_computations_are_repeated_less() -> None:
    assert measure_slow(Effort(50, 0.0)).forward.runs == 3
    assert 3 < measure_slow(Effort(50, 0.3)).forward.runs < 50


def test_runs_take_turns() -> None:
    turns = list[str]()
    runs = {name: partial(turns.append, name) for name in "abc"}
    times = race(runs, CPU, Effort(4, 10.0))
    assert all(sorted(turns[i : i + 3]) == ["a", "b", "c"] for i in range(0, 15, 3))  # the first is not counted
    assert {name: found.runs for name, found in times.items()} == dict.fromkeys("abc", 4)


def test_very_slow_runs_are_not_repeated() -> None:
    assert race({"": partial(time.sleep, 0.02)}, CPU, Effort(5, 10.0, max_seconds=0.01))[""].runs == 1


def test_percentiles_are_milliseconds() -> None:
    times = Times.of([0.001 * value for value in range(11)])
    assert times == pytest.approx((5, 2, 8, 11))
    assert Times.sum([times, Times(1.0, 1.0, 1.0, 3)]) == pytest.approx((6, 3, 9, 3))


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
