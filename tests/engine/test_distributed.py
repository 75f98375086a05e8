"""Joining a process group, and deciding once for all processes."""

import os
from multiprocessing.connection import Connection

import pytest
import torch

from brs_detr.engine.running import distributed
from brs_detr.errors import InputError
from tests.processes import CONTEXT


def refuse() -> list[str]:
    raise InputError("it does not fit")


def process(rank: int, port: int, sender: Connection) -> None:
    """Reports what a check by the first process gives this one."""
    os.environ.update(
        SLURM_PROCID=str(rank),
        SLURM_NTASKS="2",
        SLURM_LOCALID=str(rank),
        MASTER_ADDR="127.0.0.1",
        PORT=str(port),
    )
    os.environ.pop("MASTER_PORT", None)
    distributed.start("slurm")
    remarks = distributed.first_process_decides(lambda: [f"from {rank}"])
    try:
        distributed.first_process_decides(refuse)
    except InputError as error:
        remarks.append(str(error))
    distributed.stop()
    sender.send(remarks)


@pytest.mark.skipif(torch.cuda.device_count() == 1, reason="two processes need no GPU or two")
def test_every_process_hears_of_it(free_port: int) -> None:
    receivers, processes = [], []
    for rank in range(2):
        receiver, sender = CONTEXT.Pipe(duplex=False)
        processes.append(CONTEXT.Process(target=process, args=(rank, free_port, sender)))
        receivers.append(receiver)
    for each in processes:
        each.start()
    heard = [receiver.recv() if receiver.poll(90) else None for receiver in receivers]
    for each in processes:
        each.join(10)
    assert heard == [["from 0", "it does not fit"]] * 2


def test_without_the_launchers_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError, match=r"--launcher pytorch needs RANK, .*dist_train.sh"):
        distributed.start("pytorch")


def test_one_process_needs_no_group() -> None:
    distributed.start("none")
    assert distributed.first_process_decides(lambda: ["remark"]) == ["remark"]
    with pytest.raises(InputError, match="does not fit"):
        distributed.first_process_decides(refuse)
