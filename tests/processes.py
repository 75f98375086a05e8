"""Several processes joined by gloo, each of which runs one function."""

import multiprocessing
import os
import tempfile
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch
import torch.distributed as dist

# Processes are forked from one that has imported everything, once for all tests that one pytest runs.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["tests.conftest", "tests.engine.toy_training", "tests.engine.toy", "benchmarks.gpu.parts"]
)


def _process(function: Callable, rank: int, number: int, folder: str, arguments: tuple, sender: Connection) -> None:
    os.environ.update(OMP_NUM_THREADS="1")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=number)
    try:
        sender.send((function(*arguments), ""))
    except Exception:
        sender.send((None, traceback.format_exc()))
    dist.destroy_process_group()


def in_processes(function: Callable, number: int, *arguments: Any, seconds: float = 120) -> list[Any]:
    """What the function returned in each process. Raises RuntimeError with the traceback of one that failed."""
    started = []
    with tempfile.TemporaryDirectory() as folder:
        for rank in range(number):
            receiver, sender = CONTEXT.Pipe(duplex=False)
            process = CONTEXT.Process(target=_process, args=(function, rank, number, folder, arguments, sender))
            process.start()
            started.append((process, receiver))
        results = [receiver.recv() if receiver.poll(seconds) else (None, "no answer") for _, receiver in started]
        for process, _ in started:
            process.join(10)
            process.kill()
    if failed := [error for _, error in results if error]:
        raise RuntimeError("\n".join(failed))
    return [value for value, _ in results]
