"""The threshold that evaluation proposes for pictures."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from brs_detr.data.coco_metric import CocoMetricWithThreshold
from brs_detr.data.digits import CLASSES
from brs_detr.data.judging import best_threshold


@pytest.mark.parametrize("seed", range(5))
def test_best_threshold_against_all_thresholds(seed: int) -> None:
    random = np.random.RandomState(seed)
    scores, correct = random.rand(30), random.rand(30) < 0.4
    objects = int(correct.sum()) + 3

    def f1(threshold: float) -> float:
        kept = scores >= threshold
        return 2 * (correct & kept).sum() / (kept.sum() + objects)

    best = best_threshold(scores, correct, objects)
    assert f1(best) == pytest.approx(max(f1(t) for t in itertools.chain(scores, [0.0])))


def test_without_detections() -> None:
    assert best_threshold(np.zeros(0), np.zeros(0, dtype=bool), 4) == 0


def metrics_of_nothing(digits: Path, **options: Any) -> dict[str, float]:
    metric = CocoMetricWithThreshold(ann_file=str(digits / "annotations/val.json"), **options)
    metric.dataset_meta = dict(classes=CLASSES)
    nothing = dict(img_id=1, bboxes=np.zeros((0, 4)), scores=np.zeros(0), labels=np.zeros(0, dtype=np.int64))
    return metric.compute_metrics([({}, nothing)])


def test_proposals_have_no_ap(digits: Path) -> None:
    assert not [name for name in metrics_of_nothing(digits, metric="proposal") if "mAP" in name]


def test_what_is_compared_with_nothing_has_no_metrics(digits: Path, tmp_path: Path) -> None:
    """The test-dev split of COCO, whose annotations only its server has."""
    assert metrics_of_nothing(digits, format_only=True, outfile_prefix=f"{tmp_path}/found") == {}
    assert json.loads((tmp_path / "found.bbox.json").read_text()) == []


def test_ap_without_detections_is_zero(digits: Path) -> None:
    metric = CocoMetricWithThreshold(ann_file=str(digits / "annotations/val.json"), metric=["bbox"])
    metric.dataset_meta = dict(classes=CLASSES)
    nothing = dict(img_id=1, bboxes=np.zeros((0, 4)), scores=np.zeros(0), labels=np.zeros(0, dtype=np.int64))
    metrics = metric.compute_metrics([({}, nothing)])
    assert metrics["bbox_mAP"] == 0
    assert metrics["score_thr"] == 0
    assert not {"d_ece", "calibrated_score_thr"} & metrics.keys()
    assert metric.outcome.said == "not calibrated: there is no detection"
