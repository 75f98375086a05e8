"""Kinds of errors, and what each costs: TIDE (Bolya et al., "A General Toolbox for Identifying Object Detection
Errors", ECCV 2020).

A false detection is of the first kind that fits, by its IoUs with the objects of its image:

    localisation    0.1 to 0.5 with one of its class
    classification  at least 0.5 with one of another class
    duplicate       at least 0.5 with one of its class, which a better detection has found
    background      below 0.1 with all
    both            what is left: 0.1 to 0.5 with one of another class

An object is missed that no detection finds, nor would if one of the first two kinds were corrected.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from mmengine.structures import InstanceData
from pycocotools import mask

from brs_detr.data.judging import IOU
from brs_detr.engine.inference.matching import FALSE, IGNORED, MISSED, TRUE, match

BACKGROUND_IOU = 0.1
CLASSIFICATION, LOCALISATION, BOTH = "classification", "localisation", "both"
DUPLICATE, BACKGROUND = "duplicate", "background"
KINDS = (CLASSIFICATION, LOCALISATION, BOTH, DUPLICATE, BACKGROUND, MISSED)
EXPLAINED = "explained"  # an object that is not found, but would be if an error of another kind were corrected
RECALLS = np.linspace(0, 1, 101)  # of COCO's average precision


@dataclass(frozen=True)
class Verdicts:
    """What has become of an image's N detections and M objects.

    kinds: of each detection, `TRUE`, `IGNORED` or one of `KINDS`. ious: (N,), the highest with any object.
    objects: (N,), the object that a detection is nearest to and that its kind speaks of, -1 for none.
    fates: of each object, ``found``, `MISSED`, `EXPLAINED` or `IGNORED`.
    """

    kinds: list[str]
    ious: np.ndarray
    objects: np.ndarray
    fates: list[str]


def _ious(found: InstanceData, truth: InstanceData) -> np.ndarray:
    """IoUs (N, M); with crowds 0."""
    sizes = [
        np.hstack([b[:, :2], b[:, 2:] - b[:, :2]]).astype(float) for b in (found.bboxes.numpy(), truth.bboxes.numpy())
    ]
    ious = np.array(mask.iou(*sizes, [0] * len(truth))).reshape(len(found), len(truth))
    return ious * ~truth.crowd.numpy()


def classify(found: InstanceData, truth: InstanceData) -> Verdicts:
    """The kinds of an image's detections. found: as `match` takes it; truth: with ``crowd``."""
    verdicts, fates = match(found, truth)
    ious = _ious(found, truth)
    same = found.labels.numpy()[:, None] == truth.labels.numpy()
    kinds, objects = list(verdicts), np.full(len(found), -1)
    for i in range(len(found) if len(truth) else 0):
        of_class, of_others = ious[i] * same[i], ious[i] * ~same[i]
        if verdicts[i] == FALSE:
            kinds[i] = _kind(of_class.max(), of_others.max())
        if kinds[i] != BACKGROUND:
            nearest = of_others if kinds[i] in (CLASSIFICATION, BOTH) else of_class
            objects[i] = nearest.argmax() if nearest.max() > 0 else -1
    kinds = [BACKGROUND if kind == FALSE else kind for kind in kinds]  # without any object
    for kind, j in zip(kinds, objects, strict=True):
        if kind in (CLASSIFICATION, LOCALISATION) and fates[j] == MISSED:
            fates[j] = EXPLAINED
    return Verdicts(kinds, ious.max(1, initial=0), objects, fates)


def _kind(of_class: float, of_others: float) -> str:
    """Of a false detection, by its highest IoUs with objects of its class and of others."""
    if BACKGROUND_IOU <= of_class < IOU:
        return LOCALISATION
    if of_others >= IOU:
        return CLASSIFICATION
    if of_class >= IOU:
        return DUPLICATE
    return BACKGROUND if max(of_class, of_others) < BACKGROUND_IOU else BOTH


def average_precision(scores: np.ndarray, correct: np.ndarray, number: float) -> float:
    """COCO's, at 101 recalls, of detections (N,) of one class that has so many objects."""
    if not len(scores) or number <= 0:
        return 0.0
    order = np.argsort(-scores, kind="stable")
    true = np.cumsum(correct[order])
    precision = np.maximum.accumulate((true / np.arange(1, len(true) + 1))[::-1])[::-1]
    places = np.searchsorted(true / number, RECALLS)
    return float(np.append(precision, 0)[places].mean())


