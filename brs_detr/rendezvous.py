"""How the processes of several machines find each other, and what a user reads where they do not.

Processes meet at MASTER_ADDR:MASTER_PORT, where that of rank 0 keeps a store of names and values. gloo then connects
them directly, by the network interface that leads there: left to itself it takes the address of the host's own name,
which on many machines is 127.0.0.1.
"""

import fcntl
import os
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from ipaddress import IPv6Address, ip_address
from pathlib import Path

import torch.distributed as dist

from brs_detr.errors import InputError

MINUTES = "CONNECT_MINUTES"  # environment variable: how long to wait for the others
INTERFACE = "GLOO_SOCKET_IFNAME"
PERIOD = 0.2  # seconds between attempts
DIRECT = timedelta(seconds=30)  # for connections between processes that have met; gloo takes up to 5 times as long
SIOCGIFADDR = 0x8915  # Linux: the IPv4 address of an interface
CHECKS = (
    "Check that the same command runs on every machine, with NODE_RANK its own and all else alike, that MASTER_ADDR is "
    "the address of machine 0 in the network of the others, and that no firewall closes the port; "
    f"{MINUTES} waits longer."
)


def connect_minutes() -> float:
    """How long a process waits for the others.

    Raises:
        InputError: the environment's value is no positive number.
    """
    value = os.environ.get(MINUTES, "10")
    try:
        minutes = float(value)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes < 1e6:
        raise InputError(f"{MINUTES}={value} is no positive number of minutes.")
    return minutes


def addresses_of(host: str) -> list[tuple[int, tuple]]:
    """Families and socket addresses of a host; none if its name is unknown."""
    try:
        found = socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM)
    except OSError:
        return []
    return [(family, address) for family, _, _, _, address in found]


def own_address(host: str) -> str | None:
    """This machine's address in the network that leads to a host; None if there is no way."""
    for family, address in addresses_of(host):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect(address)  # looks the route up, and sends nothing
                return probe.getsockname()[0]
        except OSError:
            continue
    return None


def interfaces() -> dict[str, str]:
    """The network interface of each of this machine's addresses; on systems other than Linux those of IPv6 or none."""
    found = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(any_socket, SIOCGIFADDR, struct.pack("256s", name.encode()))
            except OSError:  # it has none
                continue
            found[socket.inet_ntoa(answer[20:24])] = name
    table = Path("/proc/net/if_inet6")
    for line in table.read_text().splitlines() if table.exists() else []:
        address, *_, name = line.split()
        found[str(IPv6Address(bytes.fromhex(address)))] = name
    return found


def choose_interface(hosts: Sequence[str], *, machines: int) -> None:
    """Let gloo use the interface that leads to the others, unless the environment names one.

    hosts: MASTER_ADDR, and other machines of the job where they are known.

    Raises:
        InputError: there are several machines, and all that is known leads back to this one.
    """
    if INTERFACE in os.environ:
        return
    own = [address for host in hosts if (address := own_address(host))]
    outer = [address for address in own if not ip_address(address.partition("%")[0]).is_loopback]
    if machines > 1 and own and not outer:
        raise InputError(
            f"MASTER_ADDR={hosts[0]} leads {socket.gethostname()} back to itself ({own[0]}), and other machines "
            "elsewhere: set it to the address of machine 0 in the network of all."
        )
    if name := interfaces().get(next(iter(outer or own), "")):
        os.environ[INTERFACE] = name


def wait_for_store(host: str, port: int, minutes: float) -> None:
    """Wait until the process of rank 0 listens.

    Raises:
        InputError: it does not in time.
    """
    deadline = time.monotonic() + 60 * minutes
    while True:
        try:
            socket.create_connection((host, port), timeout=max(deadline - time.monotonic(), PERIOD)).close()
            return
        except OSError as error:
            if time.monotonic() > deadline - PERIOD:
                raise unreachable(host, port, minutes, error) from error
        time.sleep(PERIOD)


def unreachable(host: str, port: int, minutes: float, error: Exception) -> InputError:
    """What to say of an error at the store: its first line is the cause."""
    cause = getattr(error, "strerror", None) or str(error).splitlines()[0].rstrip(".")
    return InputError(f"No meeting at {host}:{port} (MASTER_ADDR:PORT) within {minutes:g} minutes: {cause}. {CHECKS}")


@contextmanager
def meeting(host: str, port: int, *, keeps_store: bool) -> Iterator[timedelta]:
    """Surround what waits for the others at the store; gives the time to wait.

    keeps_store: whether this process does, so that there is no other to wait for before.

    Raises:
        InputError: in place of the error of torch.
    """
    minutes = connect_minutes()
    if not keeps_store:
        wait_for_store(host, port, minutes)  # torch's own waiting writes pages
    try:
        yield timedelta(minutes=minutes)
    except (dist.DistStoreError, dist.DistNetworkError) as error:
        if "EADDRINUSE" in str(error):
            raise InputError(
                f"Port {port} of {host} is in use, perhaps by another training: set PORT to another number, the same "
                "on every machine."
            ) from error
        raise unreachable(host, port, minutes, error) from error


def join(backend: str, patience: timedelta) -> None:
    """Join the process group that RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT describe.

    patience: with the others, once all are connected.

    Raises:
        InputError: the others are not there in time, or cannot be connected to.
    """
    rank, host, port = int(os.environ["RANK"]), os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    with meeting(host, port, keeps_store=rank == 0) as waiting:
        shared, rank, processes = next(dist.rendezvous("env://", timeout=waiting))
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")  # torchrun's store outlives its processes
        store = dist.PrefixStore(f"attempt_{attempt}", shared)
        if store.add("arrived", 1) == processes:
            store.set("all", "here")
        store.wait(["all"], waiting)
    store.set_timeout(patience)
    try:
        dist.init_process_group(backend, store=store, rank=rank, world_size=processes, timeout=DIRECT)
    except RuntimeError as error:
        raise InputError(
            f"Rank {rank} on {socket.gethostname()} met the others at {host}:{port}, but {backend} cannot connect to "
            f"them: check that {INTERFACE}={os.environ.get(INTERFACE, '')} is the network interface of this machine "
            "that leads to the others, and that firewalls between the machines let all ports through "
            f"({str(error).splitlines()[0]})."
        ) from error
    dist.distributed_c10d._set_pg_timeout(patience)
