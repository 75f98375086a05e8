"""Detections of a trained model on image files, as pictures and as one JSON file."""

import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmdet.apis import inference_detector
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from torch import nn

from brs_detr.data import masks
from brs_detr.data.checks import check_class_counts, classes_of, leaf_datasets
from brs_detr.data.coco_file import read_annotations
from brs_detr.data.images import read_image
from brs_detr.engine.inference.pictures import draw
from brs_detr.engine.progress import console
from brs_detr.engine.running.divergence import DivergenceError, check_predictions, watch_heads
from brs_detr.engine.setup.config import load_config
from brs_detr.errors import IncompleteError, InputError
from brs_detr.files import check_destination, write_bytes, write_json
from brs_detr.timing.run import usable_device
from brs_detr.weights import load_checkpoint

PREDICTIONS = "predictions.json"
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}


def find_images(source: str | Path) -> list[Path]:
    """The image file, or all in a folder and its subfolders.

    Raises:
        InputError: there is none.
    """
    source = Path(source)
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise InputError(f"{source} does not exist: give an image file or a folder of images.")
    images = sorted(path for path in source.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and not path.is_dir())
    if not images:
        folders = [source, *(path for path in source.rglob("*") if path.is_dir())]
        if closed := [path for path in folders if not os.access(path, os.R_OK | os.X_OK)]:
            raise InputError(f"The folder {closed[0]} may not be read: change its permissions.")
        raise InputError(f"The folder {source} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))}).")
    return images


def picture_names(images: list[Path], root: Path) -> dict[Path, Path]:
    """The file of each image's picture, below the output folder as the image is below `root`.

    ``a.png``; ``a.jpg.png`` and ``a.png.png`` where a folder has both of these images, or a disk may take two names
    for one.
    """
    inside = {path: path.relative_to(root) for path in images}
    short = {path: name.with_suffix(".png") for path, name in inside.items()}
    long = {path: name.with_name(f"{name.name}.png") for path, name in inside.items()}
    uses = Counter(map(_folded, short.values()))
    mixed = {path: name if uses[_folded(name)] == 1 else long[path] for path, name in short.items()}
    return mixed if len(set(map(_folded, mixed.values()))) == len(mixed) else long


def _folded(path: Path) -> str:
    return str(path).casefold()


def check_out(folder: Path, source: Path, pictures: Iterable[Path], read: list[Path], overwrite: bool) -> None:
    """Raises InputError if the folder cannot be written to, is not to be, or would lose a file that is read."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file: give --out a folder.")
    check_destination(folder / PREDICTIONS)
    if folder.exists() and any(folder.iterdir()) and not overwrite:
        raise InputError(f"{folder} is not empty: choose another --out, or write into it with --overwrite.")
    written = {(folder / picture).resolve() for picture in (*pictures, Path(PREDICTIONS))}
    if lost := [path for path in read if path.resolve() in written]:
        raise InputError(f"A picture would be written over {lost[0]}, which is read: choose another --out.")
    if source.is_dir() and source.resolve() in (real := folder.resolve(), *real.parents):
        inside = [path for path in read if path.resolve().is_relative_to(real)]
        if inside:  # such as the pictures of an earlier run
            raise InputError(f"{folder} holds files that are read, such as {inside[0]}: choose another --out.")


def class_names(config: Config) -> tuple[str, ...]:
    """The classes of the config's test data."""
    return classes_of(next(leaf_datasets(config.test_dataloader.dataset)))


def load_model(config: Config, checkpoint: str, device: str | torch.device) -> nn.Module:
    """The config's model in evaluation mode with the checkpoint's weights.

    Raises:
        InputError: the checkpoint cannot be read or does not fit.
    """
    init_default_scope(config.get("default_scope", "mmdet"))
    check_class_counts(config.model, class_names(config))
    model = MODELS.build(config.model)
    load_checkpoint(model, checkpoint, whole=True)
    model.cfg = config
    watch_heads(model)
    return model.to(device).eval()


