"""The boxes of a COCO file: which of them training uses, and why it leaves the others out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from brs_detr.data.coco_file import CocoSource, Content, counted, listed
from brs_detr.errors import InputError

ROUNDING = 1  # pixels by which a box may reach outside before it is counted


@dataclass(frozen=True)
class Columns:
    """A file's N annotations as arrays. box: (N, 4) x, y, width, height; size: (N, 2) width and height of the image,
    zeros where the file does not list it; category: (N,) Python integers of any length.
    """

    box: np.ndarray
    size: np.ndarray
    area: np.ndarray
    category: np.ndarray

    @classmethod
    def of(cls, content: Content) -> "Columns":
        annotations = content.get("annotations", [])
        sizes = {image["id"]: (image["width"], image["height"]) for image in content["images"]}
        return cls(
            box=np.array([each["bbox"] for each in annotations], dtype=np.float64).reshape(-1, 4),
            size=np.array([sizes.get(each["image_id"], (0, 0)) for each in annotations], np.float64).reshape(-1, 2),
            area=np.array([each["area"] for each in annotations], dtype=np.float64),
            category=np.array([each["category_id"] for each in annotations], dtype=object),
        )

    def flat(self) -> np.ndarray:
        """Boxes (N,) bool without width or height."""
        return np.any(self.box[:, 2:] <= 0, axis=1)

    def outside(self) -> np.ndarray:
        """Boxes (N,) bool without a point in their image."""
        return ((self.box[:, :2] + self.box[:, 2:] <= 0) | (self.box[:, :2] >= self.size)).any(axis=1)

    def reach_outside(self) -> np.ndarray:
        """Boxes (N,) bool that leave their image by more than rounding."""
        end = self.box[:, :2] + self.box[:, 2:]
        return ((self.box[:, :2] < -ROUNDING) | (end > self.size + ROUNDING)).any(axis=1)


def shift_of(used: set[int], known: set[int]) -> str:
    """What an unknown category id may come from: counting from 0 in one list and from 1 in the other."""
    for first, step in ((0, 1), (1, -1)):
        if {category + step for category in used} <= known:
            return (
                f" (the annotations seem to count them from {first}, the categories from {first + step}: correct this)"
            )
    return ""


def reasons_to_leave_out(source: CocoSource, content: Content, columns: Columns) -> dict[str, Sequence | np.ndarray]:
    """For each reason, by which mmdet's data set leaves a box out, whether it holds: (N,) bool."""
    annotations = content.get("annotations", [])
    of_class = {
        category["id"]: source.classes is None or category["name"] in source.classes
        for category in content["categories"]
    }
    used = set(columns.category)
    unknown_ids = listed(sorted(used - set(of_class)))
    unlisted = columns.size[:, 0] == 0
    return {
        "annotations of images that the file does not list are ignored": unlisted,
        "boxes have category ids that the file does not list and are ignored: "
        f"{unknown_ids}{shift_of(used, set(of_class))}": [each not in of_class for each in columns.category],
        "boxes of categories outside metainfo.classes are ignored": [
            not of_class.get(each, False) for each in columns.category
        ],
        "boxes marked 'ignore' are not trained on, and crowds to an evaluation": [
            bool(each.get("ignore")) for each in annotations
        ],
        "boxes without width or height are dropped": columns.flat(),
        "boxes wholly outside their image are dropped": columns.outside(),
        "boxes of less than a pixel, or whose 'area' is 0, are not trained on, but an evaluation counts them": (
            (columns.box[:, 2:] < 1).any(axis=1) | (columns.area <= 0)
        ),
        f"boxes in images narrower than {source.least_side} pixels are dropped": (
            columns.size.min(axis=1, initial=np.inf) < source.least_side
        ),
        "crowds are neither trained on nor counted as misses": [each["iscrowd"] == 1 for each in annotations],
    }


def repeated(content: Content) -> np.ndarray:
    """Annotations (N,) bool whose image, class and box are those of an earlier one."""
    first: dict[tuple[Any, ...], int] = {}
    keys = [(each["image_id"], each["category_id"], *each["bbox"]) for each in content.get("annotations", [])]
    return np.array([first.setdefault(key, number) != number for number, key in enumerate(keys)], dtype=bool)


def used_boxes(source: CocoSource, content: Content) -> tuple[np.ndarray, list[str]]:
    """Which of the file's N annotations training uses, (N,) bool, and remarks on the others, one reason for each.

    Raises:
        InputError: none is left to train on or to evaluate against.
    """
    columns = Columns.of(content)
    left = np.ones(len(columns.box), dtype=bool)
    remarks: list[str] = []
    for reason, holds in reasons_to_leave_out(source, content, columns).items():
        found = left & np.asarray(holds, dtype=bool)
        left &= ~found
        remarks += counted(int(found.sum()), reason)
    if source.purpose and not left.any():
        raise InputError(f"No box in {source.annotations} is left {source.purpose}: {'; '.join(remarks)}.")
    remarks += counted(int((left & columns.reach_outside()).sum()), "boxes reach outside their image")
    twice = "boxes are there before, of the same class: an evaluation counts each, so that one of the two is missed"
    return left, remarks + counted(int((left & repeated(content)).sum()), twice)


def images_without_boxes(content: Content, used: np.ndarray) -> tuple[int, list[str]]:
    """How many there are; a remark only where they are most, as a few are good to train on."""
    with_boxes = {content["annotations"][number]["image_id"] for number in np.flatnonzero(used)}
    count = sum(image["id"] not in with_boxes for image in content["images"])
    most = content.get("annotations") and 2 * count > len(content["images"])
    return count, counted(count if most else 0, f"of {len(content['images'])} images have no boxes")
