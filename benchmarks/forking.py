"""How to start processes that use a GPU: forked from one that has imported everything, or anew."""

import functools
import sys
from multiprocessing import get_context
from multiprocessing.context import BaseContext, ForkServerContext, SpawnContext

import torch


def poisoned(context: BaseContext) -> bool:
    """Whether its processes may not use a GPU, as the one that they are forked from has asked CUDA for something."""
    process = context.Process(target=_say)  # type: ignore[attr-defined]
    process.start()
    process.join()
    return process.exitcode != 0


def _say() -> None:
    sys.exit(torch.cuda._is_in_bad_fork())


@functools.cache
def forkserver(module: str) -> ForkServerContext | SpawnContext:
    """Forks of a process that has imported this module alone; processes started anew, which takes them seconds, where
    forks may not use the GPU that is there: without NVML."""
    context = get_context("forkserver")
    context.set_forkserver_preload([module])
    return get_context("spawn") if torch.cuda.is_available() and poisoned(context) else context
