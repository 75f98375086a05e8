"""Downloads: kept whole, under their whole address, or not at all."""

import hashlib
import os
import signal
import socket
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import torch

from brs_detr.engine.running import distributed
from brs_detr.errors import InputError
from brs_detr.weights import CheckpointError, read_checkpoint
from brs_detr.weights.locating import locate
from tests.processes import CONTEXT
from tests.weights.conftest import Server


def publish(server: Server, path: str, value: float = 1.0) -> Path:
    file = server.folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"weight": torch.full((1000,), value)}, file)
    return file


def with_hash(file: Path, hash_of: Path | None = None) -> Path:
    beginning = hashlib.sha256((hash_of or file).read_bytes()).hexdigest()[:8]
    return file.rename(file.with_name(f"{file.stem}-{beginning}.pth"))


def test_two_addresses_with_the_same_last_part(server: Server, cache: Path) -> None:
    for number, address in enumerate(("a/model.pth", "b/model.pth")):
        publish(server, address, number)
        assert read_checkpoint(f"{server.url}/{address}")["weight"][0] == number
    assert read_checkpoint(f"{server.url}/a/model.pth?version=2")["weight"][0] == 0
    assert len(list(cache.iterdir())) == 3
    assert len(server.requests) == 3


def test_the_hash_in_the_name(server: Server, cache: Path) -> None:
    good = with_hash(publish(server, "model.pth"))
    read_checkpoint(f"{server.url}/{good.name}")
    other = with_hash(publish(server, "other.pth", 2), hash_of=good)
    with pytest.raises(CheckpointError, match="is not the file that its name tells"):
        read_checkpoint(f"{server.url}/{other.name}")
    assert len(list(cache.iterdir())) == 1
    dated = publish(server, "model-20200130.pth")
    assert locate(f"{server.url}/{dated.name}").is_file()


def test_what_torch_has_downloaded_is_used_where_its_hash_is_right(server: Server, cache: Path) -> None:
    cache.mkdir(parents=True)
    file = with_hash(publish(server, "model.pth"))
    published = file.read_bytes()
    (cache / file.name).write_bytes(published)
    assert locate(f"{server.url}/{file.name}") == cache / file.name
    assert not server.requests
    (cache / file.name).write_bytes(b"<html>log in</html>")
    assert locate(f"{server.url}/{file.name}").read_bytes() == published
    nameless = publish(server, "model.pth")
    (cache / nameless.name).write_bytes(b"of another address")
    assert locate(f"{server.url}/{nameless.name}") != cache / nameless.name


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<!DOCTYPE html><title>Log in</title>", "web page"),
        (b"\n <html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        (b"", "it is empty"),
    ],
)
def test_what_is_no_checkpoint_is_not_kept(server: Server, cache: Path, content: bytes, reason: str) -> None:
    (server.folder / "model.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=reason):
        read_checkpoint(f"{server.url}/model.pth")
    assert not list(cache.iterdir())
    publish(server, "model.pth")
    assert read_checkpoint(f"{server.url}/model.pth")


def test_a_failed_download_leaves_nothing(server: Server, cache: Path) -> None:
    publish(server, "model.pth")
    server.cut = 1500
    for address in (
        f"{server.url}/absent.pth",
        f"{server.url}/model.pth",
        "http://127.0.0.1:1/model.pth",
        "http://[/model.pth",
    ):
        with pytest.raises(CheckpointError, match="cannot be downloaded"):
            read_checkpoint(address)
    assert not list(cache.iterdir())


def test_odd_names_stay_in_the_cache(server: Server, cache: Path) -> None:
    for address in ("", "..", "a%0ab/%2e%2e%2fmodel.pth", "x" * 300):
        with pytest.raises(CheckpointError):
            read_checkpoint(f"{server.url}/{address}")
    assert not list(cache.iterdir())
    assert [path.name for path in cache.parent.iterdir()] == ["checkpoints"]


DOWNLOAD = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs ignore
from brs_detr.weights.locating import locate
print("ready", flush=True)
locate(sys.argv[1])
"""


def test_an_interrupted_download_leaves_nothing(cache: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/model.pth"
        process = subprocess.Popen(
            [sys.executable, "-c", DOWNLOAD, address], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=os.environ
        )
        connection, _ = silent.accept()
        assert [file.name[0] for file in cache.iterdir()] == ["."]
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        connection.close()
    assert not list(cache.iterdir())


def process(rank: int, port: int, url: str, everyone: bool, variables: dict[str, str], sender: Connection) -> None:
    """Reports what came of a download that the first process, or each, wants."""
    os.environ.update(
        variables, RANK=str(rank), WORLD_SIZE="2", LOCAL_RANK=str(rank), MASTER_ADDR="127.0.0.1", PORT=str(port)
    )
    os.environ.pop("MASTER_PORT", None)
    distributed.start("pytorch")

    def read() -> list[str]:
        return list(read_checkpoint(url))

    try:
        outcome = read() if everyone else distributed.first_process_decides(read)
    except InputError as error:
        outcome = [str(error)]
    distributed.stop()
    sender.send(outcome)


@pytest.mark.skipif(torch.cuda.device_count() == 1, reason="two processes need no GPU or two")
@pytest.mark.parametrize(("name", "everyone"), [("model.pth", True), ("model.pth", False), ("absent.pth", False)])
def test_two_processes_end_alike(server: Server, cache: Path, free_port: int, name: str, everyone: bool) -> None:
    publish(server, "model.pth")
    receivers, processes = [], []
    for rank in range(2):
        receiver, sender = CONTEXT.Pipe(duplex=False)
        arguments = (rank, free_port, f"{server.url}/{name}", everyone, dict(os.environ), sender)
        processes.append(CONTEXT.Process(target=process, args=arguments))
        receivers.append(receiver)
    for each in processes:
        each.start()
    heard = [receiver.recv() if receiver.poll(90) else None for receiver in receivers]
    for each in processes:
        each.join(10)
    assert heard[0] == heard[1]
    assert len(server.requests) == (1 if name == "model.pth" else 2)  # an error is written down twice
    assert "cannot be downloaded" in str(heard) if name == "absent.pth" else heard[0] == ["weight"]
