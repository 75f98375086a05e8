"""YOLO's data sets: a data.yaml with the splits and class names, and a text file of labels for each image.

Converted by code of our own: supervision brings a video decoder and opens every image, globox knows neither polygons
nor data.yaml, and what is left to do is one line of numbers an object.
"""

import os
import re
from pathlib import Path
from typing import Any

import yaml

from brs_detr.data.coco_file import Content
from brs_detr.data.images import sizes_of
from brs_detr.data.layouts import IMAGES, Files, Split, text_of
from brs_detr.data.split_lists import lines_of
from brs_detr.errors import InputError
from brs_detr.files import yaml_problem

SPLITS = ("train", "val", "test")
KEYS = (rb"^(names|nc)\s*:", rb"^(train|val|valid|test)\s*:")  # one of each is in YOLO's data.yaml
FOLDERS = {"images": "labels", "Images": "Labels", "IMAGES": "LABELS"}
CLASS_LISTS = {"classes.txt", "obj.names"}  # of Label Studio and CVAT


def description(files: Files) -> tuple[Path, dict[str, Any]] | None:
    """The file that names classes and splits, and its content; None where there is none.

    Raises:
        InputError: there are several, or it is no YAML.
    """
    found = []
    for path in files.of_kind({".yaml", ".yml"}):
        content = read_yaml(path)
        if "valid" in content:
            content.setdefault("val", content["valid"])
        if describes(content):
            found.append((path, content))
    if len(found) > 1:
        raise InputError(f"{found[0][0]} and {found[1][0]} both describe data of YOLO: give --data one of them.")
    return found[0] if found else None


def describes(content: dict[str, Any]) -> bool:
    """Whether a YAML file with these values is YOLO's data.yaml: it names classes and a split."""
    return ("names" in content or "nc" in content) and not {*SPLITS, "valid"}.isdisjoint(content)


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file's values, its class names as they are written; none of one that holds none, and is not YOLO's.

    Raises:
        InputError: it is no YAML, but looks like YOLO's.
    """
    try:
        content = yaml.safe_load(raw := path.read_bytes())  # in UTF-8 or UTF-16
    except (OSError, ValueError, yaml.YAMLError) as error:
        if all(re.search(keys, text_of(path), re.MULTILINE) for keys in KEYS):
            raise InputError(f"{path} is no YAML ({yaml_problem(error)}): correct it.") from error
        return {}
    if isinstance(content, dict) and "names" in content:
        content["names"] = yaml.load(raw, yaml.BaseLoader).get("names", content["names"])  # text, also yes and 1.10
    return content if isinstance(content, dict) else {}


def list_of_classes(files: Files) -> tuple[Path, dict[str, Any]] | None:
    """Where there is no such file: classes.txt, one a line, and the splits that folders name, or one to train on.

    Raises:
        InputError: there are several that differ.
    """
    lists = [path for path in files.of_kind({".txt", ".names"}) if path.name in CLASS_LISTS]
    if not lists:
        return None
    path = min(lists, key=lambda each: len(each.parts))
    content: dict[str, Any] = {"names": lines_of(path)}
    if other := [each for each in lists if lines_of(each) != content["names"]]:
        raise InputError(f"{path} and {other[0]} name other classes: remove the one that is not meant.")
    for image in files.of_kind(IMAGES):
        content.setdefault(files.split_of(image.parent) or "train", []).append(str(image.absolute()))
    return path, content


def class_names(path: Path, content: dict[str, Any]) -> list[str]:
    """In the order of their numbers.

    Raises:
        InputError: they have other numbers than 0, 1, 2, ..., two have one name, or there are not `nc`.
    """
    names: Any = content.get("names", number := content.get("nc"))
    if isinstance(names, int):
        names = [str(number) for number in range(names)]
    if isinstance(names, dict) and sorted(map(str, names)) == sorted(map(str, range(len(names)))):
        names = [name for _, name in sorted(names.items(), key=lambda each: int(each[0]))]
    distinct = {str(name).strip() for name in names} if isinstance(names, list) else set()
    if not distinct or "" in distinct or len(distinct) < len(names):
        raise InputError(f"The names in {path} are {names!r}: give a list of distinct names, or one a number from 0.")
    if number not in (None, len(names)):
        raise InputError(f"{path} has {len(names)} names, but nc is {number!r}: correct the one that is wrong.")
    return [str(name) for name in names]


def existing(path: Path, root: Path, entry: str) -> Path:
    """A file or folder of data.yaml, seen from its `path` or from itself; ``../train``, as Roboflow writes, too.

    Raises:
        InputError: it is nowhere.
    """
    inside = entry.removeprefix("../")
    for place in (root / inside, root / entry, path.parent / inside, path.parent / entry):
        if place.exists():
            return Path(os.path.normpath(place))
    raise InputError(f"{path} names {entry}, which does not exist below {root}: correct it.")


def images_of(path: Path, content: dict[str, Any], split: str) -> list[Path]:
    """The image files of a split: of folders, and of text files that list some.

    Raises:
        InputError: there are none.
    """
    root = Path(os.path.normpath(path.parent / str(content.get("path") or "")))
    root = root if root.is_dir() else path.parent
    entries = content[split] if isinstance(content[split], list) else [content[split]]
    images: list[Path] = []
    for entry in entries:
        place = existing(path, root, str(entry))
        if place.is_dir():
            images += Files(place).of_kind(IMAGES)
        elif place.suffix == ".txt":
            images += [existing(place, root, line.removeprefix("./")) for line in lines_of(place) if line]
        else:
            images.append(place)
    if not images:
        raise InputError(f"{path} gives {content[split]!r} as its {split} split, where no image is: correct it.")
    return sorted(dict.fromkeys(images))


def labels_of(image: Path) -> Path:
    """The file of an image's labels: its path with the last ``images`` as ``labels``, or the one beside it."""
    parts, beside = list(image.parts), image.with_suffix(".txt")
    for number in range(len(parts) - 2, -1, -1):
        if parts[number] in FOLDERS:
            parts[number] = FOLDERS[parts[number]]
            labels = Path(*parts).with_suffix(".txt")
            return beside if beside.is_file() and not labels.is_file() else labels
    return beside if beside.exists() else image.parent.parent / "labels" / beside.name


