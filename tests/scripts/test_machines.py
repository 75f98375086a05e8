"""Several machines: the commands of docs/distributed.md in two network namespaces, and on a Slurm of one node."""

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from brs_detr.slurm import PORTS
from tests.scripts.machines import Machine, jobs, one_node_slurm, two_machines
from tests.scripts.processes import end, environment, start, write_config

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="its processes need no GPU, or one each")

LISTENER = """
import socket, time
from brs_detr import slurm
with socket.create_server(("", slurm.port())) as server:
    print(slurm.port())
    time.sleep(300)
"""


@pytest.fixture
def machines() -> Iterator[list[Machine]]:
    with two_machines() as both:
        yield both


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[Path]:
    with socket.socket() as first, socket.socket() as second:
        for probe in (first, second):
            probe.bind(("127.0.0.1", 0))
        ports = first.getsockname()[1], second.getsockname()[1]
    folder = tmp_path / "slurm"
    folder.mkdir()
    with one_node_slurm(folder, ports) as conf:
        yield conf


def check_parameters(work: Path) -> None:
    """Two processes have ended with the same parameters."""
    states = [torch.load(work / f"rank_{rank}.pth") for rank in range(2)]
    assert len(states[0]) > 100
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=0, atol=0)


def test_two_machines(tmp_path: Path, digits: Path, machines: list[Machine]) -> None:
    config = write_config(tmp_path, digits)

    def command(rank: int, **variables: object) -> subprocess.Popen:
        meeting = {"NNODES": 2, "NODE_RANK": rank, "MASTER_ADDR": machines[0].address, "PORT": 29500}
        options = ("--work-dir", "work", "--epochs", 1)
        return start(
            tmp_path, "dist_train.sh", config, 1, *options, prefix=machines[rank].prefix, **(meeting | variables)
        )

    alone = end(command(1, CONNECT_MINUTES=0.02))
    assert alone.returncode == 2
    sentence = r"error: No meeting at 10\.213\.7\.1:29500 .*within 0\.02 minutes: Connection refused\. Check that .*\n"
    assert re.fullmatch(sentence, alone.stderr), alone.stderr

    running = [command(rank) for rank in range(2)]
    for ended in [end(process) for process in running]:
        assert ended.returncode == 0, ended.stderr
        assert "Warning" not in ended.stderr
    check_parameters(tmp_path / "work")


def test_jobs_on_one_node(tmp_path: Path, digits: Path, slurm: Path) -> None:
    """A training meets at another port than other jobs, asks for no GPU, and for CPUs as its loader's workers need."""
    config = write_config(tmp_path, digits)
    variables = environment() | {"SLURM_CONF": str(slurm)}
    listener = ["srun", "-p", "cpus", sys.executable, "-u", "-c", LISTENER]
    with subprocess.Popen(listener, env=variables, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout is not None
            assert int(other.stdout.readline()) in PORTS
            options = ("--work-dir", "work", "--epochs", 1, "--cfg-options", "train_dataloader.num_workers=1")
            job = start(tmp_path, "slurm_train.sh", "cpus", "job", config, *options, SLURM_CONF=slurm, PROCESSES=2)
            ended = end(job)
        finally:
            other.terminate()
    assert ended.returncode == 0, ended.stderr
    check_parameters(tmp_path / "work")
    no_gpus = end(start(tmp_path, "slurm_train.sh", "cpus", "gpu", config, SLURM_CONF=slurm, GPUS=1, CPUS_PER_TASK=1))
    assert "Invalid generic resource (gres) specification" in no_gpus.stderr
    known = jobs(slurm)["job"]
    assert "CPUs/Task=2 " in known
    assert "gpu" not in known
