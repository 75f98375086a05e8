"""Checks of COCO-format data before anything is built; each problem is one sentence with file and remedy.

Images are too many to open beforehand: `LoadImage` says which one cannot be read when its turn comes.
"""

import importlib.util
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmcv.transforms import LoadImageFromFile
from mmdet.datasets import CocoDataset, LVISV05Dataset
from mmdet.registry import DATASETS, TRANSFORMS
from mmengine.config import Config, ConfigDict

from brs_detr.data.masks import check_masks
from brs_detr.errors import InputError

IMAGE_KEYS = {"id", "file_name", "height", "width"}
ANNOTATION_KEYS = {"id", "image_id", "category_id", "bbox", "area"}
LVIS_REMEDY = "run `pip install git+https://github.com/lvis-dataset/lvis-api.git`."


@dataclass(frozen=True)
class CocoSource:
    """Where a data set's files are, which classes it has, and whether its masks are read."""

    annotations: Path
    images: Path
    root: Path
    classes: tuple[str, ...]
    training: bool
    masks: bool = False


def leaf_datasets(dataset: ConfigDict) -> Iterator[ConfigDict]:
    """The data sets inside wrappers such as RepeatDataset and ConcatDataset."""
    inner = dataset.get("datasets") or ([dataset["dataset"]] if "dataset" in dataset else [])
    if not inner:
        yield dataset
    for each in inner:
        yield from leaf_datasets(each)


def format_of(dataset: ConfigDict) -> type[Any]:
    """The class that reads it; `object` for an unknown one."""
    kind = dataset["type"]
    return (DATASETS.get(kind) or object) if isinstance(kind, str) else kind


def classes_of(dataset: ConfigDict) -> tuple[str, ...]:
    """Its class names in the order of their labels: the config's, or those of its format."""
    return tuple((dataset.get("metainfo") or {}).get("classes") or format_of(dataset).METAINFO["classes"])


def coco_source(dataset: ConfigDict) -> CocoSource | None:
    """None where the data set is of another format, or its files are not local."""
    kind = format_of(dataset)
    root = dataset.get("data_root") or ""
    if not issubclass(kind, CocoDataset) or "://" in root:
        return None
    return CocoSource(
        annotations=Path(root, dataset["ann_file"]),
        images=Path(root, (dataset.get("data_prefix") or {}).get("img", "")),
        root=Path(root),
        classes=classes_of(dataset),
        training=not dataset.get("test_mode", False),
        masks=any(step.get("with_mask", False) for step in dataset.get("pipeline", [])),
    )


def read_annotations(path: Path) -> dict[str, Any]:
    """The content of a COCO file.

    Raises:
        InputError: it is missing, not JSON, or not in COCO format.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"The annotation file {path} cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise InputError(f"The annotation file {path} is not JSON ({error}).") from error
    lists = content if isinstance(content, dict) else {}
    missing = [key for key in ("images", "categories") if not isinstance(lists.get(key), list)]
    if missing:
        raise InputError(f"The annotation file {path} is not in COCO format: it has no list of {missing[0]}.")
    if not lists["images"]:
        raise InputError(f"The annotation file {path} lists no images.")
    for image in lists["images"]:
        if "file_name" not in image and "coco_url" in image:  # LVIS: mmdet keeps folder and name of the URL
            image["file_name"] = "/".join(image["coco_url"].split("/")[-2:])
    return lists


def check_keys(path: Path, content: dict[str, Any], training: bool) -> None:
    """Every image and annotation has what training and evaluation read."""
    if training and not content.get("annotations"):
        raise InputError(f"The annotation file {path} has no annotations to train on.")
    for kind, keys in (("images", IMAGE_KEYS), ("annotations", ANNOTATION_KEYS)):
        for number, entry in enumerate(content.get(kind, [])):
            if missing := sorted(keys - entry.keys()):
                raise InputError(f"Entry {number} of the {kind} in {path} has no '{missing[0]}'.")


def check_categories(source: CocoSource, content: dict[str, Any]) -> list[str]:
    """The file's categories are the classes of the config, in its order; those beyond them are noted."""
    names = [category["name"] for category in content["categories"]]
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
    extra = {category["id"] for category in content["categories"] if category["name"] not in source.classes}
    ignored = sum(annotation["category_id"] in extra for annotation in content.get("annotations", []))
    return [f"{ignored} boxes of categories outside metainfo.classes are ignored"] if ignored else []


