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
from brs_detr.data.calibration import KEY, Calibration
from brs_detr.data.images import read_image
from brs_detr.engine import launch
from brs_detr.errors import InputError
from brs_detr.weights import read_checkpoint
from tests.reference import ROOT
from tests.scripts.processes import write_config

DEMO = ROOT / "checkpoints" / "demo" / "brs-detr_tiny_digits.pth"
TINY = ROOT / "configs" / "brs_detr" / "brs-detr_tiny_digits.py"
LOW = 0.03  # the demo's scores are low


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, digits: Path) -> Path:
    """The demo's config, on the small data set."""
    return write_config(tmp_path_factory.mktemp("demo"), digits, TINY)


@pytest.fixture(scope="module")
def detector(config: Path) -> Detector:
    return Detector(config, DEMO, device="cpu", threshold=LOW)


@pytest.fixture(scope="module")
def images(digits: Path) -> list[Path]:
    return sorted((digits / "val").glob("*.png"))


def save_checkpoint(path: Path, calibration: Calibration | None) -> Path:
    """The demo's weights, with this calibration or none."""
    content = {name: value for name, value in read_checkpoint(DEMO).items() if name != KEY}
    torch.save(content | ({KEY: calibration.as_dict()} if calibration else {}), path)
    return path


def assert_same(ours: Detections, others: Detections, tolerance: float = 1e-3) -> None:
    assert ours.labels.tolist() == others.labels.tolist()
    assert np.abs(ours.boxes - others.boxes).max(initial=0) < tolerance
    assert np.abs(ours.scores - others.scores).max(initial=0) < tolerance


def test_every_form_of_an_image(detector: Detector, images: list[Path]) -> None:
    pixels = read_image(images[0])
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)
    expected = detector(images[0])
    assert len(expected) >= 2
    assert expected.scores.tolist() == sorted(expected.scores.tolist(), reverse=True)
    assert min(expected.scores) >= LOW
    assert (expected.path, expected.size) == (images[0], pixels.shape[1::-1])
    assert set(expected.names) <= set("0123456789")
    for form in (str(images[0]), pixels, pixels / 255, Image.open(images[0]), tensor, tensor / 255):
        assert_same(detector(form), expected, 1e-6)
    assert np.array_equal(detector(pixels).image, expected.image)


def test_lists_and_folders(detector: Detector, images: list[Path]) -> None:
    alone = [detector(path) for path in images]
    together = detector([read_image(images[0]), str(images[1]), *images[2:]])
    assert isinstance(together, list)
    assert [found.number for found in together] == [0, 1, 2, 3]
    folder = detector(images[0].parent)
    assert isinstance(folder, Iterator)
    for found, listed, expected in zip(folder, together, alone, strict=True):
        assert found.path == expected.path
        assert_same(found, expected)
        assert_same(listed, expected)
    assert [found.path for found in detector.stream(str(images[0].parent))] == images
    assert detector([]) == []


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


