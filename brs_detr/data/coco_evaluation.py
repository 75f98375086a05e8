"""COCO's average precision: by faster-coco-eval where it is installed, whose matching is compiled, else by pycocotools.

Both give the same numbers; `tests/data/test_coco_evaluation.py` compares them.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
from mmdet.evaluation.metrics import coco_metric
from pycocotools import cocoeval

try:
    from faster_coco_eval import COCOeval_faster
except ImportError:
    COCOeval_faster = None

AREAS = ("all", "small", "medium", "large")  # as COCO's evaluation orders them
IOUS = (0.5, 0.75)


def evaluation_class(faster: bool = COCOeval_faster is not None) -> type:
    """pycocotools' ``COCOeval``, or what takes its place: the same parameters, results and summary."""
    if not faster:
        return cocoeval.COCOeval
    return type("COCOeval", (COCOeval_faster,), {"summarize": cocoeval.COCOeval.summarize})


@contextmanager
def recorded() -> Iterator[list[Any]]:
    """Let mmdet's metric evaluate by the class above meanwhile; gives a list of the evaluations that it makes.

    mmdet has no setting for the class, and keeps the evaluation to itself.
    """
    made: list[Any] = []
    kind = evaluation_class()

    def evaluation(*args: Any, **options: Any) -> Any:
        made.append(kind(*args, **options))
        return made[-1]

    with patch.object(coco_metric, "COCOeval", evaluation):
        yield made


def precision_by_class(evaluations: Iterable[Any]) -> dict[str, dict[str, float]]:
    """AP of each class, by its name: -1 where it has no object, as COCO has it.

    Keys are those of mmdet's metrics, such as ``bbox_mAP_50``; evaluations without regard to classes are left out.
    """
    found: dict[str, dict[str, float]] = {}
    for evaluation in evaluations:
        params = evaluation.params
        if not params.useCats:
            continue
        for index, category in enumerate(evaluation.cocoGt.loadCats(params.catIds)):
            items = _items(evaluation.eval["precision"][:, :, index], params)
            found.setdefault(category["name"], {}).update(
                {f"{params.iouType}_{name}": _mean(values) for name, values in items.items()}
            )
    return found


def _items(precisions: np.ndarray, params: Any) -> dict[str, np.ndarray]:
    """What mmdet's metrics are the means of; precisions: (IoU thresholds, recalls, areas, numbers of detections)."""
    hundred = np.flatnonzero(np.array(params.maxDets) == 100)  # of mAP alone, as in the summary of all classes
    at = {iou: np.flatnonzero(np.isclose(params.iouThrs, iou)) for iou in IOUS}
    return {
        "mAP": precisions[:, :, 0, hundred],
        **{f"mAP_{100 * iou:.0f}": precisions[indices, :, 0, -1] for iou, indices in at.items()},
        **{f"mAP_{area[0]}": precisions[:, :, index, -1] for index, area in enumerate(AREAS) if index},
    }


def _mean(precisions: np.ndarray) -> float:
    known = precisions[precisions > -1]
    return round(float(known.mean()), 3) if known.size else -1.0
