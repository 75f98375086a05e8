"""Options of fine-tuning: what they change in every family's config, and a training with all of them."""

import copy
import functools
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from torch import nn

from brs_detr.backbones import TimmBackbone
from brs_detr.engine import launch
from brs_detr.engine.running import compiling, tuning
from brs_detr.engine.train_options import TrainOptions
from brs_detr.errors import InputError
from brs_detr.weights import read_checkpoint
from tests.engine.toy import ToyDetector
from tests.scripts.processes import ROOT

FAMILIES = sorted(
    next(folder.glob("*coco*.py")) for folder in (ROOT / "configs").iterdir() if not folder.name.startswith("_")
)
read = functools.cache(Config.fromfile)
NOTHING: dict[str, Any] = dict(freeze=False, average=False, patience=None, logger=None)


@pytest.mark.parametrize("path", FAMILIES, ids=lambda path: path.parent.name)
def test_every_family_takes_them(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "find_spec", lambda name: name)
    config = copy.deepcopy(read(path))
    for _ in range(2):  # as with a work directory's config, which has them already
        assert not tuning.set_options(config, freeze=True, average=True, patience=3, logger="wandb")
    assert config.freeze_backbone
    average, patience = config.custom_hooks
    assert average.type == "AveragingHook"
    assert (patience.monitor, patience.patience) == (config.default_hooks.checkpoint.save_best, 3)
    assert [each.type for each in config.visualizer.vis_backends] == ["LocalVisBackend", "WandbVisBackend"]


def test_what_does_not_go_is_said() -> None:
    def refused(sentence: str, changes: dict[str, Any], **options: Any) -> None:
        config = copy.deepcopy(read(FAMILIES[0]))
        config.merge_from_dict(changes)
        with pytest.raises(InputError, match=re.escape(sentence)):
            tuning.set_options(config, **NOTHING | options)

    refused("--early-stop needs at least 1", {}, patience=0)
    refused("set default_hooks.checkpoint.save_best", {"default_hooks.checkpoint.save_best": "auto"}, patience=1)
    refused("set default_hooks.checkpoint.save_best", {"val_cfg": None}, patience=1)
    refused("has no backbone", {"model": dict(_delete_=True, type="Other")}, freeze=True)
    refused("is not installed: pip install mlflow", {}, logger="mlflow")


def test_a_learning_rate_is_proposed_unless_one_is_given() -> None:
    config = copy.deepcopy(read(FAMILIES[0]))
    rate = config.optim_wrapper.optimizer.lr
    (remark,) = tuning.rate_remark(config, {})
    assert remark.endswith(f"--cfg-options optim_wrapper.optimizer.lr={rate / 10:g}")
    assert tuning.rate_remark(config, {"optim_wrapper.optimizer.lr": 1.0}) == []


def test_a_frozen_backbone_stays_as_it_is() -> None:
    """Of a class without frozen stages; dropout and running means included."""
    backbone = TimmBackbone("resnet18.a1_in1k", options=dict(drop_path_rate=0.1))
    head = nn.Conv2d(512, 1, 1)
    model = nn.ModuleDict(dict(backbone=backbone, head=head))
    tuning.freeze(backbone)
    model.train()
    assert not any(part.training for part in backbone.modules())
    assert head.training
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    head(backbone(torch.rand(1, 3, 64, 64))[-1]).sum().backward()
    assert all(value.grad is None for value in backbone.parameters())
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())


@MODELS.register_module()
class ToyWithBackbone(ToyDetector):
    """Most of the toy, its normalisation with running means among it, is the backbone."""

    def __init__(self, backbone: None, data_preprocessor: dict) -> None:
        super().__init__(data_preprocessor)
        self.backbone = self._modules.pop("layers")

    @property
    def layers(self) -> nn.Module:
        return self.backbone


@pytest.mark.filterwarnings("ignore:.*visualizer has been created")  # mmengine keeps one a process
def test_a_training_with_all_of_them(
    toy_config: Path, tmp_path: Path, capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends early, is continued and ends at once, and is refused without the average. Compiled: names stay."""
    monkeypatch.setattr(compiling, "BACKEND", "eager")
    config = Config.fromfile(toy_config)
    config.model = dict(type="ToyWithBackbone", backbone=None, data_preprocessor=config.model.data_preprocessor)
    config.optim_wrapper.optimizer.lr = 0.0  # nothing is learnt, so that no evaluation is better
    config.custom_hooks = []
    config.dump(tmp_path / "toy.py")
    work = tmp_path / "work"
    options: dict[str, Any] = dict(folder=str(work), average=True, patience=1, freeze_backbone=True, compiled=True)
    launch.train(str(tmp_path / "toy.py"), TrainOptions(**options))
    assert json.loads((work / "training.json").read_text())["epochs"] == 2
    assert "and not better in 1 evaluation since (--early-stop)." in "".join(capfd.readouterr())
    saved = read_checkpoint(work / "epoch_2.pth")
    assert int(saved["ema_state_dict"]["steps"]) == saved["meta"]["iter"]
    assert len(saved["optimizer"]["state"]) == 2  # of the layer that is not in the backbone
    assert saved["state_dict"]["backbone.1.num_batches_tracked"] == 0
    launch.train(str(tmp_path / "toy.py"), TrainOptions(resume="auto", **options))
    assert json.loads((work / "training.json").read_text())["epochs"] == 2
    with pytest.raises(InputError, match="is of a training with --ema: give it again"):
        launch.train(str(tmp_path / "toy.py"), TrainOptions(resume="auto", **options | dict(average=False)))
    gone = {"train_dataloader.dataset.data_root": str(tmp_path / "nowhere")}  # an evaluation needs no training data
    launch.evaluate(str(work), str(work / "epoch_2.pth"), folder=str(tmp_path / "test"), options=gone)


@pytest.mark.filterwarnings("ignore:.*(visualizer|instance named .*) has been created")  # several trainings a second
def test_a_backbone_that_learnt_is_not_frozen_later_nor_the_other_way_round(toy_config: Path, tmp_path: Path) -> None:
    """Where mmengine makes a group of each weight that learns: AdamW's moments would belong to other weights."""
    config = Config.fromfile(toy_config)
    config.model = dict(type="ToyWithBackbone", backbone=None, data_preprocessor=config.model.data_preprocessor)
    config.optim_wrapper.paramwise_cfg = dict(bias_lr_mult=0.5)
    config.custom_hooks = []
    config.dump(tmp_path / "toy.py")

    def train(epochs: int, frozen: bool, work: Path) -> None:
        options = TrainOptions(folder=str(work), resume="auto", epochs=epochs, freeze_backbone=frozen)
        launch.train(str(tmp_path / "toy.py"), options)

    for frozen, counts, remedy in (
        (True, "2 groups of weights, and this training's 6", "Give --freeze-backbone again"),
        (False, "6 groups of weights, and this training's 2", "Leave out --freeze-backbone"),
    ):
        work = tmp_path / f"{frozen}"
        train(1, frozen, work)
        with pytest.raises(InputError, match=rf"epoch_1\.pth cannot be resumed: .*{counts}\. {remedy} .* --load-from"):
            train(2, not frozen, work)
        train(2, frozen, work)
        assert (work / "epoch_2.pth").exists()
