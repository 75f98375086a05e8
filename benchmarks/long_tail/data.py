"""Numbers of two handwritten digits on photographs: 100 classes, in training by Zipf's law, in the others alike often.

Each split has scans and a seed of its own, as the embedded digits. With so many classes a class's rank in frequency is
drawn, lest it say something about its digits.
"""

import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.random import RandomState

from brs_detr.data import synthesis
from brs_detr.data.digits import annotation
from brs_detr.data.synthesis import INK, Digit, Scans
from brs_detr.errors import InputError
from brs_detr.files import write_json

CLASSES = tuple(f"{number:02d}" for number in range(100))
SPLITS = {"train": 0.7, "val": 0.15, "test": 0.15}  # of the scans
SMALLEST, LARGEST = 0.2, 0.35  # height of a number, as a part of the image
MOST = 5  # numbers of an image
GROUPS = {
    "more than 100": (101, None),
    "11 to 100": (11, 100),
    "up to 10": (0, 10),
}  # objects in training; LVIS has these limits for images


@dataclass(frozen=True)
class Parameters:
    """Images of each split, their side in pixels, the exponent of Zipf's law, and the seed."""

    train: int = 1000
    val: int = 100
    test: int = 400
    size: int = 160
    exponent: float = 1.0
    seed: int = 0


def frequencies(parameters: Parameters) -> np.ndarray:
    """How likely each class is in training, (100,)."""
    ranks = RandomState(parameters.seed).permutation(len(CLASSES)) + 1
    shares = ranks.astype(float) ** -parameters.exponent
    return shares / shares.sum()


def build(folder: Path, parameters: Parameters) -> None:
    """Write ``folder/SPLIT/*.png`` and ``folder/annotations/SPLIT.json``, or find them written.

    Raises InputError if the folder holds something else.
    """
    record = folder / "parameters.json"
    if folder.exists():
        if record.is_file() and json.loads(record.read_text()) == asdict(parameters):
            return
        raise InputError(f"{folder} holds other data: remove it, or give --work-dir another folder.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        write_all(building / "new", parameters)
        os.rename(building / "new", folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def write_all(folder: Path, parameters: Parameters) -> None:
    random = RandomState(parameters.seed)
    shares = synthesis.split_scans(synthesis.load_scans(), tuple(SPLITS.values()), random)
    alike = np.full(len(CLASSES), 1 / len(CLASSES))
    for number, (split, scans) in enumerate(zip(SPLITS, shares, strict=True)):
        of_classes = frequencies(parameters) if split == "train" else alike
        seed = parameters.seed * len(SPLITS) + number + 1
        write_split(folder, split, getattr(parameters, split), parameters.size, scans, of_classes, RandomState(seed))
    write_json(folder / "parameters.json", asdict(parameters))


def write_split(
    folder: Path, split: str, count: int, size: int, scans: Scans, of_classes: np.ndarray, random: RandomState
) -> None:
    photographs = synthesis.load_photographs()
    (folder / split).mkdir(parents=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id in range(1, count + 1):
        pixels, numbers = draw_image(scans, photographs, size, of_classes, random)
        name = f"{image_id:06d}.png"
        cv2.imwrite(str(folder / split / name), pixels[..., ::-1])
        images.append({"id": image_id, "file_name": name, "width": size, "height": size})
        annotations += [
            {"id": len(annotations) + place, "image_id": image_id} | annotation(number, size)
            for place, number in enumerate(numbers, 1)
        ]
    categories = [{"id": label + 1, "name": name} for label, name in enumerate(CLASSES)]
    (folder / "annotations").mkdir(exist_ok=True)
    content = {"images": images, "annotations": annotations, "categories": categories}
    write_json(folder / "annotations" / f"{split}.json", content)


def draw_image(
    scans: Scans, photographs: list[np.ndarray], size: int, of_classes: np.ndarray, random: RandomState
) -> tuple[np.ndarray, list[Digit]]:
    """One image, (size, size, 3) uint8 RGB, with up to MOST numbers that do not overlap."""
    image = synthesis.random_crop(photographs, size, random)
    numbers: list[Digit] = []
    for label in random.choice(len(CLASSES), random.randint(1, MOST + 1), p=of_classes):
        stamp = random_stamp(scans, int(label), size, random)
        box = synthesis.free_place(stamp, size, numbers, random)
        if box is not None:
            synthesis.paste(image, stamp, *box[:2], random)
            numbers.append(Digit(int(label), box, stamp >= INK))
    return image, numbers


def random_stamp(scans: Scans, label: int, size: int, random: RandomState) -> np.ndarray:
    """Two scans side by side, enlarged to a random height and aspect and cut to their ink: darkness (h, w) uint8."""
    height = random.randint(int(SMALLEST * size), int(LARGEST * size) + 1)
    width = height * random.randint(60, 91) // 100
    digits = []
    for digit in divmod(label, 10):
        scan = scans.darkness[random.choice(np.flatnonzero(scans.labels == digit))]
        digits.append(cv2.resize(scan, (width, height), interpolation=cv2.INTER_LINEAR_EXACT))
    stamp = np.concatenate(digits, axis=1)
    rows, columns = np.nonzero(stamp >= INK)
    return stamp[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]


def groups(folder: Path) -> dict[str, list[str]]:
    """The names of the classes in each group of `GROUPS`, by their objects in training."""
    content = json.loads((folder / "annotations" / "train.json").read_text())
    counts = np.bincount([each["category_id"] - 1 for each in content["annotations"]], minlength=len(CLASSES))
    return {
        group: [name for name, count in zip(CLASSES, counts, strict=True) if least <= count <= (most or count)]
        for group, (least, most) in GROUPS.items()
    }
