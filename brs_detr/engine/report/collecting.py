"""What a model detects in the images of its config's test data, beside what is annotated there."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.structures import InstanceData

from brs_detr.data import masks
from brs_detr.data.calibration import Calibration
from brs_detr.data.checks import coco_sources
from brs_detr.data.coco_api import scored
from brs_detr.data.coco_file import Content, listed, read_annotations
from brs_detr.engine.inference.detector import Detector
from brs_detr.engine.inference.loading import class_names
from brs_detr.errors import InputError


@dataclass(frozen=True)
class Example:
    """One image of size (h, w).

    found: ``bboxes`` (N, 4) xyxy in pixels, ``scores`` and ``labels`` (N,), best first. truth: ``bboxes``, ``labels``
    and ``crowd`` (M,) bool. raw: (N,) the scores before calibration.
    """

    image_id: int
    path: Path
    name: str
    size: tuple[int, int]
    found: InstanceData
    truth: InstanceData
    raw: np.ndarray


@dataclass(frozen=True)
class Source:
    """A COCO file and the folder of its images. labels: of the categories' ids, places among the model's classes."""

    annotations: Path
    images: Path
    content: Content
    classes: tuple[str, ...]
    labels: dict[int, int]


@dataclass(frozen=True)
class Collection:
    """All images. results: the detections as COCO's servers take them; left_out: a sentence for each image not used."""

    source: Source
    examples: list[Example]
    results: list[dict[str, Any]]
    left_out: list[str]
    with_masks: bool
    calibration: Calibration | None


def source_of(config: Config) -> Source:
    """The annotated images of the config's test data, which `check_data` has passed.

    Raises:
        InputError: there are none in COCO's format.
    """
    sources = coco_sources(config, "test")
    if len(sources) != 1 or sources[0].images is None:
        raise InputError(
            f"A report needs the test_dataloader of {config.filename} to read one COCO file, and it reads "
            f"{len(sources) or 'none'}."
        )
    content, classes = scored(read_annotations(sources[0].annotations)[0]), class_names(config)
    labels = {each["id"]: classes.index(each["name"]) for each in content["categories"] if each["name"] in classes}
    if not any(each["category_id"] in labels and not each.get("iscrowd") for each in content.get("annotations", [])):
        raise InputError(
            f"{sources[0].annotations} has no annotations of the config's classes ({listed(classes)}) but crowds to "
            "compare detections with: annotate its images."
        )
    return Source(sources[0].annotations, sources[0].images, content, classes, labels)


def truth_of(annotations: list[dict[str, Any]], labels: Mapping[int, int]) -> InstanceData:
    """Annotated objects of one image. labels: the label of each category's id."""
    known = [each for each in annotations if each["category_id"] in labels]
    boxes = torch.tensor([each["bbox"] for each in known], dtype=torch.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return InstanceData(
        bboxes=boxes,
        labels=torch.tensor([labels[each["category_id"]] for each in known]).long(),
        crowd=torch.tensor([bool(each.get("iscrowd")) for each in known]).bool(),
    )


def as_results(image_id: int, found: InstanceData, categories: Mapping[int, int]) -> list[dict[str, Any]]:
    """An image's detections in the format of COCO's results. categories: the id of each label's category."""
    silhouettes = found.masks.numpy() if "masks" in found else [None] * len(found)
    lists = found.bboxes.tolist(), found.scores.tolist(), found.labels.tolist(), silhouettes
    results = []
    for (x1, y1, x2, y2), score, label, mask in zip(*lists, strict=True):
        if label not in categories:
            continue
        result = dict(image_id=image_id, category_id=categories[label], bbox=[x1, y1, x2 - x1, y2 - y1], score=score)
        results.append(result if mask is None else result | {"segmentation": masks.encode(mask)})
    return results


def collect(detector: Detector, source: Source, calibration: Calibration | None) -> Collection:
    """Detect in all images of the source, by a detector that gives all detections, uncalibrated.

    Raises:
        InputError: none of the images can be read, or what the model makes of one is not finite.
    """
    categories = {label: identity for identity, label in source.labels.items()}
    by_image: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in source.content["images"]}
    for annotation in source.content["annotations"]:
        by_image.get(annotation["image_id"], []).append(annotation)
    images = source.content["images"]  # a file may be listed twice
    examples: list[Example] = []
    results: list[dict[str, Any]] = []
    left_out: list[str] = []
    with_masks = False
    paths = [source.images / image["file_name"] for image in images]
    for detections in detector.stream(paths, left_out):
        path, found = paths[detections.number], detections.instances()
        image, raw = images[detections.number], detections.scores.copy()
        if calibration:
            found.scores = calibration(found.scores)
        results += as_results(image["id"], found, categories)
        with_masks |= "masks" in found
        found.pop("masks", None)  # are in the results, in little memory
        truth = truth_of(by_image[image["id"]], source.labels)
        examples.append(Example(image["id"], path, image["file_name"], detections.size[::-1], found, truth, raw))
    if not examples:
        raise InputError(f"None of the {len(images)} images that {source.annotations} lists can be read. {left_out[0]}")
    return Collection(source, examples, results, left_out, with_masks, calibration)
