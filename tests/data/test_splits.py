"""A user's own data: their layouts, and the sentences where they cannot be used."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from brs_detr.data.splits import find_splits, shared_images
from brs_detr.errors import InputError
from tests.data import own


def all_there(splits: dict) -> bool:
    return all(path.is_file() for split in splits.values() for path in split.files)


def boxes(split: object) -> list[list[float]]:
    """In whole pixels, in the order of the images' names."""
    names = {image["id"]: Path(image["file_name"]).name for image in split.content["images"]}
    annotations = sorted(split.content["annotations"], key=lambda each: (names[each["image_id"]][-10:], each["id"]))
    return [[round(value) for value in each["bbox"]] for each in annotations]


LAYOUTS = {
    own.coco: {"train": "train2017", "val": "val2017"},
    own.roboflow: {"train": "train", "val": "valid", "test": "test"},
    own.one_image_folder: {"train": "images", "val": "images"},
    own.nested: {"train": "export v2/pictures", "val": "export v2/pictures"},
    own.elsewhere: {"train": "", "val": ""},
    own.yolo: {"train": "images/train", "val": "images/val"},
    own.voc: {"train": "", "val": ""},
    own.voc_beside_images: {"train": "train", "val": "valid", "test": "test"},
    own.labelme: {"train": "train", "val": "val"},
    own.cvat: {"train": "train/images", "val": "val/images"},
    own.table: {"train": "images", "val": "images"},
    own.open_images: {"train": "", "val": ""},
}

BY_OBJECTS = {own.voc, own.voc_beside_images, own.labelme, own.cvat, own.table, own.open_images}  # no list of classes


def content_classes(digits: Path, split: str) -> list[str]:
    content = own.content_of(digits, split)
    return sorted({str(each["category_id"] - 1) for each in content["annotations"]})


