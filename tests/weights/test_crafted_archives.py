"""Archives and streams made to do harm, or damaged: refused before anything of their size is allocated."""

import resource
import warnings
import zipfile
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest
import torch

from brs_detr.weights import CheckpointError, read_checkpoint
from tests.processes import CONTEXT
from tests.weights.crafted import Code, archive, pickled, stored, stream, tensor, value
from tests.weights.test_crafted_pickles import refusal


def read_measured(path: Path, sender: Connection) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + 2**29, size + 2**29))
    with pytest.raises(CheckpointError) as refused:
        read_checkpoint(path)
    sender.send((1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before), str(refused.value)))


def read_in_a_process(path: Path) -> tuple[int, str]:
    """The memory that reading took in bytes, within half a gigabyte of addresses, and the sentence."""
    receiver, sender = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=read_measured, args=(path, sender))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    finally:
        process.join()


def test_compressed_members_are_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        file.writestr("archive/data.pkl", pickled({"weight": tensor(storage=stored(numel=2**28), shape=(2**28,))}))
        with file.open("archive/data/0", "w", force_zip64=True) as member:
            for _ in range(2**6):
                member.write(bytes(2**24))
    assert path.stat().st_size < 2**21
    taken, message = read_in_a_process(path)
    assert "compressed" in message
    assert taken < 2**25


@pytest.mark.parametrize("layout", ["archive", "stream"])
def test_what_is_claimed_is_not_allocated(tmp_path: Path, layout: str) -> None:
    path, claim = tmp_path / "weights.pth", stored(numel=2**38)
    content = {"weight": tensor((2**38,), (1,), claim), "more": Code(value("a") + b"r" + b"\xff" * 4)}
    if layout == "archive":
        archive(path, content)
    else:
        stream(path, pickled(content), ["0"], (2**38).to_bytes(8, "little") + bytes(16))
    taken, message = read_in_a_process(path)
    assert "not in the file" in message or "truncated" in message
    assert taken < 2**25


@pytest.mark.parametrize("names", [("data.pkl", "DATA.PKL"), ("data/0", "data/0"), ("data/0", "Data/0")])
def test_members_of_one_name(tmp_path: Path, names: tuple[str, str]) -> None:
    path = tmp_path / "weights.pth"
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as file:
        warnings.simplefilter("ignore")  # of the duplicate
        for member in {"data.pkl": 0, "data/0": 0} | dict.fromkeys(names):
            file.writestr(f"archive/{member}", pickled({"weight": tensor()}) if "pkl" in member else bytes(16))
        file.writestr(f"archive/{names[1]}", pickled({}))
    assert "several members of one name" in refusal(path)


def test_two_folders(tmp_path: Path) -> None:
    archive(tmp_path / "weights.pth", {"weight": tensor()})
    with zipfile.ZipFile(tmp_path / "weights.pth", "a") as file:
        file.writestr("other/data.pkl", pickled({}))
    assert "several members of one name" in refusal(tmp_path / "weights.pth")


@pytest.mark.parametrize("position", [0, 7777, 40_000 - 1])
def test_flipped_bytes_of_a_tensor(tmp_path: Path, position: int) -> None:
    path = tmp_path / "weights.pth"
    numbers = np.arange(1, 10_001, dtype=np.float32)
    torch.save({"weight": torch.from_numpy(numbers)}, path)
    content = bytearray(path.read_bytes())
    content[content.index(numbers.tobytes()) + position] ^= 1
    path.write_bytes(content)
    assert "is damaged" in refusal(path)


def test_a_member_that_claims_more_than_the_file(tmp_path: Path) -> None:
    path = archive(tmp_path / "weights.pth", {"weight": tensor()})
    content = path.read_bytes()
    assert content.count((16).to_bytes(4, "little")) >= 4  # both sizes, in the member's header and in the directory
    path.write_bytes(content.replace((16).to_bytes(4, "little") * 2, (2**31).to_bytes(4, "little") * 2))
    assert "more room than the file" in refusal(path)


def test_the_other_byte_order(tmp_path: Path) -> None:
    numbers = torch.arange(4.0).numpy().astype(">f4").tobytes()
    path = archive(tmp_path / "weights.pth", {"weight": tensor()}, {"data/0": numbers, "byteorder": b"big"})
    assert torch.equal(read_checkpoint(path)["weight"], torch.arange(4.0))