def check_images(source: CocoSource, content: dict[str, Any]) -> None:
    """Every listed image is there; folders are listed, for single look-ups are slow on network disks."""
    wanted: dict[Path, list[str]] = defaultdict(list)
    for image in content["images"]:
        path = source.images / image["file_name"]
        wanted[path.parent].append(path.name)
    missing: list[Path] = []
    for folder, names in wanted.items():
        present = set(os.listdir(folder)) if folder.is_dir() else set()
        missing += [folder / name for name in names if name not in present]
    if missing:
        raise InputError(
            f"{len(missing)} of the {len(content['images'])} images in {source.annotations} are missing, "
            f"the first is {missing[0]}: set data_root and data_prefix to where they are."
        )


def check_boxes(content: dict[str, Any]) -> list[str]:
    """Boxes that the data set drops, counted."""

    def dropped(annotation: dict[str, Any]) -> bool:
        _, _, width, height = annotation["bbox"]
        return not (width >= 1 and height >= 1 and annotation["area"] > 0)

    count = sum(map(dropped, content.get("annotations", [])))
    return [f"{count} boxes without area are dropped"] if count else []


def check_source(source: CocoSource) -> list[str]:
    """Remarks about data that can be used.

    Raises:
        InputError: the data cannot be used.
    """
    write_digits = "with `python -m brs_detr.data.digits`" if source.root.name == "digits" else None
    if not source.root.is_dir():
        remedy = f"write it {write_digits}" if write_digits else "set data_root"
        raise InputError(f"The data folder {source.root} does not exist: {remedy}.")
    content = read_annotations(source.annotations)
    check_keys(source.annotations, content, source.training)
    check_images(source, content)
    remarks = check_categories(source, content) + check_boxes(content)
    if source.masks:
        remedy = f"write the digits anew {write_digits}" if write_digits else "annotate masks"
        remarks += check_masks(source.annotations, content, remedy)
    return [f"{source.annotations}: {remark}." for remark in remarks]


def check_lvis() -> None:
    """Look for the package that reads and evaluates LVIS, without importing it, before an epoch has been spent.

    Raises:
        InputError: it is missing, or is the release that fails with NumPy 1.24 and later when it evaluates.
    """
    spec = importlib.util.find_spec("lvis")
    if spec is None or spec.origin is None:
        raise InputError(f"LVIS data need the package lvis: {LVIS_REMEDY}")
    evaluation = Path(spec.origin).with_name("eval.py")
    if evaluation.exists() and re.search(r"\bnp\.float\b", evaluation.read_text()):
        raise InputError(f"The package lvis in {evaluation.parent} is too old for today's NumPy: {LVIS_REMEDY}")


def declared_class_counts(model: ConfigDict, path: str = "model") -> Iterator[tuple[str, int]]:
    """Each ``num_classes`` of a model's config with its place; not those of backbones and RPNs."""
    items = model.items() if isinstance(model, dict) else enumerate(model)
    for key, value in items:
        if key == "num_classes" and isinstance(value, int):
            yield f"{path}.{key}", value
        elif isinstance(value, (dict, list, tuple)) and key not in ("backbone", "rpn_head"):
            yield from declared_class_counts(value, f"{path}.{key}")


def check_class_counts(model: ConfigDict, classes: tuple[str, ...]) -> None:
    wrong = [(place, count) for place, count in declared_class_counts(model) if count != len(classes)]
    if wrong:
        place, count = wrong[0]
        raise InputError(
            f"The config says {place} = {count}, but its data has {len(classes)} classes "
            f"({listed(classes)}): set it to {len(classes)}."
        )


def check_data(config: Config, splits: tuple[str, ...] = ("train", "val")) -> list[str]:
    """Check what the data loaders of these splits will read, and that the model has as many classes.

    Returns:
        Remarks worth logging.

    Raises:
        InputError: something is missing or does not match.
    """
    remarks: list[str] = []
    checked: set[CocoSource] = set()
    for split in splits:
        loader = config.get(f"{split}_dataloader")
        for dataset in leaf_datasets(loader["dataset"]) if loader else ():
            if issubclass(format_of(dataset), LVISV05Dataset):
                check_lvis()
            source = coco_source(dataset)
            if source is None:
                continue
            check_class_counts(config.model, source.classes)
            if source not in checked:
                remarks += check_source(source)
                checked.add(source)
    return remarks


def listed(names: tuple[str, ...] | list[str], most: int = 5) -> str:
    """The first few names."""
    return ", ".join(map(str, names[:most])) + (", ..." if len(names) > most else "")


@TRANSFORMS.register_module()
class LoadImage(LoadImageFromFile):
    """``LoadImageFromFile`` whose failure is a sentence, also when it comes from a data loader's worker.

    Raises:
        InputError: the file is missing or not an image.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any] | None:
        try:
            return super().transform(results)
        except Exception as error:  # the decoders raise anything: AssertionError, cv2.error, OSError, ...
            raise InputError(
                f"The image {results['img_path']} cannot be read: replace the file, or remove it from the annotations."
            ) from error
