"""Several processes: GPUs by nccl, CPUs by gloo, whatever launched them."""

import os
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from mmengine.config import Config

from brs_detr import peers, rendezvous, slurm
from brs_detr.errors import InputError, sentence

Outcome = TypeVar("Outcome")
LAUNCHERS = ("none", "pytorch", "slurm", "mpi")
# rank, number of processes, rank on this machine
VARIABLES = {
    "pytorch": ("RANK", "WORLD_SIZE", "LOCAL_RANK"),
    "slurm": ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"),
    "mpi": ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
}


def machines(launcher: str) -> int:
    """How many machines the processes run on."""
    if launcher == "slurm":
        return int(os.environ.get("SLURM_STEP_NUM_NODES", os.environ.get("SLURM_NNODES", "1")))
    here = os.environ.get("LOCAL_WORLD_SIZE" if launcher == "pytorch" else "OMPI_COMM_WORLD_LOCAL_SIZE")
    return -(-int(os.environ["WORLD_SIZE"]) // int(here)) if here else 1


def find_meeting_point(launcher: str) -> None:
    """Settle MASTER_ADDR and MASTER_PORT where the environment does not, and the network interface that leads there.

    Raises:
        InputError: MASTER_ADDR cannot be reached from other machines.
    """
    by_slurm = launcher == "slurm" and "SLURM_JOB_ID" in os.environ
    hosts = slurm.hosts() if by_slurm else []
    os.environ.setdefault("MASTER_ADDR", hosts[0] if hosts else "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", os.environ.get("PORT") or str(slurm.port() if by_slurm else 29500))
    rendezvous.choose_interface([os.environ["MASTER_ADDR"], *hosts], machines=machines(launcher))


def start(launcher: str, timeout_seconds: int = 1800) -> None:
    """Join the launcher's process group.

    Raises:
        InputError: the launcher's variables are not set, there are more processes than GPUs, or the others cannot be
            reached.
    """
    if launcher == "none" or dist.is_initialized():
        return
    values = [os.environ[name] for name in VARIABLES[launcher] if name in os.environ]
    if len(values) < len(VARIABLES[launcher]):
        raise InputError(f"--launcher {launcher} needs {', '.join(VARIABLES[launcher])}: use scripts/dist_train.sh.")
    os.environ.update(zip(VARIABLES["pytorch"], values, strict=True))
    find_meeting_point(launcher)
    rendezvous.join("nccl" if torch.cuda.is_available() else "gloo", timedelta(seconds=timeout_seconds))
    peers.join()
    if torch.cuda.is_available():  # only now, as all others hear of what fails from here on
        local_rank, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local_rank >= gpus:
            raise InputError(f"More processes than GPUs: this machine has {gpus}.")
        torch.cuda.set_device(local_rank)


def stop() -> None:
    """Leave the process group, if there is one."""
    peers.leave()
    if dist.is_initialized():
        dist.destroy_process_group()


def adapt(config: Config) -> None:
    """mmengine wraps the model for GPU number LOCAL_RANK; on CPUs there is no such device."""
    if dist.is_initialized() and not torch.cuda.is_available():
        config.model_wrapper_cfg = {
            "type": "MMDistributedDataParallel",
            "broadcast_buffers": False,
            "device_ids": None,
            "find_unused_parameters": config.get("find_unused_parameters", False),
            **config.get("model_wrapper_cfg", {}),
        }


def first_process_decides(check: Callable[[], Outcome]) -> Outcome:
    """Run a check once, before any process has written anything, and let all processes end alike.

    Raises:
        InputError: the check raised it.
    """
    outcome: list = [None, None]
    if not dist.is_initialized() or dist.get_rank() == 0:
        try:
            outcome[0] = check()
        except InputError as error:
            outcome[1] = sentence(error)
    if dist.is_initialized():
        dist.broadcast_object_list(outcome)
    if outcome[1] is not None:
        raise InputError(outcome[1])
    return outcome[0]
