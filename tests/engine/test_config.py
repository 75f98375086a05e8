"""What the command line changes in a config: the number of epochs, with the learning rate's steps; mixed precision."""

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.config import config as mmengine_configs
from mmengine.model import BaseModel
from mmengine.registry import OPTIM_WRAPPERS, DefaultScope
from torch import Tensor, nn
from yapf.yapflib.yapf_api import FormatCode

from brs_detr.engine.setup.config import (
    lay_out_once,
    load_config,
    rank_over_processes,
    set_epochs,
    use_mixed_precision,
)
from brs_detr.errors import InputError


def config() -> Config:
    return Config(
        {
            "train_cfg": {"type": "EpochBasedTrainLoop", "max_epochs": 12},
            "param_scheduler": [
                {"type": "LinearLR", "by_epoch": False, "begin": 0, "end": 50},
                {"type": "MultiStepLR", "by_epoch": True, "begin": 0, "end": 12, "milestones": [8, 11]},
            ],
        }
    )


@pytest.mark.parametrize(("epochs", "milestones"), [(24, [16, 22]), (12, [8, 11]), (6, [4, 6]), (2, [1, 2]), (1, [1])])
def test_steps_move_in_proportion(epochs: int, milestones: list[int]) -> None:
    changed = config()
    set_epochs(changed, epochs)
    warmup, steps = changed.param_scheduler
    assert changed.train_cfg.max_epochs == steps.end == epochs
    assert steps.milestones == milestones
    assert warmup.end == 50


@pytest.mark.parametrize(
    ("given", "stretched"),
    [
        (dict(type="StepLR", step_size=4), dict(step_size=8)),
        (dict(type="OneCycleLR", total_steps=12), dict(total_steps=24)),
        (dict(type="OneCycleLR", total_steps=None), dict(total_steps=None)),
        (dict(type="CosineRestartLR", periods=[2, 4, 6]), dict(periods=[4, 8, 12])),
        (dict(type="CosineAnnealingLR", T_max=10, begin=2, end=12), dict(T_max=20, begin=4, end=24)),
        (dict(type="StepLR", step_size=4, by_epoch=False), dict(step_size=4)),
    ],
)
def test_every_kind_of_schedule_is_stretched(given: dict[str, Any], stretched: dict[str, Any]) -> None:
    changed = config()
    changed.param_scheduler = given
    set_epochs(changed, 24)
    assert changed.param_scheduler == given | stretched


def test_a_period_stays_one_however_short_the_run() -> None:
    changed = config()
    changed.param_scheduler = [dict(type="StepLR", step_size=3), dict(type="CosineAnnealingLR", begin=1, end=5)]
    set_epochs(changed, 1)
    steps, cosine = changed.param_scheduler
    assert (steps.step_size, cosine.begin, cosine.end) == (1, 0, 1)


def test_one_schedule_or_several_by_optimizer() -> None:
    """mmengine takes them in place of a list, and reads what it is left with."""
    changed = config()
    for given in (config().param_scheduler[1], {"a": config().param_scheduler, "b": config().param_scheduler[1]}):
        changed.param_scheduler = given
        set_epochs(changed, 2 * changed.train_cfg.max_epochs)
        set_epochs(changed, changed.train_cfg.max_epochs // 2)
        assert changed.param_scheduler == given
        set_epochs(changed, 6)
        found = changed.param_scheduler if "type" in given else changed.param_scheduler.b
        assert (found.end, found.milestones) == (6, [4, 6])
        set_epochs(changed, 12)


def test_what_cannot_be_set() -> None:
    with pytest.raises(InputError, match="at least 1"):
        set_epochs(config(), 0)
    with pytest.raises(InputError, match="trains by epochs"):
        set_epochs(Config({"train_cfg": {"type": "IterBasedTrainLoop", "max_iters": 9}}), 3)


class Regression(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 1)
        self.seen: list[torch.dtype] = []

    def forward(self, inputs: Tensor, mode: str = "loss") -> dict[str, Tensor]:
        output = self.layer(inputs)
        self.seen.append(output.dtype)
        return {"loss": (output.float() - 1).square().mean()}


def test_bfloat16_forward_and_float32_weights() -> None:
    """On a CPU too."""
    changed = Config({"optim_wrapper": {"type": "OptimWrapper", "optimizer": {"type": "SGD", "lr": 0.1}}})
    use_mixed_precision(changed)
    assert changed.optim_wrapper.type == "BFloat16OptimWrapper"
    model = Regression()
    with DefaultScope.overwrite_default_scope("mmdet"):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        wrapper = OPTIM_WRAPPERS.build({"type": changed.optim_wrapper.type, "optimizer": optimizer})
    inputs = torch.randn(16, 4, generator=torch.Generator().manual_seed(0))
    losses = [model.train_step({"inputs": inputs}, wrapper)["loss"].item() for _ in range(5)]
    assert set(model.seen) == {torch.bfloat16}
    assert model.layer.weight.dtype == torch.float32
    assert losses == sorted(losses, reverse=True)


def test_a_detector_needs_queries(tmp_path: Path) -> None:
    (tmp_path / "config.py").write_text("model = dict(type='DINO', num_queries=20)")
    with pytest.raises(InputError, match="num_queries is 0"):
        load_config(str(tmp_path / "config.py"), {"model.num_queries": 0}, None)


def test_evaluations_have_an_interval(tmp_path: Path) -> None:
    (tmp_path / "config.py").write_text("train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=2)")
    with pytest.raises(InputError, match=r"train_cfg\.val_interval is 0: give 1 or more"):
        load_config(str(tmp_path / "config.py"), {"train_cfg.val_interval": 0}, None)


@pytest.mark.parametrize(
    ("head", "sentence"),
    [
        (dict(type="RankingATSSHead", loss_cls=dict(type="RankSortLoss", method="bucketed")), 'method="exact"'),
        (
            dict(type="VFNetHead", loss_cls=dict(type="RankSortLoss")),
            r"a head of mmdet's own \(VFNetHead\)",
        ),
        (dict(type="RankingATSSHead", loss_cls=dict(type="FocalLoss")), "no loss of None ranks"),
    ],
)
def test_what_cannot_rank_over_processes(head: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        rank_over_processes(Config(dict(model=dict(bbox_head=head))))


def test_every_head_ranks_over_processes() -> None:
    heads = [dict(type="RankingBBoxHead", loss_cls=dict(type="RankSortLoss")) for _ in range(2)]
    rpn = dict(type="RankingRPNHead", loss_cls=dict(type="APLoss"))
    config = Config(dict(model=dict(rpn_head=rpn, roi_head=dict(bbox_head=heads))))
    rank_over_processes(config)
    assert [head.loss_cls.sync for head in (config.model.rpn_head, *config.model.roi_head.bbox_head)] == [True] * 3


def test_a_text_is_laid_out_once_and_as_mmengine_does(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def format_code(text: str, **options: Any) -> Any:
        asked.append(text)
        return FormatCode(text, **options)

    monkeypatch.setattr(mmengine_configs, "FormatCode", format_code)
    expected = config().pretty_text
    lay_out_once()
    asked.clear()
    changed = config()
    assert [changed.pretty_text, changed.pretty_text] == [expected, expected]
    assert len(asked) == 1
    changed.work_dir = "another"
    assert "work_dir = 'another'" in changed.pretty_text
    assert len(asked) == 2
