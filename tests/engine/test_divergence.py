"""What diverged is neither kept nor scored, and the message names it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmdet.models import DINOHead
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.structures import InstanceData
from torch import nn

from brs_detr.engine.running import divergence
from brs_detr.engine.running.divergence import DivergenceError
from brs_detr.files import write_json
from tests.scripts.processes import write_config

Program = Callable[..., tuple[int, str, str]]
pytestmark = pytest.mark.filterwarnings("ignore:.*visualizer has been created")  # mmengine keeps one a process


@pytest.fixture
def config(tmp_path: Path, digits: Path) -> Path:
    return write_config(tmp_path, digits)


@pytest.fixture
def checkpoint(tmp_path: Path, config: Path) -> Path:
    """Of the tiny model, untrained."""
    model = MODELS.build(Config.fromfile(config).model)
    model.init_weights()
    torch.save({"state_dict": model.state_dict()}, tmp_path / "model.pth")
    return tmp_path / "model.pth"


def unfinished(work: Path) -> bool:
    """Whether a training has left nothing that claims to be its result."""
    return not any(work.glob("*.pth")) and not (work / "training.json").exists()


def spoil(monkeypatch: pytest.MonkeyPatch, owner: type, method: str, change: Callable[[Any], Any]) -> None:
    """Let a method return something else."""
    original = getattr(owner, method)
    monkeypatch.setattr(owner, method, lambda self, *args, **kwargs: change(original(self, *args, **kwargs)))


def test_losses_of_mmdet_that_become_nan(
    program: Program, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, DINOHead, "loss", lambda losses: losses | {"loss_iou": losses["loss_iou"] * torch.nan})
    status, _, errors = program("train", config, "--work-dir", tmp_path / "work")
    assert status == 2
    assert errors.splitlines()[-1].startswith("error: loss_iou: NaN or infinite: training diverged in iteration 0.")
    assert unfinished(tmp_path / "work")


def nan_boxes(samples: list) -> list:
    samples[0].pred_instances.bboxes[0, 0] = torch.nan
    return samples


def test_predictions_that_are_nan(
    program: Program, config: Path, checkpoint: Path, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the evaluation amid a training, in an evaluation, and in pictures."""
    spoil(monkeypatch, MODELS.get("DINO"), "predict", nan_boxes)
    work = tmp_path / "work"
    status, _, errors = program("train", config, "--work-dir", work, "--epochs", 1)
    assert status == 2
    assert f"error: boxes predicted for {digits}/val/000001.png: NaN or infinite: training diverged" in errors
    assert not list(work.glob("best*"))
    status, _, errors = program("test", config, checkpoint, "--out", tmp_path / "metrics.json", "--work-dir", work)
    assert status == 2
    assert f"{checkpoint} has no AP" in errors
    assert not (tmp_path / "metrics.json").exists()
    status, _, errors = program("predict", config, checkpoint, digits / "test", "--out", tmp_path / "out")
    assert status == 2
    assert f"boxes predicted for {digits}/test/000001.png: NaN or infinite" in errors
    assert not (tmp_path / "out").exists()


def test_weights_that_explode_are_not_saved(program: Program, config: Path, tmp_path: Path) -> None:
    optimiser = "optim_wrapper.optimizer.type=SGD", "optim_wrapper.optimizer.lr=1e12"
    frozen = "optim_wrapper.clip_grad.max_norm=1e-3"  # so that one step of the four takes them beyond the limit
    work = tmp_path / "work"
    status, _, errors = program("train", config, "--work-dir", work, "--cfg-options", *optimiser, frozen)
    assert status == 2
    assert "training diverged" in errors
    assert unfinished(work)


def test_saving_looks_at_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.ModuleDict({"head": nn.Linear(2, 2), "neck": nn.Linear(2, 2)})
    assert divergence.check_weights(model) is None
    nn.init.constant_(model["head"].weight, -2e4)
    assert divergence.check_weights(model).startswith("head.weight has weights of 2e+04")
    for wrong in (torch.nan, torch.inf, 1e16):
        nn.init.constant_(model["neck"].bias, wrong)
        with pytest.raises(DivergenceError, match=r"neck\.bias has weights that are NaN or have grown to"):
            divergence.check_weights(model)


def test_what_ends_a_training_for_another_reason() -> None:
    model = nn.Linear(2, 2)
    assert divergence.reason(KeyError("type"), model) is None
    assert "queries cannot be matched" in divergence.reason(
        ValueError("matrix contains invalid numeric entries"), model
    )
    nn.init.constant_(model.weight, torch.nan)
    assert divergence.reason(KeyError("type"), model).startswith("weight has weights that are NaN")


def test_heads_outside_training_refuse_nan() -> None:
    """Suppression drops boxes whose scores are NaN: no detection is left to be looked at."""
    model = nn.ModuleDict({"bbox_head": nn.Linear(2, 2), "roi_head": nn.ModuleList([nn.Linear(2, 2)])})
    divergence.watch_heads(model)
    nan = torch.full((1, 2), torch.nan)
    model["bbox_head"](nan)
    with pytest.raises(DivergenceError, match="outputs of bbox_head"):
        model.eval()["bbox_head"](nan)
    with pytest.raises(DivergenceError, match=r"outputs of roi_head\.0"):  # a stage of Cascade R-CNN
        model["roi_head"][0](nan)


def test_masks_of_detections() -> None:
    found = InstanceData(bboxes=torch.zeros(1, 4), scores=torch.zeros(1), masks=torch.zeros(1, 8, 8, dtype=torch.bool))
    divergence.check_predictions(found, "a.png")
    found.masks = torch.full((1, 8, 8), torch.inf)
    with pytest.raises(DivergenceError, match=r"masks predicted for a\.png"):
        divergence.check_predictions(found, "a.png")


def test_json_is_valid(tmp_path: Path) -> None:
    write_json(tmp_path / "metrics.json", {"a": float("nan"), "b": [1.5, float("inf")], "c": {"d": 1}})
    content = (tmp_path / "metrics.json").read_text()
    assert "NaN" not in content
    assert json.loads(content) == {"a": None, "b": [1.5, None], "c": {"d": 1}}
