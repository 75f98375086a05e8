"""Evaluation and prediction: metrics, pictures, and input that cannot be used."""

import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.structures import InstanceData

from brs_detr.engine import launch
from brs_detr.engine.inference import pictures
from brs_detr.engine.inference.coco_ids import CocoIds
from brs_detr.engine.inference.detections import Detections
from brs_detr.engine.inference.predict import GroundTruth, as_json, picture_names, predict
from brs_detr.errors import InputError
from tests.scripts.processes import run, write_config


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, digits: Path) -> tuple[str, str]:
    """A config and a checkpoint of its model, untrained."""
    folder = tmp_path_factory.mktemp("model")
    config = write_config(folder, digits)
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(config).model)
    model.init_weights()
    torch.save({"state_dict": model.state_dict(), "meta": {}}, folder / "model.pth")
    return str(config), str(folder / "model.pth")


def test_pictures_of_a_folder(trained: tuple[str, str], digits: Path, tmp_path: Path) -> None:
    truth = str(digits / "annotations" / "test.json")
    count = predict(*trained, str(digits / "test"), str(tmp_path / "out"), threshold=0.0, annotations=truth)
    assert count == 2
    records = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert [Path(record["image"]).name for record in records] == ["000001.png", "000002.png"]
    for record in records:
        scores = [detection["score"] for detection in record["detections"]]
        assert scores == sorted(scores, reverse=True)
        assert len(scores) == 20
        picture = cv2.imread(str(tmp_path / "out" / Path(record["image"]).name))
        assert picture.shape[1:] == (2 * 512 + pictures.GAP, 3)
        assert 512 < picture.shape[0] < 560  # the legend
        left, right = picture[-512:, :512].astype(int), picture[-512:, -512:].astype(int)
        assert np.abs(left - right).mean() > 1  # twenty boxes on the left, few on the right


def test_one_picture_without_ground_truth(trained: tuple[str, str], digits: Path, tmp_path: Path) -> None:
    predict(*trained, str(digits / "test" / "000001.png"), str(tmp_path / "out"), threshold=1.1)
    assert cv2.imread(str(tmp_path / "out" / "000001.png")).shape[1] == 512
    records = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert records[0]["detections"] == []


def test_boxes_are_drawn_where_they_are() -> None:
    image = np.zeros((100, 120, 3), np.uint8)
    instances = InstanceData(
        bboxes=torch.tensor([[20.0, 30, 60, 80]]), labels=torch.tensor([1]), scores=torch.tensor([0.9])
    )
    picture = pictures.draw(image, instances, None, ("a", "b"))[-500:]
    factor = 5
    colour = pictures.colour_of(1)
    for x, y in ((20, 50), (60, 50), (40, 30), (40, 80)):
        assert tuple(picture[y * factor, x * factor]) == colour
    assert not picture[50 * factor, 40 * factor].any()
    assert not picture[90 * factor, 110 * factor].any()


def test_ground_truth_is_found_by_file_name(digits: Path) -> None:
    truth = GroundTruth(str(digits / "annotations" / "test.json"), tuple("0123456789"))
    content = json.loads((digits / "annotations" / "test.json").read_text())
    first = [annotation for annotation in content["annotations"] if annotation["image_id"] == 1]
    found = truth.of(digits / "test" / "000001.png")
    assert found is not None
    x, y, width, height = first[0]["bbox"]
    assert found.bboxes[0].tolist() == [x, y, x + width, y + height]
    assert found.labels.tolist() == [annotation["category_id"] - 1 for annotation in first]
    assert truth.of(Path("elsewhere.png")) is None


def test_no_ground_truth_of_another_image_of_the_same_name(
    trained: tuple[str, str], digits: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for folder in ("a", "b"):
        shutil.copytree(digits / "test", tmp_path / "images" / folder)
    annotations = str(digits / "annotations" / "test.json")
    predict(*trained, str(tmp_path / "images"), str(tmp_path / "out"), annotations=annotations)
    assert re.search(
        r"lists 000001\.png, .*, which several images in \S+ may be: no ground truth", capfd.readouterr().err
    )
    truth = GroundTruth(annotations, tuple("0123456789"))
    images = [tmp_path / "images" / folder / "000001.png" for folder in ("a", "b")]
    assert truth.leave_out_unclear(images) == ["000001.png"]
    assert truth.of(images[0]) is None


def test_what_cannot_be_predicted(trained: tuple[str, str], digits: Path, tmp_path: Path) -> None:
    image = tmp_path / "picture.png"
    image.write_text("no image")
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    cases = [
        (str(image), "out", r"The image .*picture\.png cannot be read"),
        (str(tmp_path / "nowhere"), "out", "nowhere does not exist"),
        (str(tmp_path / "empty"), "out", "empty holds no images"),
        (str(digits / "test"), "full", "full is not empty: choose another --out"),
    ]
    for source, out, sentence in cases:
        with pytest.raises(InputError, match=sentence):
            predict(*trained, source, str(tmp_path / out))
    options = {"model.bbox_head.num_classes": 4, "test_dataloader.dataset.metainfo.classes": tuple("0123")}
    with pytest.raises(InputError, match="another number of classes"):
        predict(*trained, str(digits / "test"), str(tmp_path / "out"), options=options)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]


