"""What a checkpoint's pickles may build: stand-ins, which hold numbers and can be made to do nothing.

`TABLE` says what stands for which name; `contents` turns the stand-ins into what they stand for.
"""

import argparse
import math
from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

from .unpickling import Refused, StandIn, check_key, shown, would_call

NUMBERS = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")
STATISTICS = ("min", "max", "current", "mean")  # of HistoryBuffer
STORAGES = {
    "Half": torch.float16,
    "Float": torch.float32,
    "Double": torch.float64,
    "BFloat16": torch.bfloat16,
    "Byte": torch.uint8,
    "Char": torch.int8,
    "Short": torch.int16,
    "Int": torch.int32,
    "Long": torch.int64,
    "Bool": torch.bool,
}


class Number(StandIn):
    """A `numpy.dtype` of plain numbers; of objects or records it would turn bytes of the file into pointers."""

    def __init__(self, code: object, *flags: object) -> None:
        if code not in NUMBERS:
            raise Refused(f"it holds an array of {shown(code)} instead of numbers")
        self.dtype = np.dtype(str(code))

    def restore(self, state: Any) -> None:
        if state[1] not in ("<", ">", "|", "="):
            raise Refused(f"it holds numbers in the byte order {shown(state[1])}")
        self.dtype = self.dtype.newbyteorder(state[1])


class Array(StandIn):
    """A `numpy.ndarray`: made empty, and filled by its state."""

    value: np.ndarray | None = None

    def restore(self, state: Any) -> None:
        _, shape, number, fortran, content = state
        if not (isinstance(number, Number) and type(content) is bytes and is_shape(shape)):
            raise Refused("it holds an array whose shape, numbers or content are none")
        if math.prod(shape) * number.dtype.itemsize != len(content):
            raise Refused(f"it holds an array of shape {shape} in {len(content)} bytes")
        self.value = np.frombuffer(content, number.dtype).reshape(shape, order="F" if fortran else "C").copy()


class History(StandIn):
    """mmengine's `HistoryBuffer`, whose own restoring would register functions of the file."""

    value: HistoryBuffer | None = None

    def restore(self, state: Any) -> None:
        log, count, longest = (state.get(key) for key in ("_log_history", "_count_history", "max_length"))
        histories = [part.value for part in (log, count) if isinstance(part, Array) and part.value is not None]
        if len({part.shape for part in histories}) != 1 or len(histories) != 2 or type(longest) is not int:
            raise Refused("it holds a log history without numbers")
        self.value = HistoryBuffer(*histories, max_length=longest)


class Options(StandIn):
    """An `argparse.Namespace`, as training programs save their arguments."""

    value: argparse.Namespace | None = None

    def restore(self, state: Any) -> None:
        if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
            raise Refused("it holds arguments without names")
        self.value = argparse.Namespace()
        vars(self.value).update(state)


@dataclass(frozen=True)
class Storage:
    """Numbers that the file keeps outside its pickle.

    first: number of the storage at which this one begins, where it is a part of it.
    """

    dtype: torch.dtype
    key: str
    numel: int
    first: int = 0


@dataclass(frozen=True)
class View(StandIn):
    """A tensor: a view of a storage, in elements of it."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    requires_grad: bool = False
    is_parameter: bool = False

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.storage.dtype.itemsize


def is_shape(value: object) -> bool:
    """Whether these are sizes, strides or an offset that torch can count with."""
    return type(value) is tuple and len(value) <= 64 and all(type(side) is int and 0 <= side < 2**63 for side in value)


def storage(identity: Any) -> Storage:
    """What a persistent id names: kind, dtype, key, device, number of elements, in old files the part of another."""
    kind, dtype, key, _, numel, *part = identity if type(identity) is tuple else (None,) * 5
    numbered = type(key) is str and key.isdecimal()
    if kind != "storage" or not (numbered and isinstance(dtype, torch.dtype) and is_shape((numel,))):
        raise Refused("it holds a tensor whose storage is none")
    if not part or part == [None]:
        return Storage(dtype, key, numel)
    ((_, first, size),) = part
    if not is_shape((first, size)) or first + size > numel:
        raise Refused("it holds a storage that exceeds the one it is part of")
    return Storage(dtype, key, numel, first)


def tensor(storage: Any, offset: Any, shape: Any, stride: Any, requires_grad: Any = False, *rest: Any) -> View:
    """Takes the place of torch's ``_rebuild_tensor_v2`` and ``_rebuild_tensor``; hooks are left out."""
    shape = tuple(shape) if isinstance(shape, torch.Size) else shape
    well_formed = isinstance(storage, Storage) and is_shape((offset,)) and is_shape(shape) and is_shape(stride)
    if not well_formed or len(shape) != len(stride) or any(rest[1:]):
        raise Refused("it holds a tensor whose storage, shape or strides are none")
    last = storage.first + offset + sum((side - 1) * step for side, step in zip(shape, stride, strict=True))
    if math.prod(shape) and last >= storage.numel:
        raise Refused(f"it holds a tensor of shape {shape} that exceeds its storage")
    if math.prod(shape) > storage.numel:
        raise Refused(f"it holds a tensor of shape {shape} whose numbers share memory")
    return View(storage, storage.first + offset, shape, stride, requires_grad is True)


