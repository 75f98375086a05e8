"""Ranking over several processes equals ranking all their samples in one."""

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import product
from typing import Any
from unittest import mock

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from brs_detr.losses import Call, NotFiniteError, alrp_loss, ap_loss, named_terms, rank_sort_loss, weighted_means
from brs_detr.losses.fused import FusedNegatives
from brs_detr.losses.rank_sort import RankAndSort
from brs_detr.losses.solving import solve
from brs_detr.losses.step import SmoothedStep
from tests.processes import in_processes

from .problems import as_if_large, as_if_large_on_a_gpu, box_errors, make

KINDS = ["normal", "quantised", "few values", "neighbouring floats", "far from zero"]
SHARES = [(0.5, 0.3, 0.2), (0.0, 1.0, 0.0), (0.9, 0.0, 0.1)]  # of the samples that each process holds
LOSSES = {"rs": rank_sort_loss, "ap": ap_loss, "alrp": alrp_loss}
PROBLEMS = [(20, 200), (0, 50), (7, 0), (0, 0), (3, 900)]  # positives and negatives


def split(values: Tensor, shares: tuple[float, ...], rank: int) -> Tensor:
    """This process's part; with shares of 0, 1, 0 all is in one process, the others are empty."""
    ends = [round(sum(shares[: k + 1]) / sum(shares) * len(values)) for k in range(len(shares))]
    return values[ends[rank - 1] if rank else 0 : ends[rank]]


