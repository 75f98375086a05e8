"""What operators do while something runs: the memory they take, and how often the host waits for the device."""

import warnings
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten
WAITING = {  # operators that read a value, or whose result has a size that only the device knows
    aten._local_scalar_dense,
    aten.equal,
    aten.allclose,
    aten.nonzero,
    aten.masked_select,
    aten.unique_consecutive,
    aten.unique_dim,
    aten._unique,
    aten._unique2,
    aten.bincount,
    aten.repeat_interleave,
}
INDEXING = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}
READING = ("tolist", "numpy", "cpu")  # of these a CPU makes no operator


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
    """The most bytes held while running beyond those of before: by torch's allocator, on a CPU by `LiveBytes`."""
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


class CountSynchronisations(TorchDispatchMode):
    """Counts the operations on a CPU, in both passes, that would make the host wait if they were on a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0
        self._patches = ExitStack()

    def found(self) -> None:
        """Called by what would wait, from within it."""
        self.number += 1

    def __enter__(self) -> "CountSynchronisations":
        for name in READING:
            self._patches.enter_context(patch.object(Tensor, name, self._counting(getattr(Tensor, name))))
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._patches.close()

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        operator = function.overloadpacket
        indices = tree_leaves(args[1]) if operator in INDEXING else []
        if operator in WAITING or any(isinstance(index, Tensor) and index.dtype == torch.bool for index in indices):
            self.found()
        return function(*args, **(kwargs or {}))

    def _counting(self, method: Callable) -> Callable:
        def counted(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
            self.found()
            return method(tensor, *args, **kwargs)

        return counted


def count_synchronisations(run: Callable[[], object], device: torch.device) -> int:
    """How often the host waits for a GPU; on a CPU how often it would on a GPU by the same operations."""
    if device.type != "cuda":
        with CountSynchronisations() as counter:
            run()
        return counter.number
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            run()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing" in str(warning.message) for warning in caught)
