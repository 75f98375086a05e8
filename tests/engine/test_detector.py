"""The object that predicts: whatever an image is given as, the same detections; alone as beside others."""

import logging
import random
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from brs_detr import Detections, Detector
from brs_detr.data.images import read_image
from brs_detr.engine import launch
from brs_detr.errors import InputError
from tests.engine.demo import LOW, assert_same
from tests.reference import ROOT


def test_every_form_of_an_image(demo_detector: Detector, digit_images: list[Path]) -> None:
    pixels = read_image(digit_images[0])
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)
    expected = demo_detector(digit_images[0])
    assert len(expected) >= 2
    assert expected.scores.tolist() == sorted(expected.scores.tolist(), reverse=True)
    assert min(expected.scores) >= LOW
    assert (expected.path, expected.size) == (digit_images[0], pixels.shape[1::-1])
    assert set(expected.names) <= set("0123456789")
    for form in (str(digit_images[0]), pixels, pixels / 255, Image.open(digit_images[0]), tensor, tensor / 255):
        assert_same(demo_detector(form), expected, 1e-6)
    assert np.array_equal(demo_detector(pixels).image, expected.image)


def test_lists_and_folders(demo_detector: Detector, digit_images: list[Path]) -> None:
    alone = [demo_detector(path) for path in digit_images]
    together = demo_detector([read_image(digit_images[0]), str(digit_images[1]), *digit_images[2:]])
    assert isinstance(together, list)
    assert [found.number for found in together] == [0, 1, 2, 3]
    folder = demo_detector(digit_images[0].parent)
    assert isinstance(folder, Iterator)
    for found, listed, expected in zip(folder, together, alone, strict=True):
        assert found.path == expected.path
        assert_same(found, expected)
        assert_same(listed, expected)
    assert [found.path for found in demo_detector.stream(str(digit_images[0].parent))] == digit_images
    assert demo_detector([]) == []


def shapes(images: list[Path]) -> list[np.ndarray]:
    """Of different sizes when they reach the model."""
    pixels = [read_image(path) for path in images]
    return [pixels[0], pixels[1], pixels[2][:48], pixels[3][:, :40]]


