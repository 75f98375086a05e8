"""What may be ranked, and one clear sentence for what may not."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class NotFiniteError(ValueError):
    """Numbers that cannot be ranked, NaN or infinite: training has diverged, or its data are broken."""


def check_delta(delta: float) -> None:
    """Raises ValueError for an impossible delta: float32 could not scale a difference by 1 / (2 delta)."""
    if delta != 0 and not 1e-30 <= delta <= 1e30:
        raise ValueError(f"delta must be 0 or from 1e-30 to 1e30, got {delta}")


def check_problem(name: str, **tensors: Any) -> None:
    """Raises TypeError or ValueError unless all are tensors of one shape and device, and `logits` are floats."""
    every, values = " and ".join(tensors), tensors.values()
    if not all(isinstance(value, Tensor) for value in values):
        kinds = " and ".join(type(value).__name__ for value in values)
        raise TypeError(f"{name}: {every} must be tensors, got {kinds}")
    logits = tensors["logits"]
    _check_logits_kind(name, logits)
    for label, value in tensors.items():
        if value.is_complex():
            raise TypeError(f"{name}: {label} must be real numbers, got {value.dtype}")
    if any(value.shape != logits.shape for value in values):
        shapes = " and ".join(str(tuple(value.shape)) for value in values)
        raise ValueError(f"{name}: {every} must have the same size, got {shapes}")
    if any(value.device != logits.device for value in values):
        devices = " and ".join(str(value.device) for value in values)
        raise ValueError(f"{name}: {every} must be on one device, got {devices}")


def _check_logits_kind(name: str, logits: Tensor) -> None:
    if torch._C._functorch.is_functorch_wrapped_tensor(logits):
        raise TypeError(f"{name}: torch.func.vmap and grad do not reach in here: give a (B, N) batch, and use backward")
    if not logits.is_floating_point():
        raise TypeError(f"{name}: logits must be floating point, got {logits.dtype}")
    if logits.dtype not in DTYPES:
        raise TypeError(f"{name}: logits must have 16, 32 or 64 bits, got {logits.dtype}")
    if logits.layout != torch.strided:
        raise TypeError(f"{name}: logits must be dense, got {logits.layout}: use to_dense()")


def check_logits(logits: Tensor, name: str) -> None:
    """Raises NotFiniteError saying how many logits (N,) are not finite, and where they begin."""
    sentence = f"{name}: {{}} logits are NaN or infinite (first at index {{}})"
    _complain(logits, ~logits.isfinite(), sentence, NotFiniteError)


def check_targets(targets: Tensor, name: str, are_ious: bool) -> None:
    """Raises NotFiniteError or ValueError: how many targets (N,) are not finite, or above 1, and where they begin."""
    sentence = f"{name}: {{}} targets are NaN or infinite (first at index {{}})"
    _complain(targets, ~targets.isfinite(), sentence, NotFiniteError)
    sentence = f"{name}: {{}} targets are above 1 (first at index {{}}: {{}}); a target is a positive's IoU"
    _complain(targets, (targets > 1) & are_ious, sentence, ValueError)


def check_localisation(errors: Tensor, positive: Tensor, name: str) -> None:
    """Raises NotFiniteError or ValueError: how many errors (N,) of positives are not finite, or below 0."""
    sentence = f"{name}: {{}} localisation errors are NaN or infinite (first at index {{}})"
    _complain(errors, ~errors.isfinite() & positive, sentence, NotFiniteError)
    sentence = f"{name}: {{}} localisation errors are below 0 (first at index {{}}: {{}})"
    _complain(errors, (errors < 0) & positive, sentence, ValueError)


def _complain(values: Tensor, wrong: Tensor, sentence: str, error: type[ValueError]) -> None:
    """Raises `error` with `sentence`, completed by "k of n", the first index and its value, if any value is wrong."""
    indices = torch.nonzero(wrong)[:, 0]
    if len(indices):
        first = int(indices[0])
        raise error(sentence.format(f"{len(indices)} of {len(values)}", first, float(values[first])))