def object_of(line: str, width: int, height: int, classes: int, keypoints: int = 0) -> dict[str, Any]:
    """COCO's fields of a line ``class x y width height`` (of the centre) or ``class x y x y x y ...``.

    Its coordinates are parts of the image's size, the result is in pixels. A polygon becomes its box, and a mask.
    keypoints: how many numbers of them follow each box; they are left out, and there are no polygons then.

    Raises:
        ValueError: it is none of them.
    """
    first, *numbers = line.split()
    values = [float(number) for number in numbers]
    if keypoints:
        if len(values) != 4 + keypoints:
            raise ValueError(f"{len(values)} numbers, not 4 and {keypoints} of keypoints")
        values = values[:4]
    if float(first) not in range(classes):
        raise ValueError(f"class {first}, but there are {classes} from 0")
    category = int(float(first)) + 1
    if not all(-1 <= value <= 2 for value in values):
        raise ValueError("coordinates that are no parts of the image's size")
    if len(values) == 4:
        x, y, w, h = (value * side for value, side in zip(values, (width, height) * 2, strict=True))
        return {"category_id": category, "bbox": [x - w / 2, y - h / 2, w, h], "area": w * h}
    if len(values) < 6 or len(values) % 2:
        raise ValueError("neither a box nor a polygon")
    corners = [value * (width, height)[number % 2] for number, value in enumerate(values)]
    left, top = min(corners[::2]), min(corners[1::2])
    w, h = max(corners[::2]) - left, max(corners[1::2]) - top
    return {"category_id": category, "bbox": [left, top, w, h], "area": w * h, "segmentation": [corners]}


