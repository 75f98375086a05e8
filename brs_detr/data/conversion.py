"""Annotations that name classes and give boxes in pixels, from whatever format, as COCO's content."""

import math
import operator
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from brs_detr.data.coco_file import Content, counted, is_number, listed
from brs_detr.data.image_folders import find_images
from brs_detr.data.images import sizes_of
from brs_detr.data.layouts import WORDS, Files, Split
from brs_detr.errors import InputError


class Object(NamedTuple):
    """box: x1 y1 x2 y2. polygon: x y x y ...; none for a box alone. relative: the box is in parts of the image's size.

    ignored: neither trained on nor evaluated against, as a crowd of COCO.
    """

    name: str
    box: tuple[float, ...]
    polygon: tuple[float, ...] = ()
    relative: bool = False
    ignored: bool = False


@dataclass
class Labelled:
    """An image by the name that its annotations give it, and its objects.

    source: the file that holds them. left_out: the kind of each shape there that bounds no area. subset: what the file
    says that the image is for. alone: whether the file is of this image only, so that its name says no more.
    """

    name: str
    source: Path
    objects: list[Object] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    subset: str = ""
    alone: bool = False


def an_object(source: Path, name: str, box: Iterable[float | str], polygon: Iterable[float] = ()) -> Object:
    """An object whose numbers are numbers.

    Raises:
        InputError: they are not, or it has no name.
    """
    try:
        numbers, corners = tuple(map(float, box)), tuple(map(float, polygon))
    except (TypeError, ValueError):
        numbers, corners = (), ()
    if len(numbers) != 4 or not all(map(is_number, (*numbers, *corners))) or not name.strip():
        raise InputError(
            f"{source} has an object {name.strip() or 'without a class'} with the box {list(box)!r}: a class and four "
            "finite numbers are needed. Correct or remove it."
        )
    x1, y1, x2, y2 = numbers
    return Object(name, (min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)), corners)


def as_splits(files: Files, sources: Mapping[str, Path], labelled: Mapping[str, list[Labelled]]) -> dict[str, Split]:
    """The splits, as COCO's content: classes are numbered in the order of their names.

    sources: a file or folder of each split, for messages, near which its images are looked for.

    Raises:
        InputError: an image is not there, or is none.
    """
    return {split: as_split(files, sources[split], split, labelled[split]) for split in WORDS if labelled.get(split)}


def name_from_data_folder(files: Files, labelled: list[Labelled]) -> None:
    """Where names recur, as of days that number their images anew: the folder before those beside their annotations."""
    if len({each.name for each in labelled}) == len(labelled):
        return
    beside = {id(each): os.path.normpath(each.source.parent / each.name) for each in labelled if each.alone}
    folders = {os.path.dirname(path) for path in beside.values() if files.holds(path)}
    for each in labelled:
        if os.path.dirname(path := beside.get(id(each), "")) in folders:
            each.name = Path(os.path.relpath(path, files.folder)).as_posix()


def as_split(files: Files, source: Path, name: str, labelled: list[Labelled]) -> Split:
    name_from_data_folder(files, labelled)
    images: list[Content] = [{"id": number, "file_name": each.name} for number, each in enumerate(labelled, 1)]
    split = find_images(files, Split(source, files.folder, {"images": images}, derived=True), name)
    for each, file in zip(labelled, split.files, strict=True):
        if not file.is_file():
            raise InputError(f"The image {each.name} of {each.source} is not below {files.folder}: put it there.")
    split.remarks += left_out_remarks(name, labelled)
    sizes = sizes_of(split.files)
    classes = sorted({each.name for image in labelled for each in image.objects})
    numbers = {each: number for number, each in enumerate(classes, 1)}
    annotations: list[Content] = []
    for image, each, (width, height) in zip(images, labelled, sizes, strict=True):
        image.update(width=width, height=height)
        for entry in each.objects:
            fields = coco_fields(entry, width, height)
            fields.update(id=len(annotations) + 1, image_id=image["id"], category_id=numbers[entry.name])
            annotations.append(fields)
    split.content.update(annotations=annotations, categories=[{"id": n, "name": each} for each, n in numbers.items()])
    return split


def left_out_remarks(split: str, labelled: list[Labelled]) -> list[str]:
    """A remark on shapes that are no objects."""
    kinds = [kind for each in labelled for kind in each.left_out]
    first = next((each.source for each in labelled if each.left_out), None)
    remark = f"shapes of {split} bound no area and are left out ({listed(sorted({*kinds}))}), the first in {first}."
    return counted(len(kinds), remark)


def coco_fields(entry: Object, width: int, height: int) -> Content:
    """COCO's box, area and crowd of an object and, if it is a polygon, its mask."""
    factors = (width, height) if entry.relative else (1, 1)
    x1, y1, x2, y2 = (value * factors[place % 2] for place, value in enumerate(entry.box))
    area = (x2 - x1) * (y2 - y1)
    fields: Content = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": area, "iscrowd": int(entry.ignored)}
    if entry.polygon:
        fields["segmentation"] = [list(entry.polygon)]
    return fields


def box_around(corners: tuple[float, ...]) -> tuple[float, float, float, float]:
    """x1 y1 x2 y2 of the points x y x y ..."""
    return min(corners[::2]), min(corners[1::2]), max(corners[::2]), max(corners[1::2])


def box_around_turned(box: tuple[float, ...], degrees: float, ellipse: bool) -> tuple[float, ...]:
    """x1 y1 x2 y2 around a box, or around the ellipse that fills it, turned about its centre."""
    x1, y1, x2, y2 = box
    width, height, turn = (x2 - x1) / 2, (y2 - y1) / 2, math.radians(degrees)
    together = math.hypot if ellipse else operator.add
    cos, sin = abs(math.cos(turn)), abs(math.sin(turn))
    across, down = together(width * cos, height * sin), together(width * sin, height * cos)
    return (x1 + x2) / 2 - across, (y1 + y2) / 2 - down, (x1 + x2) / 2 + across, (y1 + y2) / 2 + down