@dataclass(frozen=True)
class Table:
    """All detections of a data set, and all its objects but crowds, each in a row; those ignored are left out.

    scores, labels, kinds (D,); objects: (D,) row of the object that a classification or localisation error is near
    to, -1 for none; object_labels, fates: (G,).
    """

    scores: np.ndarray
    labels: np.ndarray
    kinds: np.ndarray
    objects: np.ndarray
    object_labels: np.ndarray
    fates: np.ndarray


def table(examples: Iterable[tuple[InstanceData, InstanceData, Verdicts]]) -> Table:
    """One of images with their detections, objects and verdicts."""
    columns: list[list[np.ndarray]] = [[np.zeros(0, kind)] for kind in (float, int, "U16", int, int, "U16")]
    before = 0
    for found, truth, verdicts in examples:
        used = np.array([kind != IGNORED for kind in verdicts.kinds], bool)
        objects = ~truth.crowd.numpy()
        row = np.where(objects, before + np.cumsum(objects) - 1, -1)
        rows = np.array([row[j] if j >= 0 else -1 for j in verdicts.objects], int)
        of_image = (
            found.scores.double().numpy()[used],
            found.labels.numpy()[used],
            np.array(verdicts.kinds, "U16")[used],
            rows[used],
            truth.labels.numpy()[objects],
            np.array(verdicts.fates, "U16")[objects],
        )
        before += int(objects.sum())
        for column, values in zip(columns, of_image, strict=True):
            column.append(values)
    return Table(*map(np.concatenate, columns))


def mean_precision(of: Table, labels: np.ndarray, correct: np.ndarray, kept: np.ndarray, objects: np.ndarray) -> float:
    """Mean AP at IoU 0.5 over the classes that have objects.

    labels, correct, kept: (D,), what each detection then is, and whether it is there. objects: (G,) bool, which are.
    """
    values = []
    for label in np.unique(of.object_labels):
        chosen = kept & (labels == label)
        number = int((objects & (of.object_labels == label)).sum())
        values.append(average_precision(of.scores[chosen], correct[chosen], number))
    return float(np.mean(values)) if values else 0.0


def fixed(of: Table, kind: str) -> float:
    """Mean AP at IoU 0.5 if the errors of one kind were corrected.

    A classification or localisation error becomes true, if its object is not found and it is the best that is near to
    it; all other errors of the kind go, and missed objects are taken out.
    """
    correct, labels, kept = of.kinds == TRUE, of.labels.copy(), np.ones(len(of.kinds), bool)
    objects = np.ones(len(of.fates), bool)
    if kind == MISSED:
        objects = of.fates != MISSED
    else:
        errors = of.kinds == kind
        kept &= ~errors
        mended = _best_of_each(of) & errors
        kept[mended] = correct[mended] = True
        labels[mended] = of.object_labels[of.objects[mended]]
    return mean_precision(of, labels, correct, kept, objects)


def _best_of_each(of: Table) -> np.ndarray:
    """Which errors (D,) are the best that would find an object if they were corrected."""
    near = np.flatnonzero(np.isin(of.kinds, (CLASSIFICATION, LOCALISATION)) & (of.objects >= 0))
    near = near[of.fates[of.objects[near]] == EXPLAINED]
    near = near[np.argsort(-of.scores[near], kind="stable")]
    _, first = np.unique(of.objects[near], return_index=True)
    best = np.zeros(len(of.kinds), bool)
    best[near[first]] = True
    return best


def costs(of: Table, kinds: Sequence[str] = KINDS) -> tuple[float, dict[str, float]]:
    """AP at IoU 0.5, and by how much it would rise if the errors of each kind were corrected."""
    everything = np.ones(len(of.kinds), bool), np.ones(len(of.fates), bool)
    precision = mean_precision(of, of.labels, of.kinds == TRUE, *everything)
    return precision, {kind: max(0.0, fixed(of, kind) - precision) for kind in kinds}
