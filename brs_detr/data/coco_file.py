"""Reading a COCO file: refused where it is malformed, mended in memory where its meaning is plain.

Data set, evaluator, checks and prediction all read through `read_annotations`, in whatever process they run, so that
all see the same content; the file itself stays as it is.
"""

import json
import reprlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from brs_detr.data.masks import drop_flat
from brs_detr.errors import InputError

Content = dict[str, Any]

LARGEST = 1e15  # of a coordinate or an area: products of two stay finite in float32


@dataclass(frozen=True)
class CocoSource:
    """Where a data set's files are, which classes it has, and what it is read for.

    images: None where only the file is checked. classes: None for all of the file. training, scored: whether it is
    trained on, or predictions are compared with it. masks: whether masks are read. least_side: in pixels, of images
    that training keeps. mended: whether the data set reads what `read_annotations` mends.
    """

    annotations: Path
    images: Path | None
    root: Path
    classes: tuple[str, ...] | None = None
    training: bool = False
    scored: bool = False
    masks: bool = False
    least_side: int = 0
    mended: bool = True

    @property
    def purpose(self) -> str | None:
        """What boxes are needed for, as sentences say it; None where the file may do without any."""
        return "to train on" if self.training else "to evaluate against" if self.scored else None


class Rule(NamedTuple):
    """What a field's value must be, and how a sentence says so."""

    holds: Callable[[Any], bool]
    meaning: str
    required: bool = True


def listed(names: tuple[str, ...] | list[str], most: int = 5) -> str:
    """The first few names."""
    return ", ".join(map(str, names[:most])) + (", ..." if len(names) > most else "")


def counted(number: int, what: str) -> list[str]:
    """The remark that there are so many of something; none where there are none."""
    return [f"{number} {what}"] if number else []


def is_number(value: Any) -> bool:
    """Whether it is a number to compute with, not NaN, infinite or beyond all sense; True and False are none."""
    return type(value) in (int, float) and -LARGEST <= value <= LARGEST


def is_box(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(map(is_number, value))


INTEGER = Rule(lambda value: type(value) is int, "an integer")
TEXT = Rule(lambda value: isinstance(value, str), "a string")
NAME = Rule(lambda value: isinstance(value, str) and bool(value.strip()), "a string that is not blank")
SIDE = Rule(lambda value: type(value) is int and value > 0, "a positive integer")
RULES = {
    "images": {"file_name": TEXT, "height": SIDE, "id": INTEGER, "width": SIDE},
    "annotations": {
        "bbox": Rule(is_box, "four finite numbers x, y, width, height"),
        "category_id": INTEGER,
        "id": INTEGER,
        "image_id": INTEGER,
        "area": Rule(is_number, "a finite number", required=False),
        "iscrowd": Rule(lambda value: value in (0, 1), "0 or 1", required=False),
    },
    "categories": {"id": INTEGER, "name": NAME},
}


def parse(path: Path) -> tuple[Any, list[str]]:
    """A JSON file's content; a remark where it has a byte-order mark, with which pycocotools does not read it."""
    try:
        raw = path.read_bytes()
        content = json.loads(raw)
    except OSError as error:
        raise InputError(f"The annotation file {path} cannot be read ({error.strerror}).") from error
    except RecursionError as error:
        raise InputError(
            f"The annotation file {path} is not in COCO format: its lists are nested too deeply."
        ) from error
    except ValueError as error:
        raise InputError(f"The annotation file {path} is not JSON ({error}): write it anew, or remove it.") from error
    encoding = json.detect_encoding(raw)
    plain = encoding == "utf-8"
    return content, [] if plain else [f"it is encoded as {encoding}, read here as plain utf-8 is"]


def check_entries(path: Path, kind: str, entries: list[Any]) -> None:
    """Each entry of images, annotations or categories has the fields of `RULES`, and an id of its own."""
    rules = RULES[kind]
    for number, entry in enumerate(entries):
        place = f"Entry {number} of the {kind} in {path}"
        if not isinstance(entry, dict):
            raise InputError(f"{place} is {reprlib.repr(entry)}, not an object with fields: remove it.")
        for key, rule in rules.items():
            if key not in entry:
                if rule.required:
                    raise InputError(f"{place} has no '{key}'.")
            elif not rule.holds(entry[key]):
                raise InputError(
                    f"{place} has {key} {reprlib.repr(entry[key])}, not {rule.meaning}: correct or remove the entry."
                )
    check_unique(path, kind, entries, "id")


def check_unique(path: Path, kind: str, entries: list[Content], key: str) -> None:
    """No two entries share a value."""
    if len({entry[key] for entry in entries}) == len(entries):
        return
    first: dict[Any, int] = {}
    for number, entry in enumerate(entries):
        earlier = first.setdefault(entry[key], number)
        if earlier != number:
            raise InputError(
                f"Entries {earlier} and {number} of the {kind} in {path} have the same {key} "
                f"{reprlib.repr(entry[key])}: give each its own, or remove one."
            )


def mend(annotations: list[Content]) -> list[str]:
    """Fill in, in place, what annotations lack and what nobody can misunderstand; remarks on it."""
    remarks = []
    crowdless = [annotation for annotation in annotations if "iscrowd" not in annotation]
    for annotation in crowdless:
        annotation["iscrowd"] = 0
    if crowdless:
        remarks.append(f"{len(crowdless)} annotations without 'iscrowd' count as single objects")
    arealess = [annotation for annotation in annotations if "area" not in annotation]
    for annotation in arealess:
        annotation["area"] = annotation["bbox"][2] * annotation["bbox"][3]
    if arealess:
        remarks.append(f"{len(arealess)} annotations without 'area' get that of their box")
    remarks += counted(
        drop_flat(annotations), "polygons of fewer than three corners are dropped, others of their object stay"
    )
    for annotation in annotations:
        if annotation["id"] == 0:
            annotation["id"] = 1 + max(each["id"] for each in annotations)
            remarks.append(f"annotation id 0, to pycocotools 'no match', becomes {annotation['id']}")
            break  # ids differ
    return remarks


def read_lists(path: Path) -> tuple[Content, list[str]]:
    """A COCO file's lists as they stand, and a remark on its encoding.

    Raises:
        InputError: it is missing, not JSON, or not in COCO format.
    """
    content, remarks = parse(path)
    lists = content if isinstance(content, dict) else {}
    wrong = [key for key in ("images", "categories") if not isinstance(lists.get(key), list)]
    wrong += ["annotations"] if not isinstance(lists.get("annotations", []), list) else []
    if wrong:
        raise InputError(
            f"The annotation file {path} is not in COCO format: it has no list of {wrong[0]}, so correct or remove it."
        )
    return lists, remarks


def read_annotations(path: Path) -> tuple[Content, list[str]]:
    """A COCO file's content, mended, and remarks on what was mended.

    Raises:
        InputError: it is missing, not JSON, not in COCO format, or an entry is malformed.
    """
    lists, remarks = read_lists(path)
    if not lists["images"]:
        raise InputError(f"The annotation file {path} lists no images.")
    for image in lists["images"]:
        if isinstance(image, dict) and "file_name" not in image and isinstance(image.get("coco_url"), str):
            image["file_name"] = "/".join(image["coco_url"].split("/")[-2:])  # LVIS: folder and name, as in mmdet
    for kind in RULES:
        check_entries(path, kind, lists.get(kind, []))
    check_unique(path, "categories", lists["categories"], "name")
    return lists, remarks + mend(lists.get("annotations", []))
