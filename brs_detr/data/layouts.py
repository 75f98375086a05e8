"""Where a folder of annotated images keeps what: its COCO files, the split that each is of, and their images.

Names decide nothing but the split. A file is a COCO file by what it holds, and its images lie in the folder below which
most of its file names lead to a file.
"""

import os
import re
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path, PurePosixPath

from brs_detr.data.coco_file import Content, listed, read_annotations
from brs_detr.errors import InputError

WORDS = {  # of a path that tell its split
    "train": {"train", "training", "trainset", "trn"},
    "val": {"val", "valid", "validation", "valset", "dev", "eval"},
    "test": {"test", "testing", "testset"},
}
IMAGES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}
LOOKED_FOR = (
    "COCO files (.json with lists of images and categories) such as annotations/instances_train2017.json, "
    "train/_annotations.coco.json or train.json, each with its images anywhere below the folder, YOLO's data.yaml or "
    "classes.txt, XML files of Pascal VOC or CVAT, JSON files of LabelMe, CSV files with a line an object"
)


@dataclass
class Split:
    """Annotations and images of a split.

    source: the file or folder of the annotations, for messages. images: the folder below which file names lead to
    images. derived: whether no file holds the content as it is here, so that one must be written.
    """

    source: Path
    images: Path
    content: Content
    derived: bool = False
    remarks: list[str] = field(default_factory=list)

    @property
    def files(self) -> list[Path]:
        """Of all its images."""
        return [Path(os.path.normpath(self.images / image["file_name"])) for image in self.content["images"]]


class Files:
    """The names of all files below a folder by the folder that they are in; hidden folders are left out."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.names = folder, dict[Path, set[str]]()
        seen: set[str] = set()
        for place, folders, names in os.walk(folder, followlinks=True):
            real = os.path.realpath(place)
            folders[:] = [] if real in seen else sorted(name for name in folders if not name.startswith("."))
            if real not in seen:
                self.names[Path(place)] = {name for name in names if not name.startswith("._")}
            seen.add(real)

    def of_kind(self, suffixes: set[str]) -> list[Path]:
        """Those with one of these suffixes in lower case, sorted."""
        return sorted(
            place / name
            for place, names in self.names.items()
            for name in names
            if os.path.splitext(name)[1].lower() in suffixes
        )

    def split_of(self, path: Path) -> str | None:
        """The split that a path names in its last part, else in the nearest folder that names one."""
        inside = path.relative_to(self.folder)
        for part in (inside.stem, *reversed(inside.parent.parts)):
            words = {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", part)}
            named = [split for split, known in WORDS.items() if words & known]
            if len(named) == 1:
                return named[0]
        return None

    def holds(self, path: str) -> bool:
        folder, name = os.path.split(os.path.normpath(path))
        return name in self.names.get(Path(folder), ())


def is_coco(path: Path) -> bool:
    """Whether a JSON file has COCO's lists; it is not parsed, for it may be large."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}).") from error
    return all(re.search(rb'"%s"\s*:\s*\[' % name, content) for name in (b"images", b"categories"))


def annotation_files(files: Files) -> dict[str, Path]:
    """The COCO file of each split; one file alone is to be trained on, whatever its name. None where there are none.

    Raises:
        InputError: several are of one split, or of none.
    """
    found = [path for path in files.of_kind({".json"}) if is_coco(path)]
    if len(found) == 1:
        return {"train": found[0]}
    by_split: dict[str | None, list[Path]] = defaultdict(list)
    for path in found:
        by_split[files.split_of(path)].append(path)
    nameless = by_split.pop(None, [])
    if nameless and not by_split:
        raise InputError(
            f"Nothing in {listed([str(path) for path in nameless])} tells which file is to be trained on: put train or "
            "val into their names, or give --data one of them and --split 0.2."
        )
    return {split: _only_file(split, by_split[split]) for split in WORDS if split in by_split}


def _only_file(split: str, paths: list[Path]) -> Path:
    """COCO has further files beside ``instances_*``: captions, keypoints."""
    chosen = [path for path in paths if path.name.startswith("instances")] if len(paths) > 1 else paths
    if len(chosen) != 1:
        raise InputError(
            f"Several COCO files seem to be the {split} split: {listed([str(path) for path in paths])}. Move all but "
            "one elsewhere, or give --data a folder with one of them."
        )
    return chosen[0]


def image_folder(files: Files, names: list[str], annotations: Path, split: str) -> tuple[Path, int]:
    """The folder below which most names lead to a file, and how many do.

    Of several, one whose path names the split comes first, then the one of the annotations.
    """
    sample = names[:: max(1, len(names) // 20)]

    def suits(folder: Path) -> tuple[int, bool, bool, int]:
        found = sum(files.holds(f"{folder}/{name}") for name in sample)
        return found, files.split_of(folder) == split, folder == annotations.parent, -len(folder.parts)

    best = max(sorted(files.names), key=suits)
    return best, sum(files.holds(f"{best}/{name}") for name in names)


def relocated(files: Files, names: list[str], split: str) -> dict[str, str]:
    """For names that lead nowhere from any one folder: where files of these names are, seen from the data folder.

    Without any, a file of the name with another suffix will do. Of several files, the one with the most folders in
    common, then one whose path names the split.
    """
    by_name: dict[str, list[Path]] = defaultdict(list)
    for path in files.of_kind(IMAGES):
        by_name[path.name].append(path)
        by_name[path.stem].append(path)  # for images that were converted to another format
    places: dict[str, str] = {}
    for name in names:
        parts = PurePosixPath(name.replace("\\", "/")).parts

        def suits(path: Path, parts: tuple[str, ...] = parts) -> tuple[int, bool]:
            pairs = zip(reversed(parts), reversed(path.parts), strict=False)
            common = len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))
            return common, files.split_of(path) == split

        last = parts[-1] if parts else ""
        if candidates := sorted(by_name.get(last) or by_name.get(PurePosixPath(last).stem, []), key=suits):
            if len(candidates) > 1 and suits(candidates[-1]) == suits(candidates[-2]):
                continue  # which one is meant, nothing tells
            places[name] = candidates[-1].relative_to(files.folder).as_posix()
    return places


def read_coco(files: Files, annotations: Path, split: str) -> Split:
    """A split from its COCO file.

    Raises:
        InputError: the file cannot be used, or none of its images is there.
    """
    content, _ = read_annotations(annotations)
    return find_images(files, Split(annotations, files.folder, content), split)


def find_images(files: Files, found: Split, split: str) -> Split:
    """Set the folder of a split's images, or where each of them is.

    Raises:
        InputError: none of them is there.
    """
    names = [image["file_name"] for image in found.content["images"]]
    found.images, number = image_folder(files, names, found.source, split)
    if number == len(names):
        return found
    places = relocated(files, names, split)
    if not number and not places:
        raise InputError(
            f"None of the {len(names)} images that {found.source} lists is below {files.folder}, the first is "
            f"{names[0]}: put them there, or give --data the folder that holds both."
        )
    if len(places) > number:
        for image in found.content["images"]:
            image["file_name"] = places.get(image["file_name"], image["file_name"])
        found.images, found.derived = files.folder, True
        found.remarks.append(
            f"{found.source} names its images otherwise than they lie below {files.folder}: they are found by name."
        )
    return found
