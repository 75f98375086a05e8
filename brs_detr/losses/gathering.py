"""One ranking over several processes, at a communication of O(P): negatives never leave their process.

1. all_gather of how many positives each process has in each problem
2. all_gather of the positives themselves: logits, targets, localisation errors
3. all_reduce of N_FP(i), which each process counts over its own negatives

Every process then computes the same terms, and takes the gradient of its own logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import ProcessGroup
from torch.nn.functional import pad

from .checks import NotFiniteError
from .positives import BatchScan, Found, Positives

NOT_FINITE, REFUSED = -1, -2  # in place of a number of positives


def world() -> ProcessGroup | None:
    """The group of all processes, None where there is only this one."""
    return dist.group.WORLD if dist.is_initialized() and dist.get_world_size() > 1 else None


def processes(group: ProcessGroup | None) -> int:
    """How many there are in a group, 1 for none."""
    return 1 if group is None else dist.get_world_size(group)


def find_positives(scans: Sequence[BatchScan], places: list[list[int]], group: ProcessGroup | None) -> list[Positives]:
    """The positives of each batch, those of all processes where there is a group.

    places: of each batch's problems among those of all batches, the same in every process however it lays them.

    Raises ValueError if samples of any process cannot be ranked, in every process.
    """
    if group is None or not scans:
        return [scan.arrange(found) for scan, found in zip(scans, _find(scans), strict=True)]
    try:
        own, refusal = _find(scans), None
    except ValueError as error:
        own, refusal = [], error
    counts = _gather_counts(own, places, refusal, scans[0].targets.device, group)
    if not counts.any():
        return [scan.arrange(found) for scan, found in zip(scans, own, strict=True)]
    problems = _gather_problems(own, places, counts, group)
    parts = zip(scans, own, places, strict=True)
    return [_merge(scan, found, [problems[k] for k in rows]) for scan, found, rows in parts]


def _find(scans: Sequence[BatchScan]) -> list[Found]:
    statistics = _read([scan.statistics for scan in scans])
    return [scan.find(lines) for scan, lines in zip(scans, statistics, strict=True)]


def _read(statistics: list[Tensor]) -> list[list[list[float]]]:
    """The only read by the host: the numbers of positives, which are sizes, and what is wrong with the input."""
    if not statistics:
        return []
    numbers = iter(torch.cat([s.flatten().to(statistics[0].device) for s in statistics]).tolist())
    return [[list(islice(numbers, s.shape[1])) for _ in range(len(s))] for s in statistics]


def _gather_counts(
    own: list[Found], places: list[list[int]], refusal: ValueError | None, device: torch.device, group: ProcessGroup
) -> Tensor:
    """(processes, problems), on the host: how many positives each has. Raises ValueError if any process refused."""
    counts = torch.full((sum(map(len, places)),), NOT_FINITE if isinstance(refusal, NotFiniteError) else REFUSED)
    for found, rows in zip(own, places, strict=False):
        counts[rows] = torch.tensor(found.totals)
    every = _all_gather(counts.to(device), group).cpu()  # the host reads the sizes of what comes next
    if refusal is not None:
        raise refusal
    if refused := every.amin(1).lt(0).nonzero().flatten().tolist():
        first, kind = refused[0], NotFiniteError if every[refused[0]].amin() == NOT_FINITE else ValueError
        what = "are NaN or infinite" if kind is NotFiniteError else "cannot be ranked"
        raise kind(f"process {first} of {len(every)}: its logits, targets or boxes {what}, see its message")
    return every


def _gather_problems(
    own: list[Found], places: list[list[int]], counts: Tensor, group: ProcessGroup
) -> list[tuple[Tensor, Tensor]]:
    """Of each problem the fields (F, P) of all processes' positives, and where this process holds them, or -1."""
    problem = torch.cat([_repeat(rows, found.totals) for found, rows in zip(own, places, strict=True)])
    order = problem.argsort(stable=True).to(own[0].source.device)
    most = max(len(found.fields) for found in own)
    fields = torch.cat([pad(found.fields, (0, 0, 0, most - len(found.fields))) for found in own], dim=1)[:, order]
    source = torch.cat([found.source for found in own])[order]

    numbers = counts.sum(1).tolist()
    gathered = _all_gather(pad(fields, (0, max(numbers) - fields.shape[1])), group)
    every = torch.cat([values[:, :n] for values, n in zip(gathered, numbers, strict=True)], dim=1)
    held = [source if p == dist.get_rank(group) else source.new_full((n,), -1) for p, n in enumerate(numbers)]
    every_problem = torch.cat([_repeat(range(counts.shape[1]), process) for process in counts.tolist()])
    order, totals = every_problem.argsort(stable=True).to(order.device), counts.sum(0).tolist()
    return list(zip(every[:, order].split(totals, dim=1), torch.cat(held)[order].split(totals), strict=True))


def _repeat(values: Sequence[int], times: Sequence[int]) -> Tensor:
    """(sum of times,), on the host."""
    return torch.repeat_interleave(torch.tensor(list(values)), torch.tensor(list(times)))


def _merge(scan: BatchScan, own: Found, problems: list[tuple[Tensor, Tensor]]) -> Positives:
    """The positives of a batch's problems, `source` the places of those that this process holds."""
    fields = torch.cat([fields for fields, _ in problems], dim=1)[: len(own.fields)]
    source = torch.cat([source for _, source in problems])
    positives = scan.arrange(Found(fields, source, [len(source) for _, source in problems]))
    return positives._replace(held=len(own.source))


def sum_over_processes(
    rows: list[tuple[Tensor, list[int]]], places: list[list[int]], group: ProcessGroup | None
) -> None:
    """Sums values (B, P) of the first positives of each row, so many of them, over the processes, in place."""
    if group is None:
        return
    pairs = zip(rows, places, strict=True)
    segments = {
        place: values[row, :total]
        for (values, totals), batch in pairs
        for row, (place, total) in enumerate(zip(batch, totals, strict=True))
    }
    in_order = [segments[place] for place in sorted(segments)]
    if not sum(map(len, in_order)):  # as all processes know
        return
    total = torch.cat(in_order)
    dist.all_reduce(total, group=group)
    for segment, values in zip(in_order, total.split([len(segment) for segment in in_order]), strict=True):
        segment.copy_(values)


def _all_gather(values: Tensor, group: ProcessGroup) -> Tensor:
    """(processes, ...): a tensor of one shape, of each process."""
    gathered = [torch.empty_like(values, memory_format=torch.contiguous_format) for _ in range(processes(group))]
    dist.all_gather(gathered, values.contiguous(), group=group)
    return torch.stack(gathered)
