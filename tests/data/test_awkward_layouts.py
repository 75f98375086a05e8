"""Layouts that strangers bring: read where nothing is in doubt, refused by a sentence where something is."""

import json
import shutil
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from brs_detr.data.splits import find_splits
from brs_detr.errors import InputError
from tests.data import own
from tests.data.test_splits import all_there, boxes
from tests.data.test_yolo import NAMES

Expected = Counter[tuple[bytes, str, tuple[int, ...]]]


def objects(folder: Path, content: dict[str, Any]) -> Expected:
    """Each object by the content of its image, whatever the names of files: class, and box in whole pixels."""
    names = {each["id"]: each["name"] for each in content["categories"]}
    images = {each["id"]: (folder / each["file_name"]).read_bytes() for each in content["images"]}
    return Counter(
        (images[each["image_id"]], names[each["category_id"]], tuple(map(round, each["bbox"])))
        for each in content["annotations"]
    )


def assert_read(digits: Path, data: Path, names: tuple[str, ...] = ("train", "val")) -> dict:
    splits, _ = find_splits(data, None if "val" in names else 0.25)
    found = {name: objects(split.images, split.content) for name, split in splits.items()}
    expected = {name: objects(digits / name, own.content_of(digits, name)) for name in names}
    assert (found if "val" in names else {"train": found["train"] + found["val"]}) == expected
    assert all_there(splits)
    return splits


def test_lists_divide_the_images(digits: Path, tmp_path: Path) -> None:
    own.one_image_folder(digits, tmp_path)
    contents = [json.loads((tmp_path / f"{split}.json").read_text()) for split in ("train", "val")]
    for split, content in zip(("train", "val"), contents, strict=True):
        (tmp_path / f"{split}.json").unlink()
        lines = [f"./images/{Path(each['file_name']).stem}" for each in content["images"]]
        (tmp_path / f"{split}.txt").write_text("\n".join(lines))
    for each in contents[1]["images"]:
        each["id"] += 100
    for each in contents[1]["annotations"]:
        each |= {"id": each["id"] + 1000, "image_id": each["image_id"] + 100}
    both = {key: contents[0][key] + contents[1][key] for key in ("images", "annotations")}
    own.write(tmp_path / "annotations.json", {**contents[0], **both})
    assert_read(digits, tmp_path)
    with (tmp_path / "val.txt").open("a") as file:
        file.write("\ntrain_000001.png")
    splits, _ = find_splits(tmp_path)
    assert "1 images of " in splits["train"].remarks[0]
    assert "are left out, in no list or in two, as train_000001.png" in splits["train"].remarks[0]


def test_several_coco_files_of_other_images(digits: Path, tmp_path: Path) -> None:
    own.copy_images(digits, "train", tmp_path / "images")
    content = own.content_of(digits, "train")
    for number in range(2):
        images = [each for each in content["images"] if each["id"] % 2 == number]
        ids = {each["id"] for each in images}
        mine = [{**each} for each in content["annotations"] if each["image_id"] in ids]
        categories = [{**each, "id": each["id"] + 7 * number} for each in content["categories"]]
        for each in mine:
            each["category_id"] += 7 * number
        part = {"images": images, "annotations": mine, "categories": categories[::-1] if number else categories}
        own.write(tmp_path / f"day{number}.json", part)
    splits = assert_read(digits, tmp_path, ("train",))
    assert "2 files are taken together" in splits["train"].remarks[0]


def test_masks_beside_images_are_not_taken_for_them(digits: Path, tmp_path: Path) -> None:
    own.one_image_folder(digits, tmp_path)
    shutil.copytree(tmp_path / "images", tmp_path / "annotations")
    for path in (tmp_path / "annotations").iterdir():
        path.write_bytes(b"a mask")
    assert_read(digits, tmp_path)
    (tmp_path / "images").rename(tmp_path / "a")
    (tmp_path / "annotations").rename(tmp_path / "b")
    with pytest.raises(InputError, match=r"The images of .* may be those in .*/a or those in .*/b, such as train_0"):
        find_splits(tmp_path)