def test_other_images_do_not_matter(detector: Detector, images: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    alone = [detector(pixels) for pixels in shapes(images)]
    passes = count_passes(detector, monkeypatch)
    for found, expected in zip(detector(shapes(images)), alone, strict=True):
        assert_same(found, expected)
    assert passes == [2, 1, 1]


def test_padded_images_share_a_pass(config: Path, images: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """What fills the batch is as without the others; padding changes the rest a little, but no box much."""
    detector = Detector(config, DEMO, device="cpu", threshold=LOW, pad=True)
    alone = [detector(pixels) for pixels in shapes(images)]
    passes = count_passes(detector, monkeypatch)
    together = detector(shapes(images))
    assert passes == [4]
    for found, expected in zip(together[:2], alone[:2], strict=True):
        assert_same(found, expected)
    for found, expected in zip(together[2:], alone[2:], strict=True):
        assert found.size == expected.size
        assert abs(found.best_score - expected.best_score) < 0.05
        assert np.abs(found.boxes[0] - expected.boxes[0]).max() < 5


def test_batches_are_no_larger_than_asked_for(
    config: Path, images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = Detector(config, DEMO, device="cpu", batch_size=3)
    passes = count_passes(detector, monkeypatch)
    stream = detector.stream([*images, *images])
    next(stream)
    assert passes == [3]
    assert len(list(stream)) == 7
    assert passes == [3, 3, 2]


def test_images_before_a_broken_one_are_given(detector: Detector, images: list[Path]) -> None:
    broken = np.zeros((4, 4), np.uint16)
    given: list[Detections] = []
    with pytest.raises(InputError, match="Image 1: The pixels of an image are uint16"):
        given.extend(detector.stream([images[0], broken, images[1]]))
    assert [found.path for found in given] == images[:1]
    left_out: list[str] = []
    found = list(detector.stream([images[0], broken, "nowhere.png", images[1]], left_out))
    assert [each.number for each in found] == [0, 3]
    assert len(left_out) == 2
    assert left_out[1] == "The image nowhere.png does not exist."


def test_video(detector: Detector, images: list[Path], tmp_path: Path) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "video.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 5, (64, 64))
    for path in images * 2:
        writer.write(cv2.imread(str(path)))
    writer.release()
    numbers = []
    for frame, found in detector.video(tmp_path / "video.avi"):
        numbers.append(found.number)
        assert np.abs(frame.astype(int) - read_image(images[found.number % 4])).mean() < 15
        if found.number < 2:
            assert_same(found, detector(frame))
    assert numbers == list(range(8))
    content = (tmp_path / "video.avi").read_bytes()
    (tmp_path / "half.avi").write_bytes(content[: len(content) // 2])
    seen: list[tuple] = []
    with pytest.raises(InputError, match="breaks off"):
        seen.extend(detector.video(tmp_path / "half.avi"))
    assert 0 < len(seen) < 8


def test_the_threshold(config: Path, images: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    raw = Detector(config, save_checkpoint(tmp_path / "raw.pth", None), device="cpu")
    assert raw.threshold == 0.3
    found = raw(images)
    assert not any(map(len, found))
    best = max(each.best_score for each in found)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: no score reaches the threshold of 0.3, the best is {best:.3g}: ")
    assert "--score-thr" in line
    raw(images[0])
    assert capsys.readouterr().err == ""  # said once
    chosen = Detector(config, tmp_path / "raw.pth", device="cpu", threshold=0.99)
    assert len(chosen(images[0])) == 0
    assert capsys.readouterr().err == ""


def test_calibrated_scores(config: Path, detector: Detector, images: list[Path], tmp_path: Path) -> None:
    stored = Calibration((0.0, 0.05, 0.2), (0.1, 0.5, 0.9), 0.45)
    checkpoint = save_checkpoint(tmp_path / "calibrated.pth", stored)
    calibrated = Detector(config, checkpoint, device="cpu")
    assert calibrated.threshold == 0.45
    plain = Detector(config, save_checkpoint(tmp_path / "raw.pth", None), device="cpu", threshold=0.0)
    for path in images:
        raw, found = plain(path), calibrated(path)
        expected = stored(raw.scores)
        assert np.abs(found.scores - expected[expected >= 0.45]).max(initial=0) < 1e-6
        assert np.array_equal(found.boxes, raw.boxes[expected >= 0.45])
        assert found.best_score == pytest.approx(float(expected.max()))
    assert Detector(config, checkpoint, device="cpu", threshold=0.7).threshold == 0.7


def test_the_results_have_the_ap_of_the_evaluation(config: Path, digits: Path, tmp_path: Path) -> None:
    metrics = launch.evaluate(str(config), str(DEMO), folder=str(tmp_path))
    truth = COCO(str(digits / "annotations" / "val.json"))
    detector = Detector(config, DEMO, device="cpu", threshold=0.0)
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


def test_masks(masks: Detector, images: list[Path]) -> None:
    (found, again) = masks(images[:2])
    for each in (found, again):
        assert each.masks is not None
        assert each.masks.shape == (5, 64, 64)
        assert each.masks.dtype == bool
    assert found.to_coco()[0]["segmentation"]["size"] == [64, 64]
    assert (found.plot() != found[[]].plot()).any()


def test_nothing_of_the_process_changes(config: Path, images: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DefaultScope, "_instance_dict", {})  # as in a program that has not chosen any

    def state() -> tuple:
        numbers = torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()
        others = list(warnings.filters), list(logging.root.handlers), logging.root.level, dict(vars(logging.root))
        return *numbers, *others, dict(DefaultScope._instance_dict), torch.is_grad_enabled(), torch.get_num_threads()

    before = state()
    detector = Detector(config, DEMO, device="cpu", threshold=LOW)
    assert state() == before
    assert len(detector(images[0])) > 1
    assert state() == before
    assert not any(module.training for module in detector.model.modules())


def test_two_detectors_and_threads(detector: Detector, masks: Detector, images: list[Path]) -> None:
    expected = [detector(path) for path in images]
    with ThreadPoolExecutor(4) as pool:
        ours = pool.map(detector, images * 3)
        others = list(pool.map(masks, images))
    for number, found in enumerate(ours):
        assert_same(found, expected[number % 4])
    assert all(len(found) == 5 for found in others)


def test_what_cannot_be_used(config: Path, detector: Detector, images: list[Path], tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "tiny.py").write_text(config.read_text())
    (tmp_path / "empty").mkdir()
    atss = ROOT / "configs" / "atss" / "atss_tiny_digits.py"
    more = {"model.bbox_head.num_classes": 4}
    for arguments, options, sentence in (
        ((tmp_path / "nowhere.py", DEMO), {}, r"The config \S+nowhere\.py does not exist"),
        ((tmp_path / "work",), {}, "The work directory .* holds no checkpoint"),
        ((tmp_path / "empty",), {}, "The work directory .* holds no checkpoint"),
        ((tmp_path / "empty", DEMO), {}, "The folder .* holds no config"),
        ((config,), {}, "A CHECKPOINT goes with"),
        ((config, "nowhere.pth"), {}, r"The checkpoint nowhere\.pth does not exist"),
        ((config, config), {}, "is not a checkpoint"),
        ((atss, DEMO), {}, "is of another architecture than the model"),
        ((config, DEMO), {"options": more}, "num_classes = 4, but metainfo.classes"),
        ((config, DEMO), {"options": {"model.type": "CoDETTR"}}, "names the type CoDETTR.*did you mean CoDETR"),
        ((config, DEMO), {"threshold": float("nan")}, "The threshold nan is not a score"),
        ((config, DEMO), {"batch_size": 0}, "batch_size is 0"),
        ((config, DEMO), {"device": "tpu9"}, "tpu9 is not a device"),
    ):
        with pytest.raises(InputError, match=sentence):
            Detector(*arguments, **options)
    with pytest.raises(InputError, match="holds no images"):
        detector(tmp_path / "empty")
    with pytest.raises(InputError, match="An image cannot be list"):
        detector([images])


def test_what_is_not_finite(config: Path, images: list[Path]) -> None:
    detector = Detector(config, DEMO, device="cpu")
    with torch.no_grad():
        next(weight for name, weight in detector.model.named_parameters() if "reg_branches" in name).fill_(torch.nan)
    with pytest.raises(InputError, match=r"NaN or infinite: the checkpoint's training diverged"):
        detector(images[0])


def test_work_directory(config: Path, detector: Detector, images: list[Path], tmp_path: Path) -> None:
    (tmp_path / "tiny.py").write_text(config.read_text())
    (tmp_path / "epoch_1.pth").write_bytes(DEMO.read_bytes())
    assert_same(Detector(tmp_path, device="cpu", threshold=LOW)(images[0]), detector(images[0]))


def test_a_config_that_has_been_read(config: Path, detector: Detector, images: list[Path]) -> None:
    read = Config.fromfile(config)
    with pytest.raises(InputError, match="change the Config itself"):
        Detector(read, DEMO, options={"model.num_queries": 3})
    read.test_dataloader.dataset.pipeline[1].scale = (160, -1)
    wrong = Detector(read, DEMO, device="cpu")
    with pytest.raises(InputError, match="has a pipeline that fails in Resize"):
        list(wrong.stream(images, []))
    read.test_dataloader.dataset.pipeline[1].scale = (160, 160)
    assert_same(Detector(read, DEMO, device="cpu", threshold=LOW)(images[0]), detector(images[0]))