@pytest.fixture
def photographs(digits: Path, tmp_path: Path) -> Path:
    """A folder with two images that differ in their suffix alone."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    for name in ("a.png", "a.jpg"):
        cv2.imwrite(str(folder / name), cv2.imread(str(digits / "test" / "000001.png")))
    return folder


def content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_images_of_one_stem_keep_apart(trained: tuple[str, str], photographs: Path, tmp_path: Path) -> None:
    assert predict(*trained, str(photographs), str(tmp_path / "out")) == 2
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a.jpg.png", "a.png.png", "predictions.json"}
    images = [Path(name) for name in ("f/a.jpg", "f/a.png", "f/a.jpg.png", "f/b.JPG", "f/g/a.png")]
    names = [str(name) for name in picture_names(images, Path("f")).values()]
    assert len(set(names)) == 5
    assert [str(name) for name in picture_names(images[3:], Path("f")).values()] == ["b.png", "g/a.png"]
    assert len({str(name).lower() for name in picture_names([Path("a.png"), Path("A.jpg")], Path()).values()}) == 2


def test_nothing_that_is_read_is_written_over(
    trained: tuple[str, str], photographs: Path, digits: Path, tmp_path: Path
) -> None:
    inside = photographs / "out"
    predict(*trained, str(photographs / "a.jpg"), str(inside))  # a picture, which the next run finds among its images
    (tmp_path / "link").symlink_to(photographs)
    before = content(photographs)
    truth = tmp_path / "truth" / "predictions.json"
    truth.parent.mkdir()
    shutil.copy(digits / "annotations" / "test.json", truth)
    for source, out, annotations in (
        (photographs / "a.png", photographs, None),
        (photographs / "a.png", tmp_path / "link", None),
        (photographs, inside, None),
        (digits / "test", truth.parent, str(truth)),
    ):
        with pytest.raises(InputError, match=r"A picture would be written over|holds files that are read"):
            predict(*trained, str(source), str(out), overwrite=True, annotations=annotations)
    assert content(photographs) == before
    with pytest.raises(InputError, match=r"a\.png is a file: give --out a folder"):
        predict(*trained, str(photographs), str(photographs / "a.png"), overwrite=True)


def test_annotations_of_other_images(
    trained: tuple[str, str], digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    other = tmp_path / "other.json"
    listed = json.loads((digits / "annotations" / "test.json").read_text())
    for image in listed["images"]:
        image["file_name"] = f"other_{image['file_name']}"
    other.write_text(json.dumps(listed))
    predict(*trained, str(digits / "test"), str(tmp_path / "out"), annotations=str(other))
    assert f"warning: {other} lists none of the images in {digits}/test" in capsys.readouterr().err


def test_annotations_of_other_classes(
    trained: tuple[str, str], digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    other = tmp_path / "other.json"
    listed = json.loads((digits / "annotations" / "test.json").read_text())
    used = {each["category_id"] for each in listed["annotations"]}
    for category in listed["categories"]:
        category["name"] = f"cat {category['name']}\x1b"
    other.write_text(json.dumps(listed))
    predict(*trained, str(digits / "test"), str(tmp_path / "out"), annotations=str(other))
    first = f"cat {min(used) - 1}\\x1b"
    assert f"warning: {other} has objects of {first}" in (error := capsys.readouterr().err)
    assert "which the model does not know: they are not drawn." in error


def test_annotations_of_images_of_another_size(
    trained: tuple[str, str], digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    other = tmp_path / "other.json"
    listed = json.loads((digits / "annotations" / "test.json").read_text())
    listed["images"][0].update(width=128, height=96)
    other.write_text(json.dumps(listed))
    predict(*trained, str(digits / "test"), str(tmp_path / "out"), annotations=str(other))
    widths = [cv2.imread(str(tmp_path / "out" / f"00000{k}.png")).shape[1] for k in (1, 2)]
    assert widths == [512, 2 * 512 + pictures.GAP]
    said = (
        f"{other} says get no ground truth: 1, such as {digits}/test/000001.png has 64 x 64 pixels instead of 128 x 96"
    )
    assert said in capsys.readouterr().err


def test_tiny_scores_stay_apart() -> None:
    scores = np.array([0.12345678, 3.2e-6, 3.1e-6], np.float32)
    boxes, labels = np.zeros((3, 4), np.float32), np.zeros(3, int)
    found = Detections(boxes, scores, labels, None, (8, 8), CocoIds(("a",)))
    record = as_json(Path("a.png"), found)
    assert [each["score"] for each in record["detections"]] == [0.123457, 3.2e-6, 3.1e-6]


def test_evaluation_does_not_write_over_its_checkpoint(trained: tuple[str, str], tmp_path: Path) -> None:
    before = Path(trained[1]).read_bytes()
    for out, sentence in (
        (trained[1], "holds something other than metrics"),
        (str(tmp_path), "is a folder: give the name"),
    ):
        with pytest.raises(InputError, match=sentence):
            launch.evaluate(*trained, folder=str(tmp_path / "work"), out=out)
    assert Path(trained[1]).read_bytes() == before


def test_evaluation_writes_coco_metrics(trained: tuple[str, str], tmp_path: Path) -> None:
    result = run(tmp_path, "test.py", *trained, "--work-dir", "work", "--out", "metrics.json")
    assert result.returncode == 0, result.stderr
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert set(metrics) >= {
        "bbox_mAP",
        "bbox_mAP_50",
        "bbox_mAP_75",
        "bbox_mAP_s",
        "bbox_mAP_m",
        "bbox_mAP_l",
    }
    assert 0 <= metrics["bbox_mAP"] <= metrics["bbox_mAP_50"] <= 1
    assert "Warning" not in result.stderr


def test_the_script_ends_with_a_sentence(trained: tuple[str, str], digits: Path, tmp_path: Path) -> None:
    result = run(tmp_path, "predict.py", trained[0], "missing.pth", digits / "test", "--out", "out")
    assert result.returncode == 2
    assert re.fullmatch(r"error: The checkpoint \S*missing\.pth does not exist\.\n", result.stderr), result.stderr
