"""What mmengine's own checkpoints contain besides tensors, made known to torch's restricted unpickler.

torch.load builds nothing but tensors and plain containers unless told otherwise (``weights_only``). It stays
so: the names below build numbers and log histories, and cannot be made to call anything else.
"""

import pickle

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from numpy._core import multiarray

STATISTICS = ("min", "max", "current", "mean")


def history_statistic(owner: object, name: object) -> object:
    """Takes the place of ``getattr``, by which HistoryBuffer's methods are pickled, for these alone.

    Raises:
        pickle.UnpicklingError: another attribute is asked for.
    """
    if owner is not HistoryBuffer or name not in STATISTICS:
        raise pickle.UnpicklingError(f"Unsupported global: getattr({owner!r}, {name!r})")
    return getattr(HistoryBuffer, str(name))


def register() -> None:
    """Make mmengine's checkpoints loadable with ``weights_only``, those written with numpy 1 too."""
    numbers = [np.dtype(code) for code in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u4", "u8", "b1")]
    torch.serialization.add_safe_globals(
        [
            HistoryBuffer,
            np.ndarray,
            np.dtype,
            *{type(number) for number in numbers},
            (history_statistic, "builtins.getattr"),
            *((getattr(multiarray, name), f"numpy._core.multiarray.{name}") for name in ("scalar", "_reconstruct")),
            *((getattr(multiarray, name), f"numpy.core.multiarray.{name}") for name in ("scalar", "_reconstruct")),
        ]
    )
