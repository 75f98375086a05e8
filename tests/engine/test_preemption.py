"""A signal ends a training after its iteration, with all saved; continued, it ends as if there had been none."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from brs_detr import peers
from brs_detr.engine.running import interim, preemption
from brs_detr.engine.running.checkpoints import WholeFileBackend
from brs_detr.engine.running.interim import InterimCheckpointHook
from brs_detr.errors import InputError
from brs_detr.weights import read_checkpoint
from tests.engine.toy import ToyDetector
from tests.engine.toy_training import ended, run, start, start_two, state


def at_batch(nth: int, mode: str, action: Callable[[], None]) -> None:
    """Do something amid the nth batch of a training ("loss") or its evaluations ("predict")."""
    forward, seen = ToyDetector.forward, 0

    def watched(model: ToyDetector, inputs: object, data_samples: list, mode_now: str = "tensor") -> object:
        nonlocal seen
        seen += mode_now == mode
        if seen == nth and mode_now == mode:
            action()
        return forward(model, inputs, data_samples, mode_now)

    ToyDetector.forward = lambda model, inputs, data_samples, mode: watched(model, inputs, data_samples, mode)


def signal_all(signum: int) -> None:
    """As a terminal or Slurm does: the data loader's workers are signalled, too."""
    subprocess.run(["kill", f"-{signum}", "--", f"-{os.getpgrp()}"], start_new_session=True, check=True)


def brief() -> None:
    preemption.SAME = 0.1


def refuse() -> None:
    raise InputError("The image x.png cannot be read.")


def wait_for_ever(marker: Path) -> None:
    marker.touch()
    time.sleep(300)


def writing_slowly() -> None:
    """Meanwhile another's failure would end this process soon."""
    put = WholeFileBackend.put

    def slow(self: WholeFileBackend, content: bytes, path: str) -> None:
        peers.GRACE, grace = 0.1, peers.GRACE
        time.sleep(1.5)
        put(self, content, path)
        peers.GRACE = grace

    WholeFileBackend.put = slow


def signalled_while_writing() -> None:
    put = WholeFileBackend.put

    def signalled(self: WholeFileBackend, content: bytes, path: str) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        put(self, content, path)

    WholeFileBackend.put = signalled
    at_batch(1, "predict", partial(os._exit, 7))


