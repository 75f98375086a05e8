"""Work directories as trainings leave them, of a small detector whose queries rank, with random weights."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config

from brs_detr.data.calibration import KEY, Calibration
from brs_detr.engine.report.command import report
from tests.scripts.processes import write_config

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>"
CLASSES = (HOSTILE, "</script>", *(f"digit {k}" for k in range(2, 10)))


def ranking_config(folder: Path, digits: Path) -> Config:
    """The smallest DINO with a head that ranks."""
    config = Config.fromfile(write_config(folder, digits))
    config.model.bbox_head = dict(
        type="RankingDINOHead",
        num_classes=10,
        loss_cls=dict(type="RankSortLoss", use_sigmoid=True),
        loss_bbox=dict(type="L1Loss", loss_weight=1.0),
        loss_iou=dict(type="GIoULoss", loss_weight=1.0),
    )
    config.test_dataloader.dataset.metainfo = dict(classes=CLASSES)
    config.custom_hooks = []
    config.custom_imports.imports = ["brs_detr.registry"]
    return config


def rename_classes(file: Path) -> None:
    content = json.loads(file.read_text())
    for category, name in zip(content["categories"], CLASSES, strict=True):
        category["name"] = name
    file.write_text(json.dumps(content))


def write_scalars(folder: Path) -> None:
    log = folder / "20250101_000000" / "vis_data" / "scalars.json"
    log.parent.mkdir(parents=True)
    rows = [dict(loss=9.0 / step, loss_rank=0.5 / step, lr=1e-3, step=step) for step in range(1, 40)]
    rows += [{"coco/bbox_mAP": 0.1 * step, "step": step} for step in (1, 2, 3)]
    log.write_text("\n".join(map(json.dumps, rows)))


@pytest.fixture(scope="session")
def work_dir(tmp_path_factory: pytest.TempPathFactory, digits: Path) -> Path:
    """With a calibrated checkpoint, and a hostile name of a class. Read only."""
    folder = tmp_path_factory.mktemp("report") / "work"
    folder.mkdir()
    data = folder.parent / "digits"
    shutil.copytree(digits, data)
    rename_classes(data / "annotations" / "val.json")
    config = ranking_config(folder.parent, data)
    config.dump(folder / "tiny.py")
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    model.init_weights()
    calibration = Calibration((0.0, 0.5, 1.0), (0.0, 0.6, 1.0), 0.1)
    content = {"state_dict": model.state_dict(), "meta": {}, KEY: calibration.as_dict()}
    torch.save(content, folder / "epoch_1.pth")
    write_scalars(folder)
    return folder


@pytest.fixture(scope="session")
def page_file(work_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report on the work directory."""
    return report(
        str(work_dir), str(work_dir / "epoch_1.pth"), tmp_path_factory.mktemp("page") / "report.html", device="cpu"
    )
