"""Calls of ranking losses, solved together: one look at the data by the host, one autograd function.

call ──> as_batches ──> BatchScan ──> find_positives ──> negative_sums: N_FP(i) ──> RankingFunction ──> result

With a process group the positives are those of all processes, and N_FP(i) is summed over them: see `gathering`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributed import ProcessGroup

from .backends import requested, use_kernels
from .fused import FusedScan, put
from .gathering import find_positives, processes, sum_over_processes
from .positives import BatchScan, Positives, warn_of_rows
from .problems import Batch, as_batches
from .ranking import NegativeSums, RankingDefinition, check_method, negative_sums, positive_sums


class Call(NamedTuple):
    """One call of a ranking loss.

    problems: (logits, targets[, localisation]), each (N,) or (B, N); or a list of such tuples, and None for the rest.
    name: what error messages begin with, one for all problems or one for each.
    backend: of method "exact", see `backends.use_kernels`.
    weight: what all terms are multiplied by.
    """

    definition: RankingDefinition
    method: str
    problems: tuple[Any, ...]
    name: str | Sequence[str]
    backend: str | None = None
    weight: float = 1.0


def solve(calls: Sequence[Call], group: ProcessGroup | None = None) -> list[Any]:
    """The result of each call: what the loss returns for one problem, or a list of these for several.

    All batches are scanned before the host reads anything: that read is the one synchronisation. A group takes one
    more, and three collectives for all calls together.

    group: of processes that make the same calls of as many problems, each with samples of its own; these are ranked
    together. The value is that of all samples, the same in every process. The gradient is that of the process's own
    logits times the number of processes, so that the mean that DistributedDataParallel takes is the whole's gradient.

    Raises ValueError or TypeError, see `rank_sort_loss`.
    """
    if torch.compiler.is_dynamo_compiling():  # it would break at the host's read, and compile for every number after
        return torch.compiler.disable(solve)(calls, group)
    prepared: list[PreparedCall] = []
    for call in calls:
        prepared.append(PreparedCall(call, sum(other.number for other in prepared), group))
    parts = [part for each in prepared for part in each.parts]
    scans, places = [part.scan for part in parts], [part.places for part in parts]
    for part, positives in zip(parts, find_positives(scans, places, group), strict=True):
        part.count(positives)
    sum_over_processes([(part.false_positives, part.positives.totals) for part in parts], places, group)
    results = []
    for each in prepared:
        results.append(each.result(processes(group)))
    return results


class Part:
    """One batch of a call, whose problems have these places among those of all calls."""

    positives: Positives
    negatives: NegativeSums
    false_positives: Tensor  # (B, P)

    def __init__(self, call: Call, batch: Batch, first: int) -> None:
        self.call, self.batch = call, batch
        definition, inputs = call.definition, (batch.logits, batch.targets)
        self.kernels = call.method == "exact" and use_kernels(call.backend, *inputs, definition)
        way = FusedScan if self.kernels and batch.localisation is None else BatchScan
        self.scan = way(batch, definition.step, definition.targets_are_ious)
        self.places = [first + member for member in batch.members]

    @torch.no_grad()
    def count(self, positives: Positives) -> None:
        """N_FP(i) over the negatives of this process."""
        logits, targets = self.batch.logits, self.batch.targets
        with torch.autocast(logits.device.type, enabled=False):
            self.positives = positives
            step = self.call.definition.step
            self.negatives = negative_sums(self.call.method, logits, positives, step, self.kernels)
            self.false_positives = self.negatives.false_positives(logits, targets)

    def terms(self, processes: int) -> list[tuple[Tensor, ...]]:
        """The terms of each problem, 0-dim tensors."""
        batch, weight = self.batch, self.call.weight
        terms = RankingFunction.apply(batch.logits, batch.localisation, batch.targets, self, processes)
        each = (terms if weight == 1 else weight * terms).unbind()
        return [each[row :: len(batch.logits)] for row in range(len(batch.logits))]


class PreparedCall:
    """A call whose problems are stacked and scanned; `number` of them, counted from `first` on."""

    def __init__(self, call: Call, first: int, group: ProcessGroup | None) -> None:
        check_method(call.method, over_processes=group is not None)
        requested(call.backend)
        batches, self.single = as_batches(call.problems[0], call.problems[1:], call.name)
        self.call, self.number = call, sum(len(batch.members) for batch in batches)
        self.parts = [Part(call, batch, first) for batch in batches]

    def result(self, processes: int) -> Any:
        results: dict[int, Any] = {}
        for part in self.parts:
            for k, terms in zip(part.batch.members, part.terms(processes), strict=True):
                results[k] = self.call.definition.result(*terms)
            if isinstance(self.call.problems[0], Tensor) and part.batch.names:
                warn_of_rows(part.batch.names[0], part.positives.totals)
        return results[0] if self.single else [results[k] for k in sorted(results)]


class RankingFunction(torch.autograd.Function):
    """The T terms of a batch's problems, (T * B,): all at once, so that their gradients arrive in one tensor."""

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, localisation: Tensor | None, targets: Tensor, part: Part, processes: int
    ) -> Tensor:
        positives, call = part.positives, part.call
        with torch.autocast(logits.device.type, enabled=False):
            sums = positive_sums(call.method, positives, call.definition.step, part.kernels)
            errors, shares = call.definition.weighted_terms(sums, positives, part.false_positives)
            ctx.save_for_backward(logits, targets, shares)  # which notices if these are changed in between
            ctx.negatives, ctx.positives, ctx.processes = part.negatives, positives, processes
            ctx.put = put if part.kernels else Positives.put
            ctx.localisation_dtype = None if localisation is None else localisation.dtype
            return errors.sum(-1).to(torch.promote_types(logits.dtype, torch.float32)).view(-1)

    @staticmethod
    def backward(ctx: Any, of_terms: Tensor) -> tuple[Tensor | None, ...]:
        logits, targets, shares = ctx.saved_tensors
        with torch.no_grad(), torch.autocast(logits.device.type, enabled=False):
            weights = of_terms.reshape(*shares.shape[1:3], 1)
            weights = weights if ctx.processes == 1 else weights * ctx.processes
            on_positives, on_negatives, *on_localisation = (weights * shares).sum(1)
            gradient = ctx.negatives.gradient(logits, targets, on_negatives)
            ctx.put(ctx.positives, on_positives, gradient)
            of_localisation = None
            if ctx.localisation_dtype is not None:
                of_localisation = torch.zeros_like(logits, dtype=ctx.localisation_dtype)
                ctx.put(ctx.positives, on_localisation[0], of_localisation)
        gradient = gradient.to(logits.dtype)
        if torch.is_grad_enabled():  # create_graph=True
            gradient = _OnlyOnce.apply(gradient, logits)
        return gradient, of_localisation, None, None, None


class _OnlyOnce(torch.autograd.Function):
    """The gradient as it is, which is not differentiated in silence where a graph of it is asked for."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, logits: Tensor) -> Tensor:
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, *of_gradient: Tensor) -> tuple[Tensor | None, ...]:
        raise RuntimeError("a ranking loss has no second derivative: identity update gives its gradient")
