"""The two layouts of torch.save: a zip archive, and before torch 1.6 one stream of pickles.

Both keep the numbers of tensors outside their pickle. They are mapped into memory, not read, wherever tensors go.
"""

import io
import os
import struct
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import torch

from .contents import Contents
from .stand_ins import TABLE, Storage, storage
from .unpickling import CutError, Refused, Unpickler, check_names

MAGIC = 0x1950A86A20F9469CFC6C  # of the old layout, and its version
VERSION = 1001
LOCAL_HEADER = struct.Struct("<26xHH")  # of a member of an archive: the lengths of its name and its extra field
Span = tuple[int, int]  # offset and length in bytes


class NoCheckpointError(ValueError):
    """A whole file of another kind; the message says of which."""


class Storages:
    """The storages that a pickle names, and the numbers that each holds."""

    def __init__(self) -> None:
        self.dtypes: dict[str, torch.dtype] = {}

    def named(self, identity: Any) -> Storage:
        named = storage(identity)
        if self.dtypes.setdefault(named.key, named.dtype) != named.dtype:
            raise Refused("it holds a storage of two kinds of numbers")
        return named


def read_archive(path: Path, device: torch.device) -> Any:
    """The content of a zip archive. All of it is read once, for its checksums: a second for a gigabyte.

    Raises:
        Refused: it asks for more than numbers. NoCheckpointError: it is something else. CutError: it is cut.
        Anything else: it is damaged.
    """
    if not zipfile.is_zipfile(path):
        raise CutError("no directory")
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        members = _members(archive, path.stat().st_size)
        spans = {name: _span(file, member) for name, member in members.items()}
        content = archive.read(members["data.pkl"])
        swapped = "byteorder" in members and archive.read(members["byteorder"]).decode() != sys.byteorder
    storages = Storages()
    built = _load_pickle(io.BytesIO(content), storages.named)
    stored = {name.removeprefix("data/"): span for name, span in spans.items() if name.startswith("data/")}
    return Contents(_Bytes(path, stored, swapped).of, device).plain(built)


def _load_pickle(file: IO[bytes], persistent: Callable[[Any], Any]) -> Any:
    """The next pickle's content, after a look at all that it names."""
    start = file.tell()
    check_names(file, TABLE)
    file.seek(start)
    return Unpickler(TABLE, persistent).load(file)


def _members(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """The members by their names below the archive's only folder: stored as they are, whole, once."""
    members = {member.filename.partition("/")[2]: member for member in archive.infolist()}
    if "constants.pkl" in members:
        raise NoCheckpointError("a TorchScript program: save its state_dict instead")
    if "data.pkl" not in members:
        raise NoCheckpointError("not a checkpoint: it is a zip archive of something else")
    folders = {member.filename.partition("/")[0] for member in archive.infolist()}
    if len({name.lower() for name in members}) < len(archive.infolist()) or len(folders) > 1:
        raise Refused("it holds several members of one name")
    if any(member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1 for member in members.values()):
        raise Refused("its members are compressed or encrypted, and torch.save stores them as they are")
    if sum(member.file_size for member in members.values()) > size:
        raise Refused("its members take more room than the file")
    if broken := archive.testzip():
        raise zipfile.BadZipFile(f"wrong checksum of {broken}")
    return members


def _span(file: IO[bytes], member: zipfile.ZipInfo) -> Span:
    file.seek(member.header_offset)
    return file.tell() + LOCAL_HEADER.size + sum(LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))), member.file_size


def read_stream(path: Path, device: torch.device) -> Any:
    """The content of a stream of pickles: magic number, version, system, content, the storages' keys; then those.

    Raises:
        As `read_archive`.
    """
    storages = Storages()
    with path.open("rb") as file:
        for expected in (MAGIC, VERSION):
            if _load_pickle(file, storages.named) != expected:
                raise ValueError("another magic number or version")
        _load_pickle(file, storages.named)  # sizes of C's types
        built = _load_pickle(file, storages.named)
        keys = _load_pickle(file, storages.named)
        stored = _spans(file, keys, storages, path.stat().st_size)
    return Contents(_Bytes(path, stored, swapped=False).of, device).plain(built)


def _spans(file: IO[bytes], keys: list[str], storages: Storages, size: int) -> dict[str, Span]:
    """Where the storages lie: each is preceded by its number of elements."""
    spans = {}
    for key in keys:
        count = int.from_bytes(file.read(8), "little")
        spans[key] = file.tell(), count * storages.dtypes[key].itemsize
        if sum(spans[key]) > size:
            raise CutError("storages")
        file.seek(sum(spans[key]))
    return spans


class _Bytes:
    """The file in memory, as far as it is looked at.

    Args:
        stored: where each storage lies.
        swapped: whether the file's byte order is not this machine's.
    """

    def __init__(self, path: Path, stored: Mapping[str, Span], swapped: bool) -> None:
        self.file = torch.UntypedStorage.from_file(os.fspath(path), False, path.stat().st_size)
        self.stored, self.swapped = stored, swapped
        self.mapped: dict[str, torch.UntypedStorage] = {}

    def of(self, storage: Storage) -> torch.UntypedStorage:
        offset, length = self.stored.get(storage.key, (0, -1))
        if storage.numel * storage.dtype.itemsize > length:
            raise Refused(f"it holds a tensor of {storage.numel} numbers that are not in the file")
        if storage.key not in self.mapped:
            self.mapped[storage.key] = self.file[offset : offset + length]
            if self.swapped:
                self.mapped[storage.key].byteswap(storage.dtype)
        return self.mapped[storage.key]
