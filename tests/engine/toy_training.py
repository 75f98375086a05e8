"""The toy is trained in processes that begin with everything imported, so that many of them may be killed."""

import gc
import os
import sys
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from brs_detr import endings, peers
from brs_detr.engine import launch
from brs_detr.engine.progress.curves import read_scalars
from brs_detr.engine.running.resuming import AUTO
from brs_detr.engine.running.work_dir import checkpoints
from brs_detr.engine.train_options import TrainOptions
from brs_detr.weights import read_checkpoint
from tests.processes import CONTEXT

SECONDS = "time", "data_time", "loss_time"  # of a log line; they differ
STATES = "state_dict", "ema_state_dict", "optimizer", "param_schedulers"
Spoil = Callable[[], None]


def train(config: Path, work: Path, arguments: dict[str, Any], spoil: Spoil | None, variables: dict[str, str]) -> None:
    """Runs in a process of its own, whose group holds its data loaders' workers as well."""
    os.setpgid(0, 0)
    gc.freeze()  # mmengine collects garbage for each data set, and so much is imported
    Figure.savefig = lambda self, file, **style: file.write(b"drawn")  # seconds; other tests look at pictures
    os.environ |= variables
    torch.set_num_threads(1)
    sys.stdout = sys.stderr = work.with_suffix(".log").open("a")
    os.dup2(sys.stderr.fileno(), 2)
    if spoil:
        spoil()
    with endings.ends_with_a_sentence([]), peers.together():
        launch.train(str(config), TrainOptions(folder=str(work), resume=AUTO, **arguments))


def start(config: Path, work: Path, spoil: Spoil | None = None, **arguments: Any) -> ForkServerProcess:
    """Start or continue a training in another process."""
    process = CONTEXT.Process(target=train, args=(config, work, arguments, spoil, {}))
    process.start()
    return process


def start_two(config: Path, work: Path, port: int, spoils: tuple[Spoil | None, Spoil | None]) -> list:
    """Start or continue a training in two processes, as torchrun would."""
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = []
    for rank, spoil in enumerate(spoils):
        variables = shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
        arguments = (config, work, {"launcher": "pytorch"}, spoil, variables)
        processes.append(CONTEXT.Process(target=train, args=arguments))
        processes[-1].start()
    return processes


def ended(process: ForkServerProcess) -> int:
    """The exit code of a process, once it and its workers are gone."""
    process.join(60)
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return process.exitcode
    raise AssertionError("processes are left behind")


def run(config: Path, work: Path, spoil: Spoil | None = None, **arguments: Any) -> int:
    """Start or continue a training, and return its exit code."""
    process = start(config, work, spoil, **arguments)
    process.join(60)
    return process.exitcode


def logged(work: Path) -> dict[int, dict[str, float]]:
    """What was logged of each iteration, without times."""
    training, _ = read_scalars(work)
    return {step: {name: row[name] for name in row if name not in SECONDS} for step, row in training.items()}


def state(work: Path) -> dict[str, Any]:
    """All that a training has reached."""
    content = read_checkpoint(checkpoints(work)[0])
    history = content["message_hub"]["log_scalars"]
    losses = {name: history[name]._log_history for name in history if "time" not in name}
    best = content["message_hub"]["runtime_info"]["best_score"], [path.name for path in work.glob("best_*")]
    return _plain({name: content[name] for name in STATES} | {"losses": losses, "best": best, "log": logged(work)})


def _plain(content: Any) -> Any:
    """Tensors as lists, so that all may be compared by ``==``."""
    if isinstance(content, dict):
        return {key: _plain(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_plain(value) for value in content]
    return content.tolist() if isinstance(content, torch.Tensor | np.ndarray) else content
