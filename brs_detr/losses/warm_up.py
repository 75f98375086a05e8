"""Compiles the kernels before a training, and says where they work.

    python -m brs_detr.losses.warm_up

A training does the same in its first step, for the dtypes that it has. Triton keeps what it compiles in its cache
(TRITON_CACHE_DIR), where processes that start later find it.
"""

from __future__ import annotations

import sys
from itertools import product

import torch

from .alrp import AlrpLoss
from .average_precision import APLoss
from .checks import DTYPES
from .fused import obstacle
from .rank_sort import RankSortLoss
from .self_test import failure


def outcome(device: torch.device, logits: torch.dtype) -> str | None:
    """Why kernels cannot be used on a device for logits of a dtype and targets of float32, None where they can."""
    if reason := obstacle(torch.empty(1, 1, dtype=logits, device=device)):
        return reason
    reasons = [failure(device, logits, torch.float32, loss().definition) for loss in (RankSortLoss, APLoss, AlrpLoss)]
    return next(filter(None, reasons), None)


def main() -> None:
    devices = [torch.device("cuda", number) for number in range(torch.cuda.device_count())]
    if not devices:
        sys.exit("there is no CUDA device here: the losses take torch")
    for device, logits in product(devices, DTYPES):
        print(f"{device}, {logits}: {outcome(device, logits) or 'kernels'}", flush=True)


if __name__ == "__main__":
    main()
