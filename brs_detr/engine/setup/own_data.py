"""`--data`: look at a user's own data, say what they hold, and fit the config to them."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.dist import is_main_process
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from brs_detr.data.coco_file import Content, listed
from brs_detr.data.layouts import Split
from brs_detr.data.splits import find_splits, shared_images
from brs_detr.engine.running import distributed
from brs_detr.engine.running.work_dir import CONVERTED
from brs_detr.engine.setup import adapting, pipelines
from brs_detr.engine.setup.division import check_division
from brs_detr.errors import InputError, printable
from brs_detr.files import check_destination, write_text

SIZES = {"small": 32**2, "medium": 96**2, "large": np.inf}  # areas that COCO's metrics tell apart, in square pixels
MOST_CLASSES = 20  # in the table
COUNTED = 100  # detections of a class and image, in COCO's AP


@dataclass(frozen=True)
class OwnData:
    """What the command line says of them.

    share: of the training images to validate on. loaded: whether weights are loaded, so that the model must keep
    its number of queries. resized: whether the command line gives the image size. continued: the work directory of the
    training that goes on.
    """

    folder: Path | None
    share: float | None = None
    seed: int = 0
    loaded: bool = False
    resized: bool = False
    continued: Path | None = None


@dataclass(frozen=True)
class Found:
    """Where the splits are, and what is to change in the config; the same in all processes.

    most: objects in an image.
    """

    places: dict[str, tuple[Path, Path]]
    classes: tuple[str, ...]
    image_size: tuple[int, int] | None
    queries: int | None
    most: int
    remarks: list[str]


class Objects:
    """The objects of a split that are no crowds: areas (N,) in square pixels, image sizes (N, 2), and class names."""

    def __init__(self, content: Content) -> None:
        objects = [each for each in content.get("annotations", []) if not each["iscrowd"]]
        sizes = {image["id"]: (image["width"], image["height"]) for image in content["images"]}
        objects = [each for each in objects if each["image_id"] in sizes and each["area"] > 0]
        names = {each["id"]: each["name"] for each in content["categories"]}
        self.areas = np.array([each["area"] for each in objects], dtype=float)
        self.sizes = np.array([sizes[each["image_id"]] for each in objects], dtype=float).reshape(-1, 2)
        self.by_class = Counter(names[each["category_id"]] for each in objects if each["category_id"] in names)
        self.by_image = Counter(each["image_id"] for each in objects)
        self.most_of_a_class = max(
            Counter((each["image_id"], each["category_id"]) for each in objects).values(), default=0
        )

    def by_size(self) -> list[int]:
        counts, _ = np.histogram(self.areas, bins=[0, *SIZES.values()])
        return counts.tolist()


def print_splits(splits: dict[str, Split], objects: dict[str, Objects], classes: tuple[str, ...]) -> None:
    """Two tables: what each split holds, and the objects of the classes."""
    table = Table("", "images", "empty", "objects", *SIZES, "most in an image")
    for name, split in splits.items():
        found, images = objects[name], len(split.content["images"])
        counts = (images, images - len(found.by_image), len(found.areas), *found.by_size())
        most = max(found.by_image.values(), default=0)
        table.add_row(name, *map(str, counts), str(most))
        print(printable(f"{name}: {split.source}, images in {split.images}"))
    by_class = Table("objects of class", *splits)
    ordered = sorted(classes, key=lambda each: -objects["train"].by_class[each])
    for each in ordered[:MOST_CLASSES]:
        by_class.add_row(escape(printable(each)), *(str(objects[name].by_class[each]) for name in splits))
    if len(classes) > MOST_CLASSES:
        by_class.add_row(f"... and {len(classes) - MOST_CLASSES} more")
    console = Console()
    console.print(table)
    console.print(by_class)


def class_remarks(objects: dict[str, Objects], classes: tuple[str, ...]) -> list[str]:
    absent = [each for each in classes if not objects["train"].by_class[each]]
    return [f"No object to train on is of {listed(absent)}: such a class cannot be learnt."] if absent else []


def query_remarks(config: Config, most: int, own: OwnData) -> list[str]:
    queries = config.model.get("num_queries")
    if not own.loaded or queries is None or queries >= most:
        return []
    return [
        f"An image has {most} objects, but the model finds at most {queries} (num_queries), a number that it keeps "
        "since weights are loaded."
    ]


def class_limit_remarks(objects: dict[str, Objects]) -> list[str]:
    most = max(found.most_of_a_class for name, found in objects.items() if name != "train")
    if most <= COUNTED:
        return []
    return [
        f"COCO's AP counts the best {COUNTED} detections of a class and image, and an image has {most} objects of one: "
        "compare bbox_mAP_50, which counts 1000, or cut the images into tiles."
    ]


def use(config: Config, own: OwnData, written: list[Path]) -> list[str]:
    """Find the data, print what they hold and what is chosen for them, and fit the config to them.

    written: see :func:`look`.

    Returns:
        Remarks worth logging.

    Raises:
        InputError: the data cannot be used.
    """
    found = distributed.first_process_decides(lambda: look(config, own, written))
    said = fit(config, found)
    if is_main_process():
        print("\n".join(said))
    return found.remarks


def look(config: Config, own: OwnData, written: list[Path]) -> Found:
    """Find the splits, print what they hold, and write the COCO files of those that no file holds as they are used.

    written: gets these files and the folders made for them, see :func:`removed_on_failure`.

    Raises:
        InputError: the data cannot be used.
    """
    if own.folder is None:
        raise InputError("--split divides the images of --data: give both.")
    if own.folder.resolve() == Path(config.work_dir).resolve():
        raise InputError(f"{own.folder} is the work directory, too: choose another --work-dir, such as one in it.")
    splits, classes = find_splits(own.folder, own.share, own.seed)
    if own.continued and own.share is not None:
        check_division(splits, own.continued)
    objects = {name: Objects(split.content) for name, split in splits.items()}
    print_splits(splits, objects, classes)
    train = objects["train"]
    most = max((max(found.by_image.values(), default=0) for found in objects.values()), default=0)
    return Found(
        places={name: place(name, split, Path(config.work_dir), written) for name, split in splits.items()},
        classes=classes,
        image_size=None if own.resized else adapting.suitable_size(config, np.sqrt(train.areas), train.sizes),
        queries=None if own.loaded else adapting.suitable_queries(config, most),
        most=most,
        remarks=[
            *(remark for split in splits.values() for remark in split.remarks),
            *class_remarks(objects, classes),
            *query_remarks(config, most, own),
            *class_limit_remarks(objects),
            *shared_images(splits),
        ],
    )


def place(name: str, split: Split, folder: Path, written: list[Path]) -> tuple[Path, Path]:
    """The COCO file of a split, and the folder of its images; the file is written below the work directory if derived.

    Its name has a hash of its content, so that nothing else is written over.
    """
    images = split.images.absolute()
    if not split.derived:
        return split.source.absolute(), images
    text = json.dumps(split.content)
    path = folder.absolute() / CONVERTED / f"{name}-{hashlib.blake2b(text.encode(), digest_size=4).hexdigest()}.json"
    if not path.exists():
        check_destination(path)
        written += [path, *(parent for parent in path.parents if not parent.exists())]
        write_text(path, text)
    return path, images


@contextmanager
def removed_on_failure() -> Iterator[list[Path]]:
    """Gives a list, for files and the folders made for them, that are removed where an error ends the block."""
    written: list[Path] = []
    try:
        yield written
    except BaseException:
        for path in sorted(written, key=lambda each: len(each.parts), reverse=True):  # files before folders
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
            elif path.is_file():
                path.unlink()
        raise


def fit(config: Config, found: Found) -> list[str]:
    """Fit a config to the data.

    Returns:
        A sentence on each choice that is not plain from the data.
    """
    before = config.model.get("num_queries")
    adapting.use_data(config, found.places, found.classes)
    said = [f"num_classes is {len(found.classes)} in every head."]
    present = pipelines.test_size(config)
    if found.image_size and present:
        pipelines.set_size(config, found.image_size)
        said.append(
            f"Images are resized to {found.image_size[0]} x {found.image_size[1]} pixels instead of {present[0]} x "
            f"{present[1]}, which suits the size of the objects (--image-size sets another)."
        )
    elif present:
        said.append(f"Images are resized to {present[0]} x {present[1]} pixels (--image-size).")
    if found.queries:
        config.model.num_queries = found.queries
        said.append(f"model.num_queries is {found.queries} instead of {before}, twice the most objects in an image.")
    elif before:
        said.append(f"model.num_queries stays {before}.")
    return said + adapting.keep_detections(config, found.most) + adapting.keep_low_scores(config)
