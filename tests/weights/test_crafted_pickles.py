"""Files made to do harm end in one sentence: nothing is called, nothing allocated, nothing taken for weights."""

from pathlib import Path

import numpy as np
import pytest
import torch

from brs_detr.weights import CheckpointError, read_checkpoint
from tests.weights.crafted import (
    ARRAY,
    DTYPE,
    HISTORY,
    RECONSTRUCT,
    Code,
    archive,
    array,
    built,
    call,
    name,
    new,
    number,
    pickled,
    stored,
    stream,
    tensor,
    value,
)


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 1000
    return message


NUMBERS = array((2,), number(), np.ones(2).tobytes())
COUNTS = array((2,), number("i8"), np.ones(2, int).tobytes())
STATE = {"_log_history": NUMBERS, "_count_history": COUNTS, "max_length": 10}
DEEP_TUPLE = Code(b")" + b"\x85" * 200_000)


def laughs() -> Code:
    """A list of ten times a list of ten times ..., 60 levels in all."""
    code = b"]"
    for level in range(60):
        place = bytes([level])
        code = b"](" + code + b"q" + place + (b"h" + place) * 9 + b"e"
    return Code(code)


def repeated(function: str, text: str = "a" * 100_000, count: int = 2000) -> Code:
    """A list of many calls with the same long text."""
    first = value(text) + b"q\x00"
    return Code(b"](" + first + (name(function) + b"(h\x00" + value("latin1") + b"tR") * count + b"e")


INSIDE: dict[str, tuple[object, str]] = {
    "objects from bytes": (call(ARRAY, (1,), "O8", bytes(8)), "is none|would call|damaged"),
    "an array called": (call(ARRAY, (1,), number(), bytes(8), -1024), "damaged|would call"),
    "negative offset": (call(ARRAY, (1,), number(), b"12345678", -(2**20)), "damaged|would call"),
    "dtype of objects": (call(DTYPE, "O"), "an array of 'O' instead of numbers"),
    "dtype of 8 byte objects": (call(DTYPE, "O8", False, True), "instead of numbers"),
    "dtype of records": (call(DTYPE, [("a", "O")]), "instead of numbers"),
    "dtype's own state": (built(number(), (3, "x", None, None, None, -1, -1, 0)), "byte order"),
    "array state of objects": (array((1,), Code(name(DTYPE)), bytes(8)), "are none"),
    "array larger than its bytes": (array((2**40,), number(), bytes(8)), "in 8 bytes"),
    "array of negative shape": (array((-1,), number(), bytes(8)), "are none"),
    "foreign class in _reconstruct": (call(RECONSTRUCT, name(HISTORY), (0,), b"b"), "array of the class History"),
    "scalar of objects": (call("numpy._core.multiarray scalar", "O8", bytes(8)), "a number that is none"),
    "scalar too short": (call("numpy.core.multiarray scalar", number(), bytes(4)), "a number that is none"),
    "history without numbers": (built(new(HISTORY), {**STATE, "_log_history": [1.0]}), "without numbers"),
    "history of two lengths": (
        built(new(HISTORY), {**STATE, "_log_history": array((1,), number(), bytes(8))}),
        "without numbers",
    ),
    "history with functions": (
        built(new(HISTORY), {**STATE, "statistics_methods": {"mean": name("builtins eval")}}),
        "would call builtins.eval",
    ),
    "getattr of the stand-in": (call("builtins getattr", name(HISTORY), "__init__"), "would call getattr"),
    "getattr of a method": (call("builtins getattr", name(ARRAY), "restore"), "would call getattr"),
    "getattr of getattr": (call("__builtin__ getattr", name("builtins getattr"), "mean"), "would call getattr"),
    "calling a statistic": (call(call("builtins getattr", name(HISTORY), "mean"), 1), "would call 'mean'"),
    "bytearray": (call("builtins bytearray", 2**34), "would call builtins.bytearray"),
    "complex": (call("builtins complex", 1, 2), "would call builtins.complex"),
    "counting a long text": (call("collections Counter", "a" * 9), "counts that are no numbers"),
    "qtensor": (call("torch._utils _rebuild_qtensor", stored(), 0, (1,), (1,)), "_rebuild_qtensor"),
    "sparse": (call("torch._utils _rebuild_sparse_tensor", 0, ()), "_rebuild_sparse_tensor"),
    "meta": (call("torch._utils _rebuild_meta_tensor_no_storage", 0, (2**40,), (1,), False), "_rebuild_meta"),
    "nested": (call("torch._utils _rebuild_nested_tensor", 0), "_rebuild_nested_tensor"),
    "subclass": (call("torch._tensor _rebuild_from_type_v2", 0), "_rebuild_from_type_v2"),
    "torch.Tensor": (new("torch Tensor"), "torch.Tensor"),
    "typed storage": (built(stored(), {"dtype": name("torch float64")}), "changes a Storage"),
    "stack global": (Code(value("os") + value("system") + b"\x93"), "an object of its own"),
    "inst": (Code(b"(" + value("true") + b"ios\nsystem\n"), "an object of its own"),
    "obj": (Code(b"(" + name("os system") + value("true") + b"o"), "an object of its own|os.system"),
    "extension": (Code(b"\x82\x01"), "an object of its own"),
    "many names": (call("os " + "x" * 1000), "os.xxxx"),
    "duplicating": (Code(value(1) + b"2"), "operation DUP"),
    "state of a class": (built(name(HISTORY), (None, {"restore": 1})), "changes a type|damaged"),
    "state of a function": (built(name("builtins getattr"), (None, {"__defaults__": (1,)})), "changes a function"),
    "state of OrderedDict itself": (built(name("collections OrderedDict"), {"x": 1}), "changes a function"),
    "a new getattr": (new("builtins getattr"), "would call"),
    "arguments that are no dict": (built(new("argparse Namespace"), [1]), "without names"),
    "setting entries of a tuple": (Code(b")" + value("a") + value(1) + b"s"), "sets an entry of a tuple"),
    "appending to a dict": (Code(b"}" + value(1) + b"a"), "appends to a dict"),
    "a name left over": (name("builtins getattr"), "it holds a function itself"),
    "a storage left over": (stored(), "it holds a Storage itself|a Storage"),
    "empty array left over": (call(RECONSTRUCT, name(ARRAY), (0,), b"b"), "a Array without content"),
    "keys that are containers": (Code(b"}" + DEEP_TUPLE + value(1) + b"s"), "a key that is neither"),
    "keys of one hash": ({i * (2**61 - 1): i for i in range(1, 9)}, "beyond all counts"),
    "members that are containers": (call("builtins set", [DEEP_TUPLE]), "a key that is neither"),
    "deep tuples": (DEEP_TUPLE, "hundreds of each other"),
    "deep lists": (Code(b"]" * 10_000 + b"a" * 9_999), "hundreds of each other"),
    "holds itself": (Code(b"]q\x00h\x00a"), "hold themselves"),
    "a billion laughs": (laughs(), "again and again"),
    "text again and again": (repeated("_codecs encode"), "again and again"),
    "stride 0": (tensor((10**9,), (0,)), "share memory"),
    "overlapping": (tensor((3, 3), (1, 0)), "share memory"),
    "beyond the storage": (tensor((2, 4), (4, 1)), "exceeds its storage"),
    "negative stride": (tensor((2,), (-1,)), "are none"),
    "negative tensor offset": (tensor(offset=-4), "are none"),
    "huge offset": (tensor(offset=2**62), "exceeds its storage"),
    "shape of floats": (tensor((1.5,)), "are none"),
    "a thousand dimensions": (tensor((1,) * 1000, (1,) * 1000), "are none"),
    "hooks and metadata": (tensor((4,), (1,), None, 0, {"conj": True}), "are none"),
    "storage of many numbers": (tensor(storage=stored(numel=2**40)), "not in the file"),
    "storage of negative length": (tensor(storage=stored(numel=-4)), "storage is none"),
    "path as a key": (tensor(storage=stored("../x")), "storage is none"),
    "key of another member": (tensor(storage=stored("../data.pkl")), "storage is none"),
    "absent key": (tensor(storage=stored("7")), "not in the file|damaged"),
    "storage of a function": (tensor(storage=stored(kind="builtins getattr")), "storage is none"),
    "two kinds of numbers": ([tensor(), tensor(storage=stored(kind="torch ByteStorage"))], "two kinds"),
    "many on one storage": ({f"w{i}": tensor() for i in range(3000)}, "share memory"),
    "parameter of text": (call("torch._utils _rebuild_parameter", "a", True, None), "no tensor"),
    "encoding of another kind": (call("_codecs encode", "a", "rot13"), "would call encode"),
    "persistent text": (Code(value("storage") + b"Q"), "storage is none"),
    "nothing to pop": (Code(b"R"), "damaged"),
    "an unknown operation": (Code(b"\xff"), "damaged"),
}


