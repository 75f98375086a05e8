"""The page's numbers, what it may hold, and input that cannot be used."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from brs_detr import Detector
from brs_detr.data.coco_metric import best_threshold
from brs_detr.engine.report import evaluation, page
from brs_detr.engine.report.collecting import Collection, collect, source_of
from brs_detr.engine.report.command import report
from brs_detr.engine.report.content import training
from brs_detr.engine.report.crops import cut
from brs_detr.engine.report.errors import Table
from brs_detr.errors import InputError
from tests.engine.report.conftest import CLASSES

Program = Callable[..., tuple[int, str, str]]


def content_of(file: Path) -> dict[str, Any]:
    text = re.findall(r'<script type="application/json" id="content">(.*)</script>\n', file.read_text())
    assert len(text) == 1
    return json.loads(text[0])


@pytest.fixture
def content(page_file: Path) -> dict[str, Any]:
    return content_of(page_file)


def test_the_page_is_whole(page_file: Path, content: dict[str, Any]) -> None:
    text = page_file.read_text()
    assert text.startswith(page.BEGINNING)
    outside = re.sub(r'<script type="application/json".*</script>\n', "", text)
    assert not re.findall(r"@@|https?://(?!www\.w3\.org/2000/svg)|@import|\bsrc=|<link|alert", outside)
    assert text.count("<script") == text.count("</script>") == 2  # not those of the classes' names
    assert "default-src 'none'" in text
    assert tuple(content["classes"]) == CLASSES
    assert content["calibrated"]
    assert content["reliability"]["after"]
    assert {series["name"] for series in content["training"]["losses"]} == {"total", "ranking"}
    assert content["training"]["metrics"][0]["y"] == [0.1, 0.2, 0.3]
    assert content["ranking"]["positives"] > 0
    assert content["total"] == 4


def test_precision_is_that_of_the_evaluation(
    program: Program, work_dir: Path, content: dict[str, Any], tmp_path: Path
) -> None:
    status, _, errors = program("test", work_dir, "--out", tmp_path / "metrics.json", "--work-dir", tmp_path / "log")
    assert status == 0, errors
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    for name, value in zip(
        ("mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l"), content["precision"]["boxes"]["all"], strict=True
    ):
        expected = metrics[f"bbox_{name}"]
        assert value is None if expected == -1 else value == pytest.approx(expected, abs=2e-3)
    thresholds = content["thresholds"]
    false = thresholds["found"][0][thresholds["start"]] - thresholds["true"][0][thresholds["start"]]
    assert false == sum(each["number"] for each in content["errors"]["kinds"] if each["kind"] != "missed")
    objects = thresholds["objects"]
    assert objects[0] == sum(objects[1:])


def test_numbers_at_a_threshold() -> None:
    generator = np.random.default_rng(0)
    scores, labels = generator.integers(0, 400, 1000) / 400, generator.integers(0, 3, 1000)
    kinds = np.where(generator.random(1000) < scores, "true", "background")
    found = Table(scores, labels, kinds, np.zeros(1000, int), generator.integers(0, 3, 700), np.full(700, "found"))
    curves = evaluation.threshold_curves(found, 3)
    assert len(curves["thresholds"]) > 100
    for k, threshold in enumerate(curves["thresholds"]):
        for label in (-1, 0, 1, 2):
            above = (scores >= threshold) & ((labels == label) | (label == -1))
            assert curves["found"][label + 1][k] == above.sum()
            assert curves["true"][label + 1][k] == (above & (kinds == "true")).sum()
    assert curves["thresholds"][curves["best"]] == best_threshold(scores, kinds == "true", 700)
    for stored in (0.333, 0.0, 1.0):  # predict shows what reaches it, and so does the page
        curves = evaluation.threshold_curves(found, 3, stored)
        assert curves["thresholds"][curves["start"]] == stored
        assert curves["found"][0][curves["start"]] == (scores >= stored).sum()
    nothing = Table(*(np.zeros(0, each.dtype) for each in (scores, labels, kinds, labels)), labels[:2], kinds[:2])
    assert evaluation.threshold_curves(nothing, 3)["thresholds"] == []


def test_reliability() -> None:
    bins = evaluation.reliability(np.array([0.04, 0.06, 0.55, 1.0]), np.array([False, True, True, True]))
    assert bins == [
        {"number": 2, "score": 0.05, "right": 0.5},
        {"number": 1, "score": 0.55, "right": 1.0},
        {"number": 1, "score": 1.0, "right": 1.0},
    ]
    on_edge = evaluation.reliability(np.array([0.45, 0.5]), np.array([False, True]))  # in the bins of reliability.png
    assert [each["number"] for each in on_edge] == [2]


def test_crops_stay_in_their_image() -> None:
    pixels = np.zeros((40, 60, 3), np.uint8)
    for box in ((-20, -20, 5, 5), (50, 30, 90, 90), (10, 10, 10, 10), (70, 70, 80, 80), (0, 0, 60, 40)):
        piece = cut(pixels, box)
        assert all(0 <= side <= most for side, most in zip(piece["box"], piece["size"][::-1] * 2, strict=True))


def test_nothing_detected(work_dir: Path, tmp_path: Path) -> None:
    content = torch.load(work_dir / "epoch_1.pth", weights_only=True)
    del content["calibration"]
    torch.save(content, tmp_path / "plain.pth")
    options = {"model.test_cfg.max_per_img": 0}
    path = report(str(work_dir), str(tmp_path / "plain.pth"), tmp_path / "out.html", device="cpu", options=options)
    assert '"thresholds":[]' in path.read_text()


def test_curves_are_those_of_the_training_that_the_checkpoint_is_of(work_dir: Path, tmp_path: Path) -> None:
    """Its folder says so, or an option; the default place of the page goes with them."""
    alone, config = tmp_path / "alone.pth", work_dir / "tiny.py"
    shutil.copy(work_dir / "epoch_1.pth", alone)
    for given, checkpoint, options, curves in (
        (work_dir, alone, None, False),
        (config, alone, {"work_dir": str(work_dir)}, True),
        (config, work_dir / "epoch_1.pth", None, True),
    ):
        written = report(str(given), str(checkpoint), tmp_path / "a.html", images=0, device="cpu", options=options)
        assert bool(content_of(written)["training"]) is curves
    shutil.copytree(work_dir, tmp_path / "copy")
    assert (
        report(str(config), str(tmp_path / "copy" / "epoch_1.pth"), device="cpu") == tmp_path / "copy" / "report.html"
    )


def test_a_log_that_cannot_be_read(tmp_path: Path) -> None:
    log = tmp_path / "log" / "vis_data" / "scalars.json"
    log.parent.mkdir(parents=True)
    for text in ("{", "1", '{"loss": 1}'):  # no whole line, as if there were no log
        log.write_text(text)
        assert training(tmp_path) == (None, [])
    log.write_text('{"loss": 1, "loss_rank": "<b>", "step": 1}')
    curves, remarks = training(tmp_path)
    assert curves is None
    assert "cannot be read" in remarks[0]


def test_an_image_that_cannot_be_read(work_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    images = tmp_path / "images"
    shutil.copytree(work_dir.parent / "digits" / "val", images)
    (images / "000002.png").write_text("no image")
    options = changed(work_dir, tmp_path, images, list_more)  # not among those opened beforehand
    path = report(str(work_dir), str(work_dir / "epoch_1.pth"), tmp_path / "a.html", device="cpu", options=options)
    content = content_of(path)
    assert content["total"] == 8
    assert "000002.png cannot be read" in content["ranking"]["absent"]
    assert content["remarks"][-1].startswith("Images that are left out: 1. The image")
    assert "warning: Images that are left out" in capsys.readouterr().err


def changed(work_dir: Path, tmp_path: Path, images: Path, change: Callable[[dict], None]) -> dict[str, Any]:
    """Options by which a changed annotation file is read."""
    file = tmp_path / "changed.json"
    content = json.loads((work_dir.parent / "digits" / "annotations" / "val.json").read_text())
    change(content)
    file.write_text(json.dumps(content))
    dataset = {"ann_file": str(file), "data_prefix.img": f"{images}/"}
    return {f"test_dataloader.dataset.{key}": value for key, value in dataset.items()} | {
        "test_evaluator.ann_file": str(file)
    }


def list_more(content: dict) -> None:
    """The images but the second once more, so that of nine entries each other one is opened beforehand."""
    others = [content["images"][k] for k in (0, 2, 3, 0, 2)]
    content["images"] += [image | {"id": 90 + k} for k, image in enumerate(others)]


def shrink(path: Path) -> None:
    cv2.imwrite(str(path), cv2.resize(cv2.imread(str(path)), (32, 32)))


def test_data_are_checked_as_evaluation_checks_them(work_dir: Path, tmp_path: Path) -> None:
    """Images of another size are refused, a few are remarked on the page, and so are other names of classes."""
    images = tmp_path / "images"
    shutil.copytree(work_dir.parent / "digits" / "val", images)
    content = torch.load(work_dir / "epoch_1.pth", weights_only=True)
    content["meta"] = {"dataset_meta": {"classes": tuple("abcdefghij")}}
    torch.save(content, tmp_path / "named.pth")
    given = str(work_dir), str(tmp_path / "named.pth"), tmp_path / "a.html"
    options = {"test_dataloader.dataset.data_prefix.img": f"{images}/"}
    shrink(images / "000001.png")
    size, names = content_of(report(*given, images=0, device="cpu", options=options))["remarks"]
    assert "1 of 4 images opened have another size than the file says" in size
    assert "has other class names than the config" in names
    for path in images.iterdir():
        shrink(path)
    with pytest.raises(InputError, match=r"4 of 4 images opened have another size than .*val\.json says"):
        report(*given, device="cpu", options=options)


def collected(work_dir: Path, tmp_path: Path, images: Path, change: Callable[[dict], None]) -> Collection:
    """What a detector that finds nothing makes of changed annotations."""
    config = Config.fromfile(work_dir / "tiny.py")
    config.merge_from_dict(changed(work_dir, tmp_path, images, change))
    config.model.test_cfg.max_per_img = 0
    detector = Detector(config, work_dir / "epoch_1.pth", device="cpu", threshold=0, calibrated=False)
    return collect(detector, source_of(config), None)


def test_annotations_of_doubtful_worth(work_dir: Path, tmp_path: Path) -> None:
    """A file that is listed twice keeps the objects of both entries; crowds alone are nothing to compare with."""
    images = work_dir.parent / "digits" / "val"
    twice = collected(work_dir, tmp_path, images, lambda c: c["images"].append(c["images"][0] | {"id": 99}))
    assert [example.image_id for example in twice.examples] == [1, 2, 3, 4, 99]
    assert all(len(example.truth) for example in twice.examples[:4])
    with pytest.raises(InputError, match=r"no annotations of the config's classes .* but crowds"):
        collected(work_dir, tmp_path, images, lambda c: [each.update(iscrowd=1) for each in c["annotations"]])


def test_images_none_of_which_can_be_read(work_dir: Path, tmp_path: Path) -> None:
    for path in (work_dir.parent / "digits" / "val").iterdir():
        (tmp_path / path.name).write_text("no image")
    with pytest.raises(InputError, match=r"None of the 4 images that .* lists can be read\. The image .*000001\.png"):
        collected(work_dir, tmp_path, tmp_path, lambda content: None)


def refusal(program: Program, *arguments: object) -> str:
    status, _, errors = program("report", *arguments)
    assert status == 2
    assert errors.count("\n") == 1, errors
    return errors


def test_input_that_cannot_be_used(program: Program, work_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.html").write_text("<p>mine</p>")
    (tmp_path / "empty").mkdir()
    shutil.copy(work_dir / "tiny.py", tmp_path / "empty")
    data = next(work_dir.parent.glob("digits"))
    bare = tmp_path / "bare.json"
    bare.write_text(json.dumps(json.loads((data / "annotations" / "val.json").read_text()) | {"annotations": []}))
    options = [f"test_dataloader.dataset.ann_file={bare}", f"test_evaluator.ann_file={bare}"]
    classes = [f"test_dataloader.dataset.metainfo.classes=({','.join('abcdefghij')})"]
    gone = ["test_dataloader.dataset.data_prefix.img=nowhere/"]
    assert "no checkpoint" in refusal(program, tmp_path / "empty")
    assert "There is no work directory" in refusal(program, tmp_path / "nothing")
    assert "other than a report" in refusal(program, work_dir, "--out", tmp_path / "mine.html")
    assert "is a folder" in refusal(program, work_dir, "--out", tmp_path)
    assert "nowhere" in refusal(program, work_dir, "--out", tmp_path / "a.html", "--cfg-options", *gone)
    assert "no annotations" in refusal(program, work_dir, "--out", tmp_path / "a.html", "--cfg-options", *options)
    assert "without a, b, c" in refusal(program, work_dir, "--out", tmp_path / "a.html", "--cfg-options", *classes)
    assert "--images" in refusal(program, work_dir, "--out", tmp_path / "a.html", "--images", -1)
    assert (tmp_path / "mine.html").read_text() == "<p>mine</p>"
    assert not (tmp_path / "a.html").exists()


def test_a_report_takes_the_place_of_a_report(page_file: Path, tmp_path: Path) -> None:
    page.check_out(page_file)
    (tmp_path / "new.html").touch()
    page.check_out(tmp_path / "new.html")
    with pytest.raises(InputError):
        page.check_out(tmp_path)
