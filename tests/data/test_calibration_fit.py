"""Fitted maps: what they mean, which one is chosen, that they keep the order and AP, and where there is none."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import expit, logit

from brs_detr.data import calibration_fit, coco_evaluation
from brs_detr.data.calibration import Calibration
from brs_detr.data.calibration_error import d_ece
from brs_detr.data.calibration_fit import METHODS, fit
from brs_detr.data.coco_metric import CocoMetricWithThreshold
from brs_detr.data.judging import Judged

IDENTITY = (0.0, 1.0)


def detections(count: int, share: Callable[[np.ndarray], np.ndarray], seed: int = 0, least: float = 1e-4) -> Judged:
    """Scores of a ranking loss, most of them low, of which this share is right; 40 a image."""
    random = np.random.default_rng(seed)
    scores = np.exp(random.uniform(np.log(least), np.log(0.2), count)).astype(np.float32)
    ious = np.where(random.random(count) < share(scores), 0.75, 0)
    return Judged(scores, ious, np.zeros(count, dtype=int), np.arange(count) // 40, int((ious > 0).sum()) + 5)


def stairs(scores: np.ndarray) -> np.ndarray:
    return np.select([scores < 0.005, scores < 0.03], [0.01, 0.5], 0.95)


def sigmoid(scores: np.ndarray) -> np.ndarray:
    return expit(2 * logit(scores) + 7)


@pytest.mark.parametrize(
    ("share", "chosen"), [(stairs, "isotonic regression"), (sigmoid, "Platt scaling"), (lambda s: s, "identity")]
)
def test_a_score_becomes_the_share_that_is_right(share: Callable, chosen: str) -> None:
    judged = detections(6000, share)
    outcome = fit(judged)
    assert outcome.said == f"calibrated by {chosen} of 6000 detections"
    assert d_ece(judged, outcome.calibrated) < 0.02
    fresh = detections(6000, share, seed=1)
    mapped = outcome.calibration(fresh.scores)
    assert np.abs(mapped - share(fresh.scores)).mean() < 0.02
    assert np.isclose(fit(judged).calibration.threshold, outcome.calibration.threshold)
    half = (mapped > 0.4) & (mapped < 0.6)
    assert not half.any() or abs(fresh.right[half].mean() - mapped[half].mean()) < 0.1


def test_few_detections_take_the_map_of_two_parameters() -> None:
    """Isotonic regression would follow each of them."""
    chosen = [fit(detections(120, sigmoid, seed)).said.split()[2] for seed in range(10)]
    assert chosen.count("Platt") > 5


def test_errors_are_of_images_that_were_not_fitted_to() -> None:
    judged = detections(200, stairs)
    fitted: list[np.ndarray] = []

    def spy(scores: np.ndarray, right: np.ndarray) -> calibration_fit.Knots:
        fitted.append(scores)
        return calibration_fit.isotonic(scores, right)

    held_out = calibration_fit._held_out(spy, judged)
    assert len(fitted) == 5
    for scores in fitted:
        left_out = ~np.isin(judged.scores, scores.astype(np.float32))
        assert len(np.unique(judged.images[left_out])) == 1
        assert left_out.sum() == 40
        expected = np.interp(judged.scores[left_out], *calibration_fit.isotonic(scores, judged.right[~left_out]))
        assert (held_out[left_out] == expected).all()


def problems() -> list[tuple[np.ndarray, np.ndarray]]:
    """Scores in [0, 1] and what is right, of many kinds."""
    random, made = np.random.default_rng(0), []
    for low, high in ((0, 1), (1e-30, 1e-29), (0.5, 0.5 + 1e-6), (1 - 1e-6, 1), (0, 1e-3), (0.2, 0.2), (0, 0), (1, 1)):
        scores = random.uniform(low, high, 300).astype(np.float32).astype(np.float64)
        made += [(scores, random.random(300) < share) for share in (0.01, 0.5, 0.99)]
        made += [(scores, scores > np.median(scores)), (scores, scores < np.median(scores))]
    return made


@pytest.mark.parametrize("method", METHODS)
def test_every_map_increases_in_float32(method: str) -> None:
    for scores, right in problems():
        knots, mapped = METHODS[method](scores, right)
        Calibration(tuple(knots.tolist()), tuple(mapped.tolist()), 0.5)  # which looks at it
        assert (knots[0], mapped[0], knots[-1]) == (0, 0, 1)


def test_scores_stay_apart() -> None:
    judged = detections(20_000, stairs)
    mapped = fit(judged).calibration(judged.scores)
    assert mapped.dtype == np.float32
    assert len(np.unique(mapped)) > 0.995 * len(np.unique(judged.scores))
    assert (np.diff(mapped[np.argsort(judged.scores, kind="stable")]) >= 0).all()


def only(judged: Judged, chosen: Any, **changes: Any) -> Judged:
    names = ("scores", "ious", "labels", "images")
    return Judged(**{name: getattr(judged, name)[chosen] for name in names} | {"num_objects": 9} | changes)


@pytest.mark.parametrize(
    ("chosen", "changes", "said", "map_is"),
    [
        (slice(0), {}, "not calibrated: there is no detection", None),
        (slice(50), {"ious": np.zeros(50)}, "not calibrated: none of 50 detections is right", None),
        (slice(50), {"scores": np.full(50, 3.0)}, "not calibrated: scores are not from 0 to 1", None),
        (slice(50), {"scores": np.full(50, np.nan)}, "not calibrated: scores are not from 0 to 1", None),
        (slice(50), {"ious": np.ones(50)}, "scores kept as they are: all 50 detections are right", IDENTITY),
        (slice(40), {}, "scores kept as they are: all detections are of one image", IDENTITY),
        (slice(36, 45), {}, "scores kept as they are: 9 detections are fewer than 10", IDENTITY),
    ],
)
def test_where_there_is_nothing_to_fit(chosen: slice, changes: dict, said: str, map_is: tuple | None) -> None:
    judged = only(detections(200, stairs), chosen, **changes)
    calibration, calibrated, sentence = fit(judged)
    assert (sentence, calibrated) == (said, None)
    assert (calibration and calibration.scores) == (calibration and calibration.calibrated) == map_is
    if calibration:
        assert calibration.threshold in judged.scores


@pytest.mark.parametrize("images", [2, 3])
def test_a_fold_without_a_right_detection(images: int) -> None:
    judged = detections(40 * images, stairs)
    ious = np.where(judged.images == 0, np.where(judged.scores > 0.01, 0.75, 0), 0)
    calibration, calibrated, _ = fit(only(judged, slice(None), ious=ious))
    assert np.isfinite(calibrated).all()
    assert 0 < calibration.threshold < 1


def coco_problem(folder: Path) -> tuple[CocoMetricWithThreshold, list[tuple[dict, dict]]]:
    """Detections of 60 images near their objects and elsewhere, with narrow scores, and a metric for them."""
    random, results = np.random.default_rng(0), []
    content: dict[str, list] = {"images": [], "annotations": [], "categories": [{"id": 3, "name": "a"}]}
    content["categories"].append({"id": 9, "name": "b"})
    for image in range(1, 61):
        content["images"].append({"id": image, "width": 500, "height": 500, "file_name": f"{image}.png"})
        corners, sizes = random.uniform(0, 400, (5, 2)), random.uniform(20, 90, (5, 2))
        for corner, size, label in zip(corners, sizes, random.choice([3, 9], 5), strict=True):
            box, area = [*corner, *size], float(size.prod())
            row = dict(id=len(content["annotations"]) + 1, image_id=image, category_id=int(label), bbox=box, area=area)
            content["annotations"].append(row | {"iscrowd": int(random.random() < 0.1)})
        near = np.repeat(np.hstack([corners, corners + sizes]), 8, axis=0) + random.normal(0, 6, (40, 4))
        scores = 0.02 + 0.05 * random.random(40) ** 2
        results.append((image, near.astype(np.float32), scores.astype(np.float32), random.integers(0, 2, 40)))
    (folder / "truth.json").write_text(json.dumps(content))
    metric = CocoMetricWithThreshold(ann_file=str(folder / "truth.json"), metric="bbox")
    metric.dataset_meta = dict(classes=("a", "b"))
    names = ("img_id", "bboxes", "scores", "labels")
    return metric, [({}, dict(zip(names, each, strict=True))) for each in results]


def test_ap_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluations: list[Any] = []
    monkeypatch.setattr(coco_evaluation, "precision_by_class", lambda made: evaluations.extend(made) or {})
    metric, results = coco_problem(tmp_path)
    metrics = metric.compute_metrics(results)
    assert metrics["d_ece_calibrated"] < 0.5 * metrics["d_ece"]
    assert len(metric.judged) < 60 * 40  # without those in crowds
    calibration = metric.outcome.calibration
    assert metrics["calibrated_score_thr"] == calibration.threshold > 0.1 > metrics["score_thr"]
    for _, predicted in results:
        predicted["scores"] = calibration(predicted["scores"])
    again = metric.compute_metrics(results)
    before, after = (each.stats for each in evaluations)
    assert before[0] > 0.05
    assert after == pytest.approx(before, abs=1e-6)
    assert again["score_thr"] == calibration.threshold  # the same detections pass
    assert json.loads(json.dumps(metrics)) == metrics
