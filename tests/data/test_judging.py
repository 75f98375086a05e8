"""Which detections are right: pycocotools' own matching, with crowds."""

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from brs_detr.data.judging import Judged, judge, matched, together

NO_BOXES = np.zeros((0, 4))


def boxes(count: int, random: np.random.Generator) -> np.ndarray:
    """(N, 4) x y w h, many of which overlap, some equal."""
    return np.hstack([random.integers(0, 8, (count, 2)) * 5.0, random.integers(4, 7, (count, 2)) * 5.0])


def by_pycocotools(detections: list[dict], objects: list[dict]) -> dict[float, tuple[bool, bool]]:
    """Right and ignored, by score."""
    truth, found = COCO(), COCO()
    for each, rows in ((truth, objects), (found, detections)):
        each.dataset = {"images": [{"id": 1}], "categories": [{"id": 0}, {"id": 1}], "annotations": rows}
        each.createIndex()
    evaluation = COCOeval(truth, found, "bbox")
    evaluation.params.iouThrs = np.array([0.5])
    evaluation.evaluate()
    verdicts = {}
    for each in filter(None, evaluation.evalImgs[:: len(evaluation.params.areaRng)]):  # of any area
        rows = zip(each["dtScores"], each["dtMatches"][0] > 0, each["dtIgnore"][0], strict=True)
        verdicts |= {score: (bool(found and not ignored), bool(ignored)) for score, found, ignored in rows}
    return verdicts


@pytest.mark.parametrize("seed", range(20))
def test_it_is_what_pycocotools_finds(seed: int) -> None:
    random = np.random.default_rng(seed)
    found, objects = boxes(40, random), boxes(12, random)
    labels, classes, crowds = random.integers(0, 2, 40), random.integers(0, 2, 12), random.random(12) < 0.25
    scores = random.permutation(40) / 40
    detections = [
        dict(id=i + 1, image_id=1, category_id=labels[i], bbox=found[i], score=scores[i], area=found[i, 2:].prod())
        for i in range(40)
    ]
    truth = [
        dict(id=i + 1, image_id=1, category_id=classes[i], bbox=objects[i], iscrowd=crowds[i], area=1.0)
        for i in range(12)
    ]
    expected = by_pycocotools(detections, truth)
    corners = np.hstack([found[:, :2], found[:, :2] + found[:, 2:]])
    judged = judge(1, corners, scores, labels, list(zip(classes, objects, crowds, strict=True)))
    assert judged.num_objects == (~crowds).sum()
    assert dict(zip(judged.scores, judged.right, strict=True)) == {
        score: right for score, (right, ignored) in expected.items() if not ignored
    }
    assert (judged.ious[judged.right] >= 0.5).all()


def test_each_object_is_found_once() -> None:
    objects = np.array([[0, 0, 10, 10], [20, 0, 10, 10]])
    detections = np.array([[0, 0, 10, 9], [0, 0, 10, 10], [21, 0, 9, 10], [50, 50, 10, 10]])
    found = matched(detections, objects, [False, False])
    assert found.ious.tolist() == [0.9, 0, 0.9, 0]
    assert found.objects.tolist() == [0, -1, 1, -1]
    assert not found.ignored.any()
    assert not matched(detections, NO_BOXES, []).ious.any()
    assert matched(NO_BOXES, objects, [False, False]).ious.shape == (0,)


def test_in_a_crowd_nothing_is_wrong() -> None:
    """The crowd is large, and its IoU is the share of the detection in it."""
    objects = np.array([[0, 0, 100, 100], [10, 10, 20, 20]])
    detections = np.array([[10, 10, 20, 20], [10, 10, 20, 21], [90, 0, 30, 10]])
    found = matched(detections, objects, [True, False])
    assert found.ious.tolist() == [1, 0, 0]
    assert found.ignored.tolist() == [False, True, False]


def test_images_together() -> None:
    one = judge(7, np.array([[0.0, 0, 10, 10]]), np.array([0.5]), np.array([0]), [(0, [0, 0, 10, 10], False)])
    nothing = judge(8, NO_BOXES, np.zeros(0), np.zeros(0, dtype=int), [(0, [0, 0, 10, 10], False)])
    both = together([one, nothing])
    assert (both.images.tolist(), both.right.tolist(), both.num_objects) == ([7], [True], 2)
    assert len(together([])) == 0
    assert isinstance(together([]), Judged)
