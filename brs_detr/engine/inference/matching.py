"""Which detections are true, and which objects are found: COCO's rule, at one IoU."""

import numpy as np
from mmengine.structures import InstanceData

from brs_detr.data.judging import matched_by_class

TRUE, FALSE, IGNORED = "true", "false", "ignored"
FOUND, MISSED = "found", "missed"


def match(found: InstanceData, truth: InstanceData) -> tuple[list[str], list[str]]:
    """What each detection is, and what has become of each object.

    The detection with the best score chooses first, the object of its class with which its IoU is greatest and at
    least 0.5. One that has none left, but lies in a crowd of its class, is ignored, and so are crowds.

    Args:
        found: ``bboxes`` (N, 4), x1 y1 x2 y2, ``labels`` and ``scores`` (N,).
        truth: ``bboxes`` (M, 4), ``labels`` (M,) and, where there are crowds, ``crowd`` (M,) bool.
    """
    crowd = truth.crowd.numpy() if "crowd" in truth else np.zeros(len(truth), bool)
    objects = truth.bboxes.numpy().astype(np.float64)
    objects[:, 2:] -= objects[:, :2]
    boxes, scores, labels = found.bboxes.numpy(), found.scores.numpy(), found.labels.numpy()
    matches = matched_by_class(boxes, scores, labels, objects, truth.labels.numpy(), crowd)
    verdicts = np.where(matches.ignored, IGNORED, np.where(matches.objects < 0, FALSE, TRUE))
    fates = np.where(crowd, IGNORED, MISSED)
    fates[matches.objects[matches.objects >= 0]] = FOUND
    return verdicts.tolist(), fates.tolist()