def test_images_of_one_name_in_two_folders(digits: Path, tmp_path: Path) -> None:
    content = own.content_of(digits, "train")
    for number, each in enumerate(content["images"]):
        folder, name = tmp_path / f"day{number % 2}", f"{number // 2}.png"
        folder.mkdir(exist_ok=True)
        shutil.copy(digits / "train" / each["file_name"], folder / name)
        each["file_name"] = name
    own.write(tmp_path / "all.json", content)
    with pytest.raises(InputError, match=r"all\.json lists several images as 0\.png, and several files"):
        find_splits(tmp_path, 0.25)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_web_addresses_and_accents(digits: Path, tmp_path: Path, form: str) -> None:
    other = {"NFC": "NFD", "NFD": "NFC"}[form]
    for split in ("train", "val"):
        content = own.content_of(digits, split)
        folder = tmp_path / split
        folder.mkdir()
        for each in content["images"]:
            name = f"Fußgänger é {each['file_name']}"
            shutil.copy(digits / split / each["file_name"], folder / unicodedata.normalize(form, name))
            each["file_name"] = f"https://example.com/a/{unicodedata.normalize(other, name).replace(' ', '%20')}?x=1"
        own.write(tmp_path / f"{split}.json", content)
    assert_read(digits, tmp_path)


