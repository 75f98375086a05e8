"""What crosses between device and host in a training step, each kind at once: the host waits for every read."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """A host's tensor on the device. A GPU copies it from pinned memory, for which the host does not wait."""
    return (values.pin_memory() if device.type == "cuda" else values).to(device, non_blocking=True)


def image_scales(img_shapes: Sequence[tuple[int, int]], like: Tensor) -> Tensor:
    """(N, 4): width, height, width, height of images (height, width), on the device of `like` and of its dtype."""
    scales = torch.tensor([(w, h, w, h) for h, w in img_shapes], dtype=like.dtype).reshape(-1, 4)
    return to_device(scales, like.device)


def read_together(tensors: Sequence[Tensor]) -> list[np.ndarray]:
    """The tensors on the host, in the widest of their dtypes, at least float32; with one read for all of them."""
    if not tensors:
        return []
    everything = torch.cat([tensor.detach().flatten() for tensor in tensors])
    everything = everything.to(torch.promote_types(everything.dtype, torch.float32))  # NumPy has no bfloat16
    parts = np.split(everything.numpy(force=True), np.cumsum([tensor.numel() for tensor in tensors])[:-1])
    return [part.reshape(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


def indices_of_each(masks: Sequence[Tensor], numbers: Sequence[int | None] | None = None) -> list[Tensor]:
    """Where each mask (S,) holds, its length may be its own: `nonzero` of each, with one read by the host.

    numbers: how many hold, where that is known; then nothing is read. None: not known.
    """
    numbers = [None] * len(masks) if numbers is None else numbers
    unknown = [mask.sum() for mask, number in zip(masks, numbers, strict=True) if number is None]
    counted = iter(torch.stack(unknown).tolist() if unknown else [])
    sizes = [next(counted) if number is None else number for number in numbers]
    return [torch.nonzero_static(mask, size=n).squeeze(1) for mask, n in zip(masks, sizes, strict=True)]