class GroundTruth:
    """Annotated objects by image file.

    Args:
        path: a COCO annotation file, None for no ground truth at all.
        classes: the name of each label.
    """

    def __init__(self, path: str | None, classes: tuple[str, ...]) -> None:
        content = read_annotations(Path(path))[0] if path else {"images": [], "categories": []}
        self.images = {image["file_name"]: image for image in content["images"]}
        self.by_last_part: dict[str, list[str]] = defaultdict(list)
        for name in self.images:
            self.by_last_part[Path(name).name].append(name)
        self.labels = {c["id"]: classes.index(c["name"]) for c in content["categories"] if c["name"] in classes}
        self.objects: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in content["images"]}
        for annotation in content.get("annotations", []):
            if annotation["category_id"] in self.labels and annotation["image_id"] in self.objects:
                self.objects[annotation["image_id"]].append(annotation)

    def names(self, path: Path) -> list[str]:
        """As which entries the file lists an image: by the end of its path."""
        names = self.by_last_part.get(path.name, [])
        return [name for name in names if path.parts[-len(Path(name).parts) :] == Path(name).parts]

    def of(self, path: Path, with_masks: bool = False) -> InstanceData | None:
        """The boxes (x1 y1 x2 y2), labels, what is a crowd and, if all have them, masks of an image.

        None where it is not annotated.
        """
        names = self.names(path)
        if not names:
            return None
        image = self.images[names[0]]
        objects = self.objects[image["id"]]
        boxes = torch.tensor([annotation["bbox"] for annotation in objects], dtype=torch.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        found = InstanceData(
            bboxes=boxes,
            labels=torch.tensor([self.labels[a["category_id"]] for a in objects]).long(),
            crowd=torch.tensor([bool(a.get("iscrowd")) for a in objects]).bool(),
        )
        if with_masks and objects and all(annotation.get("segmentation") for annotation in objects):
            size = image["height"], image["width"]
            silhouettes = [masks.decode(annotation["segmentation"], *size) for annotation in objects]
            found.masks = torch.from_numpy(np.stack(silhouettes))
        return found


def as_json(path: Path, found: InstanceData, classes: tuple[str, ...]) -> dict[str, Any]:
    """One image's detections, best first: boxes x1 y1 x2 y2 in pixels, masks in COCO's compressed run lengths."""
    detections: list[dict[str, Any]] = [
        {"class": classes[label], "score": round(score, 4), "box": [round(side, 1) for side in box]}
        for box, score, label in zip(found.bboxes.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True)
    ]
    if "masks" in found:
        for detection, mask in zip(detections, found.masks.numpy(), strict=True):
            detection["mask"] = masks.encode(mask)
    return {"image": str(path), "detections": detections}


def detect(
    model: nn.Module, images: list[Path], left_out: list[str]
) -> Iterator[tuple[Path, np.ndarray, InstanceData]]:
    """Each image with its RGB pixels and its detections, on the CPU and best first.

    left_out: gets a sentence for each image that cannot be read, or that the model does not take.

    Raises:
        InputError: what the model makes of an image is not finite.
    """
    for path in images:
        try:
            pixels = read_image(path)
            found = inference_detector(model, pixels[..., ::-1]).pred_instances.cpu()
            check_predictions(found, str(path))
        except DivergenceError as error:
            raise InputError(f"{error}: the checkpoint's training diverged. Use an earlier one.") from error
        except InputError as error:
            left_out.append(str(error) if str(path) in str(error) else f"{path}: {error}")
            continue
        yield path, pixels, found[found.scores.argsort(descending=True)]


def predict(
    config_path: str,
    checkpoint: str,
    source: str,
    out: str,
    *,
    threshold: float = 0.3,
    annotations: str | None = None,
    device: str | None = None,
    overwrite: bool = False,
    options: dict[str, Any] | None = None,
) -> int:
    """Write a picture for each image, and ``predictions.json`` with all objects above the threshold.

    Args:
        source: an image file or a folder.
        annotations: a COCO file; images that it lists get their ground truth beside.

    Returns:
        The number of pictures.

    Raises:
        IncompleteError: some images cannot be used; all others have been predicted.
        InputError: anything else given cannot be used.
    """
    console.silence_third_parties()
    config = load_config(config_path, options, None)
    if not math.isfinite(threshold):
        raise InputError(f"--score-thr {threshold} is not a score.")
    images, folder = find_images(source), Path(out)
    pictures = picture_names(images, images[0].parent if Path(source).is_file() else Path(source))
    given = [Path(name) for name in (config.filename, checkpoint, annotations) if name]
    check_out(folder, Path(source), pictures.values(), [*images, *given], overwrite)
    classes = class_names(config)
    truth = GroundTruth(annotations, classes)
    if annotations and not any(truth.names(path) for path in images):
        console.warn(f"{annotations} lists none of the images in {source}: no ground truth is drawn.")
    model = load_model(config, checkpoint, usable_device(device or ("cuda" if torch.cuda.is_available() else "cpu")))
    records: list[dict[str, Any]] = []
    left_out: list[str] = []
    for path, pixels, found in detect(model, images, left_out):
        found = found[found.scores >= threshold]
        picture = draw(pixels, found, truth.of(path, "masks" in found), classes)
        _, encoded = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        write_bytes(folder / pictures[path], encoded.tobytes())
        records.append(as_json(path, found, classes))
    if not records:
        raise InputError(*left_out)
    write_json(folder / PREDICTIONS, records, indent=1)
    if left_out:
        done = f"{len(records)} pictures and predictions.json written to {folder}"
        raise IncompleteError(f"{done}, but {len(left_out)} images were left out:", *left_out)
    return len(records)
