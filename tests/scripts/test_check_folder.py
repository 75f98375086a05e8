"""check-data on a folder: what training would find in it, in any layout."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.data import own

Program = Callable[..., tuple[int, str, str]]
FOLDERS = [own.coco, own.roboflow, own.yolo, own.voc, own.cvat, own.labelme, own.table]


@pytest.mark.parametrize("layout", FOLDERS, ids=lambda layout: layout.__name__)
def test_a_folder_as_training_takes_it(program: Program, digits: Path, tmp_path: Path, layout: Callable) -> None:
    layout(digits, tmp_path / "mine")
    status, output, errors = program("check-data", tmp_path / "mine", "--images")
    assert (status, errors) == (0, "")
    assert f"train: {tmp_path}/mine/" in output
    assert re.search(r"train *│ 8 .*│ 36 .*│ 10 ", output)
    assert re.search(r"val *│ 4 .*│ 12 .*│ 10 ", output)


def test_a_folder_and_what_is_wrong_with_it(program: Program, digits: Path, tmp_path: Path) -> None:
    own.one_image_folder(digits, tmp_path)
    for split in ("train", "val"):
        path = tmp_path / f"{split}.json"
        content = json.loads(path.read_text())
        for annotation in content["annotations"]:
            del annotation["iscrowd"]
        if split == "val":
            content["categories"].reverse()
        own.write(path, content)
    (tmp_path / "train.json").rename(tmp_path / "training.json")
    shutil.copy(tmp_path / "images" / "train_000001.png", tmp_path / "images" / "val_000001.png")
    status, output, _ = program("check-data", tmp_path)
    assert status == 1
    assert "without 'iscrowd' count as single objects (mended whenever it is read" in output
    assert "1 images stand in train and in val" in output
    assert "val.json lists its classes otherwise than" in output
    own.write(tmp_path / "training.json", json.loads((tmp_path / "training.json").read_text()) | {"annotations": []})
    status, _, errors = program("check-data", tmp_path)
    assert status == 2
    assert "training.json has no annotations to train on" in errors
    (tmp_path / "training.json").unlink()
    (tmp_path / "train.csv").touch()
    status, output, errors = program("check-data", tmp_path)
    assert status == 2
    assert f"error: train: {tmp_path} has a val split" in errors
    assert "│ 4 " in output


def test_the_description_of_yolo_alone(program: Program, digits: Path, tmp_path: Path) -> None:
    own.yolo(digits, tmp_path)
    status, output, errors = program("check-data", tmp_path / "data.yaml")
    assert (status, errors) == (0, "")
    assert re.search(r"train *│ 8 .*│ 36 .*│ 10 ", output)
    (tmp_path / "config.yaml").write_text("_base_: nowhere.yaml\nnames: [a]\ntrain: images\n")
    status, _, errors = program("check-data", tmp_path / "config.yaml")
    assert status == 2
    assert "nowhere.yaml" in errors
