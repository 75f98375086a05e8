"""The splits of a user's own data: found, divided where there is none to validate on, and made to agree on classes."""

import hashlib
import random
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from brs_detr.data import layouts, yolo
from brs_detr.data.annotation_files import read_annotation_files
from brs_detr.data.coco_file import Content, counted, listed, read_lists
from brs_detr.data.coco_parts import read_coco
from brs_detr.data.layouts import IMAGES, Files, Split
from brs_detr.data.split_lists import SplitLists, divided, part
from brs_detr.data.tables import read_tables, why_unread
from brs_detr.errors import InputError

DESCRIPTIONS = {*layouts.ANNOTATIONS, ".yaml", ".yml"}
ARCHIVES = {".zip", ".tar", ".gz", ".tgz", ".7z", ".rar"}
PIECE = 1 << 16  # bytes read at the begin, the middle and the end of an image, to tell it from others of its length


def find_splits(data: Path, share: float | None = None, seed: int = 0) -> tuple[dict[str, Split], tuple[str, ...]]:
    """Train, val and, where it is annotated, test: of a folder, or of one COCO file or data.yaml; and their classes.

    Args:
        share: of the images to train on, to validate on instead.
        seed: of the division.

    Raises:
        InputError: no layout is known, or the splits do not go together.
    """
    if share is not None and not 0 < share < 1:
        raise InputError(f"--split {share:g} is no share of the images: give a number between 0 and 1, such as 0.2.")
    splits = read_layout(data)
    check_train(data, splits)
    if "val" in splits and share is not None:
        raise InputError(f"{splits['val'].source} is there to validate on already: leave out --split.")
    if "val" not in splits and share is None:
        raise InputError(f"{data} has nothing to validate on: add --split 0.2 to take a fifth of the training images.")
    if share is not None:
        splits["train"], splits["val"] = divide(splits["train"], share, seed)
    classes = agreed_classes(splits)
    return {name: splits[name] for name in layouts.WORDS if name in splits}, classes


def check_train(data: Path, splits: dict[str, Split]) -> None:
    """Raises InputError where there is nothing to train on."""
    if "train" not in splits:
        first = next(iter(splits.values())).source
        raise InputError(
            f"{data} has a {listed(list(splits))} split ({first}), but none of that format to train on: give it a file "
            "whose name says train."
        )


def read_layout(data: Path) -> dict[str, Split]:
    """The splits as they lie there, by the names of their files and folders or by lists of images."""
    if not data.exists():
        raise InputError(f"The data folder {data} does not exist.")
    if data.suffix.lower() in ARCHIVES:
        raise InputError(f"{data} is an archive: unpack it, and give --data the folder.")
    files = Files(data if data.is_dir() else data.parent)
    splits = _as_they_lie(data, files)
    if "test" in splits and len(splits) > 1 and not splits["test"].content.get("annotations"):
        bare = splits.pop("test")
        next(iter(splits.values())).remarks.append(f"test: {bare.source} has no annotations, and is left out.")
    return divided(splits["train"], SplitLists(files)) if set(splits) == {"train"} and data.is_dir() else splits


def _as_they_lie(data: Path, files: Files) -> dict[str, Split]:
    if data.is_file():
        files.leave_out(path for path in files.of_kind(DESCRIPTIONS) if path != data)
        paths, remarks = {"train": [data]} if data.suffix.lower() == ".json" else {}, list[str]()
    else:
        paths, remarks = layouts.annotation_files(files)
    if paths:
        splits = {name: read_coco(files, path, name) for name, path in paths.items()}
        first = splits["train" if "train" in splits else next(iter(splits))]
        first.remarks += remarks + unlisted(files, splits.values())
        return splits
    if described := yolo.description(files):
        return yolo.read_yolo(*described)
    if found := read_annotation_files(files) or read_tables(files):
        next(iter(found.values())).remarks += unlisted(files, found.values())
        return found
    if described := yolo.list_of_classes(files):
        return yolo.read_yolo(*described)
    raise InputError(
        f"{data} has no layout that is known. What was looked for: {layouts.LOOKED_FOR}. There are "
        f"{len(files.of_kind(IMAGES))} images in {len(files.names)} folders, and "
        f"{len(files.of_kind({'.json', '.yaml', '.yml'}))} JSON and YAML files of another kind. {unread(files)}"
        "CONTRIBUTING.md says how to convert other formats."
    )


def unread(files: Files) -> str:
    """Why a JSON file, one that names a split if there is one, and a table are not read; nothing without any."""
    paths = sorted(files.of_kind({".json"}), key=lambda path: files.split_of(path) is None)
    reasons = [f"{why_unread(path)}. " for path in files.of_kind({".csv"})[:1]]
    try:
        for path in paths[:1]:
            read_lists(path)
    except InputError as error:
        reasons.append(f"{error} ")
    return "".join(reasons)


