"""The most memory that running something takes beyond what was held before, in bytes."""

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of the tensors that operators return, for as long as they live.

    highest: the most at any time. What an operator takes for itself while it runs is not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.known: set[int] = set()
        self.now = self.highest = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        for storage in _storages((args, kwargs)):  # of before
            self._follow(storage, 0)
        outputs = function(*args, **(kwargs or {}))
        for storage in _storages(outputs):
            self._follow(storage, storage.nbytes())
        self.highest = max(self.highest, self.now)
        return outputs

    def _follow(self, storage: torch.UntypedStorage, size: int) -> None:
        key = storage._cdata
        if key not in self.known:
            self.known.add(key)
            self.now += size
            weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self.known.remove(key)
        self.now -= size


def _storages(values: Any) -> list[torch.UntypedStorage]:
    return [leaf.untyped_storage() for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


def peak_memory(run: Callable[[], object], device: torch.device) -> int:
    """On a GPU what torch's allocator says, on a CPU by `LiveBytes`."""
    if device.type != "cuda":
        with LiveBytes() as counter:
            run()
        return counter.highest
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    run()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before