def count_passes(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Gets the number of images of each forward pass."""
    passes: list[int] = []
    step = detector.model.test_step
    monkeypatch.setattr(detector.model, "test_step", lambda data: (passes.append(len(data["inputs"])), step(data))[1])
    return passes


def test_other_images_do_not_matter(
    demo_detector: Detector, digit_images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = [demo_detector(pixels) for pixels in shapes(digit_images)]
    passes = count_passes(demo_detector, monkeypatch)
    for found, expected in zip(demo_detector(shapes(digit_images)), alone, strict=True):
        assert_same(found, expected)
    assert passes == [2, 1, 1]


def test_padded_images_share_a_pass(
    demo_config: Path, digit_images: list[Path], monkeypatch: pytest.MonkeyPatch, demo_weights: Path
) -> None:
    """What fills the batch is as without the others; padding changes the rest a little, but no box much."""
    detector = Detector(demo_config, demo_weights, device="cpu", threshold=LOW, pad=True)
    alone = [detector(pixels) for pixels in shapes(digit_images)]
    passes = count_passes(detector, monkeypatch)
    together = detector(shapes(digit_images))
    assert passes == [4]
    for found, expected in zip(together[:2], alone[:2], strict=True):
        assert_same(found, expected)
    for found, expected in zip(together[2:], alone[2:], strict=True):
        assert found.size == expected.size
        assert abs(found.best_score - expected.best_score) < 0.05
        assert np.abs(found.boxes[0] - expected.boxes[0]).max() < 5


def test_batches_are_no_larger_than_asked_for(
    demo_config: Path, digit_images: list[Path], monkeypatch: pytest.MonkeyPatch, demo_weights: Path
) -> None:
    detector = Detector(demo_config, demo_weights, device="cpu", batch_size=3)
    passes = count_passes(detector, monkeypatch)
    stream = detector.stream([*digit_images, *digit_images])
    next(stream)
    assert passes == [3]
    assert len(list(stream)) == 7
    assert passes == [3, 3, 2]


def test_images_before_a_broken_one_are_given(demo_detector: Detector, digit_images: list[Path]) -> None:
    broken = np.zeros((4, 4), np.uint16)
    given: list[Detections] = []
    with pytest.raises(InputError, match="Image 1: The pixels of an image are uint16"):
        given.extend(demo_detector.stream([digit_images[0], broken, digit_images[1]]))
    assert [found.path for found in given] == digit_images[:1]
    left_out: list[str] = []
    found = list(demo_detector.stream([digit_images[0], broken, "nowhere.png", digit_images[1]], left_out))
    assert [each.number for each in found] == [0, 3]
    assert len(left_out) == 2
    assert left_out[1] == "The image nowhere.png does not exist."


def test_video(demo_detector: Detector, digit_images: list[Path], tmp_path: Path) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "video.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 5, (64, 64))
    for path in digit_images * 2:
        writer.write(cv2.imread(str(path)))
    writer.release()
    numbers = []
    for frame, found in demo_detector.video(tmp_path / "video.avi"):
        numbers.append(found.number)
        assert np.abs(frame.astype(int) - read_image(digit_images[found.number % 4])).mean() < 15
        if found.number < 2:
            assert_same(found, demo_detector(frame))
    assert numbers == list(range(8))
    content = (tmp_path / "video.avi").read_bytes()
    (tmp_path / "half.avi").write_bytes(content[: len(content) // 2])
    seen: list[tuple] = []
    with pytest.raises(InputError, match="breaks off"):
        seen.extend(demo_detector.video(tmp_path / "half.avi"))
    assert 0 < len(seen) < 8


def test_the_results_have_the_ap_of_the_evaluation(
    demo_config: Path, digits: Path, tmp_path: Path, demo_weights: Path
) -> None:
    metrics = launch.evaluate(str(demo_config), str(demo_weights), folder=str(tmp_path))
    truth = COCO(str(digits / "annotations" / "val.json"))
    detector = Detector(demo_config, demo_weights, device="cpu", threshold=0.0)
    results = [entry for found in detector(digits / "val") for entry in found.to_coco()]
    assert {entry["image_id"] for entry in results} == {1, 2, 3, 4}
    evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert metrics["bbox_mAP"] > 0.1
    assert round(evaluation.stats[0], 3) == metrics["bbox_mAP"]
    assert round(evaluation.stats[1], 3) == metrics["bbox_mAP_50"]


@pytest.fixture(scope="module")
def masks(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    """Mask R-CNN, untrained."""
    config = ROOT / "configs" / "mask_rcnn" / "brs-mask-rcnn_tiny_digits.py"
    path = tmp_path_factory.mktemp("masks") / "model.pth"
    torch.manual_seed(0)
    torch.save(MODELS.build(Config.fromfile(config).model).state_dict(), path)
    options = {"model.test_cfg.rcnn.score_thr": 0.0, "model.test_cfg.rcnn.max_per_img": 5}
    return Detector(config, path, device="cpu", threshold=0.0, options=options)


def test_masks(masks: Detector, digit_images: list[Path]) -> None:
    (found, again) = masks(digit_images[:2])
    for each in (found, again):
        assert each.masks is not None
        assert each.masks.shape == (5, 64, 64)
        assert each.masks.dtype == bool
    assert found.to_coco()[0]["segmentation"]["size"] == [64, 64]
    assert (found.plot() != found[[]].plot()).any()


def test_nothing_of_the_process_changes(
    demo_config: Path, digit_images: list[Path], monkeypatch: pytest.MonkeyPatch, demo_weights: Path
) -> None:
    monkeypatch.setattr(DefaultScope, "_instance_dict", {})  # as in a program that has not chosen any

    def state() -> tuple:
        numbers = torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()
        others = list(warnings.filters), list(logging.root.handlers), logging.root.level, dict(vars(logging.root))
        return *numbers, *others, dict(DefaultScope._instance_dict), torch.is_grad_enabled(), torch.get_num_threads()

    before = state()
    detector = Detector(demo_config, demo_weights, device="cpu", threshold=LOW)
    assert state() == before
    assert len(detector(digit_images[0])) > 1
    assert state() == before
    assert not any(module.training for module in detector.model.modules())


def test_two_detectors_and_threads(demo_detector: Detector, masks: Detector, digit_images: list[Path]) -> None:
    expected = [demo_detector(path) for path in digit_images]
    with ThreadPoolExecutor(4) as pool:
        ours = pool.map(demo_detector, digit_images * 3)
        others = list(pool.map(masks, digit_images))
    for number, found in enumerate(ours):
        assert_same(found, expected[number % 4])
    assert all(len(found) == 5 for found in others)