def wait_until(reached: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def signal_twice() -> None:
    brief()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(2 * preemption.SAME)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(60)


def test_signals(toy_config: Path, tmp_path: Path) -> None:
    """One after the other: amid accumulated gradients, at an epoch's end, in an evaluation, and twice."""
    work, log = tmp_path / "work", tmp_path / "work.log"
    options = {"train_dataloader.num_workers": 2} | {
        f"val_dataloader.{name}": value for name, value in (("num_workers", 1), ("persistent_workers", True))
    }
    assert run(toy_config, tmp_path / "uninterrupted") == 0
    stops = [
        (signal.SIGTERM, 3, "loss", 143, 4),  # after the next step of the optimiser
        (signal.SIGINT, 1, "loss", 130, 4),  # at once, as nothing is new in the first iteration
        (signal.SIGUSR1, 2, "predict", 75, 10),
        (signal.SIGTERM, 2, "loss", 143, 12),  # after the evaluation, which is made up
    ]
    for signum, nth, mode, code, iteration in stops:
        process = start(
            toy_config, work, partial(at_batch, nth, mode, partial(signal_all, int(signum))), options=options
        )
        assert ended(process) == code, log.read_text()
        line = log.read_text().splitlines()[-1]
        assert line.startswith(f"Stopped by {signum.name} after iteration {iteration} of 30, saved in {work}")
        assert line.endswith(" --resume auto")
        saved = work / ("epoch_2.pth" if mode == "predict" else "interim.pth")
        assert read_checkpoint(saved)["meta"]["iter"] == iteration
        assert "Traceback" not in log.read_text()
    began = time.monotonic()
    assert ended(start(toy_config, work, partial(at_batch, 2, "loss", signal_twice))) == 143
    assert time.monotonic() - began < 20
    assert log.read_text().endswith("Stopped at once; the last checkpoint is whole.\n")
    assert run(toy_config, work) == 0
    assert state(work) == state(tmp_path / "uninterrupted")
    taken = json.loads((work / "training.json").read_text())
    assert [segment["to_iteration"] for segment in taken["segments"]] == [4, 10, 12, 30]
    assert taken["seconds"] == pytest.approx(sum(segment["seconds"] for segment in taken["segments"]), abs=0.01)


def signalled_for_minutes() -> None:
    """As the first iteration of a model that is compiled."""
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(300)


def test_the_first_iteration_is_not_waited_for(toy_config: Path, tmp_path: Path) -> None:
    assert run(toy_config, tmp_path / "work", partial(at_batch, 1, "loss", signalled_for_minutes)) == 143
    assert "Stopped by SIGTERM before the end of its first iteration" in (tmp_path / "work.log").read_text()


def test_two_processes_of_which_one_is_signalled(toy_config: Path, tmp_path: Path, free_port: int) -> None:
    work, log = tmp_path / "work", tmp_path / "work.log"
    for process in start_two(toy_config, tmp_path / "uninterrupted", free_port, (None, None)):
        assert ended(process) == 0
    to_me = partial(preemption.signal.raise_signal, signal.SIGTERM)
    for nth, mode in ((2, "loss"), (1, "predict")):
        first, second = start_two(toy_config, work, free_port, (None, partial(at_batch, nth, mode, to_me)))
        assert ended(second) == 143, log.read_text()
        if mode == "predict":
            os.kill(first.pid, signal.SIGTERM)  # as launchers do when a process leaves
        assert ended(first) == 143, log.read_text()
        assert log.read_text().count("Stopped by SIGTERM") == 1 + (mode == "predict")
    for process in start_two(toy_config, work, free_port, (None, None)):
        assert ended(process) == 0, log.read_text()
    assert state(work) == state(tmp_path / "uninterrupted")


def test_no_evaluation_after_a_signal_amid_the_saving_of_an_epoch(toy_config: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    assert run(toy_config, work, signalled_while_writing) == 143
    line = (tmp_path / "work.log").read_text().splitlines()[-1]
    assert line.startswith(f"Stopped by SIGTERM after iteration 5 of 30, saved in {work}/epoch_1.pth")


def test_an_error_is_no_preemption(toy_config: Path, tmp_path: Path, free_port: int) -> None:
    """One process fails after the epoch's end, and the other, which writes its checkpoint, is signalled for it."""
    work, log = tmp_path / "work", tmp_path / "work.log"
    spoils = writing_slowly, partial(at_batch, 1, "predict", refuse)
    first, second = start_two(toy_config, work, free_port, spoils)
    assert ended(second) == 2, log.read_text()
    os.kill(first.pid, signal.SIGTERM)  # as launchers do when a process leaves
    assert ended(first) == 2, log.read_text()
    assert (work / "epoch_1.pth").exists()
    assert "Stopped by" not in log.read_text()
    assert log.read_text().count("The image x.png cannot be read.") == 1


def test_signals_while_a_process_waits_for_another(toy_config: Path, tmp_path: Path, free_port: int) -> None:
    """Where Python runs no handler: at the beginning one ends the process, amid an iteration two."""
    marker, log = tmp_path / "marker", tmp_path / "work.log"
    first, _ = start_two(toy_config, tmp_path / "work", free_port, (None, partial(os._exit, 0)))
    wait_until(partial(listens, free_port))
    os.kill(first.pid, signal.SIGTERM)
    assert ended(first) == 143
    assert "Stopped by SIGTERM before the end of its first iteration" in log.read_text()
    spoils = brief, partial(at_batch, 2, "loss", partial(wait_for_ever, marker))
    first, second = start_two(toy_config, tmp_path / "work", free_port, spoils)
    wait_until(marker.exists)
    for _ in range(2):
        time.sleep(0.5)
        os.kill(first.pid, signal.SIGTERM)
    try:
        assert ended(first) == 143
    finally:
        second.kill()
    assert "Stopped at once" in log.read_text()


@pytest.mark.parametrize("amid_a_step", [False, True])
def test_nothing_is_saved_amid_a_step(monkeypatch: pytest.MonkeyPatch, amid_a_step: bool) -> None:
    """Gradients of the passes so far are in no checkpoint; an evaluation that comes then saves none."""
    saved, hook = [], InterimCheckpointHook()
    monkeypatch.setattr(interim, "ensure_saved", lambda runner, iteration: saved.append(iteration))
    monkeypatch.setattr(interim, "reached", lambda runner: "saved")
    monkeypatch.setattr(preemption.SIGNALS, "safe", None)
    hook.started = 0.0
    hook.before_val(SimpleNamespace(iter=5, optim_wrapper=SimpleNamespace(should_update=lambda: not amid_a_step)))
    assert (saved, preemption.SIGNALS.safe) == (([], None) if amid_a_step else ([5], "saved"))


@pytest.mark.parametrize(
    ("typed", "continued"),
    [
        ("train.py a.py --resume", "train.py a.py --resume auto"),
        ("train.py a.py --resume x.pth --amp", "train.py a.py --amp --resume auto"),
        ("train.py a.py --resume=auto --seed 1", "train.py a.py --seed 1 --resume auto"),
        ("env NNODES=2 bash dist.sh 'my config.py' 2 --overwrite --load-from w.pth",) * 2,
    ],
)
def test_the_command_that_continues(monkeypatch: pytest.MonkeyPatch, typed: str, continued: str) -> None:
    monkeypatch.setenv(preemption.COMMAND, typed)
    if typed == continued:
        continued = typed.replace("--overwrite ", "") + " --resume auto"
    assert preemption.continuing_command() == continued
