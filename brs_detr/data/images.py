"""Images as training and prediction read them: 8-bit colour, upright, and a sentence where that fails.

OpenCV decodes: grey, palette, 16-bit and CMYK pixels become 8-bit BGR, transparency is dropped, the first frame of an
animation counts. A rotation in the EXIF data is applied, as mmdet, Detectron2 and the common annotation tools do, so
boxes refer to the upright image. A truncated file is no image.
"""

import errno
import os
import struct
from collections.abc import Callable, Iterable
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmdet.registry import TRANSFORMS
from PIL import Image

from brs_detr.errors import InputError

# Longer side by shorter side: beyond, keeping the aspect while resizing to 128 pixels leaves a side of none.
MOST_ELONGATED = 250
DARK = 32  # of 255: the brightest of 13 bits in 16
TURNED = {5, 6, 7, 8}  # EXIF orientations that exchange width and height
ORIENTATION = 274
OF_THE_MACHINE = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}


def check_sides(image: str, height: int, width: int) -> None:
    """Raise an InputError for an image (named so in the sentence) too elongated to be resized."""
    if max(height, width) > MOST_ELONGATED * min(height, width):
        raise InputError(
            f"{image} has {width} x {height} pixels: one side may be at most {MOST_ELONGATED} times the other, since "
            "nothing is left of the shorter one when the image is resized. Cut it into pieces, or remove it."
        )


def fault_of_image(error: Exception) -> str:
    """What the system says about a file that cannot be read, as ``" (permission denied)"``, nothing where it says none.

    Raises the error itself where the machine is at fault: too many open files, or no memory.
    """
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in OF_THE_MACHINE):
        raise error
    return f" ({error.strerror.lower()})" if isinstance(error, OSError) and error.strerror else ""


@TRANSFORMS.register_module()
class LoadImage(LoadImageFromFile):
    """``LoadImageFromFile`` whose failure is a sentence, also when it comes from a data loader's worker.

    Raises:
        InputError: the file is missing, not an image, or too elongated.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any] | None:
        try:
            loaded = super().transform(results)
        except Exception as error:  # the decoders raise anything: AssertionError, cv2.error, OSError, ...
            fault = fault_of_image(error)
            raise InputError(
                f"The image {results['img_path']} cannot be read{fault}: replace the file, or remove it from the "
                "annotations."
            ) from error
        if loaded is not None:
            check_sides(f"The image {results['img_path']}", *loaded["img_shape"])
        return loaded


def read_image(path: str | Path) -> np.ndarray:
    """RGB pixels (h, w, 3) uint8, as `LoadImage` reads them.

    Raises:
        InputError: the file is not an image, or too elongated.
    """
    if Path(path).exists() and not Path(path).is_file():  # a pipe would be waited for
        raise InputError(f"The image {path} cannot be read: it is no file.")
    try:
        pixels = LoadImageFromFile()({"img_path": str(path)})["img"]
    except Exception as error:  # as in LoadImage
        fault = fault_of_image(error) or ": it is damaged or not an image"
        raise InputError(f"The image {path} cannot be read{fault}.") from error
    check_sides(f"The image {path}", *pixels.shape[:2])
    return np.ascontiguousarray(pixels[..., ::-1])


class Opened(NamedTuple):
    """Sentences on images that cannot be read, have another size than said, or are nearly black by their depth."""

    unreadable: list[str]
    resized: list[str]
    dark: list[str]


def size_fault(path: Path, found: tuple[int, int], said: tuple[int, int]) -> str | None:
    """How a file's width and height differ from those that its annotations say; None where they agree."""
    if found == said:
        return None
    fault = f"{path} has {found[0]} x {found[1]} pixels instead of {said[0]} x {said[1]}"
    return f"{fault}, perhaps since it is turned as its EXIF data say" if found[0] == said[1] else fault


def darkness(path: Path, pixels: np.ndarray) -> str | None:
    """How bright a file of more than 8 bits, which uses the low ones, is in 8; None for any other.

    Thermal cameras and microscopes write 10 to 14 bits of 16, and decoders keep the upper 8.
    """
    brightest = int(pixels.max(initial=0))
    stored = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if brightest < DARK else None
    return None if stored is None or stored.dtype == np.uint8 else f"{path}, at most {brightest} of 255"


def open_all(images: Iterable[tuple[Path, int, int]], after_each: Callable[[], None] = lambda: None) -> Opened:
    """Open images, given as (path, width, height)."""
    opened = Opened([], [], [])

    def faults_of(image: tuple[Path, int, int]) -> list[tuple[list[str], str | None]]:
        path, width, height = image
        try:
            pixels = read_image(path)
        except InputError as error:
            return [(opened.unreadable, str(error))]
        found = pixels.shape[1], pixels.shape[0]
        return [(opened.resized, size_fault(path, found, (width, height))), (opened.dark, darkness(path, pixels))]

    with ThreadPool(min(8, os.cpu_count() or 1)) as pool:  # OpenCV decodes outside the interpreter's lock
        for found in pool.imap(faults_of, images):
            for sentences, fault in found:
                sentences += [fault] if fault else []
            after_each()
    return opened


def size_of(image: Path) -> tuple[int, int]:
    """Width and height of the upright image, from its header where Pillow reads that.

    Raises:
        InputError: it is no image.
    """
    try:
        with Image.open(image) as opened:
            return (opened.height, opened.width) if _is_turned(opened) else opened.size
    # Of broken EXIF data, in which OpenCV may yet find a rotation, and of a size that Pillow alone refuses.
    except (SyntaxError, struct.error, Image.DecompressionBombError):
        height, width = read_image(image).shape[:2]
        return width, height
    except (OSError, ValueError) as error:
        raise InputError(f"The image {image} cannot be read: replace the file, or remove it.") from error


def _is_turned(image: Image.Image) -> bool:
    """By EXIF data alone: OpenCV ignores the rotation that `Image.getexif` also takes from XMP."""
    exif = Image.Exif()
    exif.load(image.info.get("exif", b""))
    return exif.get(ORIENTATION) in TURNED


def sizes_of(images: list[Path]) -> list[tuple[int, int]]:
    """`size_of` each."""
    with ThreadPool(min(8, os.cpu_count() or 1)) as pool:
        return pool.map(size_of, images)
