"""D-ECE and LaECE: their definitions in loops and Python's float64."""

import numpy as np
import pytest

from brs_detr.data.calibration_error import d_ece, laece
from brs_detr.data.judging import Judged


def error_of_class(scores: list[float], targets: list[float], bins: int) -> float:
    total = 0.0
    for j in range(bins):
        low, high = j / bins, (j + 1) / bins
        inside = [i for i, score in enumerate(scores) if low < score <= high or score == low == 0]
        if inside:
            mean_score = sum(scores[i] for i in inside) / len(inside)
            mean_target = sum(targets[i] for i in inside) / len(inside)
            total += len(inside) / len(scores) * abs(mean_score - mean_target)
    return total


@pytest.mark.parametrize("seed", range(5))
def test_the_definitions(seed: int) -> None:
    random = np.random.default_rng(seed)
    scores = random.choice([0.0, 0.04, 0.5, 1.0, *random.random(10)], 200)  # edges of bins among them
    ious = np.where(random.random(200) < scores, random.uniform(0.5, 1, 200), 0)
    labels = random.choice([0, 2, 5], 200)
    judged = Judged(scores, ious, labels, np.zeros(200, dtype=int), 100)
    right = [float(iou > 0) for iou in ious]
    assert d_ece(judged, scores) == pytest.approx(error_of_class(scores.tolist(), right, 10), abs=1e-12)
    of_classes = [
        error_of_class(
            [score for score, each in zip(scores.tolist(), labels, strict=True) if each == label],
            [iou for iou, each in zip(ious.tolist(), labels, strict=True) if each == label],
            25,
        )
        for label in (0, 2, 5)
    ]
    assert laece(judged, scores) == pytest.approx(sum(of_classes) / 3, abs=1e-12)


def test_the_best_and_the_worst() -> None:
    ious = np.array([1.0, 0, 1, 0])
    judged = Judged(ious, ious, np.zeros(4, dtype=int), np.arange(4), 2)
    assert (d_ece(judged, ious), laece(judged, ious)) == (0, 0)
    assert (d_ece(judged, 1 - ious), laece(judged, 1 - ious)) == (1, 1)
    nothing = Judged(*np.zeros((4, 0)), 2)
    assert (d_ece(nothing, np.zeros(0)), laece(nothing, np.zeros(0))) == (0, 0)
