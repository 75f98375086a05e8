"""Reading a checkpoint file such that nothing in it can run, and saying what is wrong with a bad one.

Pickled files are read by `unpickling`, which calls nothing of theirs; safetensors files hold numbers only.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from brs_detr.errors import CheckpointError

from .archives import NoCheckpointError, read_archive, read_stream
from .locating import locate, other_format
from .stand_ins import STORAGES
from .unpickling import CutError, Refused

# Where training programs keep the weights; averaged ones first, since those are what was evaluated.
WRAPPERS = ("state_dict_ema", "model_ema", "ema", "state_dict", "model", "model_state_dict", "module")
KINDS = set(STORAGES.values())
PARALLEL = ("module.", "_orig_mod.")  # added to every name by data parallelism and by torch.compile


def read_checkpoint(source: str | Path, device: str | torch.device = "cpu") -> dict[str, Any]:
    """The content of a checkpoint: a dict, of tensors or around them.

    The file's first bytes decide how it is read, not its name. Its numbers are mapped into memory, not copied.

    Args:
        source: a .pth or .safetensors file, its http(s) address, ``torchvision://NAME`` or ``package://NAME/FILE``.

    Raises:
        CheckpointError: the file does not exist, is empty, truncated, of another format, or would run code, or
            holds more than tensors, numbers, text and containers of these.
    """
    path = locate(source)
    try:
        content = _reader(path)(path, torch.device(device))
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"The checkpoint {path} cannot be read: {error.strerror or error}.") from error
    except NoCheckpointError as error:
        raise CheckpointError(f"The file {path} is {error}.") from None
    except Refused as error:
        raise CheckpointError(f"The checkpoint {path} is refused: {error}.") from None
    except Exception as error:  # what is damaged makes readers raise almost anything
        reason = "truncated" if isinstance(error, EOFError) else "damaged or not a checkpoint"
        raise _unreadable(path, reason) from error
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise CheckpointError(f"The file {path} holds no weights: it is a {kind}, not a state_dict.")
    return content


def state_dict_of(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of a checkpoint, bare or wrapped at any depth, without the prefixes of parallel training.

    Where several wrappers hold tensors, the first one of `WRAPPERS` with at least half as many as the fullest: a
    stray tensor beside the averaged weights' counter hides nothing. Empty where there are none.
    """
    inner = [content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)]
    found = [state_dict_of(wrapped) for wrapped in inner]
    found.append(_strip({name: value for name, value in content.items() if isinstance(value, Tensor)}))
    fullest = max(map(len, found))
    return next(weights for weights in found if 2 * len(weights) >= fullest)


def _strip(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in PARALLEL:
        if weights and all(isinstance(name, str) and name.startswith(prefix) for name in weights):
            return _strip({name.removeprefix(prefix): value for name, value in weights.items()})
    return weights


def weights_of(content: Mapping[str, Any], path: str | Path) -> dict[str, Tensor]:
    """`state_dict_of` what was read from `path`, where it holds weights that a model can take.

    Raises:
        CheckpointError: there are none, or one is sparse, quantised, complex, without memory or without a name.
    """
    state_dict = state_dict_of(content)
    if not state_dict:
        raise CheckpointError(f"The checkpoint {path} holds no weights.")
    for name, tensor in state_dict.items():
        if not isinstance(name, str):
            raise CheckpointError(f"The checkpoint {path} holds weights whose name is no text but {name!r:.50}.")
        if kind := _unusual(tensor):
            raise CheckpointError(f"The checkpoint {path} holds {name} as {kind}, which no model here takes.")
    return state_dict


def _unusual(tensor: Tensor) -> str | None:
    """What a tensor is that cannot be taken for weights."""
    if tensor.is_quantized:
        return "a quantised tensor"
    if tensor.is_nested or tensor.layout != torch.strided:
        return "a sparse or nested tensor"
    if tensor.is_meta:
        return "a tensor without memory"
    return None if tensor.dtype in KINDS else f"numbers of the kind {tensor.dtype}"


def first_not_finite(weights: Mapping[str, Tensor]) -> str | None:
    """The name of the first tensor that holds NaN or an infinite number."""
    return next((name for name, tensor in weights.items() if not torch.isfinite(tensor).all()), None)


def _reader(path: Path) -> Callable[[Path, torch.device], Any]:
    """The function that reads files which begin like this one."""
    if not path.is_file():
        raise CheckpointError(f"The checkpoint {path} {_no_file(path)}.")
    with path.open("rb") as file:
        head = file.read(32)
    if not head:
        raise _unreadable(path, "empty")
    if head.startswith(b"PK"):
        return read_archive
    if head.startswith(b"\x80\x02"):
        return read_stream
    if head[8:9] == b"{":
        return _read_safetensors
    what = other_format(head) or "it begins like neither a .pth nor a .safetensors file"
    if head.startswith(b"\x80"):
        what = "it is a Python pickle that torch.save did not write"
    raise CheckpointError(f"The file {path} is not a checkpoint: {what}.")


def _no_file(path: Path) -> str:
    """What there is in the place of a file."""
    if path.is_dir():
        return "is a folder"
    if path.exists():
        return "is no file of its own"  # a pipe or a device
    return "is a link that leads nowhere" if os.path.lexists(path) else "does not exist"


def _unreadable(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(f"The checkpoint {path} is {reason}: copy or download it again.")


def _read_safetensors(path: Path, device: torch.device) -> dict[str, Any]:
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    if header + 8 > path.stat().st_size:
        raise _unreadable(path, "truncated")
    try:
        return load_file(path, device=str(device))
    except SafetensorError as error:
        raise (CutError if "not fully covered" in str(error) else ValueError)(str(error)) from None
