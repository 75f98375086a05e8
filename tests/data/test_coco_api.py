"""Evaluation counts as objects what training could learn: no box that nothing can find is missed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from brs_detr.data.coco_metric import CocoMetricWithThreshold
from brs_detr.engine.inference.ground_truth import GroundTruth

FOUND = [10.0, 10.0, 20.0, 20.0]  # x, y, width, height
OTHERS: dict[str, tuple[dict[str, Any], float]] = {  # beside it, and AP then
    "no width": (dict(bbox=[40, 40, 0, 10], area=0), 1.0),
    "negative height": (dict(bbox=[40, 40, 10, -5]), 1.0),
    "outside": (dict(bbox=[90, 40, 10, 10]), 1.0),
    "ignored": (dict(bbox=[40, 40, 10, 10], ignore=1), 1.0),
    "crowd": (dict(bbox=[40, 40, 10, 10], iscrowd=1), 1.0),
    "half a pixel": (dict(bbox=[40, 40, 0.5, 10]), 0.505),  # as pycocotools has it: recall ends at a half
    "area 0": (dict(bbox=[40, 40, 10, 10], area=0), 0.505),
}


def annotate(folder: Path, other: dict[str, Any]) -> Path:
    annotation = dict(image_id=1, category_id=3, iscrowd=0)
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 64, "height": 64}],
        "annotations": [annotation | dict(id=1, bbox=FOUND), annotation | dict(id=2) | other],
        "categories": [{"id": 3, "name": "line"}],
    }
    path = folder / "val.json"
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(("other", "expected"), OTHERS.values(), ids=OTHERS)
def test_ap_with_another_box_that_nothing_detects(tmp_path: Path, other: dict[str, Any], expected: float) -> None:
    file = annotate(tmp_path, other)
    metric = CocoMetricWithThreshold(ann_file=str(file))
    metric.dataset_meta = dict(classes=("line",))
    x, y, width, height = FOUND
    found = dict(img_id=1, bboxes=np.array([[x, y, x + width, y + height]]), scores=np.ones(1), labels=np.zeros(1, int))
    assert metric.compute_metrics([({}, found)])["bbox_mAP"] == pytest.approx(expected, abs=1e-3)
    assert metric.judged is not None
    assert metric.judged.num_objects == (1 if expected == 1 else 2)


@pytest.mark.parametrize("name", ["no width", "ignored"])
def test_pictures_show_the_same_objects(tmp_path: Path, name: str) -> None:
    drawn = GroundTruth(str(annotate(tmp_path, OTHERS[name][0])), ("line",)).of(tmp_path / "a.png")
    assert drawn is not None
    assert drawn.crowd.tolist() == ([False] if name == "no width" else [False, True])
