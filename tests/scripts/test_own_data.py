"""One command trains on one's own data, and the work directory then stands for the model."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config

from brs_detr.weights import read_checkpoint
from tests.data import own
from tests.scripts.processes import ROOT, TINY

Program = Callable[..., tuple[int, str, str]]
pytestmark = pytest.mark.filterwarnings("ignore:.*visualizer has been created")  # mmengine keeps one a process

SINGLE = "train_dataloader.num_workers=0", "val_dataloader.num_workers=0", "test_dataloader.num_workers=0"
PERSISTENT = tuple(f"{split}_dataloader.persistent_workers=False" for split in ("train", "val", "test"))
OPTIONS = ("--epochs", 1, "--cfg-options", *SINGLE, *PERSISTENT)


def written(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


def test_from_coco_to_pictures(program: Program, digits: Path, tmp_path: Path) -> None:
    own.roboflow(digits, tmp_path / "data")
    work = tmp_path / "work"
    config = ROOT / "configs" / "atss" / "brs-atss_tiny_digits.py"
    status, output, errors = program(
        "train", config, "--data", tmp_path / "data", "--work-dir", work, "--image-size", 64, "--flip", "both", *OPTIONS
    )
    assert status == 0, errors
    assert "num_classes is 10 in every head." in output
    assert "Images are resized to 64 x 64 pixels" in output
    saved = Config.fromfile(work / "brs-atss_tiny_digits.py")
    assert saved.train_dataloader.dataset.pipeline[2].direction == ["horizontal", "vertical", "diagonal"]
    status, _, errors = program("test", work)
    assert status == 0, errors
    (metrics,) = work.glob("*/metrics.json")
    assert "bbox_mAP" in json.loads(metrics.read_text())
    assert [path.name for path in work.glob("*.py")] == ["brs-atss_tiny_digits.py"]
    status, _, errors = program("predict", work, tmp_path / "data" / "valid", "--out", tmp_path / "out")
    assert status == 0, errors
    assert len(list((tmp_path / "out").glob("*.png"))) == 4


def test_from_yolo_with_weights_of_other_classes(program: Program, digits: Path, tmp_path: Path) -> None:
    """One of the images has more objects than the loaded model has queries."""
    own.yolo(digits, tmp_path / "data")
    labels = tmp_path / "data" / "labels" / "train" / "000001.txt"
    labels.write_text("\n".join(f"3 0.{number} 0.{number} 0.2 0.2" for number in range(10, 40)))
    work = tmp_path / "work"
    arguments = "train", TINY, "--data", tmp_path / "data", "--work-dir", work
    torch.manual_seed(0)
    config = Config.fromfile(TINY)
    config.model.bbox_head.num_classes = 3
    model = MODELS.build(config.model)
    model.init_weights()
    torch.save(model.state_dict(), tmp_path / "three.pth")
    status, output, errors = program(*arguments, "--load-from", tmp_path / "three.pth", *OPTIONS)
    assert status == 0, errors
    assert "model.num_queries stays 20." in output
    assert "An image has 30 objects, but the model finds at most 20" in next(work.glob("*/*.log")).read_text()
    assert len(read_checkpoint(work / "epoch_1.pth")["state_dict"]["bbox_head.cls_branches.0.bias"]) == 10
    assert len(written(work / "data")) == 2
    status, _, errors = program("test", work)
    assert status == 0, errors
    status, _, errors = program("predict", "--out", tmp_path / "out", work, labels.parents[2] / "images" / "val")
    assert status == 0, errors
    status, _, errors = program("time-loss", work, "--images", 1, "--repeats", 1, "--seconds", 0)
    assert status == 0, errors


def test_refused_data_leave_nothing(program: Program, digits: Path, tmp_path: Path) -> None:
    own.yolo(digits, tmp_path / "data")
    work = tmp_path / "new" / "work"
    mask = ROOT / "configs" / "mask_rcnn" / "brs-mask-rcnn_tiny_digits.py"
    status, _, errors = program("train", mask, "--data", tmp_path / "data", "--work-dir", work)
    assert status == 2
    assert "has no mask ('segmentation'), which this config needs: annotate masks, or choose a config" in errors
    assert not work.parent.exists()
    status, _, errors = program("train", TINY, "--data", tmp_path / "data", "--split", 0.2, "--work-dir", work)
    assert (status, errors.count("\n")) == (2, 1)
    assert "is there to validate on already: leave out --split" in errors
    status, _, errors = program("train", TINY, "--split", 0.2, "--work-dir", work)
    assert "--split divides the images of --data: give both." in errors
    assert not work.parent.exists()
