"""What a Detector is made of: config, checkpoint, threshold; and what cannot be used."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config

from brs_detr import Detector
from brs_detr.data.calibration import Calibration
from brs_detr.errors import InputError
from tests.engine.demo import LOW, assert_same, save_checkpoint
from tests.reference import ROOT


def test_the_threshold(
    demo_config: Path, digit_images: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture, demo_weights: Path
) -> None:
    guessing = Detector(demo_config, demo_weights, device="cpu")
    assert guessing.threshold == 0.3
    found = guessing(digit_images)
    assert not any(map(len, found))
    best = max(each.best_score for each in found)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: no score reaches the threshold of 0.3, the best is {best:.3g}: ")
    assert "--score-thr" in line
    guessing(digit_images[0])
    assert capsys.readouterr().err == ""  # said once
    chosen = Detector(demo_config, demo_weights, device="cpu", threshold=0.99)
    assert len(chosen(digit_images[0])) == 0
    assert capsys.readouterr().err == ""


def test_calibrated_scores(
    demo_config: Path, demo_detector: Detector, digit_images: list[Path], tmp_path: Path, demo_weights: Path
) -> None:
    stored = Calibration((0.0, 0.05, 0.2), (0.1, 0.5, 0.9), 0.45)
    checkpoint = save_checkpoint(tmp_path / "calibrated.pth", stored)
    calibrated = Detector(demo_config, checkpoint, device="cpu")
    assert calibrated.threshold == 0.45
    plain = Detector(demo_config, demo_weights, device="cpu", threshold=0.0)
    for path in digit_images:
        every, found = plain(path), calibrated(path)
        expected = stored(every.scores)
        assert np.abs(found.scores - expected[expected >= 0.45]).max(initial=0) < 1e-6
        assert np.array_equal(found.boxes, every.boxes[expected >= 0.45])
        assert found.best_score == pytest.approx(float(expected.max()))
    assert Detector(demo_config, checkpoint, device="cpu", threshold=0.7).threshold == 0.7


def test_what_cannot_be_used(
    demo_config: Path, demo_detector: Detector, digit_images: list[Path], tmp_path: Path, demo_weights: Path
) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "tiny.py").write_text(demo_config.read_text())
    (tmp_path / "empty").mkdir()
    atss = ROOT / "configs" / "atss" / "atss_tiny_digits.py"
    more = {"model.bbox_head.num_classes": 4}
    for arguments, options, sentence in (
        ((tmp_path / "nowhere.py", demo_weights), {}, r"The config \S+nowhere\.py does not exist"),
        ((tmp_path / "work",), {}, "The work directory .* holds no checkpoint"),
        ((tmp_path / "empty",), {}, "The work directory .* holds no checkpoint"),
        ((tmp_path / "empty", demo_weights), {}, "The folder .* holds no config"),
        ((demo_config,), {}, "A CHECKPOINT goes with"),
        ((demo_config, "nowhere.pth"), {}, r"The checkpoint nowhere\.pth does not exist"),
        ((demo_config, demo_config), {}, "is not a checkpoint"),
        ((atss, demo_weights), {}, "is of another architecture than the model"),
        ((demo_config, demo_weights), {"options": more}, "num_classes = 4, but metainfo.classes"),
        (
            (demo_config, demo_weights),
            {"options": {"model.type": "CoDETTR"}},
            "names the type CoDETTR.*did you mean CoDETR",
        ),
        ((demo_config, demo_weights), {"threshold": float("nan")}, "The threshold nan is not a score"),
        ((demo_config, demo_weights), {"batch_size": 0}, "batch_size is 0"),
        ((demo_config, demo_weights), {"batch_size": 2.5}, r"batch_size is 2\.5: .* a whole number"),
        ((demo_config, demo_weights), {"device": "tpu9"}, "tpu9 is not a device"),
    ):
        with pytest.raises(InputError, match=sentence):
            Detector(*arguments, **options)
    with pytest.raises(InputError, match="holds no images"):
        demo_detector(tmp_path / "empty")
    with pytest.raises(InputError, match="An image cannot be list"):
        demo_detector([digit_images])


def test_what_is_not_finite(demo_config: Path, digit_images: list[Path], demo_weights: Path) -> None:
    detector = Detector(demo_config, demo_weights, device="cpu")
    with torch.no_grad():
        next(weight for name, weight in detector.model.named_parameters() if "reg_branches" in name).fill_(torch.nan)
    with pytest.raises(InputError, match=r"NaN or infinite: the checkpoint's training diverged"):
        detector(digit_images[0])


def test_work_directory(
    demo_config: Path, demo_detector: Detector, digit_images: list[Path], tmp_path: Path, demo_weights: Path
) -> None:
    (tmp_path / "tiny.py").write_text(demo_config.read_text())
    (tmp_path / "epoch_1.pth").write_bytes(demo_weights.read_bytes())
    assert_same(Detector(tmp_path, device="cpu", threshold=LOW)(digit_images[0]), demo_detector(digit_images[0]))


def test_a_config_that_has_been_read(
    demo_config: Path, demo_detector: Detector, digit_images: list[Path], demo_weights: Path
) -> None:
    read = Config.fromfile(demo_config)
    with pytest.raises(InputError, match="change the Config itself"):
        Detector(read, demo_weights, options={"model.num_queries": 3})
    read.test_dataloader.dataset.pipeline[1].scale = (160, -1)
    wrong = Detector(read, demo_weights, device="cpu")
    with pytest.raises(InputError, match="has a pipeline that fails in Resize"):
        list(wrong.stream(digit_images, []))
    read.test_dataloader.dataset.pipeline[1].scale = (160, 160)
    assert_same(
        Detector(read, demo_weights, device="cpu", threshold=LOW)(digit_images[0]), demo_detector(digit_images[0])
    )
