"""Every ranking loss by every method, against the CPU in float64: values and gradients."""

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from inspect import signature
from itertools import product
from typing import Any, NamedTuple
from unittest import mock

import torch
from torch import Tensor

from brs_detr.losses import alrp_loss, ap_loss, named_terms, rank_sort_loss
from brs_detr.losses.fused import FusedNegatives
from brs_detr.losses.problems import FIELDS

from ..losses import ALL_PAIRS, DOMINANCE, TABLES, with_limits
from .agreement import PRECISIONS, absolute_error, deterministic, relative_error, same_bits
from .cases import Case, Part, Row, Setting

LOSSES: dict[str, Callable[..., Any]] = {"Rank & Sort": rank_sort_loss, "AP": ap_loss, "aLRP": alrp_loss}
VARIABLE = "BRS_DETR_BACKEND"
DELTAS = (0.0, 0.5)
TOLERANCE = 1e-5  # of float32 sums; a gradient is rounded to the logits' precision, too
LIMITS = (TABLES | DOMINANCE, ALL_PAIRS, {})  # what small problems never take, what large ones never do, and as it is

Problem = tuple[Tensor, Tensor, Tensor]  # logits, targets, localisation errors; (N,) each


class Way(NamedTuple):
    """How a loss is solved. backend: what the environment asks for."""

    method: str
    backend: str

    def __str__(self) -> str:
        return f"{self.method}, {self.backend}"


def ways(setting: Setting) -> list[Way]:
    """On a CPU there are no kernels."""
    kernels = [Way("exact", "triton")] if setting.on_gpu else []
    return [*kernels, *(Way(method, "torch") for method in ("exact", "bucketed", "pairwise"))]


def make(positives: int, negatives: int, ignored: int, spacing: float, seed: int) -> Problem:
    """Logits are multiples of the spacing, if there is one: many ties, also of positives with negatives."""
    generator = torch.Generator().manual_seed(seed)
    number = positives + negatives + ignored
    logits = torch.randn(number, generator=generator) * 2
    logits = (logits / spacing).round() * spacing if spacing else logits
    targets = torch.cat([torch.rand(positives, generator=generator).clamp(min=0.01), torch.zeros(negatives)])
    targets = torch.cat([targets, -torch.ones(ignored)])[torch.randperm(number, generator=generator)]
    return logits, targets, torch.rand(number, generator=generator)