def unlisted(files: Files, splits: Iterable[Split]) -> list[str]:
    """A remark on image files that no annotation file lists, in the folders of those that are."""
    listed_files = {file for split in splits for file in split.files}
    folders = {file.parent for file in listed_files}
    lost = [path for path in files.of_kind(IMAGES) if path.parent in folders and path not in listed_files]
    where = f"beside those of the splits have no annotations or no split, such as {lost[0]}: left out." if lost else ""
    return counted(len(lost), f"images {where}")


def divide(split: Split, share: float, seed: int) -> tuple[Split, Split]:
    """Two splits of one, by image: the second has this share, and at least one image, as has the first.

    Raises:
        InputError: there is one image only.
    """
    images = sorted(split.content["images"], key=lambda image: image["file_name"])
    if len(images) < 2:
        raise InputError(f"{split.source} has one image: there is nothing to divide.")
    random.Random(seed).shuffle(images)
    size = min(max(1, round(share * len(images))), len(images) - 1)
    first = Split(split.source, split.images, part(split.content, images[size:]), True, split.remarks)
    return first, Split(split.source, split.images, part(split.content, images[:size]), True)


def agreed_classes(splits: dict[str, Split]) -> tuple[str, ...]:
    """The classes to train on, which all splits have thereafter in that order.

    Raises:
        InputError: a split has objects of others.
    """
    classes = class_names(splits)
    for name, split in splits.items():
        agree(name, split, classes, splits["train"].source)
    return classes


def class_names(splits: dict[str, Split]) -> tuple[str, ...]:
    """Those of the training file, without one that only names the group of all others, as Roboflow writes it."""
    categories = splits["train"].content["categories"]
    groups = {str(each.get("supercategory")) for each in categories}
    used = {name for split in splits.values() for name in used_names(split.content)}
    return tuple(each["name"] for each in categories if each["name"] in used or each["name"] not in groups)


def used_names(content: Content) -> set[str]:
    """The classes that have objects."""
    used = {each["category_id"] for each in content.get("annotations", [])}
    return {each["name"] for each in content["categories"] if each["id"] in used}


def agree(name: str, split: Split, classes: tuple[str, ...], trained: Path) -> None:
    """Give a split the training file's classes in their order, whatever numbers they have here.

    Raises:
        InputError: it has objects of other classes.
    """
    if other := sorted(used_names(split.content) - set(classes)):
        raise InputError(
            f"{split.source} ({name}) has objects of {listed(other)}, and {trained} does not know these classes, but "
            f"{listed(classes)}: give both files the same categories."
        )
    known = {each["name"]: each for each in split.content["categories"]}
    if tuple(each for each in known if each in classes) == classes:
        return
    free = max((each["id"] for each in known.values()), default=0)
    split.content["categories"] = [
        known.get(each) or {"id": free + number, "name": each} for number, each in enumerate(classes, 1)
    ]
    split.derived = True
    split.remarks.append(f"{name}: {split.source} lists its classes otherwise than {trained}, whose order is used.")


def fingerprint(path: Path) -> bytes:
    """Of an image's length and of pieces of its content."""
    with path.open("rb") as file:
        length = file.seek(0, 2)
        summary = hashlib.blake2b(str(length).encode())
        for start in (0, length // 2, max(0, length - PIECE)):
            file.seek(start)
            summary.update(file.read(PIECE))
    return summary.digest()


def shared_images(splits: dict[str, Split]) -> list[str]:
    """Remarks on images of two splits: one file, or files of one content. Only those of one length are opened."""
    lengths: dict[int, set[str]] = defaultdict(set)
    by_length: dict[int, dict[tuple[str, Path], None]] = defaultdict(dict)
    for name, split in splits.items():
        for path in filter(Path.is_file, split.files):
            length = path.stat().st_size
            lengths[length].add(name)
            by_length[length][name, path] = None
    pairs: dict[tuple[str, str], list[str]] = defaultdict(list)
    for length, names in lengths.items():
        if len(names) > 1:
            for pair, example in _same_content(by_length[length]):
                pairs[pair].append(example)
    return [
        f"{len(found)} images stand in {one} and in {other}, such as {found[0]}: remove them from one of both, since "
        "scores on what was trained on say little."
        for (one, other), found in pairs.items()
    ]


def _same_content(images: Iterable[tuple[str, Path]]) -> Iterable[tuple[tuple[str, str], str]]:
    first: dict[bytes, tuple[str, Path]] = {}
    for name, path in images:
        other, known = first.setdefault(fingerprint(path), (name, path))
        if other != name:
            yield (other, name), str(path) if path == known else f"{known} and {path}"
