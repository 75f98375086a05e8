"""A work directory in place of a config and a checkpoint."""

from pathlib import Path

import pytest
import torch

from brs_detr.engine.running.trained import checkpoint_in, checkpoint_of
from brs_detr.engine.setup.config import load_config, read_config
from brs_detr.engine.setup.config_names import locate
from brs_detr.errors import InputError
from tests.scripts.processes import ROOT


def test_config_and_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"The folder {tmp_path} holds no config"):
        locate(tmp_path)
    (tmp_path / "a.py").write_text("")
    assert locate(str(tmp_path)) == tmp_path / "a.py"
    with pytest.raises(InputError, match=f"The work directory {tmp_path} holds no checkpoint"):
        checkpoint_in(tmp_path)
    for name in ("epoch_2.pth", "best_coco_bbox_mAP_epoch_1.pth"):
        torch.save({}, tmp_path / name)
        assert checkpoint_in(tmp_path) == tmp_path / name
    for name in ("best_coco_bbox_mAP_epoch_3.pth", "epoch_3.pth"):
        (tmp_path / name).symlink_to(tmp_path / "moved.pth")
    assert checkpoint_in(tmp_path) == tmp_path / "best_coco_bbox_mAP_epoch_1.pth"
    (tmp_path / "best_coco_bbox_mAP_epoch_1.pth").write_bytes(b"PK cut short")
    assert checkpoint_of(str(tmp_path), None) == str(tmp_path / "epoch_2.pth")
    (tmp_path / "epoch_2.pth").write_text("")
    with pytest.raises(InputError, match=r"best_coco_bbox_mAP_epoch_1\.pth is damaged, as is every checkpoint"):
        checkpoint_in(tmp_path)
    assert checkpoint_of(str(tmp_path), "other.pth") == "other.pth"
    with pytest.raises(InputError, match=r"A CHECKPOINT goes with a\.py"):
        checkpoint_of("a.py", None)
    (tmp_path / "b.py").write_text("")
    (tmp_path / "c.json").write_text('{"model": {}}')
    with pytest.raises(InputError, match=r"holds a\.py and b\.py: give CONFIG and CHECKPOINT"):
        locate(tmp_path)


def test_a_json_config_is_told_from_metrics_and_predictions(tmp_path: Path) -> None:
    others = dict(training="{}", metrics='{"bbox_mAP": 0.5}', predictions="[]", cut='{"model":')
    for name, text in others.items():
        (tmp_path / f"{name}.json").write_text(text)
    with pytest.raises(InputError, match=f"The folder {tmp_path} holds no config"):
        locate(tmp_path)
    read_config(ROOT / "configs" / "atss" / "brs-atss_tiny_digits.py").dump(tmp_path / "mine.json")
    assert load_config(str(tmp_path), None, None).filename == str(tmp_path / "mine.json")
