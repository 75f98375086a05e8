"""Compiles the kernels before a training, and says where they work.

    python -m brs_detr.losses.warm_up

A training does the same in its first step, for the dtypes that it has. Triton keeps what it compiles in its cache
(TRITON_CACHE_DIR), where processes that start later find it.
"""

from __future__ import annotations

import sys
from itertools import product

import torch

from .checks import DTYPES
from .fused import obstacle
from .self_test import failure


def outcome(device: torch.device, logits: torch.dtype) -> str | None:
    """Why kernels cannot be used on a device for logits of a dtype and targets of float32, None where they can."""
    return obstacle(torch.empty(1, 1, dtype=logits, device=device)) or failure(device, logits, torch.float32)


def main() -> None:
    devices = [torch.device("cuda", number) for number in range(torch.cuda.device_count())]
    if not devices:
        sys.exit("there is no CUDA device here: the losses take torch")
    for device, logits in product(devices, DTYPES):
        print(f"{device}, {logits}: {outcome(device, logits) or 'kernels'}", flush=True)


if __name__ == "__main__":
    main()
