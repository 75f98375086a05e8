"""Small trainings one after another or side by side, each in a process of its own with one thread."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import torch

from brs_detr.engine import launch
from brs_detr.engine.running import work_dir
from brs_detr.engine.running.resuming import LAST
from brs_detr.engine.train_options import TrainOptions
from brs_detr.timing.report import environment

Run = TypeVar("Run")
Result = TypeVar("Result")


def where() -> dict[str, str]:
    """Versions, and the device that trainings take."""
    return environment(torch.device("cuda" if torch.cuda.is_available() else "cpu"))


def train_quietly(config: Path, epochs: int, seed: int) -> Path:
    """Train a config, and return the work directory, ``run`` beside it; in ``log.txt`` is what the training said.

    One that was killed goes on, and ends as if it had not been; one that has ended is repeated.
    """
    folder = config.parent / "run"
    killed = bool(work_dir.checkpoints(folder)) and not (folder / "training.json").exists()
    start = TrainOptions(resume=LAST) if killed else TrainOptions(overwrite=True)
    options = replace(start, folder=str(folder), epochs=epochs, seed=seed)
    with (config.parent / "log.txt").open("a") as log, redirect_stdout(log), redirect_stderr(log):
        launch.train(str(config), options)
    return folder


def in_processes(function: Callable[[Run], Result], runs: Sequence[Run], jobs: int) -> Iterator[tuple[Run, Result]]:
    """The result of each run as it ends, so many at a time; of one that fails the error is printed instead.

    Processes are forked, so that they need not import everything again, unless a GPU is there, which forks cannot use
    once this process has asked for its name. The caller must not have trained: autograd's threads are not forked.
    """
    context = get_context("spawn" if torch.cuda.is_available() else "fork")
    with context.Pool(jobs, torch.set_num_threads, (1,), maxtasksperchild=1) as pool:
        for run, result in pool.imap_unordered(partial(_attempt, function), runs):
            if isinstance(result, Exception):
                print(f"{run} failed: {result}", flush=True)
            else:
                yield run, result


def _attempt(function: Callable[[Run], Result], run: Run) -> tuple[Run, Result | Exception]:
    try:
        return run, function(run)
    except Exception as error:  # the other trainings go on
        return run, error
