"""A GPU that is not there: tensors that say `cuda` and hold their values on the CPU, so that a training step runs.

What a GPU would refuse raises an error here, too: an operator on tensors of both devices, `numpy()` of the GPU's.
Copies from the host for which the host would wait, and indices that lie on the host, are allowed and counted.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from benchmarks.host_reads import reader
from brs_detr.losses.backends import VARIABLE
from brs_detr.timing.counting import INDEXING

GPU = torch.device("cuda", 0)
aten = torch.ops.aten
COPIES = {aten._to_copy, aten.copy_}


class OnGPU(Tensor):
    """A tensor on the GPU; values: on the CPU. The rest is that of a meta tensor, as autograd needs it."""

    values: Tensor

    @staticmethod
    def __new__(cls, values: Tensor) -> "OnGPU":
        meta = torch.empty_strided(values.shape, values.stride(), dtype=values.dtype, device="meta")
        tensor = Tensor._make_subclass(cls, meta, False, dispatch_device=True, device_for_backend_keys=GPU)
        tensor.values = values
        return tensor

    @property
    def device(self) -> torch.device:
        return GPU

    def numpy(self, *, force: bool = False) -> Any:
        if not force:
            raise TypeError("a tensor on the GPU has no NumPy array")
        return self.values.detach().numpy()

    def tolist(self) -> Any:
        return self.values.tolist()

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return run(function, args, kwargs or {})[0]


class GPUMode(TorchDispatchMode):
    """Runs operators on both devices. waits: the copies from host to GPU that the host waits for, by who asked."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = Counter[tuple[str, str]]()

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result, waits = run(function, args, kwargs or {})
        if waits:
            self.waits[reader(sys._getframe(1))] += 1
        return result


def run(function: Any, args: tuple, kwargs: dict[str, Any]) -> tuple[Any, bool]:
    """The result, on the device where it would be, and whether the host would wait for a copy to the GPU."""
    if function is torch.ops.prim.device.default:
        return GPU, False
    operator = function.overloadpacket
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    placed = [tensor for tensor in tensors if isinstance(tensor, OnGPU)]
    hosts = [tensor for tensor in tensors if not isinstance(tensor, OnGPU) and tensor.dim() > 0]
    if placed and hosts and operator not in COPIES | INDEXING:
        raise RuntimeError(
            f"{operator}: tensors of two devices, {[tuple(tensor.shape) for tensor in hosts]} on the CPU"
        )
    to_gpu = _is_on_gpu(operator, args, kwargs, bool(placed))
    if kwargs.get("device") is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    results = function(*tree_map(_values, args), **tree_map(_values, kwargs))
    if not to_gpu:
        return results, False
    known = {id(tensor.values): tensor for tensor in placed}  # of operators in place
    waits = operator in INDEXING or (operator in COPIES and not kwargs.get("non_blocking"))
    results = tree_map(lambda value: known.get(id(value), _placed(value)), results)
    return results, waits and any(not isinstance(tensor, OnGPU) for tensor in tensors)


def _is_on_gpu(operator: Any, args: tuple, kwargs: dict[str, Any], any_on_gpu: bool) -> bool:
    if operator is aten._local_scalar_dense:
        return False
    if operator is aten.copy_:
        return isinstance(args[0], OnGPU)
    device = kwargs.get("device")
    return any_on_gpu if device is None else torch.device(device).type == "cuda"


def _values(value: Any) -> Any:
    return value.values if isinstance(value, OnGPU) else value


def _placed(value: Any) -> Any:
    return OnGPU(value) if isinstance(value, Tensor) and not isinstance(value, OnGPU) else value


def move(model: nn.Module) -> None:
    """The model's parameters and buffers to the GPU, in place."""
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = nn.Parameter(OnGPU(parameter.detach()), parameter.requires_grad)
        for name, buffer in module._buffers.items():
            module._buffers[name] = _placed(buffer)
    model.data_preprocessor._device = GPU


@contextmanager
def gpu() -> Iterator[GPUMode]:
    """Inside the block there is a GPU, without cuDNN and Triton. Its tensors have no backward pass."""
    lifted = torch._C._only_lift_cpu_tensors()
    torch._C._ensureCUDADeviceGuardSet()
    torch._C._set_only_lift_cpu_tensors(True)  # tensors of Python numbers are made on the CPU and then copied
    try:
        with ExitStack() as stack:
            stack.enter_context(torch.backends.cudnn.flags(enabled=False))
            stack.enter_context(mock.patch("torch.cuda._lazy_init"))
            stack.enter_context(mock.patch.dict("os.environ", {VARIABLE: "torch"}))
            stack.enter_context(mock.patch.object(Tensor, "pin_memory", lambda tensor: tensor))
            yield stack.enter_context(GPUMode())
    finally:
        torch._C._set_only_lift_cpu_tensors(lifted)
