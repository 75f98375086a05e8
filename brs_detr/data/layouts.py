"""Where a folder of annotated images keeps what: its files, its COCO files, and the split that each is of.

Names decide nothing but the split. A file is a COCO file by what it holds.
"""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from brs_detr.data.coco_file import Content, counted, parse, read_lists
from brs_detr.errors import InputError
from brs_detr.files import LAST, LOCK, LOGS

WORDS = {  # of a path that tell its split
    "train": {"train", "training", "trainset", "trn"},
    "val": {"val", "valid", "validate", "validation", "valset", "dev", "eval"},
    "test": {"test", "testing", "testset"},
}
IMAGE_WORDS = {"image", "images", "img", "imgs", "jpegimages", "photos", "pictures", "rgb"}
MASK_WORDS = {
    *("annotation", "annotations", "depth", "gt", "label", "labels", "mask", "masks", "thumbnails"),
    *("segmentationclass", "segmentationobject"),  # VOC's
}
OTHER_TASKS = re.compile("caption|keypoint|panoptic|stuff")  # in names of COCO's files beside instances_*
LISTS = ("images", "annotations", "categories")  # COCO's
ANNOTATIONS = {".json", ".csv", ".xml"}
IMAGES = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".jp2", ".pgm", ".ppm"}
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
    """The names of all files below a folder by the folder that they are in.

    Hidden folders are left out, and without `work_dirs` work directories, whose annotations are copies, perhaps of
    earlier ones.
    """

    def __init__(self, folder: Path, *, work_dirs: bool = False) -> None:
        self.folder, self.names = folder, dict[Path, set[str]]()
        seen: set[str] = set()
        for place, folders, names in os.walk(folder, followlinks=True):
            real = os.path.realpath(place)
            passed = real in seen or (not work_dirs and Path(place) != folder and is_work_dir(place, folders, names))
            folders[:] = [] if passed else sorted(name for name in folders if not name.startswith("."))
            if not passed:
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

    def leave_out(self, paths: Iterable[Path]) -> None:
        for path in paths:
            self.names[path.parent].discard(path.name)

    def split_of(self, path: Path) -> str | None:
        """The split that a path names in its last part, else in the nearest folder that names one."""
        inside = path.relative_to(self.folder)
        for part in (inside.stem, *reversed(inside.parent.parts)):
            words = {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", part)}
            named = [split for split, known in WORDS.items() if words & known]
            if len(named) == 1:
                return named[0]
        return None

    def of_images(self, folder: Path) -> int:
        """1 for a folder whose path says that images are in it, -1 for one of masks and the like, 0 else."""
        words = set(re.findall("[a-z]+", folder.relative_to(self.folder).as_posix().lower()))
        return bool(words & IMAGE_WORDS) - bool(words & MASK_WORDS)

    def holds(self, path: str) -> bool:
        folder, name = os.path.split(os.path.normpath(path))
        return name in self.names.get(Path(folder), ())


def is_work_dir(place: str, folders: list[str], names: list[str]) -> bool:
    """Whether a folder, of which these are the contents, is where a training writes or has written."""
    logs = (os.path.join(place, name, "vis_data") for name in folders if LOGS.fullmatch(name))
    return not {LAST, LOCK}.isdisjoint(names) or any(map(os.path.isdir, logs))


def text_of(path: Path) -> bytes:
    """The bytes of a text file, to look for ASCII in: without the zeros that UTF-16 and UTF-32 put between.

    Raises:
        InputError: it cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}).") from error
    return content.replace(b"\0", b"") if b"\0" in content[:4] else content


def lists_of(path: Path) -> set[str]:
    """Which of COCO's lists a JSON file has, as it seems; it is not parsed, for it may be large."""
    content = text_of(path)
    return {name for name in LISTS if re.search(rb'"%s"\s*:\s*\[' % name.encode(), content)}


def is_coco(path: Path) -> bool:
    return {"images", "categories"} <= lists_of(path)


def annotation_files(files: Files) -> tuple[dict[str, list[Path]], list[str]]:
    """The COCO files of each split, and remarks on those left out. None where there are none.

    Those of no split are to be trained on, if all are, and a single one whatever its name, unless another annotation
    file says that it is for that.

    Raises:
        InputError: a JSON file that names a split is none of COCO's, see `check_others`.
    """
    every = files.of_kind({".json"})
    found = [path for path in every if is_coco(path)]
    by_split: dict[str | None, list[Path]] = defaultdict(list)
    for path in found:
        by_split[files.split_of(path)].append(path)
    if found:
        check_others(files, sorted({*every} - {*found}), by_split)
    nameless = by_split.pop(None, [])
    if nameless and not by_split:
        return {"train": nameless}, []
    others = (path for path in files.of_kind(ANNOTATIONS) if path not in found)
    if len(found) == 1 and not any(files.split_of(path) == "train" for path in others):
        return {"train": found}, []
    chosen = {split: _boxes_alone(by_split[split]) for split in WORDS if split in by_split}
    others_of_split = [path for split in chosen for path in by_split[split] if path not in chosen[split]]
    return chosen, [
        *_left_out(nameless, "nothing tells their split", "put train or val into their names"),
        *_left_out(others_of_split, "others are called instances", "let their names begin with instances, too"),
    ]


def check_others(files: Files, paths: list[Path], known: Mapping[str | None, list[Path]]) -> None:
    """JSON files beside COCO's: none that names a split, or is one of COCO's cut short, is left out in silence.

    Raises:
        InputError: one is no JSON, or has the name of a split of which no COCO file is `known`.
    """
    for path in paths:
        if files.split_of(path) or lists_of(path) or not path.stat().st_size:
            parse(path)
        if (named := files.split_of(files.folder / path.name)) and named not in known:
            read_lists(path)


def _boxes_alone(paths: list[Path]) -> list[Path]:
    """COCO has further files beside ``instances_*``: captions, keypoints."""
    return [path for path in paths if path.name.startswith("instances")] or paths


def _left_out(paths: list[Path], reason: str, remedy: str) -> list[str]:
    """A remark on COCO files that are not read, but for those of other tasks, and those without annotations."""
    lost = [path for path in paths if not OTHER_TASKS.search(path.name.lower()) and "annotations" in lists_of(path)]
    first = lost[0] if lost else None
    return counted(len(lost), f"COCO files are left out, such as {first}, since {reason}: {remedy}.")
