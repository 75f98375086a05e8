"""Checks of one COCO file against its classes and its images, and what it holds.

What leaves nothing to train on or to evaluate against ends with a sentence; what is only left out is counted.
"""

import os
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePath

from brs_detr.data.coco_boxes import images_without_boxes, used_boxes
from brs_detr.data.coco_file import CocoSource, Content, counted, listed, read_annotations
from brs_detr.data.images import check_sides, open_all
from brs_detr.data.masks import check_masks
from brs_detr.errors import InputError

SAMPLE = 8  # images opened before training


@dataclass(frozen=True)
class Report:
    """What a COCO file holds, mended, and remarks on what was mended and on what else is worth knowing.

    boxes: that training uses. empty: images without any of these.
    """

    content: Content
    classes: tuple[str, ...]
    boxes: int
    empty: int
    mended: list[str]
    remarks: list[str]


def check_categories(source: CocoSource, content: Content) -> tuple[str, ...]:
    """The classes of the source; those of its file are the same, in the same order, and perhaps more."""
    names = [category["name"] for category in content["categories"]]
    if source.classes is None:
        return tuple(names)
    known = tuple(name for name in names if name in source.classes)
    if absent := [name for name in source.classes if name not in names]:
        raise InputError(
            f"{source.annotations} has {len(names)} categories, without {listed(absent)}, but the config "
            f"has {len(source.classes)} classes: set metainfo.classes and num_classes to what the file has."
        )
    if known != source.classes:
        raise InputError(
            f"{source.annotations} orders its categories {listed(known)}: metainfo.classes must have the same order."
        )
    return source.classes


def files_in(folder: Path) -> set[str]:
    """The names of a folder's files; none where it cannot be listed, or its name is none."""
    try:
        return {entry.name for entry in os.scandir(folder) if _is_file(entry)}
    except (OSError, ValueError):
        return set()


def _is_file(entry: os.DirEntry) -> bool:
    """Neither a folder, nor a pipe that would be waited for, nor a link that leads in a circle."""
    try:
        return entry.is_file()
    except OSError:
        return False


def check_images(source: CocoSource, content: Content) -> list[str]:
    """Every listed image is there; folders are listed, for single look-ups are slow on network disks."""
    for number, image in enumerate(content["images"]):
        check_sides(f"Entry {number} of the images in {source.annotations}", image["height"], image["width"])
    if source.images is None:
        return []
    wanted: dict[Path, list[str]] = defaultdict(list)
    for image in content["images"]:
        path = source.images / image["file_name"]
        wanted[path.parent].append(path.name)
    missing: list[Path] = []
    for folder, names in wanted.items():
        present = files_in(folder)
        missing += [folder / name for name in names if name not in present]
    if missing:
        remedy = (
            "set data_root and data_prefix to where they are" if source.classes else "give the folder that has them"
        )
        if "\\" in missing[0].name:
            remedy = "write '/' for '\\' in the file's names"
        raise InputError(
            f"{len(missing)} of the {len(content['images'])} images in {source.annotations} are missing, "
            f"the first is {missing[0]}: {remedy}."
        )
    return name_remarks([image["file_name"] for image in content["images"]])


def name_remarks(names: list[str]) -> list[str]:
    """Names that lead elsewhere than into the image folder are followed, as mmdet does, but said."""
    elsewhere = [name for name in names if PurePath(name).is_absolute() or ".." in PurePath(name).parts]
    remarks = counted(len(elsewhere), f"file names lead out of the image folder: {listed(elsewhere, 1)}")
    return remarks + counted(len(names) - len(set(names)), "images have the file name of another")


def mask_remarks(source: CocoSource, content: Content, remedy: str) -> list[str]:
    """Masks that are read are whole; where they are not read, a file that has some but not all is remarked."""
    if source.masks:
        return check_masks(source.annotations, content, remedy, scored=source.scored)
    annotations = content.get("annotations", [])
    empty = sum(not each.get("segmentation", True) for each in annotations)
    return counted(empty, "annotations have an empty segmentation") if empty < len(annotations) else []


def check_source(source: CocoSource, converted: Content | None = None) -> Report:
    """Check a file, or what was converted from one of another format, and that its images are there.

    Raises:
        InputError: the data cannot be used.
    """
    write_digits = "with `python -m brs_detr.data.digits`" if source.root.name == "digits" else None
    if not source.root.is_dir():
        remedy = f"write it {write_digits}" if write_digits else "set data_root"
        raise InputError(f"The data folder {source.root} does not exist: {remedy}.")
    content, mended = (converted, []) if converted else read_annotations(source.annotations)
    if source.purpose and not content.get("annotations"):
        raise InputError(f"The annotation file {source.annotations} has no annotations {source.purpose}.")
    classes = check_categories(source, content)
    used, box_remarks = used_boxes(source, content)
    empty, empty_remarks = images_without_boxes(content, used)
    remedy = f"write the digits anew {write_digits}" if write_digits else "annotate masks"
    return Report(
        content,
        classes,
        boxes=int(used.sum()),
        empty=empty,
        mended=mended if source.mended else [],
        remarks=check_images(source, content) + box_remarks + empty_remarks + mask_remarks(source, content, remedy),
    )


def files_of(source: CocoSource, content: Content) -> list[tuple[Path, int, int]]:
    """Path, width and height of every image."""
    folder = source.images or Path()
    return [(folder / image["file_name"], image["width"], image["height"]) for image in content["images"]]


def check_sample(source: CocoSource, content: Content) -> list[str]:
    """Open a few images, spread over the file: remarks where their size is not what the file says, or they are dark.

    Raises:
        InputError: one cannot be read, or most have another size.
    """
    files = files_of(source, content)
    sample = files[:: -(-len(files) // SAMPLE)]
    unreadable, resized, dark = open_all(sample)
    if unreadable:
        raise InputError(unreadable[0])
    if 2 * len(resized) > len(sample):
        raise InputError(other_sizes(source, f"{len(resized)} of {len(sample)} images opened", resized))
    opened = f"of {len(sample)} images opened"
    other = f"{opened} have another size than the file says: {listed(resized, 1)}"
    black = f"{opened} have more than 8 bits and use the low ones, so that a model sees them nearly black"
    return counted(len(resized), f"{other}; `python scripts/check_data.py --images` opens all") + counted(
        len(dark), f"{black}: {listed(dark, 1)}; stretch them over all bits, or give them 8"
    )


def check_all_images(source: CocoSource, content: Content, after_each: Callable[[], None]) -> None:
    """Open every image.

    Raises:
        InputError: some cannot be read, or have another size than the file says.
    """
    unreadable, resized, _ = open_all(files_of(source, content), after_each)
    if unreadable:
        raise InputError(f"{len(unreadable)} images of {source.annotations} cannot be used. {' '.join(unreadable)}")
    if resized:
        raise InputError(other_sizes(source, f"{len(resized)} images", resized))


def other_sizes(source: CocoSource, which: str, resized: list[str]) -> str:
    return (
        f"{which} have another size than {source.annotations} says: {listed(resized)}. Correct width and height where "
        "its boxes belong to the images as they are, else replace the images."
    )
