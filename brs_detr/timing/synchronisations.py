"""How often the host has to wait for the device."""

import warnings
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


class CountSynchronisations(TorchDispatchMode):
    """Counts the operations on a CPU, in both passes, that would make the host wait if they were on a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        operator = function.overloadpacket
        indices = tree_leaves(args[1]) if operator in INDEXING else []
        by_mask = any(isinstance(index, Tensor) and index.dtype == torch.bool for index in indices)
        self.number += by_mask or operator in WAITING
        return function(*args, **(kwargs or {}))

    def counting(self, method: Callable) -> Callable:
        def counted(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
            self.number += 1
            return method(tensor, *args, **kwargs)

        return counted


def count_synchronisations(run: Callable[[], object], device: torch.device) -> int:
    """On a GPU those that happened; on a CPU those that the same operations would be on a GPU."""
    if device.type == "cuda":
        return _waits_for_gpu(run)
    with ExitStack() as stack:
        counter = stack.enter_context(CountSynchronisations())
        for name in READING:
            stack.enter_context(patch.object(Tensor, name, counter.counting(getattr(Tensor, name))))
        run()
    return counter.number


def _waits_for_gpu(run: Callable[[], object]) -> int:
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            run()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing" in str(warning.message) for warning in caught)
