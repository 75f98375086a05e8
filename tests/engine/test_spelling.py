"""Misspelt names are said with the nearest one; variables and new options are not."""

from collections.abc import Callable
from pathlib import Path

import pytest
from mmengine.config import Config

from brs_detr.engine.setup.spelling import misspelt_entries, misspelt_options
from tests.configs.test_configs import CONFIGS
from tests.scripts.processes import write_config

CONFIG = Config(
    {
        "train_dataloader": {"dataset": {"data_root": "data"}},
        "model": {"bbox_head": {"num_classes": 3}},
        "optim_wrapper": {"optimizer": {"lr": 0.1}},
        "custom_hooks": [{"type": "ProgressHook"}],
        "variable": 3,
    }
)


@pytest.mark.parametrize(
    ("option", "remark"),
    [
        ("optim_wraper.optimizer.lr", "Did you mean optim_wrapper.optimizer.lr?"),
        ("model.bbox_hed.num_classes", "Did you mean model.bbox_head.num_classes?"),
        ("model.bbox_head.num_clases", "Did you mean model.bbox_head.num_classes?"),
        ("trian_dataloader", "Did you mean train_dataloader?"),
        ("vizualizer.name", "Did you mean visualizer.name?"),
        ("custom_hooks.0.typ", "Did you mean custom_hooks.0.type?"),
        ("foo.bar", "the config has no foo, and nothing reads foo.bar."),
    ],
)
def test_options_that_name_nothing(option: str, remark: str) -> None:
    assert [said.endswith(remark) for said in misspelt_options(CONFIG, [option])] == [True]


def test_options_that_are_new() -> None:
    new = ("randomness.seed", "train_dataloader.dataset.metainfo.classes", "optim_wrapper.clip_grad.max_norm")
    new += ("variable", "foo", "custom_hooks.0.interval", "custom_hooks.7.type", "model.bbox_head.num_classes")
    assert not misspelt_options(CONFIG, new)


def test_entries() -> None:
    config = Config(
        {"trian_dataloader": 1, "optim_wraper": 2, "train_pipeline": 3, "data_root": 4, "val_evaluator_b": 5}
    )
    remarks = misspelt_entries(config)
    assert [remark.rpartition("mean ")[2] for remark in remarks] == ["train_dataloader?", "optim_wrapper?"]


def test_the_projects_configs_are_spelt_well() -> None:
    assert not [remark for path in CONFIGS for remark in misspelt_entries(Config.fromfile(path))]


def test_they_are_said_by_a_program(program: Callable[..., tuple[int, str, str]], tmp_path: Path, digits: Path) -> None:
    config = write_config(tmp_path, digits)
    config.write_text(config.read_text() + "trian_dataloader = dict(batch_size=1)\n")
    _, _, errors = program("test", config, "missing.pth", "--cfg-options", "optim_wraper.optimizer.lr=1")
    first, second, *_ = errors.splitlines()
    assert first == f"warning: {config}: nothing reads trian_dataloader. Did you mean train_dataloader?"
    assert second.startswith("warning: --cfg-options: the config has no optim_wraper.optimizer.lr.")
