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


def objects_by_image(content: dict[str, Any]) -> Iterator[tuple[str, int, list[tuple[str, list[float]]]]]:
    """Each image's name and side, and its objects: class and x1 y1 x2 y2."""
    names = {each["id"]: each["name"] for each in content["categories"]}
    for image in content["images"]:
        mine = [each for each in content["annotations"] if each["image_id"] == image["id"]]
        corners = [(x, y, x + w, y + h) for x, y, w, h in (each["bbox"] for each in mine)]
        classes = [names[each["category_id"]] for each in mine]
        yield image["file_name"], image["width"], list(zip(classes, corners, strict=True))


def voc_xml(name: str, objects: list[tuple[str, list[float]]]) -> str:
    sides = "xmin", "ymin", "xmax", "ymax"
    boxes = ("".join(f"<{side}>{value}</{side}>" for side, value in zip(sides, box, strict=True)) for _, box in objects)
    inner = (
        f"<object><name>{label}</name><bndbox>{box}</bndbox></object>"
        for (label, _), box in zip(objects, boxes, strict=True)
    )
    return f"<annotation><filename>{name}</filename>{''.join(inner)}</annotation>"


def voc(digits: Path, folder: Path) -> None:
    """As VOC's own: a folder of images, one of annotations, lists of the splits; names of files from before."""
    for split in ("train", "val"):
        (folder / "JPEGImages").mkdir(parents=True, exist_ok=True)
        stems = []
        for name, _, objects in objects_by_image(content_of(digits, split)):
            stems.append(f"{split}_{Path(name).stem}")
            shutil.copy(digits / split / name, folder / "JPEGImages" / f"{stems[-1]}.png")
            write_text(folder / "Annotations" / f"{stems[-1]}.xml", voc_xml(f"old name {name}", objects))
        write_text(folder / "ImageSets" / "Main" / f"{split}.txt", "\n".join(stems))
        write_text(folder / "ImageSets" / "Main" / f"3_{split}.txt", "\n".join(f"{stem} -1" for stem in stems))


def voc_beside_images(digits: Path, folder: Path) -> None:
    """As Roboflow and LabelImg write it."""
    for split, name in SPLITS.items():
        copy_images(digits, split, folder / name)
        for image, _, objects in objects_by_image(content_of(digits, split)):
            write_text((folder / name / image).with_suffix(".xml"), voc_xml(image, objects))


def labelme(digits: Path, folder: Path) -> None:
    """Images of both splits in folders, rectangles from any corner, and polygons."""
    for split in ("train", "val"):
        copy_images(digits, split, folder / split)
        for image, _, objects in objects_by_image(content_of(digits, split)):
            shapes = [
                {"label": label, "shape_type": "rectangle", "points": [[x2, y1], [x1, y2]]}
                for label, (x1, y1, x2, y2) in objects
            ]
            for label, (x1, y1, x2, y2) in objects[:1]:
                points = [[x1, y1], [x2, y1], [x2, y2], [x1, y2]]
                shapes[0] = {"label": label, "shape_type": "polygon", "points": points}
            write((folder / split / image).with_suffix(".json"), {"imagePath": image, "shapes": shapes})


def cvat(digits: Path, folder: Path) -> None:
    """One XML a split."""
    for split in ("train", "val"):
        copy_images(digits, split, folder / split / "images")
        images = ""
        for image, _, objects in objects_by_image(content_of(digits, split)):
            boxes = (f'<box label="{c}" xtl="{a}" ytl="{b}" xbr="{x}" ybr="{y}"/>' for c, (a, b, x, y) in objects)
            images += f'<image name="{image}">{"".join(boxes)}</image>'
        write_text(folder / split / "annotations.xml", f"<annotations><version>1.1</version>{images}</annotations>")


def table(digits: Path, folder: Path) -> None:
    """A CSV file a split, with a header for the one and without for the other."""
    for split in ("train", "val"):
        copy_images(digits, split, folder / "images" / split)
        lines = [
            [f"{split}/{image}", *map(str, box), label]
            for image, _, objects in objects_by_image(content_of(digits, split))
            for label, box in objects or [("", [""] * 4)]
        ]
        header = [["image_path", "xmin", "ymin", "xmax", "ymax", "label"]] if split == "train" else []
        write_text(folder / f"{split}_labels.csv", "\n".join(",".join(line) for line in header + lines))


def open_images(digits: Path, folder: Path) -> None:
    """Boxes in parts of the image's size, and names of images without their suffix."""
    for split, name in (("train", "train"), ("val", "validation")):
        copy_images(digits, split, folder / name)
        lines = [
            f"{Path(image).stem},xclick,{label},1,{x1 / side},{x2 / side},{y1 / side},{y2 / side}"
            if objects
            else f"{Path(image).stem},,,,,,,"
            for image, side, objects in objects_by_image(content_of(digits, split))
            for label, (x1, y1, x2, y2) in objects or [("", (0,) * 4)]
        ]
        header = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax"
        write_text(folder / f"{name}-annotations-bbox.csv", "\n".join([header, *lines]))


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
