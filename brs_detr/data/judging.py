"""Which detections are right: COCO's greedy matching at one IoU, over all images and classes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from pycocotools import mask

IOU = 0.5


@dataclass(frozen=True)
class Judged:
    """Detections that are right or wrong, without those that lie in crowds.

    scores: (N,). ious: (N,) with the object that is found, 0 where a detection is wrong. labels, images: (N,) integers.
    num_objects: that there were to find.
    """

    scores: np.ndarray
    ious: np.ndarray
    labels: np.ndarray
    images: np.ndarray
    num_objects: int

    @property
    def right(self) -> np.ndarray:
        """(N,) bool."""
        return self.ious > 0

    def __len__(self) -> int:
        return len(self.scores)


def matched(boxes: np.ndarray, objects: np.ndarray, crowd: Sequence[bool]) -> tuple[np.ndarray, np.ndarray]:
    """What each detection finds, of one image and class.

    The best detection chooses first, the object with which its IoU is greatest and at least 0.5. One that has none
    left, but lies in a crowd, is ignored.

    Args:
        boxes: (D, 4) of the detections, best first.
        objects: (G, 4), of which `crowd` says (G,) what is one; boxes are x, y, width, height.

    Returns:
        (D,) IoU with the object that is found, 0 where there is none, and (D,) bool, what is ignored.
    """
    found, ignored = np.zeros(len(boxes)), np.zeros(len(boxes), dtype=bool)
    if not len(boxes) or not len(objects):
        return found, ignored
    crowds = np.array(crowd, dtype=bool)
    free: np.ndarray = ~crowds
    ious = np.array(mask.iou(boxes.astype(np.float64), objects.astype(np.float64), list(crowd)))
    for detection in np.flatnonzero((ious >= IOU).any(axis=1)):
        of_free = np.where(free, ious[detection], 0)[::-1]  # of equal ones COCO takes the last
        chosen = len(objects) - 1 - of_free.argmax()
        if of_free.max() >= IOU:
            found[detection], free[chosen] = ious[detection, chosen], False
        else:
            ignored[detection] = (ious[detection, crowds] >= IOU).any()
    return found, ignored


def judge(
    image: int, boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, truth: Sequence[tuple[int, list, bool]]
) -> Judged:
    """The detections of one image.

    Args:
        boxes: (N, 4), x1 y1 x2 y2; scores, labels: (N,).
        truth: label, box (x, y, width, height) and whether it is a crowd, of each object.
    """
    sizes = boxes.astype(np.float64)
    sizes[:, 2:] -= sizes[:, :2]
    ious, ignored = np.zeros(len(boxes)), np.zeros(len(boxes), dtype=bool)
    for label in {label for label, *_ in truth}:
        chosen = np.flatnonzero(labels == label)
        chosen = chosen[np.argsort(-scores[chosen], kind="stable")]
        objects = [(box, crowd) for each, box, crowd in truth if each == label]
        ious[chosen], ignored[chosen] = matched(
            sizes[chosen], np.array([box for box, _ in objects]), [crowd for _, crowd in objects]
        )
    kept, images = ~ignored, np.full(len(boxes), image)
    return Judged(scores[kept], ious[kept], labels[kept], images[kept], sum(not crowd for *_, crowd in truth))


def together(judged: Iterable[Judged]) -> Judged:
    """The detections of several images as one."""
    none, nobody = np.zeros(0, dtype=np.float32), np.zeros(0, dtype=int)
    every = [Judged(none, none, nobody, nobody, 0), *judged]
    arrays = {name: [getattr(each, name) for each in every] for name in ("scores", "ious", "labels", "images")}
    joined = {name: np.concatenate(values) for name, values in arrays.items()}
    return Judged(**joined, num_objects=sum(each.num_objects for each in every))


def best_threshold(scores: np.ndarray, right: np.ndarray, num_objects: int) -> float:
    """The score from which on detections have the highest F1: 2 right / (detections + objects)."""
    if not len(scores):
        return 0.0
    order = np.argsort(-scores, kind="stable")
    f1 = 2 * np.cumsum(right[order]) / (np.arange(1, len(order) + 1) + num_objects)
    return float(scores[order][f1.argmax()])
