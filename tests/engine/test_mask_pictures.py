"""Predictions with masks: pictures show them, and predictions.json holds them."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.structures import InstanceData

from brs_detr.data.masks import decode
from brs_detr.engine.inference import pictures
from brs_detr.engine.inference.coco_ids import CocoIds
from brs_detr.engine.inference.detections import Detections
from brs_detr.engine.inference.predict import GroundTruth, predict, truth_beside
from brs_detr.errors import InputError
from tests.reference import ROOT


def test_masks_are_tinted_where_they_are() -> None:
    image = np.full((100, 120, 3), 40, np.uint8)
    masks = torch.zeros(2, 100, 120, dtype=torch.bool)
    masks[0, 20:40, 30:60] = True
    masks[1, 30:60, 50:90] = True
    colours = [pictures.colour_of(label) for label in (1, 2)]
    tinted = pictures.tint(image, masks.numpy(), colours)
    first, second = (0.5 * np.array(colour) + 20 for colour in colours)
    assert np.abs(tinted[25, 35] - first).max() < 1
    assert np.abs(tinted[35, 55] - first).max() < 1  # the first lies on top
    assert np.abs(tinted[55, 80] - second).max() < 1
    assert (tinted[~masks.any(0)] == 40).all()
    assert (image == 40).all()


def test_a_picture_with_masks() -> None:
    image = np.zeros((60, 60, 3), np.uint8)
    masks = torch.zeros(1, 60, 60, dtype=torch.bool)
    masks[0, 30:40, 30:40] = True
    found = InstanceData(
        bboxes=torch.tensor([[10.0, 20, 50, 55]]), labels=torch.tensor([0]), scores=torch.ones(1), masks=masks
    )
    picture = pictures.draw(image, found, None, ("a",))[-480:]
    factor = 8
    assert picture[35 * factor, 35 * factor].any()
    assert not picture[50 * factor, 20 * factor].any()
    pictures.draw(image, found[:0], found, ("a",))


def mask_model(folder: Path) -> tuple[str, str]:
    config = ROOT / "configs" / "mask_rcnn" / "brs-mask-rcnn_tiny_digits.py"
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(config).model)
    torch.save({"state_dict": model.state_dict(), "meta": {}}, folder / "model.pth")
    return str(config), str(folder / "model.pth")


def changed_truth(digits: Path, file: Path, change: Callable[[dict], None]) -> str:
    content = json.loads((digits / "annotations" / "test.json").read_text())
    change(content)
    file.write_text(json.dumps(content))
    return str(file)


def test_predict_with_masks(digits: Path, tmp_path: Path) -> None:
    """The whole way, from a checkpoint to pictures and run lengths, with ground truth beside."""
    options = {"model.test_cfg.rcnn.score_thr": 0.0, "model.test_cfg.rcnn.max_per_img": 5}
    truth = str(digits / "annotations" / "test.json")
    arguments = (*mask_model(tmp_path), str(digits / "test"), str(tmp_path / "out"))
    assert predict(*arguments, threshold=0.0, annotations=truth, options=options) == 2
    for record in json.loads((tmp_path / "out" / "predictions.json").read_text()):
        assert len(record["detections"]) == 5
        for detection in record["detections"]:
            mask = decode(detection["mask"], 64, 64)
            assert mask.shape == (64, 64)
        assert cv2.imread(str(tmp_path / "out" / Path(record["image"]).name)).shape[1] > 900


def test_a_broken_mask_is_named_before_detection(digits: Path, tmp_path: Path) -> None:
    def spoil(content: dict) -> None:
        content["annotations"][0]["bbox"][2] = 0  # is not drawn, and counted nonetheless
        content["annotations"][1]["segmentation"] = {"size": [64, 64], "counts": [5]}

    truth = changed_truth(digits, tmp_path / "truth.json", spoil)
    with pytest.raises(InputError, match=r"entry 1 of the annotations in \S+truth\.json is broken: .* Correct it, or"):
        predict(*mask_model(tmp_path), str(digits / "test"), str(tmp_path / "out"), annotations=truth)
    assert not (tmp_path / "out").exists()


def test_no_masks_beside_an_image_of_another_size(digits: Path) -> None:
    """`draw` would index the picture's pixels by a mask of another size."""
    truth = GroundTruth(str(digits / "annotations" / "test.json"), tuple("0123456789"))
    path, resized = digits / "test" / "000001.png", []
    for side in (64, 32):
        masks = np.zeros((1, side, side), bool)
        found = Detections(np.zeros((1, 4)), np.ones(1), np.zeros(1, int), masks, (side, side), CocoIds(("a",)))
        beside = truth_beside(truth, path, found, resized)
        assert (beside is None) is (side == 32)
    assert resized == [f"{path} has 32 x 32 pixels instead of 64 x 64"]


def test_ground_truth_masks_are_the_silhouettes(digits: Path) -> None:
    truth = GroundTruth(str(digits / "annotations" / "train.json"), tuple("0123456789"))
    name = next(name for name, image in truth.images.items() if truth.objects[image["id"]])
    found = truth.of(digits / "train" / name, with_masks=True)
    assert found is not None
    for box, mask in zip(found.bboxes.int().tolist(), found.masks, strict=True):
        rows, columns = mask.nonzero(as_tuple=True)
        assert box == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert "masks" not in truth.of(digits / "train" / name)
