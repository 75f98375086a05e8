"""Models without memory: names and shapes of a config's model in a fraction of a second."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class Skeleton(TorchFunctionMode):
    """Within it, the parameters of new modules are on the meta device.

    Unlike ``torch.device("meta")`` it leaves alone what constructors compute with, such as drop path rates.
    """

    def __torch_function__(
        self, func: Callable, types: Sequence[type], args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.empty:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)
