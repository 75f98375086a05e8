"""Several machines on one: two network namespaces of Linux, and a Slurm of one node. Both are the real thing."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

SLURM = """
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=8
PartitionName=cpus Nodes=ALL Default=YES State=UP
"""


class Machine(NamedTuple):
    """A network namespace: what starts a command in it, its only address, and the interface of that."""

    prefix: tuple[str, ...]
    address: str
    interface: str


@contextmanager
def two_machines() -> Iterator[list[Machine]]:
    """Two that are joined by a cable, and in which the host's name is that of 127.0.0.1."""
    missing = next((name for name in ("ip", "mount") if shutil.which(name) is None), None)
    if missing or os.geteuid():
        pytest.skip(f"network namespaces need root and iproute2 ({missing or 'not root'})")
    names = [f"brs{os.getpid()}{letter}" for letter in "ab"]
    machines = [Machine(("ip", "netns", "exec", name), f"10.213.7.{i + 1}", name) for i, name in enumerate(names)]
    with ExitStack() as cleaning:
        for name in names:
            made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
            if made.returncode:
                pytest.skip(f"no network namespaces on this machine: {made.stderr.strip()}")
            cleaning.callback(subprocess.run, ["ip", "netns", "del", name])
            hosts = Path("/etc/netns", name, "hosts")  # which `ip netns exec` shows as /etc/hosts
            hosts.parent.mkdir(parents=True)
            cleaning.callback(shutil.rmtree, hosts.parent)
            hosts.write_text(f"127.0.0.1 localhost {socket.gethostname()}\n")
        _ip("link", "add", names[0], "netns", names[0], "type", "veth", "peer", "name", names[1], "netns", names[1])
        for machine in machines:
            _ip("-n", machine.interface, "addr", "add", f"{machine.address}/24", "dev", machine.interface)
            for interface in (machine.interface, "lo"):
                _ip("-n", machine.interface, "link", "set", interface, "up")
        yield machines


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


@contextmanager
def one_node_slurm(folder: Path, free_ports: tuple[int, int]) -> Iterator[Path]:
    """A cluster with the partition `cpus`: its slurm.conf."""
    programs = ("munged", "slurmctld", "slurmd", "srun", "sinfo", "scontrol")
    missing = [name for name in programs if shutil.which(name) is None]
    if missing or os.geteuid():
        pytest.skip(f"Slurm needs root, and Debian's slurm-wlm and munge ({', '.join(missing) or 'not root'})")
    conf = folder / "slurm.conf"
    conf.write_text(SLURM.format(host=socket.gethostname().partition(".")[0], folder=folder, ports=free_ports))
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    files = {"socket": "socket", "key-file": "key", "pid-file": "pid", "seed-file": "seed", "log-file": "log"}
    munge = [f"--{option}={folder}/munge.{name}" for option, name in files.items()]
    with ExitStack() as daemons:
        for command in (
            ["munged", "--force", "--foreground", *munge],
            ["slurmctld", "-D", "-f", str(conf)],
            ["slurmd", "-D", "-f", str(conf)],
        ):
            daemons.enter_context(_daemon(command, folder))
            if command[0] == "munged":
                _wait(lambda: (folder / "munge.socket").exists(), "munged")
        _wait(lambda: "idle" in _asked(conf, "sinfo", "-h", "-o", "%t"), "slurmd")
        yield conf


@contextmanager
def _daemon(command: list[str], folder: Path) -> Iterator[None]:
    with open(folder / f"{command[0]}.log", "w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def _asked(conf: Path, *command: str) -> str:
    environment = os.environ | {"SLURM_CONF": str(conf)}
    return subprocess.run(command, env=environment, capture_output=True, text=True).stdout


def jobs(conf: Path) -> dict[str, str]:
    """What Slurm knows of each job, by its name."""
    shown = _asked(conf, "scontrol", "--oneliner", "show", "job").splitlines()
    return {line.split("JobName=")[1].split()[0]: line for line in shown}


def _wait(ready: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not ready():
        assert time.monotonic() < deadline, f"{what} does not start"
        time.sleep(0.05)
