"""How far results are from those of the CPU in float64, and whether they repeat bit for bit."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
TINY = torch.finfo(torch.float32).tiny


def on_cpu(tensors: Sequence[Tensor]) -> list[Tensor]:
    """In float64, for comparison."""
    return [tensor.detach().cpu().double() for tensor in tensors]


def largest(errors: Sequence[Tensor]) -> float:
    """NaN if one of them is."""
    return float(torch.stack([error.max() for error in errors if error.numel()] or [torch.zeros(())]).max())


def absolute_error(ours: Sequence[Tensor], truth: Sequence[Tensor]) -> float:
    return largest([(a - b).abs() for a, b in zip(on_cpu(ours), on_cpu(truth), strict=True)])


def relative_error(ours: Sequence[Tensor], truth: Sequence[Tensor]) -> float:
    """Of each tensor in multiples of the truth's largest entry."""
    pairs = zip(on_cpu(ours), on_cpu(truth), strict=True)
    return largest([(a - b).abs() / b.abs().max().clamp(min=TINY) for a, b in pairs if b.numel()])


def mean_error(ours: Sequence[Tensor], truth: Sequence[Tensor]) -> float:
    """Root mean square in multiples of the truth's: for what has few large entries, or jumps."""
    pairs = zip(on_cpu(ours), on_cpu(truth), strict=True)
    return largest([(a - b).norm() / b.norm().clamp(min=TINY) for a, b in pairs])


def same_bits(first: Sequence[Tensor], second: Sequence[Tensor]) -> bool:
    return all(map(torch.equal, first, second))


@contextmanager
def deterministic() -> Iterator[None]:
    """As `randomness=dict(deterministic=True)` of a config has it."""
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)
