"""Detections of one image: chosen from, drawn, and handed on."""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from brs_detr import Detections
from brs_detr.data.coco_file import CocoSource
from brs_detr.data.masks import decode
from brs_detr.engine.inference.coco_ids import CocoIds
from brs_detr.errors import InputError

CLASSES = ("cat", "dog", "tree")
PIXELS = np.random.RandomState(0).randint(0, 256, (50, 80, 3), np.uint8)


def three(**changed: object) -> Detections:
    masks = np.zeros((3, 50, 80), bool)
    masks[0, 10:20, 20:50] = masks[1, 5:9, 5:9] = masks[2, 30:40, 60:70] = True
    content: dict = dict(
        boxes=np.array([[20, 10, 50, 20], [5, 5, 9, 9], [60, 30, 70, 40.5]], np.float32),
        scores=np.array([0.9, 0.5, 0.25], np.float32),
        labels=np.array([2, 0, 2]),
        masks=masks,
        size=(80, 50),
        ids=CocoIds(CLASSES),
        number=4,
        pixels=PIXELS,
    )
    return Detections(**content | changed)


def test_objects_one_by_one() -> None:
    found = three()
    assert len(found) == 3
    assert found.names == ["tree", "cat", "tree"]
    objects = list(found)
    assert [(each.name, each.label) for each in objects] == [("tree", 2), ("cat", 0), ("tree", 2)]
    assert [each.score for each in objects] == pytest.approx([0.9, 0.5, 0.25])
    assert objects[2].box.tolist() == [60, 30, 70, 40.5]
    assert objects[1].mask.sum() == 16
    assert found[-1].label == 2
    assert repr(found) == "<Detections in image 4: tree 0.90, cat 0.50, tree 0.25>"
    assert repr(three(path=Path("a.png"))[[]]) == "<Detections in a.png: none>"
    with pytest.raises(IndexError):
        found[3]


def test_chosen_objects() -> None:
    found = three()
    trees = found[found.labels == 2]
    assert trees.names == ["tree", "tree"]
    assert trees.masks.shape == (2, 50, 80)
    assert (trees.size, trees.number) == (found.size, found.number)
    assert found[:1].scores.tolist() == found.scores[:1].tolist()
    assert found[[2, 0]].labels.tolist() == [2, 2]
    assert found[[True, False, True]].boxes.tolist() == trees.boxes.tolist()
    assert len(found[found.scores > 1]) == len(found[[]]) == 0
    assert three(masks=None)[1:].masks is None
    with pytest.raises(IndexError):
        found[np.array([True, False])]


def test_pictures(tmp_path: Path) -> None:
    found = three()
    picture = found.plot()
    assert picture.dtype == np.uint8
    assert picture.shape[1] == 80 * 10
    for name in ("picture.png", "picture.jpg"):
        found.save(tmp_path / "new" / name)
        assert cv2.imread(str(tmp_path / "new" / name)).shape == picture.shape
    assert np.array_equal(cv2.imread(str(tmp_path / "new" / "picture.png"))[..., ::-1], picture)
    three()[[]].plot()


def test_pictures_that_cannot_be_written(tmp_path: Path) -> None:
    mine = tmp_path / "mine.png"
    mine.write_text("mine")
    for path, sentence in (
        (mine, "exists: choose another name, or write over it with overwrite=True"),
        (tmp_path, "is a folder: give the name of a file"),
        (tmp_path / "a.txt", r"a\.txt does not end as an image does"),
        (tmp_path / "png", "does not end as an image does"),
        (mine / "a.png", "cannot be written, for"),
    ):
        with pytest.raises(InputError, match=sentence):
            three().save(path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.png"]
    assert mine.read_text() == "mine"
    three().save(mine, overwrite=True)
    assert cv2.imread(str(mine)) is not None


def test_an_image_file_is_read_when_it_is_drawn(tmp_path: Path) -> None:
    file = tmp_path / "image.png"
    cv2.imwrite(str(file), PIXELS[..., ::-1])
    found = three(pixels=None, path=file)
    assert np.array_equal(found.image, PIXELS)
    assert np.array_equal(found.plot(), three().plot())
    cv2.imwrite(str(file), PIXELS[:20])
    with pytest.raises(InputError, match=r"image\.png has changed since its objects were detected"):
        found.plot()
    file.unlink()
    with pytest.raises(InputError, match=r"image\.png cannot be read"):
        found.plot()


def write_annotations(folder: Path) -> CocoSource:
    categories = [{"id": number, "name": name} for number, name in ((7, "cat"), (3, "bird"), (9, "dog"), (40, "tree"))]
    images = [{"id": 12, "file_name": "inside/image.png", "width": 80, "height": 50}]
    (folder / "all.json").write_text(json.dumps({"images": images, "annotations": [], "categories": categories}))
    return CocoSource(folder / "all.json", folder / "images", folder)


def test_coco_has_the_ids_of_the_file(tmp_path: Path) -> None:
    ids = CocoIds(CLASSES, [CocoSource(tmp_path / "none.json", tmp_path, tmp_path), write_annotations(tmp_path)])
    entries = three(ids=ids, path=tmp_path / "images" / "more" / ".." / "inside" / "image.png").to_coco()
    assert json.loads(json.dumps(entries)) == entries
    assert [(entry["image_id"], entry["category_id"]) for entry in entries] == [(12, 40), (12, 7), (12, 40)]
    assert entries[2]["bbox"] == [60, 30, 10, 10.5]
    assert entries[0]["score"] == pytest.approx(0.9)
    assert np.array_equal(decode(entries[0]["segmentation"], 50, 80), three().masks[0])


def test_coco_without_a_file(tmp_path: Path) -> None:
    found = three(masks=None)
    assert [(entry["image_id"], entry["category_id"]) for entry in found.to_coco()] == [(4, 3), (4, 1), (4, 3)]
    assert "segmentation" not in found.to_coco()[0]
    assert three(path=tmp_path / "other.png").to_coco()[0]["image_id"] == str(tmp_path / "other.png")
    assert found.to_coco(image_id=77)[0]["image_id"] == 77
    of_coco = three(ids=CocoIds(("person", "teddy bear", "toothbrush")))
    assert [entry["category_id"] for entry in of_coco.to_coco()] == [90, 1, 90]
    assert found[[]].to_coco() == []


def test_supervision() -> None:
    supervision = pytest.importorskip("supervision", reason="the package supervision is not installed")
    found = three()
    handed = found.to_supervision()
    assert isinstance(handed, supervision.Detections)
    assert np.array_equal(handed.xyxy, found.boxes)
    assert np.array_equal(handed.mask, found.masks)
    assert handed.data["class_name"].tolist() == found.names
    assert handed[handed.confidence > 0.6].class_id.tolist() == [2]
    assert len(three(masks=None)[[]].to_supervision()) == 0


def test_without_supervision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(InputError, match=r"needs the package supervision: run `pip install supervision`\."):
        three().to_supervision()
