"""Detections of a trained model on image files, as pictures and as one JSON file."""

import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mmengine.structures import InstanceData

from brs_detr.data import masks
from brs_detr.data.coco_file import listed
from brs_detr.engine.inference.detections import Detections, encoded
from brs_detr.engine.inference.detector import Detector
from brs_detr.engine.inference.ground_truth import GroundTruth
from brs_detr.engine.inference.loading import class_names
from brs_detr.engine.inference.sources import find_images
from brs_detr.engine.progress import console
from brs_detr.engine.setup.config import load_config
from brs_detr.errors import IncompleteError, InputError, printable
from brs_detr.files import check_destination, write_bytes, write_json

PREDICTIONS = "predictions.json"


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


def as_json(path: Path, found: Detections) -> dict[str, Any]:
    """One image's detections, best first: boxes x1 y1 x2 y2 in pixels, masks in COCO's compressed run lengths."""
    detections: list[dict[str, Any]] = [
        {"class": each.name, "score": float(f"{each.score:.6g}"), "box": [round(side, 1) for side in each.box.tolist()]}
        for each in found
    ]
    if found.masks is not None:
        for detection, mask in zip(detections, found.masks, strict=True):
            detection["mask"] = masks.encode(mask)
    return {"image": str(path), "detections": detections}


def truth_of(annotations: str | None, classes: tuple[str, ...], images: list[Path], source: str) -> GroundTruth:
    """The ground truth of the images in `source`, with a warning of each reason for which some is not drawn."""
    truth = GroundTruth(annotations, classes)
    if annotations and not any(truth.names(path) for path in images):
        console.warn(f"{annotations} lists none of the images in {source}: no ground truth is drawn.")
    if unclear := truth.leave_out_unclear(images):
        console.warn(
            f"{annotations} lists {printable(listed(unclear))}, which several images in {source} may be: no ground "
            "truth is drawn for them. Give the folder of those that it lists."
        )
    if truth.unknown:
        unknown = printable(listed(truth.unknown))
        console.warn(f"{annotations} has objects of {unknown}, which the model does not know: they are not drawn.")
    return truth


def truth_beside(truth: GroundTruth, path: Path, found: Detections, resized: list[str]) -> InstanceData | None:
    """What is drawn beside an image's detections. resized: gets how the image differs from the annotated one."""
    if fault := truth.size_fault(path, found.size):
        resized.append(fault)
        return None
    return truth.of(path, found.masks is not None)


def predict(
    config_path: str,
    checkpoint: str,
    source: str,
    out: str,
    *,
    threshold: float | None = None,
    annotations: str | None = None,
    device: str | None = None,
    overwrite: bool = False,
    options: dict[str, Any] | None = None,
) -> int:
    """Write a picture for each image, and ``predictions.json`` with all objects above the threshold.

    Args:
        source: an image file or a folder.
        threshold: by default the checkpoint's, else 0.3.
        annotations: a COCO file; images that it lists get their ground truth beside.

    Returns:
        The number of pictures.

    Raises:
        IncompleteError: some images cannot be used; all others have been predicted.
        InputError: anything else given cannot be used.
    """
    console.silence_third_parties()
    config = load_config(config_path, options, None)
    if threshold is not None and not math.isfinite(threshold):
        raise InputError(f"--score-thr {threshold} is not a score.")
    images, folder = find_images(source), Path(out)
    pictures = picture_names(images, images[0].parent if Path(source).is_file() else Path(source))
    given = [Path(name) for name in (config.filename, checkpoint, annotations) if name]
    check_out(folder, Path(source), pictures.values(), [*images, *given], overwrite)
    truth = truth_of(annotations, class_names(config), images, source)
    detector = Detector(config, checkpoint, device=device, threshold=threshold)
    if getattr(detector.model, "with_mask", False):
        truth.check_masks()
    records: list[dict[str, Any]] = []
    left_out: list[str] = []
    resized: list[str] = []
    for found in detector.stream(images, left_out):
        path = images[found.number]
        picture = found.plot(truth_beside(truth, path, found, resized))
        write_bytes(folder / pictures[path], encoded(picture, ".png"))
        records.append(as_json(path, found))
    if not records:
        raise InputError(*left_out)
    write_json(folder / PREDICTIONS, records, indent=1)
    if resized:
        console.warn(
            f"Images of another size than {annotations} says get no ground truth: {len(resized)}, such as "
            f"{printable(resized[0])}. Correct width and height where its boxes belong to the images as they are, else "
            "give it the images that they belong to."
        )
    if left_out:
        done = f"{len(records)} pictures and predictions.json written to {folder}"
        raise IncompleteError(f"{done}, but {len(left_out)} images were left out:", *left_out)
    return len(records)
