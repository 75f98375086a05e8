"""The network interface that leads to the others, and sentences where nobody comes."""

import os
import socket
import time
from collections.abc import Iterator
from unittest.mock import patch

import pytest

from brs_detr import rendezvous, slurm
from brs_detr.errors import InputError


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """Changes do not last; gloo reads the process's own."""
    with patch.dict(os.environ):
        os.environ.pop("GLOO_SOCKET_IFNAME", None)
        yield


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_interface_that_leads_to_a_host(host: str) -> None:
    if rendezvous.own_address(host) is None:
        pytest.skip(f"this machine has no {host}")
    rendezvous.choose_interface([host], machines=1)
    assert os.environ["GLOO_SOCKET_IFNAME"] == "lo"


def test_another_machine_of_the_job_tells_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """MASTER_ADDR, the name of this machine, is 127.0.1.1 here, as Debian writes it."""
    monkeypatch.setattr(rendezvous, "own_address", {"here": "127.0.1.1", "there": "10.0.0.1"}.get)
    monkeypatch.setattr(rendezvous, "interfaces", lambda: {"127.0.0.1": "lo", "10.0.0.1": "eth7"})
    rendezvous.choose_interface(["here", "here", "there"], machines=2)
    assert os.environ["GLOO_SOCKET_IFNAME"] == "eth7"


def test_a_named_interface_stays() -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "ib0"
    rendezvous.choose_interface(["127.0.0.1"], machines=1)
    assert os.environ["GLOO_SOCKET_IFNAME"] == "ib0"


def test_an_address_that_others_cannot_reach() -> None:
    with pytest.raises(InputError, match=r"MASTER_ADDR=127\.0\.0\.1 leads .* back to itself"):
        rendezvous.choose_interface(["127.0.0.1"], machines=2)


@pytest.mark.parametrize("value", ["soon", "0", "-1", "nan", "inf"])
def test_minutes_that_are_none(value: str) -> None:
    os.environ["CONNECT_MINUTES"] = value
    with pytest.raises(InputError, match=f"CONNECT_MINUTES={value} is no positive number"):
        rendezvous.connect_minutes()


def join(rank: int, port: int, processes: int = 2) -> None:
    os.environ |= {
        "RANK": str(rank),
        "WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    os.environ["CONNECT_MINUTES"] = "0.01"
    rendezvous.join("gloo", rendezvous.DIRECT)


@pytest.mark.parametrize(("rank", "cause"), [(1, "Connection refused"), (0, "Timed out .* 1/2 clients joined")])
def test_nobody_comes(free_port: int, rank: int, cause: str) -> None:
    start = time.monotonic()
    with pytest.raises(InputError, match=rf"127\.0\.0\.1:{free_port} .* 0\.01 minutes: {cause}\. Check that the same"):
        join(rank, free_port)
    assert time.monotonic() - start < 10


def test_a_port_in_use() -> None:
    with socket.create_server(("", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(InputError, match=f"Port {port} of 127.0.0.1 is in use, .*: set PORT"):
            join(0, port)


def test_an_interface_that_does_not_exist(free_port: int) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "nothing0"
    with pytest.raises(InputError, match="gloo cannot connect to them: check that GLOO_SOCKET_IFNAME=nothing0 is"):
        join(0, free_port, processes=1)


def test_jobs_and_steps_have_ports_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    ports = set()
    for job, step in ((71, 0), (72, 0), (72, 1), (4_000_000, 0)):
        monkeypatch.setenv("SLURM_JOB_ID", str(job))
        monkeypatch.setenv("SLURM_STEP_ID", str(step))
        ports.add(slurm.port())
    assert len(ports) == 4
    assert ports <= set(slurm.PORTS)
