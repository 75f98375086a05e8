"""Average precision by class and size, precision at each recall, and precision and recall at each threshold."""

from typing import Any

import numpy as np

from brs_detr.data.calibration_error import binned
from brs_detr.data.coco_api import ScoredCOCO
from brs_detr.data.coco_evaluation import AREAS, evaluation_class
from brs_detr.data.coco_metric import best_threshold
from brs_detr.engine.inference.matching import TRUE
from brs_detr.engine.report.collecting import Collection
from brs_detr.engine.report.errors import Table

COLUMNS = ("AP", "AP50", "AP75", "small", "medium", "large")
MOST = [100, 300, 1000]  # detections of an image, as mmdet's metric has them
CURVES = (0.5, 0.75, 0.9)  # IoUs of the precision-recall curves
STEPS = 200  # thresholds to choose from


def evaluate(collection: Collection, kind: str) -> Any:
    """COCO's evaluation of boxes (``bbox``) or masks (``segm``), accumulated."""
    truth, results = ScoredCOCO(str(collection.source.annotations)), collection.results
    if kind == "segm":  # beside a box pycocotools takes the box's area for the mask's; mmdet leaves boxes out, too
        results = [{name: value for name, value in result.items() if name != "bbox"} for result in results]
    found = truth.loadRes(results) if results else _nothing(collection)
    evaluation = evaluation_class()(truth, found, kind)
    names = {category["name"]: category["id"] for category in collection.source.content["categories"]}
    evaluation.params.catIds = [names[name] for name in collection.source.classes if name in names]
    evaluation.params.imgIds = sorted(example.image_id for example in collection.examples)
    evaluation.params.maxDets = MOST
    evaluation.evaluate()
    evaluation.accumulate()
    return evaluation


def _nothing(collection: Collection) -> ScoredCOCO:
    empty = ScoredCOCO()
    empty.dataset = {**collection.source.content, "annotations": []}
    empty.createIndex()
    return empty


def averages(precision: np.ndarray, ious: np.ndarray) -> list[float | None]:
    """The values of `COLUMNS`, None where there is no object. precision: (IoUs, recalls, classes, areas, maxDets)."""
    parts = [
        precision[:, :, :, 0, 0],
        precision[np.isclose(ious, 0.5), :, :, 0, -1],
        precision[np.isclose(ious, 0.75), :, :, 0, -1],
        *(precision[:, :, :, area, -1] for area in range(1, len(AREAS))),
    ]
    known = [part[part > -1] for part in parts]
    return [round(float(part.mean()), 4) if part.size else None for part in known]


def by_class(evaluation: Any) -> list[list[float | None]]:
    """`averages` of each class that the annotation file has, in the order of the evaluation's categories."""
    precision, ious = evaluation.eval["precision"], evaluation.params.iouThrs
    return [averages(precision[:, :, [k]], ious) for k in range(precision.shape[2])]


def recall_curves(evaluation: Any) -> list[list[list[int]]]:
    """Precision in thousandths at 101 recalls for each of `CURVES`: first of all classes, then of each; [] if none."""
    places = [int(np.flatnonzero(np.isclose(evaluation.params.iouThrs, iou))[0]) for iou in CURVES]
    precision = evaluation.eval["precision"][places][:, :, :, 0, -1]  # (IoUs, recalls, classes)
    known = [k for k in range(precision.shape[2]) if (precision[:, :, k] > -1).all()]
    of_each = [precision[:, :, k] if k in known else np.zeros((0, 0)) for k in range(precision.shape[2])]
    mean = precision[:, :, known].mean(2) if known else np.zeros((0, 0))
    return [np.round(1000 * curves).astype(int).tolist() for curves in (mean, *of_each)]


def threshold_curves(of: Table, classes: int, stored: float | None = None) -> dict[str, Any]:
    """What is found from each of up to `STEPS` thresholds on, and from the one that a checkpoint has stored.

    Returns:
        ``thresholds``, falling; ``true`` and ``found``: for all classes and then for each, how many detections reach
        each threshold; ``objects``: how many there are; ``best``: the place of the threshold with the highest F1;
        ``start``: that of the stored one, else the same.
    """
    order = np.argsort(-of.scores, kind="stable")
    scores, labels, correct = of.scores[order], of.labels[order], of.kinds[order] == TRUE
    best = best_threshold(scores, correct, len(of.object_labels))
    start = best if stored is None else stored
    thresholds = np.union1d(_spread(np.unique(scores)), [best, start])[::-1] if len(scores) else scores
    reach = np.searchsorted(-scores, -thresholds, side="right")
    masks = [np.ones(len(scores), bool), *(labels == label for label in range(classes))]

    def place(threshold: float) -> int:
        return int(np.flatnonzero(thresholds == threshold)[0]) if len(scores) else 0

    return {
        "thresholds": thresholds.tolist(),
        "found": [np.append(0, np.cumsum(mask))[reach].tolist() for mask in masks],
        "true": [np.append(0, np.cumsum(mask & correct))[reach].tolist() for mask in masks],
        "objects": [len(of.object_labels), *np.bincount(of.object_labels, minlength=classes).tolist()],
        "best": place(best),
        "start": place(start),
    }


def _spread(scores: np.ndarray) -> np.ndarray:
    """Up to `STEPS` of the scores (K,), rising: half at even places, half at even values."""
    by_place = scores[np.linspace(0, len(scores) - 1, STEPS // 2).astype(int)]
    even = np.linspace(scores[0], scores[-1], STEPS // 2)
    return np.union1d(by_place, scores[np.searchsorted(scores, even).clip(max=len(scores) - 1)])


def reliability(scores: np.ndarray, correct: np.ndarray) -> list[dict[str, float]]:
    """For each tenth of the scores that has detections: how many, their mean score, and the share that is right."""
    return [
        {"number": int(number), "score": round(float(score), 4), "right": round(float(right), 4)}
        for number, score, right in zip(*binned(scores, correct), strict=True)
        if number
    ]
