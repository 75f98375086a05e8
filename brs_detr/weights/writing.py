"""Writing weights so that the file appears whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from .errors import CheckpointError

SUFFIXES = (".pth", ".safetensors")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A file beside `path` to write to, which takes its place on success and disappears otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)  # mkstemp's files are private
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_weights(path: Path, weights: dict[str, Tensor], meta: dict[str, Any]) -> None:
    """Write a state_dict as .pth (with `meta` beside it) or .safetensors.

    Raises:
        CheckpointError: the path has another suffix.
    """
    check_suffix(path)
    with whole_file(path) as temporary:
        if path.suffix == ".pth":
            torch.save({"state_dict": weights, "meta": meta}, temporary)
        else:
            alone = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in weights.items()}
            save_file(alone, temporary, {name: str(value) for name, value in meta.items()})


def check_suffix(path: Path) -> None:
    if path.suffix not in SUFFIXES:
        raise CheckpointError(f"{path} must end in {' or '.join(SUFFIXES)}.")
