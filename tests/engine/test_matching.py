"""True, false, found and missed: pycocotools' own matching, and the legend that counts them."""

from collections import Counter

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from brs_detr.engine.inference import pictures
from brs_detr.engine.inference.matching import FALSE, FOUND, IGNORED, MISSED, TRUE, match


def instances(count: int, generator: np.random.Generator) -> InstanceData:
    corners = generator.integers(0, 12, (count, 2)) * 5.0
    boxes = np.hstack([corners, corners + generator.integers(4, 7, (count, 2)) * 5.0 + generator.uniform(0, 1, 2)])
    return InstanceData(bboxes=torch.tensor(boxes), labels=torch.tensor(generator.integers(0, 2, count)))


def as_coco(each: InstanceData) -> list[dict]:
    sizes = each.bboxes[:, 2:] - each.bboxes[:, :2]
    rows = zip(each.bboxes.tolist(), sizes.tolist(), each.labels.tolist(), strict=True)
    return [
        {"id": i, "image_id": 1, "category_id": label, "bbox": [*box[:2], *size], "area": size[0] * size[1]}
        for i, (box, size, label) in enumerate(rows, 1)
    ]


def counted_by_pycocotools(found: InstanceData, truth: InstanceData) -> Counter:
    objects, detections = COCO(), COCO()
    categories = [{"id": label, "name": str(label)} for label in (0, 1)]
    crowds = [row | {"iscrowd": int(crowd)} for row, crowd in zip(as_coco(truth), truth.crowd, strict=True)]
    scored = [row | {"score": score} for row, score in zip(as_coco(found), found.scores.tolist(), strict=True)]
    for each, annotations in ((objects, crowds), (detections, scored)):
        each.dataset = {"images": [{"id": 1}], "categories": categories, "annotations": annotations}
        each.createIndex()
    evaluation = COCOeval(objects, detections, "bbox")
    evaluation.params.iouThrs = np.array([0.5])
    evaluation.evaluate()
    counts: Counter = Counter()
    for each in (evaluation.evalImgs[k] for k in (0, len(evaluation.params.areaRng))):  # of both classes, any area
        if each:
            ignored, matched = each["dtIgnore"][0], each["dtMatches"][0] > 0
            counts += Counter({IGNORED: int(ignored.sum()), TRUE: int((matched & ~ignored).sum())})
            counts += Counter({FALSE: int((~matched & ~ignored).sum())})
            taken, crowd = each["gtMatches"][0] > 0, each["gtIgnore"].astype(bool)
            counts += Counter({MISSED: int((~taken & ~crowd).sum()), FOUND: int((taken & ~crowd).sum())})
    return counts


@pytest.mark.parametrize("seed", range(20))
def test_it_is_what_pycocotools_finds(seed: int) -> None:
    generator = np.random.default_rng(seed)
    found, truth = instances(40, generator), instances(12, generator)
    found.scores = torch.tensor(generator.permutation(40) / 40)
    truth.crowd = torch.tensor(generator.random(12) < 0.2)
    verdicts, fates = match(found, truth)
    counts = Counter(verdicts) + Counter(fate for fate in fates if fate != IGNORED)
    assert counts == counted_by_pycocotools(found, truth)
    assert counts[TRUE] == counts[FOUND] > 0


def test_of_equal_objects_the_last_is_found() -> None:
    """As in COCO's code, which goes on to a later object of the same IoU."""
    twice = InstanceData(bboxes=torch.tensor([[0.0, 0, 10, 10]] * 2), labels=torch.tensor([1, 1]))
    found = InstanceData(bboxes=twice.bboxes[:1], labels=torch.tensor([1]), scores=torch.tensor([0.9]))
    assert match(found, twice) == ([TRUE], [MISSED, FOUND])


def test_the_legend_counts_true_false_and_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[list[str]] = []
    strip = pictures.strip

    def noted(entries: list, font: int) -> np.ndarray:
        lines.append([text for text, _ in entries])
        return strip(entries, font)

    monkeypatch.setattr(pictures, "strip", noted)
    truth = InstanceData(
        bboxes=torch.tensor([[0.0, 0, 20, 20], [40, 40, 60, 60], [70, 0, 90, 20]]), labels=torch.tensor([0, 1, 1])
    )
    found = InstanceData(
        bboxes=torch.tensor([[0.0, 0, 20, 21], [1, 0, 20, 20], [40, 40, 60, 60]]),  # good, twice, another class
        labels=torch.tensor([0, 0, 0]),
        scores=torch.tensor([0.9, 0.8, 0.7]),
    )
    picture = pictures.draw(np.zeros((100, 100, 3), np.uint8), found, truth, ("a", "b"))
    assert lines == [["prediction", "1 true", "2 false"], ["ground truth", "1 found", "2 missed"]]
    for kind in (TRUE, FALSE, MISSED):
        assert (picture[-480:] == pictures.COLOURS[kind]).all(-1).sum() > 100
    pictures.draw(np.zeros((100, 100, 3), np.uint8), found[:0], truth[:0], ("a", "b"))
    assert lines[2:] == [["prediction", "0 true", "0 false"], ["ground truth", "0 found", "0 missed"]]
