"""Evaluation and prediction: metrics, pictures, and input that cannot be used."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.structures import InstanceData

from brs_detr.engine import pictures
from brs_detr.engine.predict import GroundTruth, predict
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
        assert picture.shape == (pictures.TITLE + 512, 2 * 512 + 8, 3)
        left, right = picture[:, :512].astype(int), picture[:, 520:].astype(int)
        assert np.abs(left - right)[pictures.TITLE :].mean() > 1  # twenty boxes on the left, few on the right


def test_one_picture_without_ground_truth(trained: tuple[str, str], digits: Path, tmp_path: Path) -> None:
    predict(*trained, str(digits / "test" / "000001.png"), str(tmp_path / "out"), threshold=1.1)
    assert cv2.imread(str(tmp_path / "out" / "000001.png")).shape == (pictures.TITLE + 512, 512, 3)
    records = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert records[0]["detections"] == []


def test_boxes_are_drawn_where_they_are() -> None:
    image = np.zeros((100, 120, 3), np.uint8)
    instances = InstanceData(
        bboxes=torch.tensor([[20.0, 30, 60, 80]]), labels=torch.tensor([1]), scores=torch.tensor([0.9])
    )
    picture = pictures.draw(image, instances, None, ("a", "b"))[pictures.TITLE :]
    factor = picture.shape[0] // 100
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
