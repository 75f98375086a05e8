"""COCO's metrics, the score threshold that a picture should use, and what scores mean.

Scores of a ranking loss have no fixed scale: it only cares for their order. A threshold such as 0.3 may hide every
object, so evaluation also finds the one that balances misses and false alarms best, and a map to the share of right
detections.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmdet.evaluation import CocoMetric
from mmdet.registry import METRICS
from mmengine.logging import MMLogger

from brs_detr.data import coco_evaluation
from brs_detr.data.calibration_error import d_ece, laece
from brs_detr.data.calibration_fit import Calibrate, Outcome, fit
from brs_detr.data.judging import Judged, best_threshold, judge, together
from brs_detr.files import write_bytes

ITEMS = ("mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l")  # of COCO, as mmdet names them
WITH_AP = ("bbox", "segm")  # the others of mmdet's metrics are recalls of proposals
ERRORS = {"d_ece": d_ece, "laece": laece}
CALIBRATED = "_calibrated"  # ends the names of errors after calibration


@METRICS.register_module()
class CocoMetricWithThreshold(CocoMetric):
    """`CocoMetric` that adds what scores mean: "right" is the class, and IoU 0.5 with an object that none has found.

    name                             meaning
    score_thr                        the threshold of the best F1 over all classes, on the detector's scale
    d_ece, laece                     the errors of the scores, see `calibration_error`
    d_ece_calibrated, laece_...      after calibration, fitted without the image that is scored, or as `calibrate` says
    calibrated_score_thr             the threshold after calibration

    Without any detection AP is 0, where mmdet has no value, and the hook that keeps the best checkpoint fails. With
    `format_only` there are no metrics.

    predictions: a file for all detections, as COCO's servers take them: boxes, and masks where there are any.

    Attributes: by_class, AP of each class; judged and outcome, the detections and their calibration; all of them are
    there once evaluated, on the first process. calibrate: gives the outcome.
    """

    def __init__(self, *args: Any, predictions: str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.predictions = predictions
        self.by_class: dict[str, dict[str, float]] = {}
        self.calibrate: Calibrate = fit
        self.judged: Judged | None = None
        self.outcome: Outcome | None = None

    def compute_metrics(self, results: Sequence[Any]) -> dict[str, float]:
        if self.format_only:  # there is nothing to compare with, and nothing to measure
            return super().compute_metrics(results)
        with_ap = [metric for metric in self.metrics if metric in WITH_AP]
        nothing = {f"{metric}_{item}": 0.0 for metric in with_ap for item in self.metric_items or ITEMS}
        with coco_evaluation.recorded() as evaluations:
            metrics = nothing | super().compute_metrics(results)
        self.by_class = coco_evaluation.precision_by_class(evaluations)
        metrics |= self._meaning([predicted for _, predicted in results])
        # without objects of a class mmdet says NaN, where COCO, as for sizes without objects, says -1
        return {name: value if np.isfinite(value) else -1.0 for name, value in metrics.items()}

    def results2json(self, results: Sequence[dict], outfile_prefix: str) -> dict[str, str]:
        files = super().results2json(results, outfile_prefix)
        if self.predictions:
            write_bytes(self.predictions, Path(files.get("segm", files["bbox"])).read_bytes())
        if self.format_only:
            names = " and ".join(dict.fromkeys(files.values()))
            MMLogger.get_current_instance().info(f"Detections are in {names}; by format_only there are no metrics.")
        return files

    def _meaning(self, predicted: Sequence[dict[str, Any]]) -> dict[str, float]:
        """The metrics of scores."""
        self.judged = judged = together(
            judge(each["img_id"], each["bboxes"], each["scores"], each["labels"], self._objects(each["img_id"]))
            for each in predicted
        )
        self.outcome = outcome = self.calibrate(judged)
        if outcome.said:
            MMLogger.get_current_instance().info(f"Scores: {outcome.said}.")
        metrics = {"score_thr": best_threshold(judged.scores, judged.right, judged.num_objects)}
        if len(judged):
            metrics |= {name: error(judged, judged.scores) for name, error in ERRORS.items()}
        if outcome.calibrated is not None:
            metrics |= {name + CALIBRATED: error(judged, outcome.calibrated) for name, error in ERRORS.items()}
        if outcome.calibration is not None:
            metrics["calibrated_score_thr"] = outcome.calibration.threshold
        return metrics

    def _objects(self, image: int) -> list[tuple[int, list[float], bool]]:
        """Label, box (x, y, width, height) and whether it is a crowd, of an image's objects of the classes."""
        annotations = self._coco_api.load_anns(self._coco_api.get_ann_ids(img_ids=[image], cat_ids=self.cat_ids))
        labels = [self.cat_ids.index(each["category_id"]) for each in annotations]
        crowds = (bool(each.get("iscrowd")) for each in annotations)
        return list(zip(labels, (each["bbox"] for each in annotations), crowds, strict=True))


def coco_metrics(metrics: Sequence[Any]) -> list[CocoMetricWithThreshold]:
    """Those of an evaluator's metrics that calibrate."""
    return [metric for metric in metrics if isinstance(metric, CocoMetricWithThreshold)]
