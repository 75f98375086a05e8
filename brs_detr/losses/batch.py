"""Many ranking problems as few: those of similar length are laid side by side and solved together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from .checks import check_pair

STACKED_UP_TO = 1 << 18  # logits; copying longer problems costs more than solving them one by one
IGNORED = -1


@dataclass(frozen=True)
class Batch:
    """B problems side by side."""

    logits: Tensor  # (B, N)
    targets: Tensor  # (B, N), negative where a row is padded
    names: list[str]
    lengths: list[int]  # before padding
    members: list[int]  # their places in the call

    def problem(self, row: int) -> tuple[Tensor, Tensor, str]:
        """Logits, targets and name of one problem, as it was given."""
        length = self.lengths[row]
        return self.logits[row, :length].detach(), self.targets[row, :length], self.names[row]


def as_batches(
    logits: Tensor | Sequence[tuple[Tensor, Tensor]], targets: Tensor | None, name: str | Sequence[str]
) -> tuple[list[Batch], bool]:
    """The problems of a call in as few batches as are worth it, and whether the call was for a single one."""
    if isinstance(logits, Tensor):
        return [_as_batch(*check_pair(logits, targets, _first(name)), name)], logits.ndim == 1
    if targets is not None:
        raise TypeError(f"{_first(name)}: a list holds (logits, targets) pairs, leave out the second argument")
    return _stack([(x, y) for x, y in logits], _names(name, len(logits))), False


def _as_batch(logits: Tensor, targets: Tensor, name: str | Sequence[str]) -> Batch:
    if logits.ndim not in (1, 2):
        raise ValueError(f"{_first(name)}: logits must be (N,) or (B, N), got {tuple(logits.shape)}")
    single = logits.ndim == 1
    logits, targets = torch.atleast_2d(logits), torch.atleast_2d(targets)
    count, length = logits.shape
    names = [_first(name)] if single else _names(name, count)
    return Batch(logits.contiguous(), targets.contiguous(), names, [length] * count, list(range(count)))


def _first(name: str | Sequence[str]) -> str:
    return name if isinstance(name, str) else next(iter(name), "ranking loss")


def _names(name: str | Sequence[str], count: int) -> list[str]:
    if isinstance(name, str):
        return [f"{name}, problem {k}" for k in range(count)]
    if len(name) != count:
        raise ValueError(f"{_first(name)}: {len(name)} names for {count} ranking problems")
    return list(name)


def _stack(pairs: list[tuple[Tensor, Tensor]], names: list[str]) -> list[Batch]:
    """Lays problems of one dtype and device and of nearly one length side by side; long ones stay alone."""
    groups = defaultdict(list)
    for k, ((x, y), name) in enumerate(zip(pairs, names, strict=True)):
        check_pair(x, y, name)
        if x.ndim != 1:
            raise ValueError(f"{name}: logits in a list must be (N,), got {tuple(x.shape)}")
        alike = ("alone", k) if len(x) > STACKED_UP_TO else ("digits", len(x).bit_length())
        groups[alike, x.dtype, x.device].append(k)
    return [_side_by_side([pairs[k] for k in group], [names[k] for k in group], group) for group in groups.values()]


def _side_by_side(pairs: list[tuple[Tensor, Tensor]], names: list[str], members: list[int]) -> Batch:
    lengths = [len(x) for x, _ in pairs]
    if len(pairs) == 1:
        logits, targets = (tensor[None].contiguous() for tensor in pairs[0])
    else:
        gaps = [(0, max(lengths) - length) for length in lengths]
        logits = torch.stack([pad(x, gap) for (x, _), gap in zip(pairs, gaps, strict=True)])
        targets = torch.stack([pad(y, gap, value=IGNORED) for (_, y), gap in zip(pairs, gaps, strict=True)])
    return Batch(logits, targets, names, lengths, members)