def separated(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """All positives first: some processes then have no positive, others no negative."""
    order = targets.argsort(descending=True, stable=True)
    return logits[order], targets[order]


def outcome(loss: Callable, problems: list[tuple[Tensor, ...]], **settings: Any) -> Iterator[Tensor]:
    """Every term of every problem, and the gradients of each in the problem's own logits and box errors."""
    inputs = [tuple(v.clone().requires_grad_(k != 1) for k, v in enumerate(problem)) for problem in problems]
    for problem, terms in zip(inputs, loss(inputs, **settings), strict=True):
        for value in named_terms(terms).values():
            wanted = [v for v in problem if v.requires_grad]
            gradients = torch.autograd.grad(value, wanted, retain_graph=True, allow_unused=True)
            yield value.detach()
            yield from (torch.zeros_like(v) if g is None else g for v, g in zip(wanted, gradients, strict=True))


def deviation(ours: Tensor, whole: Tensor, scale: Tensor) -> float:
    """Largest difference, in units of the largest entry of the whole, or of 1 for a value."""
    unit = scale.abs().max() if scale.ndim and scale.numel() else torch.ones(())
    return float(((ours - whole).abs() / unit.clamp(min=1e-12)).max()) if ours.numel() else 0.0


def deviations(group: dist.ProcessGroup, processes: int) -> dict[str, float]:
    rank, found = dist.get_rank(group), {}
    ways = ("exact", "pairwise", "as if large")
    for (name, loss), way, delta, shares in product(LOSSES.items(), ways, (0.0, 0.5), SHARES):
        method = "pairwise" if way == "pairwise" else "exact"
        problems, parts = [], []
        for k, (positives, negatives) in enumerate(PROBLEMS):
            logits, targets = make(k + 17 * SHARES.index(shares), positives, negatives, 2, KINDS[k], "random")
            logits, targets = separated(logits, targets) if k == 0 else (logits, targets)
            whole = logits.double(), targets.double(), *([box_errors(targets).double()] if name == "alrp" else [])
            problems.append(whole)
            parts.append(tuple(split(v, shares[:processes], rank) for v in whole))
        with as_if_large() if way == "as if large" else nullcontext():
            ours = outcome(loss, parts, method=method, delta=delta, group=group)
            expected = outcome(loss, problems, method=method, delta=delta)
            pairs = list(zip(ours, expected, strict=True))
        worst = 0.0
        for own, whole in pairs:
            part = split(whole, shares[:processes], rank) if whole.ndim else whole
            worst = max(worst, deviation(own / (processes if whole.ndim else 1), part, whole))
        found[f"{name} {way} {delta} {shares}"] = worst
    return found


def refusals(rank: int) -> list[str]:
    """What each process raises where one has a NaN, a target above 1, or the method cannot do it."""
    raised = []
    for bad, method in ((float("nan"), "exact"), (2.0, "exact"), (0.5, "bucketed")):
        logits, targets = torch.randn(6), torch.tensor([0.5, 0, 0, 0, 1, 0])
        if rank == 1:
            (logits if bad != bad else targets)[3] = bad
        try:
            rank_sort_loss(logits, targets, method=method, group=dist.group.WORLD, name=f"head of {rank}")
        except ValueError as error:
            raised.append(f"{type(error).__name__}: {error}")
    return raised


def collectives(size: int) -> list[tuple[str, int]]:
    """Name and bytes of each collective for calls of two losses and the mean of boxes."""
    seen = []

    def counted(function: Callable) -> Callable:
        def call(*args: Any, **kwargs: Any) -> Any:
            seen.append((function.__name__, args[-1].nbytes))
            return function(*args, **kwargs)

        return call

    group, definition = dist.group.WORLD, RankAndSort(SmoothedStep(0.5))
    problems = [(torch.randn(size), torch.arange(size).lt(5).float()) for _ in range(4)]
    calls = [
        Call(definition, "exact", (problems, None), "decoder"),
        Call(definition, "exact", problems[0], "RPN"),
        Call(definition, "exact", tuple(torch.stack(column) for column in zip(*problems, strict=True)), "rows"),
    ]
    with (
        mock.patch.object(dist, "all_gather", counted(dist.all_gather)),
        mock.patch.object(dist, "all_reduce", counted(dist.all_reduce)),
    ):
        solve(calls, group)
        weighted_means([(torch.rand(5), torch.ones(5))] * 3, group)
    return seen


def broken_in_one(group: dist.ProcessGroup) -> tuple[float, list[str]]:
    """Largest deviation where the kernels fail in the second process alone, and what each warns of."""
    rank = dist.get_rank(group)
    whole = [make(k, 30, 300, 3, "quantised", "random") for k in range(2)]
    parts = [tuple(split(values, SHARES[0], rank) for values in problem) for problem in whole]
    failing = mock.patch.object(FusedNegatives, "false_positives", side_effect=RuntimeError("no such instruction"))
    with as_if_large_on_a_gpu(), failing if rank == 1 else nullcontext(), warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        ours = list(outcome(rank_sort_loss, parts, group=group))
    expected = list(outcome(rank_sort_loss, whole, method="pairwise"))
    pieces = [split(value, SHARES[0], rank) if value.ndim else value for value in expected]
    scaled = [value / (3 if value.ndim else 1) for value in ours]
    worst = max(map(deviation, scaled, pieces, expected))
    return worst, [str(each.message) for each in seen if "overflow" not in str(each.message)]


def means(rank: int) -> list[float]:
    """Mean over 0, 1, 2 positives of the processes with weights, and its gradient."""
    values = torch.arange(1.0, 1.0 + rank).requires_grad_()
    mean, nothing = weighted_means([(values, values.detach()), (values, torch.zeros(rank))], dist.group.WORLD)
    (mean + nothing).backward()
    return [mean.item(), nothing.item(), *([] if values.grad is None else values.grad.tolist())]


def everything() -> dict[str, Any]:
    rank, pair = dist.get_rank(), dist.new_group([0, 1])
    return {
        "three": deviations(dist.group.WORLD, 3),
        "two": deviations(pair, 2) if rank < 2 else {},
        "refusals": refusals(rank),
        "collectives": [collectives(100), collectives(10000)],
        "means": means(rank),
        "broken in one": broken_in_one(dist.group.WORLD),
    }


@pytest.fixture(scope="module")
def seen() -> list[dict[str, Any]]:
    return in_processes(everything, 3)


@pytest.mark.parametrize("processes", ["two", "three"])
def test_values_and_gradients_are_those_of_all_samples_together(seen: list[dict], processes: str) -> None:
    every = [deviation for process in seen for deviation in process[processes].items()]
    assert len(every) == {"two": 2, "three": 3}[processes] * 54
    assert [pair for pair in every if not pair[1] < 1e-6] == []


def test_kernels_that_fail_in_one_process_are_left_there(seen: list[dict]) -> None:
    pytest.importorskip("triton", reason="Triton has no release for this platform")
    for rank, process in enumerate(seen):
        worst, warned = process["broken in one"]
        assert worst < 1e-5
        assert len(warned) == (rank == 1)


def test_what_one_process_refuses_all_refuse(seen: list[dict]) -> None:
    others = "process 1 of 3: its logits, targets or boxes {}, see its message"
    for rank, process in enumerate(seen):
        nan, above_one, method = process["refusals"]
        if rank == 1:
            assert nan == "NotFiniteError: head of 1: 1 of 6 logits are NaN or infinite (first at index 3)"
            assert above_one.startswith("ValueError: head of 1: 1 of 6 targets are above 1")
        else:
            assert nan == f"{NotFiniteError.__name__}: {others.format('are NaN or infinite')}"
            assert above_one == f"ValueError: {others.format('cannot be ranked')}"
        assert re.fullmatch('ValueError: method "bucketed" .* use method="exact"', method)


def test_four_collectives_whose_bytes_do_not_grow_with_the_negatives(seen: list[dict]) -> None:
    for process in seen:
        few, many = process["collectives"]
        assert [name for name, _ in few] == ["all_gather", "all_gather", "all_reduce", "all_reduce"]
        assert few == many


def test_means_weigh_the_losses_of_all_processes(seen: list[dict]) -> None:
    assert [process["means"] for process in seen] == [
        [pytest.approx(1.5), 0.0],  # (1 * 1 + 1 * 1 + 2 * 2) / (1 + 1 + 2)
        [pytest.approx(1.5), 0.0, pytest.approx(3 / 4)],
        [pytest.approx(1.5), 0.0, pytest.approx(3 / 4), pytest.approx(6 / 4)],
    ]