def parameter(data: Any, requires_grad: Any = True, *hooks: Any) -> View:
    """Takes the place of ``_rebuild_parameter``."""
    if not isinstance(data, View):
        raise Refused("it holds a parameter that is no tensor")
    return View(data.storage, data.offset, data.shape, data.stride, requires_grad is True, is_parameter=True)


def empty_array(kind: object, *shape_and_number: object) -> Array:
    """Takes the place of numpy's ``_reconstruct``."""
    if kind is not Array:
        raise Refused(f"it holds an array of the class {shown(kind)}")
    return Array()


def scalar(number: object, content: object) -> Any:
    """Takes the place of numpy's ``scalar``: one number from its bytes."""
    if not isinstance(number, Number) or type(content) is not bytes or len(content) != number.dtype.itemsize:
        raise Refused("it holds a number that is none")
    return np.frombuffer(content, number.dtype)[0]


def statistic(owner: object, name: object) -> str:
    """Takes the place of ``getattr``, by which HistoryBuffer's methods are pickled, for these alone."""
    if owner is not History or name not in STATISTICS:
        raise would_call(f"getattr({shown(owner)}, {shown(name)})")
    return str(name)


def encoded(text: object, encoding: object) -> bytes:
    """Takes the place of ``_codecs.encode``: protocol 2 writes bytes as text."""
    if type(text) is not str or encoding not in ("latin1", "latin-1"):
        raise would_call(f"encode({shown(text)}, {shown(encoding)})")
    return text.encode("latin-1")


def no_bytes() -> bytes:
    """Takes the place of ``bytes``, which protocol 2 calls for none at all."""
    return b""


def size(sides: object) -> torch.Size:
    if not is_shape(sides):
        raise Refused("it holds a size that is none")
    return torch.Size(sides)  # type: ignore[arg-type]


def ordered(pairs: Any = ()) -> OrderedDict:
    return OrderedDict((check_key(key), value) for key, value in pairs)


def unordered(members: Any = ()) -> set:
    return {check_key(member) for member in members}


def counter(counts: Any = None) -> Counter:
    """mmengine's schedules keep their milestones so."""
    if not isinstance(counts, dict) or not all(type(count) is int for count in counts.values()):
        raise Refused("it holds counts that are no numbers")
    return Counter(counts)


MULTIARRAYS = ("numpy._core.multiarray", "numpy.core.multiarray")  # of numpy 2 and 1
TABLE: dict[str, Any] = {
    "numpy.dtype": Number,
    "numpy.ndarray": Array,
    "mmengine.logging.history_buffer.HistoryBuffer": History,
    "argparse.Namespace": Options,
    "builtins.getattr": statistic,
    "builtins.set": unordered,
    "collections.OrderedDict": ordered,
    "collections.Counter": counter,
    "_codecs.encode": encoded,
    "builtins.bytes": no_bytes,
    "torch.Size": size,
    "torch.device": torch.device,
    "torch._utils._rebuild_tensor_v2": tensor,
    "torch._utils._rebuild_tensor": tensor,
    "torch._utils._rebuild_parameter": parameter,
    "torch.nn.parameter.Parameter": parameter,
    **{f"{module}._reconstruct": empty_array for module in MULTIARRAYS},
    **{f"{module}.scalar": scalar for module in MULTIARRAYS},
    **{f"torch.{name}Storage": dtype for name, dtype in STORAGES.items()},
    **{str(dtype): dtype for dtype in STORAGES.values()},
}
