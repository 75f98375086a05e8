"""What the shell scripts pass on, with stand-ins for the programs that they start."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from brs_detr.engine import cpus
from brs_detr.engine.running import preemption
from tests.scripts.processes import ROOT, TINY

SHOW = '#!/bin/sh\n[ "$1" = -c ] && echo 1 || echo "$BRS_DETR_COMMAND"\n'


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder of programs that print the command with which a training is continued."""
    for name in ("srun", "sbatch", "python"):
        (tmp_path / name).write_text(SHOW)
        (tmp_path / name).chmod(0o755)
    return tmp_path


def start(programs: Path, script: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
    environment = {"PATH": f"{programs}:{os.environ['PATH']}", "PYTHON": str(programs / "python"), **variables}
    command = ["bash", ROOT / "scripts" / script, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


DIST = {"MAX_RESTARTS": "2", "CONNECT_MINUTES": "1"}
MACHINES = {"NNODES": "2", "NODE_RANK": "0", "MASTER_ADDR": "10.0.0.1", "PORT": "29500"}
SLURM = {"PROCESSES": "2", "CPUS_PER_TASK": "1", "PORT": "9999", "SRUN_ARGS": "-A me --time=1-0", "BATCH": "1"}


@pytest.mark.parametrize(
    ("script", "arguments", "variables"),
    [
        ("dist_train.sh", ("a b.py", "2"), {}),
        ("dist_train.sh", ("a.py", "2"), DIST | MACHINES),
        ("slurm_train.sh", ("cpus", "job", "a.py"), SLURM),
        ("slurm_train.sh", ("gpus", "job", "a.py"), {"GPUS": "4", "CPUS_PER_TASK": "2"}),
    ],
)
def test_the_command_that_continues_has_all_variables(
    programs: Path, monkeypatch: pytest.MonkeyPatch, script: str, arguments: tuple[str, ...], variables: dict[str, str]
) -> None:
    ended = start(programs, script, *arguments, "--seed", "1", **variables)
    monkeypatch.setenv(preemption.COMMAND, ended.stdout)
    command = preemption.continuing_command() + " || printf '%s\n' refused"
    (programs / "bash").write_text('#!/bin/sh\nenv; printf "<%s>" "$@"\n')
    (programs / "bash").chmod(0o755)
    environment = {"PATH": f"{programs}:{os.environ['PATH']}"}
    again = subprocess.run(command, shell=True, env=environment, capture_output=True, text=True, check=True).stdout
    *settings, typed = again.splitlines()
    assert {f"{name}={value}" for name, value in variables.items()} <= set(settings)
    words = (str(ROOT / "scripts" / script), *arguments, "--seed", "1", "--resume", "auto")
    assert typed == "".join(f"<{word}>" for word in words)


def test_a_batch_job_cannot_overwrite(programs: Path) -> None:
    arguments = "cpus", "job", "a.py", "--overwrite"
    refused = start(programs, "slurm_train.sh", *arguments, **SLURM)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("error: BATCH adds --resume auto, which excludes --overwrite: ")
    assert start(programs, "slurm_train.sh", *arguments, **SLURM | {"BATCH": ""}).returncode == 0


def test_cpus_of_a_process(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    """All options of the training may be given."""
    options = ("--debug", "--batch", "4", "--cfg-options", "train_dataloader.num_workers=3")
    monkeypatch.setattr(sys, "argv", ["cpus", str(TINY), *options])
    cpus.main()
    assert capsys.readouterr().out == "4\n"
