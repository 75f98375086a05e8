"""Which detections are true, and which objects are found: COCO's rule, at one IoU."""

import numpy as np
from mmengine.structures import InstanceData
from pycocotools import mask

IOU = 0.5
TRUE, FALSE, IGNORED = "true", "false", "ignored"
FOUND, MISSED = "found", "missed"


def _corner_and_size(boxes: np.ndarray) -> np.ndarray:
    return np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]]).astype(np.float64)


def match(found: InstanceData, truth: InstanceData) -> tuple[list[str], list[str]]:
    """What each detection is, and what has become of each object.

    The detection with the best score chooses first, the object of its class with which its IoU is greatest and at
    least 0.5. One that has none left, but lies in a crowd of its class, is ignored, and so are crowds.

    Args:
        found: ``bboxes`` (N, 4), x1 y1 x2 y2, ``labels`` and ``scores`` (N,).
        truth: ``bboxes`` (M, 4), ``labels`` (M,) and, where there are crowds, ``crowd`` (M,) bool.
    """
    crowd = truth.crowd.numpy() if "crowd" in truth else np.zeros(len(truth), bool)
    boxes, objects = _corner_and_size(found.bboxes.numpy()), _corner_and_size(truth.bboxes.numpy())
    ious = np.array(mask.iou(boxes, objects, crowd.tolist())).reshape(len(found), len(truth))
    ious[found.labels.numpy()[:, None] != truth.labels.numpy()] = 0
    verdicts = [FALSE] * len(found)
    fates = [IGNORED if each else MISSED for each in crowd]
    for i in np.argsort(-found.scores.numpy(), kind="stable"):
        fitting = [j for j in np.argsort(-ious[i], kind="stable") if ious[i, j] >= IOU]
        free = [j for j in fitting if fates[j] == MISSED]
        if free:
            verdicts[i], fates[free[0]] = TRUE, FOUND
        elif any(crowd[fitting]):
            verdicts[i] = IGNORED
    return verdicts, fates