@pytest.mark.parametrize(("layout", "folders"), LAYOUTS.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_layouts(digits: Path, tmp_path: Path, layout: Callable[[Path, Path], None], folders: dict[str, str]) -> None:
    layout(digits, tmp_path / "data")
    splits, classes = find_splits(tmp_path / "data")
    assert {name: split.images for name, split in splits.items()} == {
        name: tmp_path / "data" / folder for name, folder in folders.items()
    }
    assert all_there(splits)
    assert [len(split.content["images"]) for split in splits.values()] == [8, 4, 2][: len(splits)]
    named = content_classes(digits, "train") if layout in BY_OBJECTS else [str(number) for number in range(10)]
    assert classes == tuple(f"n{each}" if layout is own.yolo else each for each in named)
    for name, split in splits.items():
        assert boxes(split) == [[*map(round, each["bbox"])] for each in own.content_of(digits, name)["annotations"]]


def test_one_file_is_divided_by_image(digits: Path, tmp_path: Path) -> None:
    own.copy_images(digits, "train", tmp_path / "images")
    own.write(tmp_path / "annotations" / "instances_default.json", own.content_of(digits, "train"))
    with pytest.raises(InputError, match=r"has nothing to validate on: add --split 0\.2"):
        find_splits(tmp_path)

    def names(seed: int) -> dict[str, set[str]]:
        splits, _ = find_splits(tmp_path, 0.25, seed)
        for split in splits.values():
            ids = {image["id"] for image in split.content["images"]}
            assert {each["image_id"] for each in split.content["annotations"]} <= ids
        return {name: {image["file_name"] for image in split.content["images"]} for name, split in splits.items()}

    divided = names(0)
    assert {name: len(found) for name, found in divided.items()} == {"train": 6, "val": 2}
    assert not divided["train"] & divided["val"]
    assert names(0) == divided
    assert any(names(seed) != divided for seed in range(1, 5))
    with pytest.raises(InputError, match="--split 20 is no share"):
        find_splits(tmp_path, 20)


def spoilt(digits: Path, folder: Path, split: str, change: Callable[[dict], object]) -> Path:
    own.one_image_folder(digits, folder)
    path = folder / f"{split}.json"
    content = json.loads(path.read_text())
    change(content)
    own.write(path, content)
    return folder


def test_classes_of_another_order_agree_and_others_are_refused(digits: Path, tmp_path: Path) -> None:
    data = spoilt(digits, tmp_path / "a", "val", lambda content: content["categories"].reverse())
    splits, classes = find_splits(data)
    assert tuple(each["name"] for each in splits["val"].content["categories"]) == classes
    assert {each["id"]: each["name"] for each in splits["val"].content["categories"]}[3] == "2"
    assert "lists its classes otherwise than" in splits["val"].remarks[0]
    used = own.content_of(digits, "val")["annotations"][0]["category_id"]
    data = spoilt(digits, tmp_path / "b", "val", lambda content: content["categories"][used - 1].update(name="cat"))
    with pytest.raises(InputError, match=r"val\.json \(val\) has objects of cat, and .*train\.json does not know"):
        find_splits(data)


def test_images_in_two_splits_are_told(digits: Path, tmp_path: Path) -> None:
    own.roboflow(digits, tmp_path)
    shutil.copy(tmp_path / "train" / "000003.png", tmp_path / "valid" / "000001.png")
    (remark,) = shared_images(find_splits(tmp_path)[0])
    assert remark.startswith("1 images stand in train and in val, such as ")
    assert f"{tmp_path}/train/000003.png and {tmp_path}/valid/000001.png" in remark


def test_images_without_annotations_and_the_reverse(digits: Path, tmp_path: Path) -> None:
    own.roboflow(digits, tmp_path)
    shutil.copy(tmp_path / "train" / "000003.png", tmp_path / "valid" / "more.png")
    splits, _ = find_splits(tmp_path)
    assert splits["train"].remarks[0].startswith("1 images beside those of the splits have no annotations")
    for path in tmp_path.rglob("*.png"):
        path.unlink()
    with pytest.raises(InputError, match=r"None of the 8 images that .* lists is below .*, the first is 000001\.png"):
        find_splits(tmp_path)


def test_folders_that_cannot_be_used(digits: Path, tmp_path: Path) -> None:
    own.copy_images(digits, "train", tmp_path / "a")
    (tmp_path / "a" / "notes.json").write_text("{}")
    with pytest.raises(
        InputError, match=r"no layout that is known\. What was looked for: COCO .* 8 images in 1 folders"
    ):
        find_splits(tmp_path / "a")
    with pytest.raises(InputError, match="does not exist"):
        find_splits(tmp_path / "nowhere")
    (tmp_path / "data.zip").touch()
    with pytest.raises(InputError, match="is an archive: unpack it"):
        find_splits(tmp_path / "data.zip")
    for name in ("one", "two"):
        own.write(tmp_path / "b" / f"{name}.json", own.content_of(digits, "train"))
    with pytest.raises(InputError, match=r"Nothing in .*one\.json, .*two\.json tells which"):
        find_splits(tmp_path / "b")
    for name in ("train_a", "train_b"):
        own.write(tmp_path / "c" / f"{name}.json", own.content_of(digits, "train"))
    with pytest.raises(InputError, match=r"Several COCO files seem to be the train split: .*train_a\.json"):
        find_splits(tmp_path / "c")


def test_images_converted_to_another_format_are_found(digits: Path, tmp_path: Path) -> None:
    def rename(content: dict) -> None:
        for image in content["images"]:
            image["file_name"] = image["file_name"].replace(".png", ".jpg")

    splits, _ = find_splits(spoilt(digits, tmp_path, "train", rename))
    assert all_there(splits)
    assert "names its images otherwise than they lie" in splits["train"].remarks[0]


def test_objects_that_are_difficult_are_ignored(digits: Path, tmp_path: Path) -> None:
    own.voc_beside_images(digits, tmp_path)
    path = next(path for path in sorted(tmp_path.glob("train/*.xml")) if "<object>" in path.read_text())
    path.write_text(path.read_text().replace("<object>", "<object><difficult>1</difficult>", 1))
    splits, _ = find_splits(tmp_path)
    assert sum(each["iscrowd"] for each in splits["train"].content["annotations"]) == 1


TABLE = "filename,width,height,class,xmin,ymin,xmax,ymax\n"


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("train.csv", f"{TABLE}000001.png,9,9,3,1,1,nan,2\n", r"train\.csv has an object 3 with the box"),
        ("train.csv", f"{TABLE}000001.png,9,9,,1,1,2,2\n", "an object without a class"),
        ("train.csv", f"{TABLE}000001.png,9,9,3,1\n", r"Line 2 of .*train\.csv has 5 entries, too few"),
        ("train.csv", f"{TABLE}000001.png,9,9,3,1,1,2,2\nlost.png,9,9,3,1,1,2,2\n", r"The image lost\.png of .*train"),
        ("000001.xml", "<annotation><object><name>a</name></object></annotation>", r"a with the box \[\]"),
        ("000001.xml", "<annotation>", r"000001\.xml is no XML"),
        ("000001.json", '{"shapes": [{"label": "a", "points": [[0, 1]]}], "imagePath": "000001.png"}', "three points"),
        ("000001.json", '{"shapes": 3, "imagePath": "000001.png"}', "is not of LabelMe, as it seems"),
    ],
)
def test_other_annotations_that_are_malformed(
    digits: Path, tmp_path: Path, name: str, text: str, sentence: str
) -> None:
    own.copy_images(digits, "train", tmp_path)
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=sentence):
        find_splits(tmp_path, 0.5)
