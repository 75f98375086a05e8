"""A file an image: Pascal VOC's XML (LabelImg's, Roboflow's) and LabelMe's JSON; and CVAT's XML of all images."""

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

from brs_detr.data.conversion import Labelled, Object, an_object, as_splits, box_around, box_around_turned
from brs_detr.data.layouts import IMAGES, Files, Split, text_of
from brs_detr.data.split_lists import SplitLists, split_named
from brs_detr.errors import InputError

CORNERS = ("xmin", "ymin", "xmax", "ymax")
SIDES = {  # of CVAT's shapes, as it calls them
    "box": ("xtl", "ytl", "xbr", "ybr"),
    "ellipse": ("cx", "cy", "rx", "ry"),
    "mask": ("left", "top", "width", "height"),
}
NO_AREA = {"point", "points", "line", "linestrip"}  # LabelMe's


def read_annotation_files(files: Files) -> dict[str, Split]:
    """The splits of a folder with such files; none where there are no such files.

    Raises:
        InputError: a file is malformed.
    """
    found = [*(image for path in files.of_kind({".xml"}) for image in of_xml(path)), *labelme_images(files)]
    by_split: dict[str, list[Labelled]] = defaultdict(list)
    assign = Assignment(files)
    for each in found:
        if split := assign(each):
            by_split[split].append(each)
    return as_splits(files, {split: images[0].source for split, images in by_split.items()}, by_split)


class Assignment:
    """Which split an image is of: as ImageSets/Main lists it, else as the folders of its annotations, or its own, tell.

    The name of a file of many images tells, too; that of an image, as dev_board_4, says what is seen.

    An image whose name leads nowhere, for files are renamed without a look inside, gets that of its annotations. Where
    nothing tells, it is to be trained on, unless lists name more than one split: None.
    """

    def __init__(self, files: Files) -> None:
        self.files, self.lists = files, SplitLists(files)
        listed = {split for splits in self.lists.splits.values() for split in splits}
        self.otherwise = "train" if len(listed) < 2 else None
        self.images: dict[str, set[str | None]] = defaultdict(set)
        for path in files.of_kind(IMAGES):
            self.images[path.stem].add(files.split_of(path.parent))

    def __call__(self, labelled: Labelled) -> str | None:
        stem, image = labelled.source.stem, Path(labelled.name.replace("\\", "/")).stem
        if image not in self.images and stem in self.images:
            labelled.name = image = stem
        places = self.images.get(image, {None})
        of_image = next(iter(places)) if len(places) == 1 else None
        listed = self.lists(str(labelled.source.relative_to(self.files.folder)))
        of_file = self.files.split_of(labelled.source.parent if labelled.alone else labelled.source)
        told = listed or split_named(labelled.subset) or of_file or of_image
        return told or self.otherwise


def of_xml(path: Path) -> Iterable[Labelled]:
    """The images that an XML file annotates: one of VOC, all of CVAT; none where it is something else.

    Raises:
        InputError: it is malformed.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ValueError, ElementTree.ParseError) as error:
        raise InputError(f"The file {path} is no XML ({error}): correct or remove it.") from error
    if root.tag == "annotation":
        name = root.findtext("filename") or path.stem
        return [Labelled(name.strip(), path, [of_voc(path, each) for each in root.iter("object")], alone=True)]
    if root.tag == "annotations" and root.find("image") is not None:
        return [cvat_image(path, each) for each in root.iter("image")]
    return []


def of_voc(path: Path, entry: ElementTree.Element) -> Object:
    box = entry.find("bndbox")
    sides = [] if box is None else [box.findtext(side) or "" for side in CORNERS]
    found = an_object(path, (entry.findtext("name") or "").strip(), sides)
    return found._replace(ignored=(entry.findtext("difficult") or "").strip() == "1")  # as VOC's evaluation does


def cvat_image(path: Path, image: ElementTree.Element) -> Labelled:
    labelled = Labelled(image.get("name") or "", path, subset=image.get("subset") or "")
    for shape in image:
        if shape.tag in SIDES or shape.tag == "polygon":
            labelled.objects.append(of_cvat(path, shape))
        elif shape.tag != "tag":  # which is said of the whole image
            labelled.left_out.append(shape.tag)
    return labelled


def of_cvat(path: Path, shape: ElementTree.Element) -> Object:
    """A polygon, or the box around anything else, which may be turned."""
    name = shape.get("label") or ""
    if shape.tag == "polygon":
        return of_polygon(path, name, re.split("[,;]", shape.get("points") or ""))
    x, y, u, v = box = tuple(number_of(shape, side) for side in SIDES[shape.tag])
    if shape.tag == "ellipse":
        box = x - u, y - v, x + u, y + v
    elif shape.tag == "mask":
        box = x, y, x + u, y + v
    if shape.get("rotation"):
        box = box_around_turned(box, number_of(shape, "rotation"), shape.tag == "ellipse")
    return an_object(path, name, box)


def number_of(shape: ElementTree.Element, attribute: str) -> float:
    """Not a number where the attribute is none, or infinite."""
    try:
        value = float(shape.get(attribute) or math.nan)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def of_polygon(path: Path, name: str, numbers: Iterable[float | str]) -> Object:
    try:
        corners = tuple(map(float, numbers))
    except (TypeError, ValueError):
        corners = ()
    if len(corners) < 6 or len(corners) % 2:
        raise InputError(f"{path} has a polygon of {name or 'no class'} without three points: correct or remove it.")
    return an_object(path, name, box_around(corners), corners)


def labelme_images(files: Files) -> Iterable[Labelled]:
    for path in files.of_kind({".json"}):
        if b'"shapes"' not in text_of(path):
            continue
        try:
            content = json.loads(path.read_bytes())
            name = content["imagePath"] or path.stem
            left_out = [each["shape_type"] for each in content["shapes"] if each.get("shape_type") in NO_AREA]
            shapes = [each for each in content["shapes"] if each.get("shape_type") not in NO_AREA]
            yield Labelled(name, path, [of_labelme(path, each) for each in shapes], left_out, alone=True)
        except InputError:
            raise
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise InputError(f"The file {path} is not of LabelMe, as it seems: correct or remove it.") from error


def of_labelme(path: Path, shape: dict) -> Object:
    """A rectangle or a mask from two corners, a circle from its centre and a point of it, anything else a polygon."""
    points = [float(value) for point in shape["points"] for value in point]
    name, kind = str(shape["label"] or ""), shape.get("shape_type")
    if kind == "circle" and len(points) == 4:
        x, y, u, v = points
        radius = ((x - u) ** 2 + (y - v) ** 2) ** 0.5
        return an_object(path, name, (x - radius, y - radius, x + radius, y + radius))
    if kind in ("rectangle", "mask") and len(points) >= 4:
        return an_object(path, name, box_around(tuple(points)))
    return of_polygon(path, name, points)
