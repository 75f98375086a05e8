"""Which error a process ends with where there are others; here they are one store and what it says."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
import torch.distributed as dist

from brs_detr import peers

OTHER = peers.Failure(5, 4, "there", 2, "the disk is full.")


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, free_port: int) -> Iterator[peers.Store]:
    """That of rank 1, which watches the others."""
    kept = dist.TCPStore("127.0.0.1", free_port, is_master=True, timeout=timedelta(seconds=5))
    for name, value in {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port, "RANK": 1, "LOCAL_RANK": 0}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    for name in ("PERIOD", "GRACE"):
        monkeypatch.setattr(peers, name, 0.3)
    peers.join()
    yield peers.Store()
    peers.leave()
    del kept


def test_lost_contact_that_nobody_explains(store: peers.Store) -> None:
    """As by an error of NCCL that all meet: it is said, and noted."""
    with pytest.raises(RuntimeError, match="NCCL error"), peers.together():
        raise RuntimeError("NCCL error in: a.cpp:93, unhandled system error")
    assert "NCCL error in: a.cpp:93" in store.first().text


def test_lost_contact_to_one_that_has_said_why(
    store: peers.Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(peers, "end_at_once", lambda status: None)
    store.note(OTHER)
    with pytest.raises(SystemExit) as ended, peers.together():
        raise RuntimeError("Connection closed by peer")
    assert ended.value.code == 2
    assert "rank 5 on there ended: the disk is full." in capsys.readouterr().err


def test_machines_of_one_name(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """As containers have; on the machine of ranks 4 and 5 it has been said."""
    monkeypatch.setattr(peers.socket, "gethostname", lambda: "there")
    monkeypatch.setenv("LOCAL_RANK", "0")
    for rank, said in (("0", True), ("4", False)):
        monkeypatch.setenv("RANK", rank)
        peers.announce(OTHER)
        assert ("the disk is full" in capsys.readouterr().err) == said


def test_who_may_leave(store: peers.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """torchrun may not; the shell of a process that was started by hand may."""
    watches = [peers.Watch()]
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    watches.append(peers.Watch())
    monkeypatch.setattr(peers.os, "getppid", lambda: -1)
    assert [watch.failure() for watch in watches] == [None, peers.ABANDONED]
