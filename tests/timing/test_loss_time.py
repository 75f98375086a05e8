"""`loss_time`: what it counts, where it is logged, and that it leaves no trace on the model."""

import copy
import json
import pickle
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from brs_detr.engine import LossTimeHook
from brs_detr.timing.loss_time import LossTimer, classification_losses
from brs_detr.weights import read_checkpoint
from tests.scripts.processes import ROOT, forked, run, write_config

FORWARD, BACKWARD = 0.02, 0.03  # seconds of one loss
ELSEWHERE = 0.2  # of anything else: counting one of these would show, on the busiest machine


class Sleep(torch.autograd.Function):
    """Takes its time in both directions."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, forward: float, backward: float) -> Tensor:
        ctx.backward_seconds = backward
        time.sleep(forward)
        return logits.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        time.sleep(ctx.backward_seconds)
        return gradient, None, None


class SlowLoss(nn.Module):
    def __init__(self, forward: float = FORWARD, backward: float = BACKWARD) -> None:
        super().__init__()
        self.seconds = forward, backward

    def forward(self, logits: Tensor, targets: Tensor) -> dict[str, Tensor]:
        return {"total": (Sleep.apply(logits, *self.seconds) - targets).square().mean()}


class SlowLayer(nn.Linear):
    def forward(self, inputs: Tensor) -> Tensor:
        return Sleep.apply(super().forward(inputs), ELSEWHERE, ELSEWHERE)


class Head(nn.Module):
    """Calls its loss twice, on logits that another, slow loss uses too."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.loss_cls, self.loss_bbox = SlowLayer(4, 3), SlowLoss(), SlowLoss(ELSEWHERE, ELSEWHERE)

    def forward(self, inputs: Tensor) -> Tensor:
        logits = self.layer(inputs)
        targets = torch.zeros_like(logits)
        first = self.loss_cls(logits, targets)
        boxes = self.loss_bbox(logits, targets)
        second = self.loss_cls(logits=2 * logits, targets=targets)
        return first["total"] + boxes["total"] + second["total"]


def timed(head: Head, gradient: bool = True) -> float:
    timer = LossTimer()
    timer.attach(list(classification_losses(head).values()))
    with torch.set_grad_enabled(gradient):
        loss = head(torch.ones(2, 4))
    if gradient:
        loss.backward()
    timer.detach()
    return sum(span.seconds for span in timer.take())


def test_it_counts_the_losses_and_nothing_else() -> None:
    expected = 2 * (FORWARD + BACKWARD)
    assert expected <= timed(Head()) < expected + ELSEWHERE


def test_without_gradient_it_counts_the_forward_pass() -> None:
    assert 2 * FORWARD <= timed(Head(), gradient=False) < 2 * FORWARD + ELSEWHERE


def test_gradients_stay_as_they_are() -> None:
    torch.manual_seed(0)
    head = Head()
    other = copy.deepcopy(head)
    timed(head)
    other(torch.ones(2, 4)).backward()
    assert torch.equal(head.layer.weight.grad, other.layer.weight.grad)


def test_an_iteration_that_fails_is_forgotten() -> None:
    timer, loss = LossTimer(), SlowLoss()
    timer.attach([loss])
    with pytest.raises(RuntimeError):
        loss(torch.ones(2, requires_grad=True), torch.ones(3))
    timer.attach([loss])
    loss(torch.ones(2, requires_grad=True), torch.ones(2))["total"].backward()
    assert len(timer.take()) == 2


class Messages(dict):
    def update_scalar(self, name: str, value: float) -> None:
        self.setdefault(name, []).append(value)


class FakeRunner:
    def __init__(self, model: nn.Module) -> None:
        self.model, self.message_hub = model, Messages()


def test_accumulated_gradients_and_a_wrapped_model() -> None:
    runner = FakeRunner(nn.ModuleDict({"module": Head()}))
    wrapper = OptimWrapper(torch.optim.SGD(runner.model.parameters(), 0.1), accumulative_counts=2)
    hook = LossTimeHook()
    hook.before_train(runner)
    for i in range(2):
        hook.before_train_iter(runner, i)
        with wrapper.optim_context(runner.model):
            wrapper.update_params(runner.model["module"](torch.ones(2, 4)))
        hook.after_train_iter(runner, i)
    seconds = runner.message_hub["train/loss_time"]
    assert len(seconds) == 2
    assert min(seconds) >= 2 * (FORWARD + BACKWARD)


def test_the_model_carries_no_hooks_afterwards() -> None:
    runner, hook = FakeRunner(Head()), LossTimeHook()
    hook.before_train(runner)
    hook.before_train_iter(runner, 0)
    assert runner.model.loss_cls._forward_hooks
    runner.model(torch.ones(2, 4)).backward()
    hook.after_train_iter(runner, 0)
    hook.after_train(runner)
    for module in runner.model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
    pickle.dumps(runner.model)


class LateSpan:
    """As on a GPU: it cannot be read at once."""

    seconds, readable = 0.5, False


def test_a_gpu_is_not_waited_for() -> None:
    runner, hook, late = FakeRunner(Head()), LossTimeHook(), LateSpan()
    hook.before_train(runner)
    hook.timer.take = lambda: [late]
    hook.after_train_iter(runner, 0)
    assert not runner.message_hub
    late.readable = True
    hook.after_train_iter(runner, 1)
    assert runner.message_hub["train/loss_time"] == [0.5, 0.5]


def test_no_losses_no_time() -> None:
    runner, hook = FakeRunner(nn.Linear(1, 1)), LossTimeHook()
    hook.before_train(runner)
    hook.after_train_iter(runner, 0)
    assert not runner.message_hub


def logged(folder: Path) -> list[dict]:
    paths = sorted(folder.glob("*/vis_data/scalars.json"))
    rows = [json.loads(line) for path in paths for line in path.read_text().splitlines()]
    return [row for row in rows if "loss" in row]


def test_it_is_logged_in_training_and_after_resuming(tmp_path: Path, digits: Path) -> None:
    config = write_config(tmp_path, digits)
    for options in (["--epochs", "1"], ["--epochs", "2", "--resume", "--amp"]):
        result = forked(tmp_path, "train.py", config, "--work-dir", "work", *options)
        assert result.returncode == 0, result.stderr
        assert "  loss_time: 0." in result.stdout
    rows = logged(tmp_path / "work")
    assert len(rows) == 8
    assert all(0 < row["loss_time"] < row["time"] for row in rows)
    read_checkpoint(tmp_path / "work" / "epoch_2.pth")


def test_every_config_logs_it() -> None:
    root = Path(__file__).resolve().parents[2]
    config = Config.fromfile(str(root / "configs" / "brs_detr" / "brs-detr_r50_1x_coco.py"))
    assert config.default_hooks.loss_time == dict(type="LossTimeHook")


def test_two_processes_that_rank_together(
    tmp_path: Path, digits: Path, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_config(tmp_path, digits, ROOT / "configs" / "atss" / "brs-atss_tiny_digits.py")
    monkeypatch.setenv("PORT", str(free_port))
    result = run(tmp_path, "dist_train.sh", config, 2, "--epochs", "1", "--work-dir", "work", "--sync-ranking")
    assert result.returncode == 0, result.stderr
    assert Config.fromfile(tmp_path / "work" / "tiny.py").model.bbox_head.loss_cls.sync
    states = [torch.load(tmp_path / "work" / f"rank_{rank}.pth") for rank in range(2)]
    assert all(torch.equal(states[1][name], value) for name, value in states[0].items())
    rows = logged(tmp_path / "work")
    assert rows
    assert all(0 < row["loss_time"] < row["time"] for row in rows)
