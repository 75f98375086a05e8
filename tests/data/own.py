"""Data of one's own in several layouts, made from the digits."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SPLITS = {"train": "train", "val": "valid", "test": "test"}


def content_of(digits: Path, split: str) -> dict[str, Any]:
    return json.loads((digits / "annotations" / f"{split}.json").read_text())


def write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def copy_images(digits: Path, split: str, folder: Path) -> None:
    shutil.copytree(digits / split, folder, dirs_exist_ok=True)


def roboflow(digits: Path, folder: Path) -> None:
    """Annotations beside the images, and a first category that names the group of the others."""
    for split, name in SPLITS.items():
        content = content_of(digits, split)
        for category in content["categories"]:
            category["supercategory"] = "things"
        content["categories"].insert(0, {"id": 0, "name": "things", "supercategory": "none"})
        copy_images(digits, split, folder / name)
        write(folder / name / "_annotations.coco.json", content)


def coco(digits: Path, folder: Path) -> None:
    for split in ("train", "val"):
        copy_images(digits, split, folder / f"{split}2017")
        write(folder / "annotations" / f"instances_{split}2017.json", content_of(digits, split))
        write(folder / "annotations" / f"person_keypoints_{split}2017.json", content_of(digits, split))
        write(folder / "annotations" / f"captions_{split}2017.json", {"images": [], "annotations": []})


def one_image_folder(digits: Path, folder: Path) -> None:
    """train.json, val.json and images/, whose names tell the split."""
    for split in ("train", "val"):
        content = content_of(digits, split)
        (folder / "images").mkdir(parents=True, exist_ok=True)
        for image in content["images"]:
            name = f"{split}_{image['file_name']}"
            shutil.copy(digits / split / image["file_name"], folder / "images" / name)
            image["file_name"] = name
        write(folder / f"{split}.json", content)


def nested(digits: Path, folder: Path) -> None:
    """Below two folders, with other names of files, and names of images that begin with the folder."""
    for split, name in (("train", "Training"), ("val", "Validation")):
        content = content_of(digits, split)
        for image in content["images"]:
            image["file_name"] = f"{name}/{image['file_name']}"
        copy_images(digits, split, folder / "export v2" / "pictures" / name)
        write(folder / "export v2" / "labels" / f"{name}Labels.json", content)


def elsewhere(digits: Path, folder: Path) -> None:
    """Images in folders of their own, named as on the machine that annotated them."""
    for split in ("train", "val"):
        content = content_of(digits, split)
        for number, image in enumerate(content["images"]):
            place = folder / "images" / split / f"day{number % 2}"
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(digits / split / image["file_name"], place)
            image["file_name"] = f"C:\\annotated\\{split}\\day{number % 2}\\{image['file_name']}"
        write(folder / f"{split}.json", content)


def yolo(digits: Path, folder: Path) -> None:
    """images/ and labels/ of two splits; the first object of each image is a polygon."""
    names = "".join(f"  {number}: n{number}\n" for number in range(10))
    for split in ("train", "val"):
        copy_images(digits, split, folder / "images" / split)
        for name, lines in yolo_labels(content_of(digits, split)):
            path = (folder / "labels" / split / name).with_suffix(".txt")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(lines))
    (folder / "data.yaml").write_text(f"path: .\ntrain: images/train\nval: images/val\nnames:\n{names}")


def yolo_labels(content: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    for image in content["images"]:
        side, lines = image["width"], []
        for each in content["annotations"]:
            if each["image_id"] == image["id"]:
                x, y, w, h = (value / side for value in each["bbox"])
                numbers = (x + w / 2, y + h / 2, w, h) if lines else (x, y, x + w, y, x + w, y + h, x, y + h)
                lines.append(" ".join(map(str, (each["category_id"] - 1, *numbers))))
        if lines:
            yield image["file_name"], lines
