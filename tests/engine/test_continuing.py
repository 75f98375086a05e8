"""Killed at any moment and continued, a training ends as the one that was not killed, bit by bit."""

import multiprocessing
import os
import random
import signal
import sys
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config

from brs_detr.data.digits import Parameters, build
from brs_detr.engine import launch
from brs_detr.engine.curves import read_scalars
from brs_detr.engine.loops import ContinuedEpochLoop
from brs_detr.engine.resuming import AUTO
from brs_detr.engine.work_dir import checkpoints
from brs_detr.weights import read_checkpoint
from tests.engine.toy import write_toy_config

SECONDS = "time", "data_time", "loss_time"  # of a log line; they differ

# None of them may change the result.
WAYS = {
    "epochs": {},
    "iterations": {"checkpoint_minutes": 0},
    "workers": {"checkpoint_minutes": 0, "options": {"train_dataloader.num_workers": 2}},
    "interval": {"options": {"default_hooks.checkpoint.by_epoch": False, "default_hooks.checkpoint.interval": 2}},
}


def die_while_writing(nth: int, share: float) -> None:
    """Let this process die in the nth file that it writes, when this share of it is written."""
    written = 0

    def write_bytes(path: Path, content: bytes) -> None:
        nonlocal written
        written += 1
        with path.open("wb") as file:
            file.write(content if written != nth else content[: int(share * len(content))])
        if written == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    Path.write_bytes = write_bytes


def die_after(seconds: float) -> None:
    """Let this process die so long after its first epoch has begun."""
    run_epoch = ContinuedEpochLoop.run_epoch

    def with_timer(loop: ContinuedEpochLoop) -> None:
        ContinuedEpochLoop.run_epoch = run_epoch
        signal.setitimer(signal.ITIMER_REAL, seconds)  # whose signal nothing handles
        run_epoch(loop)

    ContinuedEpochLoop.run_epoch = with_timer


def train(config: Path, work: Path, arguments: dict[str, Any], death: Callable[..., None] | None, *when: float) -> None:
    """Runs in a process of its own."""
    torch.set_num_threads(1)
    sys.stdout = sys.stderr = work.with_suffix(".log").open("a")
    Config.pretty_text = property(lambda config: "")  # formatting it takes longer than the training
    if death:
        death(*when)
    launch.train(str(config), folder=str(work), resume=AUTO, **arguments)


@pytest.fixture(scope="module")
def context() -> ForkServerContext:
    """Processes that start with everything imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.conftest", "tests.engine.test_continuing"])
    return context


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    build(folder / "digits", Parameters(train=10, val=2, test=2, size=64))
    return write_toy_config(folder, folder / "digits")


def logged(work: Path) -> dict[int, dict[str, float]]:
    """What was logged of each iteration, without times."""
    training, _ = read_scalars(work)
    return {step: {name: row[name] for name in row if name not in SECONDS} for step, row in training.items()}


def plain(content: Any) -> Any:
    """Tensors as lists, so that all may be compared by ``==``."""
    if isinstance(content, dict):
        return {key: plain(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [plain(value) for value in content]
    return content.tolist() if isinstance(content, torch.Tensor | np.ndarray) else content


def state(work: Path) -> dict[str, Any]:
    """All that a training has reached."""
    content = read_checkpoint(checkpoints(work)[0])
    history = content["message_hub"]["log_scalars"]
    losses = {name: history[name]._log_history for name in history if "time" not in name}
    kept = ("state_dict", "ema_state_dict", "optimizer", "param_schedulers")
    best = content["message_hub"]["runtime_info"]["best_score"]
    return plain({name: content[name] for name in kept} | {"losses": losses, "best": best, "log": logged(work)})


def run(context: ForkServerContext, *arguments: object) -> int:
    """Train in another process; its exit code."""
    process = context.Process(target=train, args=arguments)
    process.start()
    process.join(60)
    return process.exitcode


@pytest.fixture(scope="module")
def uninterrupted(context: ForkServerContext, config: Path) -> dict[str, Any]:
    work = config.parent / "uninterrupted"
    assert run(context, config, work, {}, None) == 0
    return state(work)


@pytest.mark.parametrize("way", WAYS)
def test_killed_five_times(
    context: ForkServerContext, config: Path, uninterrupted: dict[str, Any], tmp_path: Path, way: str
) -> None:
    work, chance = tmp_path / "work", random.Random(way)
    for death in range(5):
        if death % 2:
            ended = run(context, config, work, WAYS[way], die_after, chance.uniform(0.001, 0.2))
        else:
            ended = run(context, config, work, WAYS[way], die_while_writing, chance.randint(1, 4), chance.random())
        assert ended in (-signal.SIGKILL, -signal.SIGALRM), work.with_suffix(".log").read_text()
    assert run(context, config, work, WAYS[way], None) == 0, work.with_suffix(".log").read_text()
    assert state(work) == uninterrupted
    assert not list(work.glob(".*"))
    assert len(list(work.glob("[ei]*.pth"))) == 1
