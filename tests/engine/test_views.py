"""Test-time augmentation, AP of each class and predictions, by `scripts/test.py`."""

import copy
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from brs_detr.engine.progress.metrics import may_be_replaced
from brs_detr.engine.progress.reporting import check_predictions
from brs_detr.engine.setup.adapting import limited
from brs_detr.engine.setup.views import use_views
from brs_detr.errors import InputError
from tests.engine.test_tuning import FAMILIES, read
from tests.scripts.processes import ROOT

DEMO = ROOT / "checkpoints" / "demo" / "brs-detr_quickstart_digits.pth"


@pytest.mark.parametrize("path", FAMILIES, ids=lambda path: path.parent.name)
def test_every_family_without_masks_has_views(path: Path) -> None:
    config = copy.deepcopy(read(path))
    if path.parent.name == "mask_rcnn":
        with pytest.raises(InputError, match="finds masks as well"):
            use_views(config)
        return
    train, validation = (config[f"{split}_dataloader"].dataset.pipeline for split in ("train", "val"))
    before = len(train), len(validation)
    said = use_views(config)
    assert "as they are and reflected (horizontal)" in said
    assert config.model.type == "DetTTAModel"
    assert config.model.tta_cfg.max_per_img == max(
        each["max_per_img"] for each in limited(config.model.module.test_cfg)
    )
    sizes, flips, *_ = config.test_dataloader.dataset.pipeline[-1].transforms
    assert [each.scale for each in sizes] == [(1333, 800), (1666, 1000)]
    assert [each.prob for each in flips] == [0.0, 1.0]
    assert (len(train), len(validation)) == before


CONFIG = """
_base_ = {base!r}
test_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(data_root={data!r}))
test_evaluator = dict(ann_file={data!r} + "/annotations/val.json")
train_pipeline = [dict(type="LoadImage"), dict(type="RandomFlip", prob=0.5, direction="vertical")]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
"""


@pytest.mark.filterwarnings("ignore:.*visualizer has been created")  # mmengine keeps one a process
def test_all_options_together(program: Callable, digits: Path, tmp_path: Path) -> None:
    config, out = tmp_path / "config.py", tmp_path / "predictions.json"
    base = ROOT / "configs" / "brs_detr" / "brs-detr_quickstart_digits.py"
    config.write_text(CONFIG.format(base=str(base), data=str(digits)))
    out.write_text("[]")  # of an earlier evaluation
    files = "--work-dir", tmp_path / "work", "--out", tmp_path / "metrics.json", "--predictions", out
    status, output, errors = program("test", config, DEMO, "--per-class", "--tta", *files)
    assert status == 0, errors
    assert "reflected (vertical); boxes are merged by NMS." in output + errors
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert set(metrics["per_class"]) == set("0123456789")
    assert metrics["bbox_mAP"] > 0.1
    best = max(metrics["per_class"].values(), key=lambda found: found["bbox_mAP"])
    assert f"{best['bbox_mAP']:.3f}" in output
    assert may_be_replaced(tmp_path / "metrics.json")
    images = {image["id"] for image in json.loads((digits / "annotations" / "val.json").read_text())["images"]}
    assert {each["image_id"] for each in json.loads(out.read_text())} == images
    with pytest.raises(InputError, match="need a file each"):
        check_predictions(str(out), str(out))
    with pytest.raises(InputError, match="holds something other than predictions"):
        check_predictions(str(tmp_path / "metrics.json"), None)