@pytest.mark.parametrize("layout", ["archive", "stream"])
@pytest.mark.parametrize("case", INSIDE)
def test_a_pickle_builds_numbers_only(tmp_path: Path, case: str, layout: str) -> None:
    content, reason = INSIDE[case]
    path = tmp_path / "weights.pth"
    if layout == "archive":
        archive(path, {"state_dict": {"weight": content}})
    else:
        keys = ["0"] if b"FloatStorage" in value(content) and case != "storage of a function" else []
        stream(path, pickled({"weight": content}), keys, b"\4" + bytes(7 + 16) if keys else b"")
    message = refusal(path)
    assert any(part in message for part in reason.split("|")), message


def test_the_builder_builds_what_is_read(tmp_path: Path) -> None:
    """The refusals above are not for the way in which their files are made."""
    history = built(new(HISTORY), STATE)
    content = {"state_dict": {"weight": tensor((2, 2), (2, 1))}, "history": history, "numbers": NUMBERS}
    numbers = torch.arange(4.0).numpy().tobytes()
    archive(tmp_path / "archive.pth", content, {"data/0": numbers})
    stream(tmp_path / "stream.pth", pickled(content), ["0"], b"\4" + bytes(7) + numbers)
    for path in tmp_path.iterdir():
        read = read_checkpoint(path)
        assert torch.equal(read["state_dict"]["weight"], torch.arange(4.0).reshape(2, 2))
        assert read["history"].mean() == 1
        assert read["numbers"].tolist() == [1, 1]
