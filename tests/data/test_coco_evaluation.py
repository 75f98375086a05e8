"""COCO's evaluation by faster-coco-eval equals pycocotools'; and AP of each class."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.evaluation import difference, evaluate, synthetic
from brs_detr.data.coco_evaluation import COCOeval_faster, evaluation_class, precision_by_class, recorded
from brs_detr.data.coco_metric import CocoMetricWithThreshold


@pytest.mark.parametrize("what", ["bbox", "segm"])
def test_the_quick_evaluation_equals_pycocotools(what: str) -> None:
    """Equal scores, crowds, classes without objects and gaps between ids are among the data."""
    data = synthetic(images=20, detections=100, masks=what == "segm")
    slow, fast = (evaluate(evaluation_class(faster), *data, what)[0] for faster in (False, True))
    assert issubclass(type(fast), COCOeval_faster)
    assert 0.1 < slow.stats[0] < 0.9
    assert difference(slow, fast) < 1e-9
    by_class = precision_by_class([fast])
    assert by_class == precision_by_class([slow])
    assert len(by_class) == 80
    for index, item in enumerate(("mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l")):
        values = [found[f"{what}_{item}"] for found in by_class.values() if found[f"{what}_{item}"] >= 0]
        assert np.mean(values) == pytest.approx(slow.stats[index], abs=6e-4)


def test_the_metric_keeps_predictions_and_classes(tmp_path: Path) -> None:
    """Ids in the file of predictions are those of the ground truth, with their gaps."""
    truth, results = synthetic(images=2, detections=30)
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    out = tmp_path / "folder" / "predictions.json"
    metric = CocoMetricWithThreshold(ann_file=str(tmp_path / "truth.json"), metric="bbox", predictions=str(out))
    names = [category["name"] for category in truth["categories"]]
    metric.dataset_meta = dict(classes=names)
    predicted = []
    for image in truth["images"]:
        found = [each for each in results if each["image_id"] == image["id"]]
        boxes = np.array([each["bbox"] for each in found], dtype=np.float32)
        boxes[:, 2:] += boxes[:, :2]
        labels = np.array([each["category_id"] // 3 for each in found])
        scores = np.array([each["score"] for each in found])
        predicted.append(({}, dict(img_id=image["id"], bboxes=boxes, scores=scores, labels=labels)))
    metrics = metric.compute_metrics(predicted)
    written = json.loads(out.read_text())
    for key in ("image_id", "category_id", "score"):
        assert [each[key] for each in written] == [each[key] for each in results]
    assert np.allclose([each["bbox"] for each in written], [each["bbox"] for each in results], atol=1e-3)
    known = [found["bbox_mAP"] for found in metric.by_class.values() if found["bbox_mAP"] >= 0]
    assert np.mean(known) == pytest.approx(metrics["bbox_mAP"], abs=1e-3)


def test_nothing_detected_has_no_classes() -> None:
    with recorded() as evaluations:
        pass
    assert precision_by_class(evaluations) == {}
