"""Soft non-maximum suppression against its definition, one box and one pair at a time."""

import math

import numpy as np
import pytest
import torch

import brs_detr.ops  # noqa: F401  (first: it makes mmcv.ops importable)

# isort: split
import mmcv.ops

from tests.ops.test_nms import iou, random_boxes

METHODS = ("naive", "linear", "gaussian")


def loop_soft_nms(boxes, scores, threshold, sigma, min_score, method, offset) -> list[tuple[int, float]]:
    """(index, decayed score) of the kept boxes."""
    left, kept = dict(enumerate(scores.tolist())), []
    while left:
        best = max(left, key=lambda i: left[i])
        kept.append((best, left.pop(best)))
        for i in list(left):
            overlap = iou(boxes[best].tolist(), boxes[i].tolist(), offset)
            if method == "gaussian":
                left[i] *= math.exp(-(overlap**2) / sigma)
            elif overlap >= threshold:
                left[i] *= 1 - overlap if method == "linear" else 0
            if left[i] < min_score:
                del left[i]
    return kept


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("min_score", [0.1, 0.3])
@pytest.mark.parametrize("method", METHODS)
def test_soft_nms_is_its_definition(method: str, min_score: float, offset: int) -> None:
    generator = torch.Generator().manual_seed(6)
    boxes, scores = random_boxes(80, generator).float(), torch.rand(80, generator=generator)
    options = dict(sigma=0.4, min_score=min_score, method=method, offset=offset)
    detections, kept = mmcv.ops.soft_nms(boxes, scores, 0.3, **options)
    expected = loop_soft_nms(boxes, scores, threshold=0.3, **options)
    assert kept.tolist() == [index for index, _ in expected]
    torch.testing.assert_close(detections[:, :4], boxes[kept])
    torch.testing.assert_close(detections[:, 4], torch.tensor([score for _, score in expected]))
    assert 0 < len(kept) < len(boxes)


def test_naive_method_is_plain_nms() -> None:
    generator = torch.Generator().manual_seed(7)
    boxes, scores = random_boxes(60, generator).float(), torch.rand(60, generator=generator)
    _, soft = mmcv.ops.soft_nms(boxes, scores, 0.5, method="naive")
    assert soft.tolist() == mmcv.ops.nms(boxes, scores, 0.5)[1].tolist()


def test_the_best_box_stays_below_the_least_score() -> None:
    """As in mmcv, which compares a score only after a better box has lowered it."""
    boxes, scores = torch.tensor([[0.0, 0, 9, 9], [50, 50, 59, 59]]), torch.tensor([0.01, 0.02])
    assert mmcv.ops.soft_nms(boxes, scores, min_score=0.1)[1].tolist() == [1]


@pytest.mark.parametrize("method", METHODS)
def test_empty_boxes_do_not_spoil_scores(method: str) -> None:
    detections, kept = mmcv.ops.soft_nms(torch.ones(3, 4), torch.tensor([0.3, 0.9, 0.5]), method=method)
    assert kept.tolist() == [1, 2, 0]
    torch.testing.assert_close(detections[:, 4], torch.tensor([0.9, 0.5, 0.3]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_soft_nms_takes_low_precision_and_nothing(dtype: torch.dtype) -> None:
    boxes = torch.tensor([[0, 0, 10, 10], [0, 0, 10, 8], [20, 20, 30, 30]], dtype=dtype)
    scores = torch.tensor([0.5, 0.75, 0.25], dtype=dtype)
    detections, kept = mmcv.ops.soft_nms(boxes, scores, 0.5)
    assert kept.tolist() == [1, 2, 0]
    torch.testing.assert_close(detections[2, 4].float(), torch.tensor(0.1), atol=1e-3, rtol=0)
    assert detections.dtype == dtype
    assert mmcv.ops.soft_nms(boxes[:0], scores[:0])[0].shape == (0, 5)


def test_inputs_are_not_changed() -> None:
    boxes, scores = np.array([[0, 0, 9, 9], [0, 0, 9, 8]], dtype=np.float32), np.array([0.9, 0.8], dtype=np.float32)
    detections, _ = mmcv.ops.soft_nms(boxes, scores)
    assert scores.tolist() == pytest.approx([0.9, 0.8])
    assert detections[1, 4] == pytest.approx(0.8 / 9, rel=1e-5)


@pytest.mark.parametrize("split_threshold", [10_000, 10])
def test_batched_soft_nms_keeps_classes_apart(split_threshold: int) -> None:
    generator = torch.Generator().manual_seed(8)
    boxes, scores = random_boxes(60, generator).float(), torch.rand(60, generator=generator)
    classes = torch.randint(0, 3, (60,), generator=generator)
    config = {"type": "soft_nms", "iou_threshold": 0.4, "min_score": 0.05, "split_thr": split_threshold}
    detections, kept = mmcv.ops.batched_nms(boxes, scores, classes, config)
    expected = {}
    for label in range(3):
        members = torch.nonzero(classes == label).flatten()
        found = loop_soft_nms(boxes[members], scores[members], 0.4, 0.5, 0.05, "linear", 0)
        expected |= {int(members[i]): score for i, score in found}
    assert dict(zip(kept.tolist(), detections[:, 4].tolist(), strict=True)) == pytest.approx(expected, abs=1e-4)
    assert torch.equal(detections[:, 4].sort(descending=True).values, detections[:, 4])
