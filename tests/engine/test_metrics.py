"""AP by its names, whatever the data set: labels, the files of an evaluation, the summary."""

import json
from pathlib import Path

from brs_detr.engine.progress.metrics import ap_labels, without_prefix
from brs_detr.engine.progress.summary import summary

TRAINING = {"epochs": 12, "seconds": 60.0, "peak_memory_gb": 1.5}


def test_labels_in_the_order_of_reports() -> None:
    assert list(ap_labels(["coco/segm_mAP", "coco/bbox_mAP_50", "coco/bbox_mAP_s", "coco/bbox_mAP"]).items()) == [
        ("coco/bbox_mAP", "AP"),
        ("coco/bbox_mAP_50", "AP50"),
        ("coco/segm_mAP", "mask AP"),
    ]
    assert ap_labels(["lvis/bbox_AP", "lvis/bbox_APr"]) == {"lvis/bbox_AP": "AP"}
    assert ap_labels(["bbox_mAP"]) == {"bbox_mAP": "AP"}
    assert ap_labels(["loss", "cats/coco/time"]) == {}


def test_several_data_sets_keep_apart() -> None:
    metrics = {"cats/coco/bbox_mAP": 0.1, "dogs/coco/bbox_mAP": 0.2}
    assert ap_labels(metrics) == {"cats/coco/bbox_mAP": "AP cats/coco", "dogs/coco/bbox_mAP": "AP dogs/coco"}
    assert without_prefix(metrics) == metrics


def test_the_prefix_is_left_out() -> None:
    assert without_prefix({"coco/bbox_mAP": 0.1, "coco/score_thr": 0.2}) == {"bbox_mAP": 0.1, "score_thr": 0.2}
    assert without_prefix({"lvis/bbox_AP": 0.1}) == {"bbox_AP": 0.1}


def first_line(folder: Path, metrics: dict[str, float]) -> str:
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "training.json").write_text(json.dumps(TRAINING))
    return summary(folder).splitlines()[0]


def test_the_summary_of_any_data_set(tmp_path: Path) -> None:
    coco = {"bbox_mAP": 0.5, "bbox_mAP_50": 0.75, "bbox_mAP_75": 0.25, "bbox_mAP_s": 0.125, "score_thr": 0.1}
    assert first_line(tmp_path, coco) == "AP 0.500, AP50 0.750, AP75 0.250"
    assert first_line(tmp_path, {"bbox_AP": 0.5, "segm_AP": 0.25, "bbox_APr": 0.0}) == "AP 0.500, mask AP 0.250"
    assert first_line(tmp_path, {"mAP": 0.5}) == "mAP 0.500"
    assert first_line(tmp_path, {}) == "no metrics"
