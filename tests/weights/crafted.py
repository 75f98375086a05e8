"""Files that no training writes: pickles assembled operation by operation, in the layouts of torch.save."""

import io
import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001
ARRAY, DTYPE, RECONSTRUCT = "numpy ndarray", "numpy dtype", "numpy._core.multiarray _reconstruct"
HISTORY, TENSOR = "mmengine.logging.history_buffer HistoryBuffer", "torch._utils _rebuild_tensor_v2"
FLOATS = "torch FloatStorage"


class Code(bytes):
    """Operations that leave one value on the stack."""


def name(path: str) -> Code:
    """``module name`` as a GLOBAL."""
    module, what = path.split(" ")
    return Code(b"c" + module.encode() + b"\n" + what.encode() + b"\n")


def value(item: object) -> bytes:
    """The operations of an item: numbers, text, containers, and `Code` anywhere among them."""
    if isinstance(item, Code):
        return item
    if isinstance(item, bytes):
        return call("_codecs encode", item.decode("latin-1"), "latin1")
    if isinstance(item, str):
        text = item.encode("utf-8", "surrogatepass")
        return b"X" + struct.pack("<I", len(text)) + text
    if isinstance(item, tuple):
        return b"(" + b"".join(map(value, item)) + b"t"
    if isinstance(item, list):
        return b"](" + b"".join(map(value, item)) + b"e"
    if isinstance(item, dict):
        return b"}(" + b"".join(value(part) for pair in item.items() for part in pair) + b"u"
    return pickle.dumps(item, protocol=2)[2:-1]


def call(function: str | Code, *arguments: object) -> Code:
    function = function if isinstance(function, Code) else name(function)
    return Code(function + value(arguments) + b"R")


def new(kind: str, *arguments: object) -> Code:
    return Code(name(kind) + value(arguments) + b"\x81")


def built(instance: bytes, state: object) -> Code:
    """The instance with its state."""
    return Code(instance + value(state) + b"b")


def number(code: str = "f8", order: str = "<") -> Code:
    return built(call(DTYPE, code, False, True), (3, order, None, None, None, -1, -1, 0))


def array(shape: tuple, kind: Code, content: object) -> Code:
    empty = call(RECONSTRUCT, name(ARRAY), (0,), b"b")
    return built(empty, (1, shape, kind, False, content))


def stored(key: object = "0", numel: object = 4, kind: str | Code = FLOATS) -> Code:
    identity = ("storage", kind if isinstance(kind, Code) else name(kind), key, "cpu", numel)
    return Code(value(identity) + b"Q")


def tensor(
    shape: object = (4,), stride: object = (1,), storage: bytes | None = None, offset: object = 0, *rest: object
) -> Code:
    storage = storage if storage is not None else stored()
    return call(TENSOR, Code(storage), offset, shape, stride, False, call("collections OrderedDict"), *rest)


def pickled(content: object) -> bytes:
    return b"\x80\x02" + value(content) + b"."


def archive(
    path: Path,
    content: object,
    members: Mapping[str, bytes] | None = None,
    compression: int = zipfile.ZIP_STORED,
) -> Path:
    """A file as torch.save has written it since 1.6; 16 bytes of numbers as the storage 0 unless told otherwise."""
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("archive/data.pkl", content if isinstance(content, bytes) else pickled(content))
        for member, data in ({"version": b"3\n"} | dict(members or {"data/0": bytes(16)})).items():
            file.writestr(f"archive/{member}", data)
    return path


def stream(path: Path, content: bytes, keys: list[str], storages: bytes) -> Path:
    """A file as torch.save wrote it before 1.6."""
    file = io.BytesIO()
    for part in (MAGIC, VERSION, {"little_endian": True}):
        file.write(pickled(part))
    file.write(content + pickled(keys) + storages)
    path.write_bytes(file.getvalue())
    return path