def test_keypoints_of_yolo_are_no_polygon(digits: Path, tmp_path: Path) -> None:
    own.yolo(digits, tmp_path)
    for path in tmp_path.glob("labels/*/*.txt"):
        path.write_text("3 0.5 0.5 0.25 0.5 0.1 0.1 2 0.9 0.9 2\n")
    (tmp_path / "data.yaml").write_text(f"kpt_shape: [2, 3]\ntrain: images/train\nvalid: images/val\n{NAMES}")
    splits, _ = find_splits(tmp_path)
    assert {tuple(each) for each in boxes(splits["val"])} == {(24, 16, 16, 32)}
    (tmp_path / "data.yaml").write_text(f"kpt_shape: [3, 3]\ntrain: images/train\nvalid: images/val\n{NAMES}")
    with pytest.raises(InputError, match=r"malformed \(10 numbers, not 4 and 9 of keypoints\)"):
        find_splits(tmp_path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a\n\nb\n", r"The names in .*classes\.txt are \['a', '', 'b'\]"),
        ("a\nb\n", r"classes\.txt and .*classes\.txt name other classes"),
        (b"\xff\xfe\x00", r"classes\.txt is no text in UTF-8"),
    ],
)
def test_lists_of_classes_in_doubt(digits: Path, tmp_path: Path, text: str | bytes, sentence: str) -> None:
    own.yolo(digits, tmp_path)
    (tmp_path / "data.yaml").unlink()
    (tmp_path / "classes.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    if "name other" in sentence:
        (tmp_path / "labels" / "classes.txt").write_text("b\na\n")
    with pytest.raises(InputError, match=sentence):
        find_splits(tmp_path)


def test_yolo_folders_in_capitals_and_none_with_labels(digits: Path, tmp_path: Path) -> None:
    own.yolo(digits, tmp_path)
    for name in ("images", "labels"):
        (tmp_path / name).rename(tmp_path / name.title())
    names = "".join(f"  '{number}': '{number}'\n" for number in range(10))
    (tmp_path / "data.yaml").write_text(f"train: Images/train\nval: Images/val\nnames:\n{names}")
    assert_read(digits, tmp_path)
    (tmp_path / "Labels").rename(tmp_path / "lbl")
    with pytest.raises(InputError, match=r"None of the images that .* gives to train on has a file of labels"):
        find_splits(tmp_path)


def kaggle(digits: Path, folder: Path, separator: str) -> None:
    own.copy_images(digits, "train", folder / "train")
    lines = [
        separator.join((Path(image).stem, label, f'"[{x1}, {y1}, {x2 - x1}, {y2 - y1}]"'))
        for image, _, objects in own.objects_by_image(own.content_of(digits, "train"))
        for label, (x1, y1, x2, y2) in objects
    ]
    own.write_text(folder / "train.csv", "\n".join([separator.join(("image_id", "class_id", "bbox")), *lines]))


@pytest.mark.parametrize("separator", [",", ";"])
def test_tables_with_a_column_of_boxes(digits: Path, tmp_path: Path, separator: str) -> None:
    kaggle(digits, tmp_path, separator)
    assert_read(digits, tmp_path, ("train",))


@pytest.mark.parametrize(
    ("box", "sentence"),
    [
        ("[1, 1, 2, 2]", r"The column bbox of .*train\.csv may be x1, y1, x2, y2 or x, y, width, height"),
        ("[1, 1, 2]", r"train\.csv has the box '\[1, 1, 2\]': four numbers are needed"),
        ("[9, 9, nan, 2]", r"train\.csv has an object 3 with the box"),
    ],
)
def test_columns_of_boxes_in_doubt(digits: Path, tmp_path: Path, box: str, sentence: str) -> None:
    own.copy_images(digits, "train", tmp_path)
    (tmp_path / "train.csv").write_text(f'image,label,bbox\n000001.png,3,"{box}"\n')
    with pytest.raises(InputError, match=sentence):
        find_splits(tmp_path, 0.5)


def test_parts_of_the_size_that_lead_out_of_the_image(digits: Path, tmp_path: Path) -> None:
    own.copy_images(digits, "train", tmp_path)
    (tmp_path / "train.csv").write_text(
        "ImageID,LabelName,XMin,XMax,YMin,YMax\n000001,a,0.25,0.5,0.5,1.01\n000002,a,0.25,0.5,0.5,0.75\n"
    )
    splits, _ = find_splits(tmp_path, 0.5)
    assert sorted(boxes(splits["train"]) + boxes(splits["val"])) == [[16, 32, 16, 16], [16, 32, 16, 33]]


def divided_table(digits: Path, folder: Path, words: dict[str, str]) -> str:
    """One table of both splits, each in its own words; returns a line of it."""
    own.table(digits, folder)
    lines = []
    for split, word in words.items():
        file = folder / f"{split}_labels.csv"
        lines += [f"{line},{word}" for line in file.read_text().splitlines() if not line.startswith("image_path")]
        file.unlink()
    own.write_text(folder / "labels.csv", "\n".join(["image_path,xmin,ymin,xmax,ymax,label,ML_use", *lines]))
    return lines[0]


def test_a_table_with_a_column_of_splits(digits: Path, tmp_path: Path) -> None:
    divided_table(digits, tmp_path, {"train": "TRAINING", "val": " Validate"})
    assert_read(digits, tmp_path)


def test_a_column_that_only_looks_like_one_of_splits(digits: Path, tmp_path: Path) -> None:
    divided_table(digits, tmp_path, {"train": "first", "val": "second"})
    splits, _ = find_splits(tmp_path, 0.5)
    assert len(splits["train"].files) + len(splits["val"].files) == 12


def test_a_column_of_splits_in_doubt(digits: Path, tmp_path: Path) -> None:
    line = divided_table(digits, tmp_path, {"train": "train", "val": "unassigned"})
    with pytest.raises(InputError, match=r"of .*labels\.csv names no split in the column ML_use: write train, val"):
        find_splits(tmp_path)
    table = "image_path,xmin,ymin,xmax,ymax,label,ML_use"
    own.write_text(tmp_path / "labels.csv", "\n".join([table, line, f"{line.removesuffix('train')}test"]))
    with pytest.raises(InputError, match=r"Line 3 of .* names another split of train/000001\.png than a line before"):
        find_splits(tmp_path)
