"""From an address to a local file, downloaded once into torch's cache."""

from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError

import torch
from mmengine.dist import barrier, is_main_process
from mmengine.runner import checkpoint as mmengine_checkpoint

from brs_detr.errors import CheckpointError

CATALOGUES: dict[str, Callable[[], dict[str, str]]] = {
    "torchvision://": mmengine_checkpoint.get_torchvision_models,
    "modelzoo://": mmengine_checkpoint.get_torchvision_models,
    "open-mmlab://": mmengine_checkpoint.get_external_models,
    "openmmlab://": mmengine_checkpoint.get_external_models,
    "mmcls://": mmengine_checkpoint.get_mmcls_models,
}
DOWNLOADS = ("http://", "https://")


def locate(source: str | Path) -> Path:
    """The local file of a path, an http(s) address or a name such as ``torchvision://resnet50``.

    Raises:
        CheckpointError: the name is unknown, or the download fails.
    """
    address = _address(str(source))
    return _download(address) if address.startswith(DOWNLOADS) else Path(address).expanduser()


def _address(source: str) -> str:
    for scheme, catalogue in CATALOGUES.items():
        if source.startswith(scheme):
            known = catalogue()
            name = source.removeprefix(scheme)
            if name not in known:
                raise CheckpointError(f"{scheme} knows no {name}: give the file's path or its http address.")
            return known[name]
    return source


def _download(url: str) -> Path:
    """The file in torch's cache; the first process fetches it for all that share its disk."""
    path = Path(torch.hub.get_dir(), "checkpoints", Path(url.partition("?")[0]).name)
    if is_main_process():
        _fetch(url, path)
    barrier()
    _fetch(url, path)
    return path


def _fetch(url: str, path: Path) -> None:
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(url, str(path), progress=False)
    except (URLError, OSError) as error:
        raise CheckpointError(
            f"{url} cannot be downloaded ({error}): fetch it elsewhere, give its path or put it at {path}."
        ) from error
