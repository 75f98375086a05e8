"""Configs by the name of the package, as a path of a command and as another config's base."""

from pathlib import Path

import pytest
from mmdet.registry import DATASETS as MMDET_DATASETS
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import DATASETS

from brs_detr.detectors import CoDETR
from brs_detr.engine.launch import load_config
from brs_detr.engine.setup import config_names
from brs_detr.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
NAME = "brs_detr/brs-detr_tiny_digits.py"
BY_PATH = Config.fromfile(ROOT / "configs" / NAME)


def test_a_name_leads_to_the_same_config() -> None:
    assert config_names.locate(f"brs_detr::{NAME}").samefile(ROOT / "configs" / NAME)
    assert config_names.locate("some/path.py") == Path("some/path.py")
    config = load_config(f"brs_detr::{NAME}", None, None)
    assert config.model == BY_PATH.model
    assert config.work_dir == "work_dirs/brs-detr_tiny_digits"


def test_an_unknown_name() -> None:
    with pytest.raises(InputError, match=r"The config brs_detr::brs_detr/none\.py does not exist"):
        load_config("brs_detr::brs_detr/none.py", None, None)


def test_a_config_inherits_by_name(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(f'_base_ = "brs_detr::{NAME}"\nmodel = dict(num_queries=30)\n')
    config = Config.fromfile(tmp_path / "mine.py")
    assert config.model.num_queries == 30
    assert dict(config.model) == {**BY_PATH.model, "num_queries": 30, "_scope_": "brs_detr"}


def test_what_is_taken_from_the_base_still_builds(tmp_path: Path, digits: Path) -> None:
    """What is inherited has the package's scope, in which mmdet's and mmengine's classes are found as well."""
    text = f'_base_ = "brs_detr::{NAME}"\nmodel = _base_.model\ndataset = _base_.val_dataloader.dataset\n'
    (tmp_path / "mine.py").write_text(f'{text}dataset.data_root = "{digits}"\n')
    config = Config.fromfile(tmp_path / "mine.py")
    assert config.model["_scope_"] == config.dataset["_scope_"] == "brs_detr"
    assert isinstance(MODELS.build(config.model), CoDETR)
    for registry in (DATASETS, MMDET_DATASETS):
        assert len(registry.build(config.dataset)) == 4
