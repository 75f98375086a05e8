"""Killed at any moment and continued, a training ends as the one that was not killed, bit by bit."""

import os
import random
import re
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from mmdet.datasets import CocoDataset
from mmengine.dataset import DefaultSampler
from mmengine.runner import Runner
from torch.utils.data import BatchSampler

from brs_detr.engine.running import work_dir
from brs_detr.engine.running.seeding import SeededBatchSampler, SeedingHook
from brs_detr.errors import InputError
from tests.engine.toy import write_iterations_config
from tests.engine.toy_training import run, start, state

# Of the training by epochs, none of which may change the result.
WAYS = {
    "epochs": {},
    "minutes": {"checkpoint_minutes": 0},
    "workers": {"checkpoint_minutes": 0, "options": {"train_dataloader.num_workers": 2}},
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
    """Let this process die so long after its training has begun."""

    def before_train(hook: SeedingHook, runner: Runner) -> None:
        signal.setitimer(signal.ITIMER_REAL, seconds)  # whose signal nothing handles

    SeedingHook.before_train = before_train


def kill_and_continue(config: Path, work: Path, seed: str, **arguments: Any) -> dict[str, Any]:
    """What a training has reached that was killed five times."""
    chance, log = random.Random(seed), work.with_suffix(".log")
    for death in range(5):
        spoil = partial(die_after, chance.uniform(0.001, 0.2))
        if death % 2:
            spoil = partial(die_while_writing, chance.randint(1, 4), chance.random())
        assert run(config, work, spoil, **arguments) in (-signal.SIGKILL, -signal.SIGALRM), log.read_text()
    assert run(config, work, **arguments) == 0, log.read_text()
    assert not list(work.glob(".*"))
    assert len(list(work.glob("[ei]*.pth"))) == 1
    return state(work)


def lose_image(nth: int) -> None:
    """Let the nth image of a training be one that cannot be read."""
    read, prepare = 0, CocoDataset.prepare_data

    def prepare_data(data: CocoDataset, index: Any) -> Any:
        nonlocal read
        read += not data.test_mode
        if read == nth:
            raise InputError("The image X cannot be read.")
        return prepare(data, index)

    CocoDataset.prepare_data = prepare_data


@pytest.fixture(scope="module")
def uninterrupted(toy_config: Path) -> dict[str, Any]:
    work = toy_config.parent / "uninterrupted"
    assert run(toy_config, work) == 0
    return state(work)


@pytest.mark.parametrize("way", WAYS)
def test_killed_five_times(toy_config: Path, uninterrupted: dict[str, Any], tmp_path: Path, way: str) -> None:
    assert kill_and_continue(toy_config, tmp_path / "work", way, **WAYS[way]) == uninterrupted


def test_an_image_that_cannot_be_read_loses_no_iteration(
    toy_config: Path, uninterrupted: dict[str, Any], tmp_path: Path
) -> None:
    work = tmp_path / "work"
    for image, said in (
        (9, "after iteration 4 of .*, saved in .*interim.pth"),
        (3, "after iteration 5 of .*epoch_1.pth"),
    ):
        assert run(toy_config, work, partial(lose_image, image)) == 2
        *_, last = work.with_suffix(".log").read_text().splitlines()
        assert re.search(rf"^error: The image X cannot be read. Training stopped {said}.*continue with --resume", last)
    assert run(toy_config, work) == 0
    assert state(work) == uninterrupted


def test_a_second_training_leaves_the_first_alone(
    toy_config: Path, uninterrupted: dict[str, Any], tmp_path: Path
) -> None:
    work = tmp_path / "work"
    first = start(toy_config, work)
    while not (work / work_dir.LOCK).exists() and first.is_alive():
        time.sleep(0.01)
    assert run(toy_config, work) == 2
    assert re.search("error: Another training .* writes to the work directory", work.with_suffix(".log").read_text())
    first.join(60)
    assert first.exitcode == 0
    assert state(work) == uninterrupted


def test_killed_five_times_by_iterations(toy_config: Path, tmp_path: Path) -> None:
    config = write_iterations_config(toy_config)
    assert run(config, tmp_path / "uninterrupted") == 0
    assert kill_and_continue(config, tmp_path / "work", "iterations") == state(tmp_path / "uninterrupted")


def test_batches_are_left_out_over_several_epochs() -> None:
    def batches(epoch: int, done: int, epochs: int) -> list[list[tuple[int, ...]]]:
        sampler = DefaultSampler(range(6), seed=1)
        seeded = SeededBatchSampler(sampler, 2, dict(type=BatchSampler, drop_last=False), seed=5)
        seeded.start_at(epoch, done)
        return [[index.key for index in batch] for _ in range(epochs) for batch in seeded]

    every = batches(0, 0, 4)
    assert sorted(key[3] for batch in every[:3] for key in batch) == list(range(6))
    assert len({key for batch in every for key in batch}) == 24
    for done in range(9):
        assert batches(0, done, 5)[: 12 - done] == every[done:]
    assert batches(2, 1, 1) == every[7:9]
