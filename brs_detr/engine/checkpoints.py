"""Reading a checkpoint and putting its weights into a model; whatever can be wrong has its sentence."""

import pickle
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor, nn

from brs_detr.errors import InputError

CLASS_LAYERS = re.compile(r"cls|label_embedding|conv_logits|fc_reg")  # their first dimension counts classes
REFUSED_BY_TORCH = re.compile(r"(?i)unsupported global|unrecognized function|can only (build|create)")


def read(path: str, device: str | torch.device = "cpu") -> dict[str, Any]:
    """The content of a checkpoint file; nothing in the file can run code.

    Raises:
        InputError: the file is missing, empty, truncated, of another format, or holds anything but data.
    """
    if "://" in path:
        return CheckpointLoader.load_checkpoint(path, map_location=device)
    file = Path(path)
    if not file.is_file():
        raise InputError(f"The checkpoint {path} {'is a folder' if file.is_dir() else 'does not exist'}.")
    head = file.open("rb").read(4)
    if not head:
        raise InputError(f"The checkpoint {path} is empty.")
    if head.startswith(b"PK") and not zipfile.is_zipfile(file):
        raise InputError(f"The checkpoint {path} is truncated: copy or download it again.")
    try:
        content = torch.load(path, map_location=device, weights_only=True)
    except pickle.UnpicklingError as error:
        if REFUSED_BY_TORCH.search(str(error)):
            raise InputError(f"The checkpoint {path} holds code, not only weights: it is refused.") from error
        raise InputError(f"The file {path} is not a PyTorch checkpoint.") from error
    except (RuntimeError, EOFError, ValueError, KeyError) as error:
        raise InputError(f"The checkpoint {path} is damaged or not a PyTorch checkpoint.") from error
    if not isinstance(content, dict):
        raise InputError(f"The file {path} holds no weights (a {type(content).__name__}, not a state_dict).")
    return content


def state_dict_of(checkpoint: dict[str, Any], path: str) -> dict[str, Tensor]:
    """The weights of a checkpoint, without the prefix that data parallelism adds."""
    weights = checkpoint.get("state_dict", checkpoint)
    weights = {name: value for name, value in weights.items() if isinstance(value, Tensor)}
    if not weights:
        raise InputError(f"The file {path} holds no weights.")
    return {name.removeprefix("module."): value for name, value in weights.items()}


@dataclass(frozen=True)
class Fit:
    """How the names and shapes of a checkpoint agree with those of a model."""

    loaded: list[str]
    missing: list[str]
    unexpected: list[str]
    reshaped: list[str]

    @property
    def new_classes(self) -> bool:
        """Whether nothing but class layers differs."""
        only_classes = all(CLASS_LAYERS.search(name) for name in self.reshaped)
        return not self.missing and not self.unexpected and only_classes


def compare(model: nn.Module, weights: dict[str, Tensor]) -> Fit:
    own = model.state_dict()
    shared = [name for name in own if name in weights]
    return Fit(
        loaded=[name for name in shared if own[name].shape == weights[name].shape],
        missing=[name for name in own if name not in weights],
        unexpected=[name for name in weights if name not in own],
        reshaped=[name for name in shared if own[name].shape != weights[name].shape],
    )


def load_weights(model: nn.Module, checkpoint: dict[str, Any], path: str, *, new_classes: bool) -> Fit:
    """Copy the weights of a checkpoint into the model: all of them, or nothing.

    Args:
        new_classes: accept another number of classes, whose layers then keep their initial values.

    Raises:
        InputError: the checkpoint belongs to another architecture, or has another number of classes.
    """
    weights = state_dict_of(checkpoint, path)
    fit = compare(model, weights)
    if not fit.new_classes:
        raise InputError(
            f"The checkpoint {path} is of another architecture than the config: {len(fit.loaded)} tensors "
            f"fit, {len(fit.missing)} are missing, {len(fit.unexpected)} unexpected, {len(fit.reshaped)} of "
            f"another shape (the first: {(fit.missing + fit.unexpected + fit.reshaped)[0]})."
        )
    if fit.reshaped and not new_classes:
        raise InputError(
            f"The checkpoint {path} was trained with another number of classes than the config says "
            f"({fit.reshaped[0]} differs): use the config that it was trained with."
        )
    model.load_state_dict({name: weights[name] for name in fit.loaded}, strict=False)
    return fit


def latest(work_dir: str | Path) -> Path | None:
    """The last whole checkpoint of a training, None where there is none."""
    folder = Path(work_dir)
    record = folder / "last_checkpoint"
    recorded = [folder / Path(record.read_text().strip()).name] if record.is_file() else []
    saved = [*folder.glob("epoch_*.pth"), *folder.glob("iter_*.pth")]
    by_age = sorted(saved, key=lambda path: path.stat().st_mtime, reverse=True)
    return next((path for path in recorded + by_age if zipfile.is_zipfile(path)), None)
