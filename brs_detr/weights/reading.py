"""Reading a checkpoint file such that nothing in it can run, and saying what is wrong with a bad one.

torch.load builds nothing but tensors and plain containers unless told otherwise (``weights_only``). It stays so;
what is allowed beyond builds numbers and log histories, and cannot be made to call anything else.
"""

import argparse
import pickle
import re
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from numpy._core import multiarray
from safetensors.torch import load_file
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from brs_detr.errors import CheckpointError

from .locating import locate

# What other training programs write beside tensors, and what cannot be made to call anything.
HARMLESS: list[Any] = [argparse.Namespace]
REFUSALS = re.compile(r"(?:GLOBAL|Unsupported global:) ([\w.]+)|unrecognized function|Can only (?:build|create)")
TRUNCATION = ("unexpected EOF", "not fully covered")
OTHER_FORMATS = {
    b"<": "it is a web page: the download went wrong",
    b"version https://git-lfs": "it is a Git LFS pointer: `git lfs pull` fetches the file itself",
    b"\x80": "it is a Python pickle that torch.save did not write",
}

STATISTICS = ("min", "max", "current", "mean")  # of HistoryBuffer
# Where training programs keep the weights; averaged ones first, since those are what was evaluated.
WRAPPERS = ("state_dict_ema", "model_ema", "ema", "state_dict", "model", "model_state_dict", "module")
PARALLEL = ("module.", "_orig_mod.")  # added to every name by data parallelism and by torch.compile


def read_checkpoint(source: str | Path, device: str | torch.device = "cpu") -> dict[str, Any]:
    """The content of a checkpoint: a dict, of tensors or around them.

    The file's first bytes decide how it is read, not its name. Pickled files pass through torch's restricted
    unpickler (``weights_only``), which refuses to call anything but a short list of harmless constructors.

    Args:
        source: a .pth or .safetensors file, its http(s) address, or ``torchvision://NAME``.

    Raises:
        CheckpointError: the file does not exist, is empty, truncated, of another format, or would run code.
    """
    path = locate(source)
    try:
        content = _reader(path)(path, device)
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"The checkpoint {path} cannot be read: {error.strerror or error}.") from error
    except Exception as error:  # what is damaged makes readers raise almost anything
        cut = isinstance(error, EOFError) or any(sign in str(error) for sign in TRUNCATION)
        raise _unreadable(path, "truncated" if cut else "damaged or not a checkpoint") from error
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise CheckpointError(f"The file {path} holds no weights: it is a {kind}, not a state_dict.")
    return content


def state_dict_of(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of a checkpoint, bare or wrapped at any depth, without the prefixes of parallel training.

    Empty where there are none.
    """
    for key in WRAPPERS:
        inner = content.get(key)
        if isinstance(inner, Mapping) and (found := state_dict_of(inner)):
            return found
    return _strip({name: value for name, value in content.items() if isinstance(value, Tensor)})


def _strip(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in PARALLEL:
        if weights and all(name.startswith(prefix) for name in weights):
            return _strip({name.removeprefix(prefix): value for name, value in weights.items()})
    return weights


def _reader(path: Path) -> Callable[[Path, str | torch.device], Any]:
    """The function that reads files which begin like this one."""
    if not path.is_file():
        raise CheckpointError(f"The checkpoint {path} {'is a folder' if path.is_dir() else 'does not exist'}.")
    with path.open("rb") as file:
        head = file.read(32)
    if not head:
        raise _unreadable(path, "empty")
    if head.startswith(b"PK"):
        return _read_archive
    if head.startswith(b"\x80\x02"):
        return _read_legacy
    if head[8:9] == b"{":
        return _read_safetensors
    known = (what for start, what in OTHER_FORMATS.items() if head.startswith(start))
    what = next(known, "it begins like neither a .pth nor a .safetensors file")
    raise CheckpointError(f"The file {path} is not a checkpoint: {what}.")


def _unreadable(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(f"The checkpoint {path} is {reason}: copy or download it again.")


def _read_safetensors(path: Path, device: str | torch.device) -> dict[str, Any]:
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    if header + 8 > path.stat().st_size:
        raise _unreadable(path, "truncated")
    return load_file(path, device=str(device))


def _read_archive(path: Path, device: str | torch.device) -> Any:
    """What torch.save writes: a zip archive, whose directory stands at its end."""
    if not zipfile.is_zipfile(path):
        raise _unreadable(path, "truncated")
    with zipfile.ZipFile(path) as archive:
        names = {name.partition("/")[2] for name in archive.namelist()}
    if "constants.pkl" in names:
        raise CheckpointError(f"The file {path} is a TorchScript program: save its state_dict instead.")
    if "data.pkl" not in names:
        raise CheckpointError(f"The file {path} is not a checkpoint: it is a zip archive of something else.")
    return _unpickle(path, device, mmap=torch.device(device).type == "cpu")


def _read_legacy(path: Path, device: str | torch.device) -> Any:
    """What torch.save wrote before 1.6: one stream of pickles."""
    return _unpickle(path, device, mmap=False)


def _unpickle(path: Path, device: str | torch.device, *, mmap: bool) -> Any:
    with safe_globals(HARMLESS):
        try:
            return torch.load(path, map_location=device, weights_only=True, mmap=mmap)
        except pickle.UnpicklingError as error:
            if refusal := REFUSALS.search(str(error)):
                raise _refused(path, refusal[1]) from None
            raise


def _refused(path: Path, first: str | None) -> CheckpointError:
    calls = [first or "an object of its own"]
    with suppress(Exception):  # only the archives of today's torch.save can be listed
        calls = sorted(get_unsafe_globals_in_checkpoint(path)) or calls
    return CheckpointError(
        f"The checkpoint {path} is refused: it would call {', '.join(calls)}, and a checkpoint must not run code. "
        "If it is yours, save its state_dict alone."
    )


def history_statistic(owner: object, name: object) -> object:
    """Takes the place of ``getattr``, by which HistoryBuffer's methods are pickled, for these alone.

    Raises:
        pickle.UnpicklingError: another attribute is asked for.
    """
    if owner is not HistoryBuffer or name not in STATISTICS:
        raise pickle.UnpicklingError(f"Unsupported global: getattr({owner!r}, {name!r})")
    return getattr(HistoryBuffer, str(name))


def allow_what_mmengine_saves() -> None:
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
