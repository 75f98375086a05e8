"""COCO's metrics, and the score threshold that a picture should use.

Scores of a ranking loss have no fixed scale: it only cares for their order. A threshold such as 0.3 may hide every
object, so evaluation also finds the one that balances misses and false alarms best.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.evaluation import CocoMetric
from mmdet.registry import METRICS
from mmdet.structures.bbox import bbox_overlaps

from brs_detr.data import coco_evaluation
from brs_detr.files import write_bytes

IOU = 0.5
ITEMS = ("mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l")  # of COCO, as mmdet names them


def correct_detections(boxes: np.ndarray, true_boxes: np.ndarray) -> np.ndarray:
    """Which detections (D, 4), best first, find an object (G, 4) that none before has found. Boxes xyxy."""
    ious = bbox_overlaps(torch.from_numpy(boxes), torch.from_numpy(true_boxes)).numpy()
    correct = np.zeros(len(boxes), dtype=bool)
    for detection in range(len(boxes) if len(true_boxes) else 0):
        found = ious[detection].argmax()
        if ious[detection, found] >= IOU:
            correct[detection], ious[:, found] = True, -1
    return correct


def best_threshold(scores: np.ndarray, correct: np.ndarray, num_objects: int) -> float:
    """The score from which on detections have the highest F1: 2 correct / (detections + objects)."""
    if not len(scores):
        return 0.0
    order = np.argsort(-scores, kind="stable")
    f1 = 2 * np.cumsum(correct[order]) / (np.arange(1, len(order) + 1) + num_objects)
    return float(scores[order][f1.argmax()])


@METRICS.register_module()
class CocoMetricWithThreshold(CocoMetric):
    """`CocoMetric` that adds `score_thr`, the threshold of the best F1 at IoU 0.5 over all classes.

    Without any detection AP is 0, where mmdet has no value, and the hook that keeps the best checkpoint fails.

    predictions: a file for all detections, as COCO's servers take them: boxes, and masks where there are any.
    """

    def __init__(self, *args: Any, predictions: str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.predictions = predictions
        self.by_class: dict[str, dict[str, float]] = {}  # AP of each class, once evaluated

    def compute_metrics(self, results: Sequence[Any]) -> dict[str, float]:
        nothing = {f"{metric}_{item}": 0.0 for metric in self.metrics for item in self.metric_items or ITEMS}
        with coco_evaluation.recorded() as evaluations:
            metrics = nothing | super().compute_metrics(results)
        self.by_class = coco_evaluation.precision_by_class(evaluations)
        scores, correct, num_objects = [np.zeros(0)], [np.zeros(0, dtype=bool)], 0
        for _, predicted in results:
            true_boxes, true_labels = self._objects(predicted["img_id"])
            num_objects += len(true_boxes)
            scores.append(predicted["scores"])
            correct.append(np.zeros(len(predicted["scores"]), dtype=bool))
            for label in np.unique(true_labels):
                chosen = np.flatnonzero(predicted["labels"] == label)
                chosen = chosen[np.argsort(-predicted["scores"][chosen], kind="stable")]
                found = correct_detections(predicted["bboxes"][chosen], true_boxes[true_labels == label])
                correct[-1][chosen] = found
        metrics["score_thr"] = best_threshold(np.concatenate(scores), np.concatenate(correct), num_objects)
        # without objects of a class mmdet says NaN, where COCO, as for sizes without objects, says -1
        return {name: value if np.isfinite(value) else -1.0 for name, value in metrics.items()}

    def results2json(self, results: Sequence[dict], outfile_prefix: str) -> dict[str, str]:
        files = super().results2json(results, outfile_prefix)
        if self.predictions:
            write_bytes(self.predictions, Path(files.get("segm", files["bbox"])).read_bytes())
        return files

    def _objects(self, image: int) -> tuple[np.ndarray, np.ndarray]:
        """Boxes (G, 4) xyxy and labels (G,) of an image's objects of the classes, crowds left out."""
        ids = self._coco_api.get_ann_ids(img_ids=[image], cat_ids=self.cat_ids, iscrowd=False)
        annotations = self._coco_api.load_anns(ids)
        boxes = np.array([a["bbox"] for a in annotations], dtype=np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        labels = [self.cat_ids.index(a["category_id"]) for a in annotations]
        return boxes, np.array(labels, dtype=np.int64)
