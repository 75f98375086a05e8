"""Non-maximum suppression against a plain double loop."""

import numpy as np
import pytest
import torch

import brs_detr.ops  # noqa: F401  (first: it makes mmcv.ops importable)

# isort: split
import mmcv.ops


def random_boxes(n: int, generator: torch.Generator, size: float = 60.0) -> torch.Tensor:
    corner = torch.rand(n, 2, generator=generator, dtype=torch.float64) * size
    extent = torch.rand(n, 2, generator=generator, dtype=torch.float64) * size / 2 + 1
    return torch.cat([corner, corner + extent], dim=1)


def iou(a: list[float], b: list[float], offset: int) -> float:
    def area(box: list[float]) -> float:
        return (box[2] - box[0] + offset) * (box[3] - box[1] + offset)

    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]) + offset)
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]) + offset)
    return width * height / (area(a) + area(b) - width * height)


def loop_nms(boxes: torch.Tensor, scores: torch.Tensor, threshold: float, offset: int) -> list[int]:
    kept: list[int] = []
    for i in scores.argsort(descending=True).tolist():
        if all(iou(boxes[i].tolist(), boxes[k].tolist(), offset) <= threshold for k in kept):
            kept.append(i)
    return kept


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.9])
def test_nms_is_greedy_suppression(offset: int, threshold: float) -> None:
    generator = torch.Generator().manual_seed(3)
    boxes, scores = random_boxes(80, generator), torch.rand(80, generator=generator, dtype=torch.float64)
    detections, kept = mmcv.ops.nms(boxes, scores, threshold, offset=offset)
    assert kept.tolist() == loop_nms(boxes, scores, threshold, offset)
    torch.testing.assert_close(detections, torch.cat([boxes[kept], scores[kept, None]], 1))


def test_nms_offset_decides_between_touching_boxes() -> None:
    """One row of three boxes of 9 pixels: only the extra pixel takes their IoU above the threshold."""
    boxes, scores = torch.tensor([[0.0, 0, 9, 9], [5, 0, 14, 9]]), torch.tensor([0.9, 0.8])
    threshold = 0.3  # IoU is 36 / 126 = 0.286 without and 50 / 150 = 0.333 with the extra pixel
    assert mmcv.ops.nms(boxes, scores, threshold, offset=0)[1].tolist() == [0, 1]
    assert mmcv.ops.nms(boxes, scores, threshold, offset=1)[1].tolist() == [0]


def test_nms_filters_and_limits() -> None:
    generator = torch.Generator().manual_seed(4)
    boxes, scores = random_boxes(50, generator).float(), torch.rand(50, generator=generator)
    _, everything = mmcv.ops.nms(boxes, scores, 0.5)
    _, some = mmcv.ops.nms(boxes, scores, 0.5, score_threshold=0.4, max_num=5)
    assert some.tolist() == [i for i in everything.tolist() if scores[i] > 0.4][:5]
    _, from_numpy = mmcv.ops.nms(boxes.numpy(), scores.numpy(), 0.5)
    assert np.array_equal(from_numpy, everything.numpy())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_nms_takes_low_precision_and_nothing(dtype: torch.dtype) -> None:
    boxes = torch.tensor([[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]], dtype=dtype)
    scores = torch.tensor([0.5, 0.75, 0.25], dtype=dtype)
    assert mmcv.ops.nms(boxes, scores, 0.5)[1].tolist() == [1, 2]
    assert mmcv.ops.nms(boxes[:0], scores[:0], 0.5)[0].shape == (0, 5)


@pytest.mark.parametrize("split_threshold", [10_000, 10])
def test_batched_nms_keeps_classes_apart(split_threshold: int) -> None:
    generator = torch.Generator().manual_seed(5)
    boxes, scores = random_boxes(60, generator), torch.rand(60, generator=generator, dtype=torch.float64)
    classes = torch.randint(0, 3, (60,), generator=generator)
    config = {"type": "nms", "iou_threshold": 0.4, "split_thr": split_threshold}
    _, kept = mmcv.ops.batched_nms(boxes, scores, classes, config)
    expected = []
    for label in range(3):
        members = torch.nonzero(classes == label).flatten()
        expected += [int(members[i]) for i in loop_nms(boxes[members], scores[members], 0.4, 0)]
    assert kept.tolist() == sorted(expected, key=lambda i: -scores[i].item())


@pytest.mark.parametrize("split_threshold", [10_000, 10])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_batched_nms_takes_scores_of_half_precision_beside_boxes_of_full(
    dtype: torch.dtype, split_threshold: int
) -> None:
    """As an RPN calls it under autocast."""
    generator = torch.Generator().manual_seed(6)
    boxes, scores = random_boxes(60, generator).float(), torch.randperm(60, generator=generator) / 64
    levels = torch.randint(0, 3, (60,), generator=generator)
    config = {"type": "nms", "iou_threshold": 0.4, "split_thr": split_threshold}
    expected, places = mmcv.ops.batched_nms(boxes, scores, levels, config)
    detections, kept = mmcv.ops.batched_nms(boxes, scores.to(dtype), levels, config)
    assert kept.tolist() == places.tolist()
    torch.testing.assert_close(detections, expected)
