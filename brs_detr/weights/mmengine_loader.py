"""mmengine's own loading (``Pretrained``, ``load_from``, ``resume``) through this project's reader.

mmengine reads downloads with ``weights_only`` off, so that such a file could run code; read here, it cannot.
"""

from typing import Any

import torch
from mmengine.runner.checkpoint import CheckpointLoader

from .locating import CATALOGUES, DOWNLOADS
from .reading import read_checkpoint
from .unwrapping import state_dict_of


def load_from_file(filename: str, map_location: str | torch.device | None = None) -> dict[str, Any]:
    """A checkpoint file's content, in mmengine's signature."""
    return read_checkpoint(filename, map_location or "cpu")


def load_from_mmcls(filename: str, map_location: str | torch.device | None = None) -> dict[str, Any]:
    """The backbone of one of mmpretrain's classifiers, without the prefix of its names."""
    weights = state_dict_of(load_from_file(filename, map_location))
    prefix = "backbone."
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def register() -> None:
    """Replace mmengine's readers of local files, downloads and catalogues."""
    CheckpointLoader.register_scheme(["", *DOWNLOADS, *CATALOGUES], load_from_file, force=True)
    CheckpointLoader.register_scheme("mmcls://", load_from_mmcls, force=True)
