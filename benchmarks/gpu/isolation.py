"""A case in a process of its own: neither a fault of the GPU, nor want of memory, nor a hang reaches the others.

The processes are forked from one that has imported everything and has never touched a GPU, which takes NVML; without
it they are started anew.
"""

import functools
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Thread
from typing import NamedTuple

import torch

from brs_detr.endings import ending_of
from brs_detr.engine.progress.console import silence_third_parties

from .cases import Row

PRELOADED = "benchmarks.gpu.parts"


@functools.cache
def context() -> ForkServerContext | SpawnContext:
    """How processes are started that may use the GPU that is there."""
    forking = get_context("forkserver")
    forking.set_forkserver_preload([PRELOADED])
    if torch.cuda.is_available() and has_touched_gpu(forking):
        return get_context("spawn")
    return forking


def has_touched_gpu(forking: ForkServerContext) -> bool:
    """Whether the process that is forked has asked CUDA for something: torch lets no fork of it use a GPU then."""
    process = forking.Process(target=_say_touched)
    process.start()
    process.join()
    return process.exitcode != 0


def _say_touched() -> None:
    sys.exit(torch.cuda._is_in_bad_fork())


class Outcome(NamedTuple):
    """The rows of a case, or the sentence why there are none."""

    rows: list[Row] | None = None
    failed: str | None = None


def in_a_process(measure: Callable[[], list[Row]], seconds: float, log: Path) -> Outcome:
    """What `measure` returns within so many seconds; what it prints, and the traceback of its error, go to the log."""
    receiver, sender = context().Pipe(duplex=False)
    process = context().Process(target=_work, args=(measure, sender, log))
    process.start()
    sender.close()
    try:
        ready = wait([receiver, process.sentinel], seconds)
        if not ready:
            return Outcome(failed=f"it was ended after {seconds:.0f} s, several times what it was expected to take.")
        return receiver.recv() if receiver.poll() else Outcome(failed=_end_of(process))
    except EOFError:
        return Outcome(failed=_end_of(process))
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # type: ignore[arg-type]
        process.join()
        receiver.close()


def _end_of(process: BaseProcess) -> str:
    process.join()
    status = process.exitcode or 0
    how = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
    return f"its process ended {how}."


def _end_with_reader(sender: Connection) -> None:
    """Ends this process and all that it started once nobody is left to read: the next run needs the GPU."""
    hang_up = select.poll()
    hang_up.register(sender.fileno(), 0)  # an error is reported unasked
    hang_up.poll()
    os.killpg(0, signal.SIGKILL)


def _work(measure: Callable[[], list[Row]], sender: Connection, log: Path) -> None:
    os.setsid()  # whatever it starts ends with it
    Thread(target=_end_with_reader, args=(sender,), daemon=True).start()
    with log.open("a") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())
    try:
        silence_third_parties()
        outcome = Outcome(rows=measure())
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        outcome = Outcome(failed=ending_of(error).text)
    sender.send(outcome)
