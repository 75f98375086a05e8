"""What may be ranked, and one clear sentence for what may not."""

from __future__ import annotations

import torch
from torch import Tensor

METHODS = ("exact", "bucketed", "pairwise")


class NotFiniteError(ValueError):
    """Numbers that cannot be ranked, NaN or infinite: training has diverged, or its data are broken."""


def check_settings(delta: float, method: str) -> None:
    """Raises ValueError for an unknown summation method or an impossible delta."""
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; choose one of {', '.join(map(repr, METHODS))}")
    if delta != 0 and not 1e-30 <= delta <= 1e30:  # float32 could not scale a difference by 1 / (2 delta)
        raise ValueError(f"delta must be 0 or from 1e-30 to 1e30, got {delta}")


def check_pair(logits: object, targets: object, name: str) -> tuple[Tensor, Tensor]:
    """Returns both. Raises TypeError or ValueError unless targets fit logits in shape and device, and logits
    are floats."""
    if not (isinstance(logits, Tensor) and isinstance(targets, Tensor)):
        kinds = f"{type(logits).__name__} and {type(targets).__name__}"
        raise TypeError(f"{name}: logits and targets must be tensors, got {kinds}")
    if not logits.is_floating_point():
        raise TypeError(f"{name}: logits must be floating point, got {logits.dtype}")
    if targets.is_complex():
        raise TypeError(f"{name}: targets must be real numbers, got {targets.dtype}")
    if logits.shape != targets.shape:
        raise ValueError(
            f"{name}: logits and targets must have the same size, got {tuple(logits.shape)} and {tuple(targets.shape)}"
        )
    if logits.device != targets.device:
        raise ValueError(f"{name}: logits and targets must be on one device, got {logits.device} and {targets.device}")
    return logits, targets


def check_logits(logits: Tensor, name: str) -> None:
    """Raises NotFiniteError saying how many logits (N,) are not finite, and where they begin."""
    sentence = f"{name}: {{}} logits are NaN or infinite (first at index {{}})"
    _complain(logits, ~logits.isfinite(), sentence, NotFiniteError)


def check_targets(targets: Tensor, name: str) -> None:
    """Raises NotFiniteError or ValueError: how many targets (N,) are not finite or above 1, and where they begin."""
    sentence = f"{name}: {{}} targets are NaN or infinite (first at index {{}})"
    _complain(targets, ~targets.isfinite(), sentence, NotFiniteError)
    sentence = f"{name}: {{}} targets are above 1 (first at index {{}}: {{}}); a target is a positive's IoU"
    _complain(targets, targets > 1, sentence, ValueError)


def _complain(values: Tensor, wrong: Tensor, sentence: str, error: type[ValueError]) -> None:
    """Raises `error` with `sentence`, completed by "k of n", the first index and its value, if any value is wrong."""
    indices = torch.nonzero(wrong)[:, 0]
    if len(indices):
        first = int(indices[0])
        raise error(sentence.format(f"{len(indices)} of {len(values)}", first, float(values[first])))