def objects_of(labels: Path, size: tuple[int, int], classes: int, keypoints: int = 0) -> list[dict[str, Any]]:
    """The objects in a file of labels; none where it does not exist, as YOLO marks images of background.

    Raises:
        InputError: a line is malformed.
    """
    if not labels.is_file():
        return []
    objects = []
    for number, line in enumerate(lines_of(labels), 1):
        try:
            objects += [object_of(line, *size, classes, keypoints)] if line else []
        except ValueError as error:
            raise InputError(f"Line {number} of {labels} is malformed ({error}): correct or remove it.") from error
    return objects


def files_of(path: Path, content: dict[str, Any]) -> tuple[dict[str, list[Path]], list[str]]:
    """The image files of each split, and a remark on a test split that is not there, as few have it.

    Raises:
        InputError: another split is not there.
    """
    files = {split: images_of(path, content, split) for split in SPLITS if content.get(split) and split != "test"}
    try:
        return files | ({"test": images_of(path, content, "test")} if content.get("test") else {}), []
    except InputError as error:
        return files, [f"There is no test split: {error}"]


def read_yolo(path: Path, content: dict[str, Any]) -> dict[str, Split]:
    """The splits that a data.yaml describes, as COCO's content.

    Raises:
        InputError: something named is missing, or malformed.
    """
    names = class_names(path, content)
    files, remarks = files_of(path, content)
    if not any(labels_of(file).is_file() for file in files.get("train", [])):
        raise InputError(
            f"None of the images that {path} gives to train on has a file of labels, such as "
            f"{labels_of(next(iter(files.values()))[0])}: put them there, or beside the images."
        )
    keypoints = keypoint_numbers(path, content)
    splits = {split: as_coco(path, found, names, keypoints) for split, found in files.items()}
    for split, found in files.items():
        if without := sum(not labels_of(file).is_file() for file in found):
            splits[split].remarks.append(f"{split}: {without} images have no file of labels, and count as background.")
    next(iter(splits.values())).remarks += remarks
    if lost := lost_labels([file for found in files.values() for file in found]):
        remark = f"{len(lost)} files of labels have no image in any split, such as {lost[0]}."
        next(iter(splits.values())).remarks.append(remark)
    return splits


def keypoint_numbers(path: Path, content: dict[str, Any]) -> int:
    """How many numbers follow each box: kpt_shape of data.yaml is [keypoints, numbers of each].

    Raises:
        InputError: it is something else.
    """
    shape = content.get("kpt_shape", [0, 0])
    if not isinstance(shape, list) or len(shape) != 2 or not all(type(each) is int for each in shape):
        raise InputError(f"kpt_shape in {path} is {shape!r}: give the number of keypoints, and of numbers of each.")
    return shape[0] * shape[1]


def as_coco(path: Path, files: list[Path], names: list[str], keypoints: int = 0) -> Split:
    """Image files and their labels as COCO's content. path: of data.yaml."""
    folder = Path(os.path.commonpath([file.parent for file in files]))
    images: list[Content] = []
    annotations: list[Content] = []
    for number, (file, size) in enumerate(zip(files, sizes_of(files), strict=True), 1):
        name = file.relative_to(folder).as_posix()
        images.append({"id": number, "file_name": name, "width": size[0], "height": size[1]})
        for each in objects_of(labels_of(file), size, len(names), keypoints):
            annotations.append({"id": len(annotations) + 1, "image_id": number, "iscrowd": 0, **each})
    categories = [{"id": number, "name": name} for number, name in enumerate(names, 1)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    return Split(path, folder, content, derived=True)


def lost_labels(images: list[Path]) -> list[Path]:
    """Files in folders of labels that belong to none of the images. Other text may lie where images do."""
    labels = {labels_of(image) for image in images}
    folders = {path.parent for path in labels if path.parent.is_dir()} - {image.parent for image in images}
    found = {path for folder in folders for path in folder.glob("*.txt") if path.name not in CLASS_LISTS}
    return sorted(found - labels)
