"""From what a pickle built to the content of a checkpoint: tensors, numbers, histories and containers around them."""

import argparse
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .stand_ins import Storage, View
from .unpickling import MOST_OPERATIONS, REPEATS, SIMPLE, Refused, StandIn, shown

MOST_LEVELS = 100  # of containers inside each other


class Contents:
    """Turns stand-ins into what they stand for; other containers are changed in place.

    Args:
        bytes_of: the bytes of a storage in the file.
    """

    def __init__(self, bytes_of: Callable[[Storage], torch.UntypedStorage], device: torch.device) -> None:
        self.bytes_of, self.device = bytes_of, device
        self.done: dict[int, tuple[Any, int]] = {}  # by identity: what came of it, and its objects without sharing
        self.open: set[int] = set()
        self.objects = 0
        self.storages: dict[str, int] = {}
        self.bytes = 0

    def plain(self, value: Any) -> Any:
        """The content itself.

        Raises:
            Refused: containers that hold themselves or are nested too deeply; tensors of far more memory than the file.
        """
        content = self._plain(value, 0)
        if self.bytes > REPEATS * sum(self.storages.values()):
            raise Refused(f"it holds tensors of {self.bytes} bytes in all that share memory")
        return content

    def _plain(self, value: Any, level: int) -> Any:
        if isinstance(value, (*SIMPLE, set, torch.dtype, torch.device, torch.Size)):
            return value
        if not isinstance(value, (StandIn, dict, list, tuple)):
            raise Refused(f"it holds {shown(value)} itself")  # a storage without a tensor, a name that is not called
        key = id(value)
        if key in self.open or level > MOST_LEVELS:
            raise Refused("it holds containers that hold themselves, or hundreds of each other")
        if key not in self.done:
            self.open.add(key)
            before = self.objects
            self.done[key] = self._built(value, level + 1), 1 + self.objects - before
            self.objects = before
            self.open.discard(key)
        content, objects = self.done[key]
        self.objects += objects
        if self.objects > MOST_OPERATIONS:
            raise Refused("it names the same content again and again")
        return content

    def _built(self, value: Any, level: int) -> Any:
        if isinstance(value, View):
            return self._tensor(value)
        if isinstance(value, tuple):
            return tuple(self._plain(item, level) for item in value)
        if isinstance(value, StandIn):
            return self._restored(value, level)
        self._fill(value, level)
        if isinstance(value, OrderedDict):
            self._fill(vars(value), level)
        return value

    def _restored(self, stand_in: StandIn, level: int) -> Any:
        value = getattr(stand_in, "value", None)
        if value is None:
            raise Refused(f"it holds {shown(stand_in)} without content")
        if isinstance(value, argparse.Namespace):
            self._fill(vars(value), level)
        return value

    def _fill(self, container: dict | list, level: int) -> None:
        for key, item in list(container.items() if isinstance(container, dict) else enumerate(container)):
            container[key] = self._plain(item, level)

    def _tensor(self, view: View) -> Tensor:
        self.storages[view.storage.key] = view.storage.numel * view.storage.dtype.itemsize
        self.bytes += view.bytes
        content = self.bytes_of(view.storage)
        values = torch.empty(0, dtype=view.storage.dtype).set_(content, view.offset, view.shape, view.stride)
        values = values.to(self.device)
        if view.is_parameter:
            return torch.nn.Parameter(values, view.requires_grad)
        return values.requires_grad_(view.requires_grad)
