"""Which detections are right: COCO's greedy matching at one IoU, over all images and classes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

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


class Matches(NamedTuple):
    """What each of D detections finds.

    ious: (D,) with the object that is found, 0 where there is none. objects: (D,) its place, -1 for none. ignored: (D,)
    bool.
    """

    ious: np.ndarray
    objects: np.ndarray
    ignored: np.ndarray


def matched(boxes: np.ndarray, objects: np.ndarray, crowd: np.ndarray | Sequence[bool]) -> Matches:
    """What each detection finds, of one image and class.

    The best detection chooses first, the object with which its IoU is greatest and at least 0.5. One that has none
    left, but lies in a crowd, is ignored.

    Args:
        boxes: (D, 4) of the detections, best first.
        objects: (G, 4), of which `crowd` says (G,) what is one; boxes are x, y, width, height.
    """
    found = nothing_found(len(boxes))
    if not len(boxes) or not len(objects):
        return found
    crowds = np.array(crowd, dtype=bool)
    free: np.ndarray = ~crowds
    ious = np.array(mask.iou(boxes.astype(np.float64), objects.astype(np.float64), list(crowd)))
    for detection in np.flatnonzero((ious >= IOU).any(axis=1)):
        of_free = np.where(free, ious[detection], 0)[::-1]  # of equal ones COCO takes the last
        chosen = len(objects) - 1 - of_free.argmax()
        if of_free.max() >= IOU:
            found.ious[detection], found.objects[detection], free[chosen] = ious[detection, chosen], chosen, False
        else:
            found.ignored[detection] = (ious[detection, crowds] >= IOU).any()
    return found


def nothing_found(count: int) -> Matches:
    return Matches(np.zeros(count), np.full(count, -1), np.zeros(count, dtype=bool))


def matched_by_class(
    boxes: np.ndarray,
    scores: np.ndarray,
    labels: np.ndarray,
    objects: np.ndarray,
    classes: np.ndarray,
    crowd: np.ndarray,
) -> Matches:
    """`matched` of one image with several classes, its detections in any order.

    boxes: (D, 4), x1, y1, x2, y2; scores, labels: (D,). objects: (G, 4), x, y, width, height; classes, crowd: (G,).
    """
    sizes, found = boxes.astype(np.float64), nothing_found(len(boxes))
    sizes[:, 2:] -= sizes[:, :2]
    for label in np.unique(classes):
        own, of_class = np.flatnonzero(labels == label), np.flatnonzero(classes == label)
        own = own[np.argsort(-scores[own], kind="stable")]
        ious, places, ignored = matched(sizes[own], objects[of_class], crowd[of_class])
        found.ious[own], found.ignored[own] = ious, ignored
        found.objects[own] = np.where(places < 0, -1, of_class[places])
    return found


def judge(
    image: int, boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, truth: Sequence[tuple[int, list, bool]]
) -> Judged:
    """The detections of one image.

    Args:
        boxes: (N, 4), x1 y1 x2 y2; scores, labels: (N,).
        truth: label, box (x, y, width, height) and whether it is a crowd, of each object.
    """
    classes = np.array([label for label, *_ in truth])
    objects, crowd = np.array([box for _, box, _ in truth]), np.array([crowd for *_, crowd in truth], dtype=bool)
    found = matched_by_class(boxes, scores, labels, objects, classes, crowd)
    kept, images = ~found.ignored, np.full(len(boxes), image)
    return Judged(scores[kept], found.ious[kept], labels[kept], images[kept], int((~crowd).sum()))


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
