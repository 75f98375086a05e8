"""Killed at any moment and continued, a training ends as the one that was not killed, bit by bit."""

import multiprocessing
import os
import random
import signal
import sys
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
from brs_detr.engine.resuming import AUTO
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


def deadly_write(nth: int, share: float) -> None:
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


def train(config: Path, work: Path, nth: int, share: float, arguments: dict[str, Any]) -> None:
    """Runs in a process of its own."""
    torch.set_num_threads(1)
    sys.stdout = sys.stderr = work.with_suffix(".log").open("a")
    Config.pretty_text = property(lambda config: "")  # formatting it takes longer than the training
    deadly_write(nth, share)
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
    content = read_checkpoint(work / "epoch_3.pth")
    history = content["message_hub"]["log_scalars"]
    losses = {name: history[name]._log_history for name in history if "time" not in name}
    kept = ("state_dict", "ema_state_dict", "optimizer", "param_schedulers")
    best = content["message_hub"]["runtime_info"]["best_score"]
    return plain({name: content[name] for name in kept} | {"losses": losses, "best": best, "log": logged(work)})


def run(context: ForkServerContext, *arguments: object, kill_after: float | None = None) -> int:
    process = context.Process(target=train, args=arguments)
    process.start()
    process.join(kill_after)
    process.kill() if kill_after is not None else None
    process.join(60)
    return process.exitcode


@pytest.fixture(scope="module")
def uninterrupted(context: ForkServerContext, config: Path) -> dict[str, Any]:
    work = config.parent / "uninterrupted"
    assert run(context, config, work, 0, 1, {}) == 0
    return state(work)


@pytest.mark.parametrize("way", WAYS)
def test_killed_five_times(
    context: ForkServerContext, config: Path, uninterrupted: dict[str, Any], tmp_path: Path, way: str
) -> None:
    chance = random.Random(way)
    work = tmp_path / "work"
    deaths = 0
    while deaths < 5:
        if deaths % 2:
            ended = run(context, config, work, 0, 1, WAYS[way], kill_after=chance.uniform(0.2, 1.5))
        else:
            ended = run(context, config, work, chance.randint(1, 6), chance.random(), WAYS[way])
        deaths += 1
        assert ended in (0, -signal.SIGKILL), work.with_suffix(".log").read_text()
    assert run(context, config, work, 0, 1, WAYS[way]) == 0, work.with_suffix(".log").read_text()
    assert state(work) == uninterrupted
