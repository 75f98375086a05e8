"""What takes the sums over many negatives in method "exact": Triton kernels, or torch.

Asked for by an argument of the loss, else by the environment variable BRS_DETR_BACKEND, else "auto".
"""

from __future__ import annotations

import os

from torch import Tensor

from .fused import obstacle
from .ranking import RankingDefinition
from .self_test import failure

BACKENDS = ("auto", "triton", "torch")
VARIABLE = "BRS_DETR_BACKEND"
CHOICES = ", ".join(map(repr, BACKENDS))


def check_backend(backend: str | None) -> None:
    """Raises ValueError unless it is one of BACKENDS, or None, which leaves it to the environment."""
    if backend is not None and backend not in BACKENDS:
        raise ValueError(f"unknown backend {backend!r}; choose one of {CHOICES}")


def requested(backend: str | None) -> str:
    """One of BACKENDS: the argument, or what the environment says in its place.

    Raises ValueError if either is unknown.
    """
    check_backend(backend)
    chosen = backend or os.environ.get(VARIABLE) or "auto"
    if chosen not in BACKENDS:
        raise ValueError(f"the environment variable {VARIABLE} is {chosen!r}; unset it, or choose one of {CHOICES}")
    return chosen


def use_kernels(backend: str | None, logits: Tensor, targets: Tensor, definition: RankingDefinition) -> bool:
    """Whether kernels solve (B, N) logits and targets; at their first use for a loss they are tested.

    auto    if they can run there and pass the test; else torch, with one warning for a device where they fail it
    triton  always
    torch   never

    Raises ValueError for an unknown backend, or for "triton" where kernels cannot run or fail the test.
    """
    chosen = requested(backend)
    if chosen == "torch" or not logits.nelement():
        return False
    reason = obstacle(logits) or failure(logits.device, logits.dtype, targets.dtype, definition)
    if reason and chosen == "triton":
        raise ValueError(f'backend "triton" is not possible: {reason}; choose "auto" or "torch"')
    return reason is None
