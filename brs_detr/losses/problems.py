"""The ranking problems of one call, those of similar length laid side by side and solved together.

(N,), (B, N) or a list ──> Batch: (B, N), few of them ──> BatchScan ──> the call's single read ──> Positives: (B, P)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from .blocks import STACKED
from .checks import check_problem

FIELDS = ("logits", "targets", "localisation")
PADDINGS = (0, -1, 0)  # ignored


@dataclass(frozen=True)
class Batch:
    """B problems side by side."""

    logits: Tensor  # (B, N)
    targets: Tensor  # (B, N), negative where a row is padded
    localisation: Tensor | None  # (B, N), for losses that read it
    names: list[str]
    lengths: list[int]  # before padding
    members: list[int]  # their places in the call

    def row(self, values: Tensor, row: int) -> Tensor:
        """Of (B, N) values those of one problem, as it was given."""
        return values[row, : self.lengths[row]].detach()


def as_batches(problems: Any, others: Sequence[Any], name: str | Sequence[str]) -> tuple[list[Batch], bool]:
    """The problems of a call in as few batches as are worth it, and whether the call was for a single one.

    problems: logits (N,) or (B, N), with what belongs to them in `others`; or a list of tuples, without.

    Raises TypeError or ValueError for anything else.
    """
    first, labels = _first(name), FIELDS[: 1 + len(others)]
    if isinstance(problems, Tensor):
        check_problem(first, **dict(zip(labels, (problems, *others), strict=True)))
        return [_as_batch((problems, *others), name)], problems.ndim == 1
    together = f"({', '.join(labels)})"
    if not isinstance(problems, Sequence):
        raise TypeError(f"{first}: logits must be a tensor, or a list of {together}, got {type(problems).__name__}")
    if any(other is not None for other in others):
        raise TypeError(f"{first}: a list holds {together} {_group(labels)}, leave out the other arguments")
    return _stack(problems, _names(name, len(problems)), labels), False


def _group(labels: Sequence[str]) -> str:
    return "pairs" if len(labels) == 2 else "triples"


def _as_batch(tensors: tuple[Tensor, ...], name: str | Sequence[str]) -> Batch:
    if tensors[0].ndim not in (1, 2):
        raise ValueError(f"{_first(name)}: logits must be (N,) or (B, N), got {tuple(tensors[0].shape)}")
    single = tensors[0].ndim == 1
    logits, targets, *localisation = (torch.atleast_2d(tensor).contiguous() for tensor in tensors)
    count, length = logits.shape
    names = [_first(name)] if single else _names(name, count)
    return Batch(logits, targets, next(iter(localisation), None), names, [length] * count, list(range(count)))


def _first(name: str | Sequence[str]) -> str:
    return name if isinstance(name, str) else next(iter(name), "ranking loss")


def _names(name: str | Sequence[str], count: int) -> list[str]:
    if isinstance(name, str):
        return [f"{name}, problem {k}" for k in range(count)]
    if len(name) != count:
        raise ValueError(f"{_first(name)}: {len(name)} names for {count} ranking problems")
    return list(name)


def _stack(problems: Sequence[Any], names: list[str], labels: Sequence[str]) -> list[Batch]:
    """Lays problems of one dtype and device and of nearly one length side by side; long ones stay alone."""
    groups = defaultdict(list)
    for k, (problem, name) in enumerate(zip(problems, names, strict=True)):
        if not isinstance(problem, (tuple, list)) or len(problem) != len(labels):
            raise TypeError(f"{name}: a list holds ({', '.join(labels)}) {_group(labels)}, got {_kind(problem)}")
        check_problem(name, **dict(zip(labels, problem, strict=True)))
        logits = problem[0]
        if logits.ndim != 1:
            raise ValueError(f"{name}: logits in a list must be (N,), got {tuple(logits.shape)}")
        alike = ("alone", k) if len(logits) > STACKED else ("digits", len(logits).bit_length())
        groups[alike, logits.dtype, logits.device].append(k)
    return [_side_by_side([problems[k] for k in group], [names[k] for k in group], group) for group in groups.values()]


def _kind(value: object) -> str:
    sized = isinstance(value, (tuple, list))
    return f"a {type(value).__name__}" + (f" of {len(value)}" if sized else "")  # type: ignore[arg-type]


def _side_by_side(problems: list[tuple[Tensor, ...]], names: list[str], members: list[int]) -> Batch:
    lengths = [len(problem[0]) for problem in problems]
    if len(problems) == 1:
        stacked = [tensor[None].contiguous() for tensor in problems[0]]
    else:
        gaps = [max(lengths) - length for length in lengths]
        stacked = [
            torch.stack([_padded(tensor, gap, padding) for tensor, gap in zip(column, gaps, strict=True)])
            for column, padding in zip(zip(*problems, strict=True), PADDINGS, strict=False)
        ]
    logits, targets, *localisation = stacked
    return Batch(logits, targets, next(iter(localisation), None), names, lengths, members)


def _padded(values: Tensor, gap: int, value: float) -> Tensor:
    """Longer by `gap`; torch would copy where it is 0, too."""
    return pad(values, (0, gap), value=value) if gap else values
