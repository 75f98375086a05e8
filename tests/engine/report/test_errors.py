"""Kinds of errors and their costs against the definition, written out in loops."""

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData
from torchvision.ops import box_iou

from brs_detr.engine.report.errors import KINDS, average_precision, classify, costs, table

Rows = list[tuple[float, int, bool]]  # score, class, right


def truth_of(boxes: list[list[float]], labels: list[int], crowd: list[bool] | None = None) -> InstanceData:
    crowds = torch.tensor(crowd or [False] * len(labels)).bool()
    return InstanceData(bboxes=tensor_of(boxes), labels=torch.tensor(labels).long(), crowd=crowds)


def found_of(boxes: list[list[float]], labels: list[int], scores: list[float]) -> InstanceData:
    return InstanceData(bboxes=tensor_of(boxes), labels=torch.tensor(labels).long(), scores=torch.tensor(scores))


def tensor_of(boxes: list[list[float]]) -> torch.Tensor:
    return torch.tensor(boxes).reshape(-1, 4).float()


OBJECT, SHIFTED, FAR, OVERLAPPING = [0, 0, 100, 100], [0, 0, 100, 30], [500, 500, 600, 600], [60, 0, 160, 100]


@pytest.mark.parametrize(
    ("box", "label", "kind", "fate"),
    [
        (OBJECT, 0, "true", "found"),
        (OBJECT, 1, "classification", "explained"),
        (SHIFTED, 0, "localisation", "explained"),
        (SHIFTED, 1, "both", "missed"),
        (FAR, 0, "background", "missed"),
    ],
)
def test_kinds(box: list[float], label: int, kind: str, fate: str) -> None:
    verdicts = classify(found_of([box], [label], [0.5]), truth_of([OBJECT], [0]))
    assert (verdicts.kinds, verdicts.fates) == ([kind], [fate])


def test_duplicates_and_crowds() -> None:
    found = found_of([OBJECT, OBJECT, FAR], [0, 0, 0], [0.5, 0.9, 0.4])
    verdicts = classify(found, truth_of([OBJECT, FAR], [0, 0], [False, True]))
    assert verdicts.kinds == ["duplicate", "true", "ignored"]
    assert verdicts.fates == ["found", "ignored"]
    assert classify(found_of([], [], []), truth_of([OBJECT], [0])).fates == ["missed"]
    assert classify(found, truth_of([], [])).kinds == ["background"] * 3


def precision_in_loops(rows: Rows, objects: dict[int, int]) -> float:
    """COCO's AP at one IoU: for each of 101 recalls the best precision at that recall or a higher one."""
    values = []
    for label in (label for label, number in objects.items() if number >= 0):
        own = sorted((row for row in rows if row[1] == label), key=lambda row: -row[0])
        points = []
        for k in range(1, len(own) + 1):
            right = sum(row[2] for row in own[:k])
            points.append((right / objects[label] if objects[label] else 0, right / k))
        reached = [max([p for recall, p in points if recall >= r / 100 - 1e-12], default=0) for r in range(101)]
        values.append(sum(reached) / 101 if objects[label] and own else 0)
    return sum(values) / len(values)


def corrected_in_loops(images: list[tuple[InstanceData, InstanceData]], wanted: str | None) -> float:
    """AP when the errors of one kind are corrected, image by image from the definition of TIDE."""
    rows: Rows = []
    objects: dict[int, int] = {}
    for found, truth in images:
        ious = box_iou(found.bboxes, truth.bboxes).tolist() if len(truth) else [[]] * len(found)
        labels, scores, classes = found.labels.tolist(), found.scores.tolist(), truth.labels.tolist()
        taken: set[int] = set()
        right: set[int] = set()
        for i in sorted(range(len(labels)), key=lambda i: -scores[i]):
            free = [j for j in range(len(classes)) if classes[j] == labels[i] and j not in taken and ious[i][j] >= 0.5]
            if free:
                taken.add(max(free, key=lambda j: ious[i][j]))
                right.add(i)
        near: dict[int, tuple[float, int]] = {}  # the best error near to an object
        kinds, nearest = {}, {}
        for i in set(range(len(labels))) - right:
            same = [(ious[i][j], j) for j in range(len(classes)) if classes[j] == labels[i]]
            others = [(ious[i][j], j) for j in range(len(classes)) if classes[j] != labels[i]]
            of_class, of_others = max(same, default=(0, -1)), max(others, default=(0, -1))
            if 0.1 <= of_class[0] < 0.5:
                kinds[i], nearest[i] = "localisation", of_class[1]
            elif of_others[0] >= 0.5:
                kinds[i], nearest[i] = "classification", of_others[1]
            elif of_class[0] >= 0.5:
                kinds[i] = "duplicate"
            else:
                kinds[i] = "background" if max(of_class[0], of_others[0]) < 0.1 else "both"
            if i in nearest and nearest[i] not in taken:
                near[nearest[i]] = max(near.get(nearest[i], (-1.0, -1)), (scores[i], i))
        for j, label in enumerate(classes):
            out = wanted == "missed" and j not in taken and j not in near
            objects[label] = objects.get(label, 0) + (not out)
        for i, label in enumerate(labels):
            if kinds.get(i) != wanted or wanted is None:
                rows.append((scores[i], label, i in right))
            elif i in nearest and near.get(nearest[i], (0, -1))[1] == i:
                rows.append((scores[i], classes[nearest[i]], True))
    return precision_in_loops(rows, objects)


def random_images(seed: int) -> list[tuple[InstanceData, InstanceData]]:
    """Objects close to each other, and detections near to them: every kind occurs."""
    generator, images = np.random.default_rng(seed), []
    for _ in range(12):
        corners = generator.uniform(0, 120, (5, 2))
        objects = np.hstack([corners, corners + generator.uniform(20, 60, (5, 2))])
        boxes = np.vstack([objects, objects, objects[:2] + 70]) + generator.normal(0, 9, (12, 4))
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 5)
        classes = generator.integers(0, 3, 5)
        labels = np.where(generator.random(12) < 0.7, [*classes, *classes, 0, 1], generator.integers(0, 3, 12))
        scores = generator.permutation(1000)[:12] / 1000
        images.append(
            (found_of(boxes.tolist(), labels.tolist(), scores.tolist()), truth_of(objects.tolist(), classes.tolist()))
        )
    return images  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_costs_are_those_of_the_definition(seed: int) -> None:
    images = random_images(seed)
    verdicts = [classify(found, truth) for found, truth in images]
    assert {kind for each in verdicts for kind in each.kinds} >= set(KINDS) - {"missed"}
    precision, cost = costs(table((*pair, each) for pair, each in zip(images, verdicts, strict=True)))
    assert precision == pytest.approx(corrected_in_loops(images, None), abs=1e-9)
    for kind in KINDS:
        assert cost[kind] == pytest.approx(max(0, corrected_in_loops(images, kind) - precision), abs=1e-9), kind


def test_precision_without_anything() -> None:
    assert average_precision(np.zeros(0), np.zeros(0, bool), 3) == 0
    assert average_precision(np.ones(2), np.ones(2, bool), 2) == 1
    assert costs(table([]))[0] == 0