def calls(small: bool) -> dict[str, list[Problem]]:
    """The problems of one call, by what is peculiar to them."""
    p, n = (8, 100) if small else (300, 20_000)
    return {
        "plain": [make(p, n, 0, 0.0, 0)],
        "ties": [make(p, n, 0, 0.25, 1)],
        "ignored": [make(p, n, n // 3, 0.0, 2)],
        "no positives": [make(0, n, 10, 0.0, 3)],
        "no negatives": [make(p, 0, 10, 0.0, 4)],
        "batch": [make(p // (k + 1), n - k, k, 0.25 * k, 5 + k) for k in range(3)] + [make(0, n, 0, 0.0, 9)],
        "large": [make(3 * p, 50 * n, n, 0.0, 10)],
    }


def solved(loss: Callable[..., Any], problems: list[Problem], delta: float, method: str) -> tuple[list[Tensor], ...]:
    """The terms of all problems, and the gradients of each term in logits and localisation errors."""
    fields = [k for k, field in enumerate(FIELDS) if field in signature(loss).parameters]
    given = [[problem[k].detach().requires_grad_(k != 1) for k in fields] for problem in problems]
    results = [list(named_terms(each).values()) for each in loss(list(map(tuple, given)), delta=delta, method=method)]
    leaves = [tensor for problem in given for tensor in problem if tensor.requires_grad]
    gradients = [
        torch.autograd.grad(sum(terms), leaves, retain_graph=True, materialize_grads=True)  # type: ignore[arg-type]
        for terms in zip(*results, strict=True)
    ]
    return [term for terms in results for term in terms], [each for of_term in gradients for each in of_term]


def moved(problems: list[Problem], device: torch.device, dtype: torch.dtype) -> list[Problem]:
    """Logits in the precision, the rest in float32, or in float64 as well."""
    other = torch.promote_types(dtype, torch.float32)
    return [(x.to(device, dtype), y.to(device, other), e.to(device, other)) for x, y, e in problems]


@contextmanager
def kernels_counted() -> Iterator[mock.Mock]:
    """A mock that is called whenever Triton's kernels sum over negatives."""
    counter, real = mock.Mock(), FusedNegatives.false_positives

    def counting(*args: Any) -> Tensor:
        counter()
        return real(*args)

    with mock.patch.object(FusedNegatives, "false_positives", counting):
        yield counter


class Comparison(NamedTuple):
    """One call. value: the largest error of any term; gradient: of any gradient, in multiples of its largest entry."""

    place: str
    value: float
    gradient: float
    repeats: bool  # bit for bit, with deterministic algorithms

    @property
    def worst(self) -> float:
        return math.inf if math.isnan(self.value + self.gradient) else max(self.value, self.gradient)


def compared(name: str, way: Way, dtype: torch.dtype, setting: Setting) -> Iterator[Comparison]:
    """Each call for each delta, with all limits between the ways of summing that the method knows."""
    cpu, device, method = torch.device("cpu"), setting.torch_device, way.method
    for (kind, problems), delta in product(calls(setting.small).items(), DELTAS):
        rounded = moved(problems, device, dtype)
        reference = "bucketed" if method == "bucketed" else "exact"
        with mock.patch.dict(os.environ, {VARIABLE: "torch"}):
            truth = solved(LOSSES[name], moved(rounded, cpu, torch.float64), delta, reference)
        for limits in LIMITS if method == "exact" else ({},):
            run = partial(solved, LOSSES[name], rounded, delta, method)
            with with_limits(device, **limits):
                values, gradients = run()
                with deterministic():
                    first, second = run(), run()
            errors = absolute_error(values, truth[0]), relative_error(gradients, truth[1])
            yield Comparison(f"{kind}, delta {delta}", *errors, all(map(same_bits, first, second)))


def check(name: str, way: Way, precision: str, setting: Setting) -> list[Row]:
    """A loss by one way and in one precision."""
    dtype = PRECISIONS[precision]
    with mock.patch.dict(os.environ, {VARIABLE: way.backend}), kernels_counted() as kernels:
        found = list(compared(name, way, dtype, setting))
    worst = max(found, key=lambda each: each.worst)
    rounding = torch.finfo(dtype).eps if dtype.itemsize < 4 else 0.0
    agrees = all(each.value <= TOLERANCE and each.gradient <= TOLERANCE + rounding for each in found)
    asked = kernels.called == (way.backend == "triton")
    return [
        {
            "loss": name,
            "method": way.method,
            "kernels": "Triton" if kernels.called else "-",
            "precision": precision,
            "calls": len(found),
            "value": worst.value,
            "gradient": worst.gradient,
            "largest at": worst.place,
            "bit for bit": all(each.repeats for each in found),
            "agrees": agrees and asked,
        }
    ]


def cases(setting: Setting) -> list[Case]:
    return [
        Case(f"{name}, {way}, {precision}", 30, partial(check, name, way, precision, setting))
        for way in ways(setting)
        for name in LOSSES
        for precision in (["bf16"] if setting.small else PRECISIONS)
    ]


LOSS_CHECKS = Part(
    "losses",
    "Every ranking loss against the CPU in float64, from logits in three precisions: ties, ignored samples, no\n"
    "positives or negatives, several problems in a call, and each way of summing that large problems take or leave.\n"
    "Errors of values are absolute, those of gradients relative to the largest entry; bit for bit: two runs with\n"
    f"deterministic algorithms are the same. A value agrees to {TOLERANCE:.0e}, a gradient to that and its own\n"
    "rounding, and the kernels run where they are asked for, and nowhere else.",
    cases,
    alone=False,
)
