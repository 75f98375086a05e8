"""The report's average precision of masks is mmdet's."""

import json
from pathlib import Path

import numpy as np
import pytest
from mmdet.evaluation import CocoMetric
from mmengine.structures import InstanceData

from brs_detr.data.masks import encode
from brs_detr.engine.report import evaluation
from brs_detr.engine.report.collecting import Collection, Example, Source

SIDE = 200  # of the image, in pixels
BOX = [10.0, 10.0, 150.0, 150.0]  # large


def thin_mask(row: int) -> np.ndarray:
    """A small one, three pixels wide, in a large box."""
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[row : row + 3, 10:160] = True
    mask[10:160, 10] = True
    return mask


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    """A thin object that is found, and a thin detection of nothing before it."""
    truth = dict(id=1, image_id=1, category_id=1, bbox=BOX, area=597, iscrowd=0, segmentation=encode(thin_mask(20)))
    image = dict(id=1, file_name="a.png", height=SIDE, width=SIDE)
    content = dict(images=[image], categories=[dict(id=1, name="line")], annotations=[truth])
    file = tmp_path / "truth.json"
    file.write_text(json.dumps(content))
    found = [(0.9, 120), (0.8, 20)]
    results = [
        dict(image_id=1, category_id=1, bbox=BOX, score=score, segmentation=encode(thin_mask(row)))
        for score, row in found
    ]
    example = Example(1, tmp_path / "a.png", "a.png", (SIDE, SIDE), InstanceData(), InstanceData(), np.zeros(0))
    return Collection(Source(file, tmp_path, content, ("line",), {1: 0}), [example], results, [], True, None)


def mmdet_averages(collection: Collection) -> list[float]:
    metric = CocoMetric(ann_file=str(collection.source.annotations), metric="segm")
    metric.dataset_meta = dict(classes=collection.source.classes)
    x, y, width, height = BOX
    found = dict(
        img_id=1,
        bboxes=np.array([[x, y, x + width, y + height]] * 2),
        scores=np.array([result["score"] for result in collection.results]),
        labels=np.zeros(2, dtype=int),
        masks=[result["segmentation"] for result in collection.results],
    )
    computed = metric.compute_metrics([(dict(img_id=1, width=SIDE, height=SIDE), found)])
    return [computed[f"segm_{item}"] for item in ("mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l")]


def test_masks_are_small_or_large_by_themselves(collection: Collection) -> None:
    """Not by their boxes: a false one counts among those of its size."""
    found = evaluation.evaluate(collection, "segm")
    own = evaluation.averages(found.eval["precision"], found.params.iouThrs)
    expected = mmdet_averages(collection)
    assert [-1 if value is None else value for value in own] == pytest.approx(expected, abs=1e-3)
    assert expected[3] == pytest.approx(0.5, abs=1e-3)
    assert all("bbox" in result for result in collection.results)
