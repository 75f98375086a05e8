"""A GPU that is not there: tensors that say `cuda` and hold their values on the CPU, so that a training step runs.

What a GPU would refuse raises an error here, too: an operator on tensors of both devices, `numpy()` of the GPU's.
What the host would wait for is allowed and counted: what it reads, and what it copies to the GPU.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar
from unittest import mock

import torch
from mmcv.ops import multi_scale_deform_attn
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from brs_detr.losses.backends import VARIABLE
from brs_detr.timing.counting import INDEXING, WAITING

from .stand_in_backward import in_python

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
READ, COPY, SENT = "reads", "copies", "copies not waited for"  # the last two from the host
aten = torch.ops.aten
COPIES = {aten._to_copy, aten.copy_}


class OnGPU(Tensor):
    """A tensor on the GPU; values: on the CPU. The rest is that of a meta tensor, as autograd needs it."""

    values: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl  # a quicker way to the operators

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
        return self.detach().cpu().numpy()

    def tolist(self) -> Any:
        return self.detach().cpu().tolist()

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return run(function, args, kwargs or {})[0]


class StandInGPU(TorchDispatchMode):
    """Runs operators on both devices. number: of what crosses between them, READ, COPY or SENT."""

    def __init__(self) -> None:
        super().__init__()
        self.number = Counter[str]()

    def found(self, crossing: str) -> None:
        """Called by what crosses, from within it."""
        self.number[crossing] += 1

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result, crossing = run(function, args, kwargs or {})
        if crossing:
            self.found(crossing)
        return result


def run(function: Any, args: tuple, kwargs: dict[str, Any]) -> tuple[Any, str | None]:
    """The result, on the device where it would be, and what crosses between host and GPU."""
    if function is torch.ops.prim.device.default:
        return GPU, None
    operator = function.overloadpacket
    tensors: list[Tensor] = []
    values, options = _values(args, tensors), {name: _values(value, tensors) for name, value in kwargs.items()}
    placed = [tensor for tensor in tensors if isinstance(tensor, OnGPU)]
    hosts = [tensor for tensor in tensors if not isinstance(tensor, OnGPU)]
    mixed = [tuple(tensor.shape) for tensor in hosts if tensor.dim() > 0] if placed else []
    if mixed and operator not in COPIES | INDEXING:
        raise RuntimeError(f"{operator}: tensors of two devices, {mixed} on the CPU")
    if kwargs.get("device") is not None:
        options["device"] = CPU
    results = function(*values, **options)
    to_gpu = _is_on_gpu(operator, args, kwargs, bool(placed))
    crossing = _crossing(operator, args, kwargs, bool(placed), bool(hosts), to_gpu)
    known = {id(tensor.values): tensor for tensor in placed}  # of operators in place
    return _placed(results, known) if to_gpu else results, crossing


def _is_on_gpu(operator: Any, args: tuple, kwargs: dict[str, Any], any_on_gpu: bool) -> bool:
    if operator is aten.copy_:
        return isinstance(args[0], OnGPU)
    device = kwargs.get("device")
    return any_on_gpu if device is None else torch.device(device).type == "cuda"


def _crossing(
    operator: Any, args: tuple, kwargs: dict[str, Any], from_gpu: bool, from_host: bool, to_gpu: bool
) -> str | None:
    if operator in COPIES:
        if to_gpu and from_host:
            return SENT if kwargs.get("non_blocking") or args[2:] == (True,) else COPY
        return READ if from_gpu and not to_gpu else None
    if operator in INDEXING and from_gpu:
        return _crossing_of_indices(args)
    waits = operator in WAITING and kwargs.get("output_size") is None  # of `repeat_interleave`
    return READ if waits and from_gpu else None


def _crossing_of_indices(args: tuple) -> str | None:
    """Indices on the host are copied. Masks are counted, unless a number takes the place of what they select."""
    indices = [index for index in args[1] if index is not None]
    if not all(isinstance(index, OnGPU) for index in indices):
        return COPY
    filled = len(args) > 2 and len(indices) == 1 and not isinstance(args[2], OnGPU)
    return READ if any(index.dtype in (torch.bool, torch.uint8) for index in indices) and not filled else None


def _values(value: Any, tensors: list[Tensor]) -> Any:
    """An argument as the CPU takes it; the tensors in it are added to the list."""
    if isinstance(value, Tensor):
        tensors.append(value)
        return value.values if isinstance(value, OnGPU) else value
    return [_values(each, tensors) for each in value] if isinstance(value, list | tuple) else value


def _placed(value: Any, known: dict[int, OnGPU]) -> Any:
    """A result on the GPU."""
    if isinstance(value, Tensor):
        return known[id(value)] if id(value) in known else OnGPU(value)
    return type(value)(_placed(each, known) for each in value) if isinstance(value, list | tuple) else value


def move(model: nn.Module) -> None:
    """The model's parameters and buffers to the GPU, in place."""
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = nn.Parameter(OnGPU(parameter.detach()), parameter.requires_grad)
        for name, buffer in module._buffers.items():
            module._buffers[name] = None if buffer is None else OnGPU(buffer)
    model.data_preprocessor._device = GPU


Mode = TypeVar("Mode", bound=StandInGPU)


@contextmanager
def standing_in(mode: Mode) -> Iterator[Mode]:
    """Inside the block there is a GPU, without cuDNN and Triton."""
    lifted = torch._C._only_lift_cpu_tensors()
    torch._C._ensureCUDADeviceGuardSet()
    torch._C._set_only_lift_cpu_tensors(True)  # tensors of Python numbers are made on the CPU and then copied
    try:
        with ExitStack() as stack:
            stack.enter_context(torch.backends.cudnn.flags(enabled=False))
            stack.enter_context(mock.patch("torch.cuda._lazy_init"))
            stack.enter_context(mock.patch("torch.cuda.is_available", return_value=True))
            stack.enter_context(mock.patch("torch.cuda.is_current_stream_capturing", return_value=False))
            stack.enter_context(mock.patch.object(multi_scale_deform_attn, "IS_CUDA_AVAILABLE", True))
            stack.enter_context(mock.patch.dict("os.environ", {VARIABLE: "torch"}))
            stack.enter_context(mock.patch.object(Tensor, "pin_memory", lambda tensor: tensor))
            stack.enter_context(in_python())
            yield stack.enter_context(mode)
    finally:
        torch._C._set_only_lift_cpu_tensors(lifted)
