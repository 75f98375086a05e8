"""The embedded data set: handwritten digits on photographs, as PNG files and COCO annotations.

    python -m brs_detr.data.digits --out data/digits --train 400 --val 100 --test 20 --size 160 --seed 0

Each split (train, val, test) uses its own scans: no handwriting is seen twice.
"""

import argparse
import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
from numpy.random import RandomState

from brs_detr.data import masks, synthesis
from brs_detr.endings import add_debug, ends_with_a_sentence
from brs_detr.errors import InputError

CLASSES = tuple("0123456789")
SHARE_OF_SCANS = {"train": 0.7, "val": 0.2, "test": 0.1}
PARAMETERS_FILE = "parameters.json"
# Of what a seed means; change it with synthesis.py. Since 2 there are silhouettes; the images are those of 1.
VERSION = 2


@dataclass(frozen=True)
class Parameters:
    """What decides the content: images a split, side of the square images in pixels, and the seed."""

    train: int = 400
    val: int = 100
    test: int = 20
    size: int = 160
    seed: int = 0
    version: int = VERSION


def annotation(digit: synthesis.Digit, size: int) -> dict[str, Any]:
    """COCO's fields of a digit. `segmentation` is its silhouette in COCO's compressed run lengths.

    `area`, by which COCO's metrics tell small objects from large ones, is the box's, not the silhouette's: AP of
    boxes by size means the same in every version.
    """
    return {
        "category_id": digit.label + 1,
        "bbox": list(digit.box),
        "area": digit.box[2] * digit.box[3],
        "segmentation": masks.encode(digit.mask(size)),
        "iscrowd": 0,
    }


def write_split(folder: Path, split: str, count: int, size: int, scans: synthesis.Scans, seed: int) -> None:
    """Write ``folder/split/*.png`` and ``folder/annotations/split.json``."""
    random, photographs = RandomState(seed), synthesis.load_photographs()
    (folder / split).mkdir()
    images: list[dict] = []
    annotations: list[dict] = []
    for image_id in range(1, count + 1):
        pixels, digits = synthesis.draw_image(scans, photographs, size, random)
        name = f"{image_id:06d}.png"
        cv2.imwrite(str(folder / split / name), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
        images.append({"id": image_id, "file_name": name, "width": size, "height": size})
        for digit in digits:
            ids = {"id": len(annotations) + 1, "image_id": image_id}
            annotations.append(ids | annotation(digit, size))
    categories = [{"id": label + 1, "name": name} for label, name in enumerate(CLASSES)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations" / f"{split}.json").write_text(json.dumps(content))


def write_all(folder: Path, parameters: Parameters) -> None:
    """Write the three splits and the parameters into an empty folder."""
    (folder / "annotations").mkdir()
    shares = synthesis.split_scans(synthesis.load_scans(), tuple(SHARE_OF_SCANS.values()), RandomState(parameters.seed))
    for number, (split, scans) in enumerate(zip(SHARE_OF_SCANS, shares, strict=True)):
        seed = (parameters.seed * len(shares) + number + 1) % 2**32
        write_split(folder, split, getattr(parameters, split), parameters.size, scans, seed)
    (folder / PARAMETERS_FILE).write_text(json.dumps(asdict(parameters), indent=2) + "\n")


def holds(folder: Path, parameters: Parameters) -> bool:
    """Whether the folder is the whole data set of these parameters; the parameters are written last."""
    try:
        return json.loads((folder / PARAMETERS_FILE).read_text()) == asdict(parameters)
    except (OSError, ValueError):
        return False


def holds_older(folder: Path, parameters: Parameters) -> bool:
    """Whether the folder is the data set of these parameters as an older version wrote it, and nothing else."""
    if not any(holds(folder, replace(parameters, version=older)) for older in range(1, VERSION)):
        return False
    return {path.name for path in folder.iterdir()} == {*SHARE_OF_SCANS, "annotations", PARAMETERS_FILE}


def move_into_place(building: Path, folder: Path, parameters: Parameters) -> None:
    """Rename the finished folder, or leave it where another process was quicker. An older version gives way."""
    try:
        if holds_older(folder, parameters):
            os.rename(folder, building / "older")
        os.rename(building / "new", folder)
    except OSError:
        if not holds(folder, parameters):
            raise


def build(folder: str | Path, parameters: Parameters) -> bool:
    """Write the data set, or find it written: beside its place first, then moved there whole.

    Returns:
        Whether it was written now.

    Raises:
        InputError: the folder holds something else, or a parameter makes no sense.
    """
    folder = Path(folder)
    if min(parameters.train, parameters.val, parameters.test) < 1 or parameters.size < 32:
        raise InputError("Every split needs at least one image, of at least 32 pixels.")
    if holds(folder, parameters):
        return False
    taken = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    if taken and not holds_older(folder, parameters):
        raise InputError(f"{folder} holds other data already: choose another folder with --out, or remove it.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        (building / "new").mkdir()  # mkdtemp's own folder is private
        write_all(building / "new", parameters)
        move_into_place(building, folder, parameters)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return True


@ends_with_a_sentence()
def main() -> None:
    defaults = Parameters()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("data/digits"), help="folder to write")
    for name in ("train", "val", "test"):
        parser.add_argument(f"--{name}", type=int, default=getattr(defaults, name), help=f"{name} images")
    parser.add_argument("--size", type=int, default=defaults.size, help="side of the images in pixels")
    parser.add_argument("--seed", type=int, default=defaults.seed)
    add_debug(parser)
    options = vars(parser.parse_args())
    folder, _ = options.pop("out"), options.pop("debug")
    written = build(folder, Parameters(**options))
    print(f"{folder}: {'written' if written else 'already there, reused'}")


if __name__ == "__main__":
    main()
