"""What may be given to a detector as an image: a file, an array, a tensor or a PIL image; and images in folders.

All become RGB pixels (h, w, 3) uint8, upright, as `brs_detr.data.images` reads files.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL import Image as pil
from PIL import ImageOps
from torch import Tensor

from brs_detr.data.images import check_sides, fault_of_image, read_image
from brs_detr.data.layouts import IMAGES, Files
from brs_detr.errors import InputError

Image: TypeAlias = str | os.PathLike[str] | np.ndarray | Tensor | pil.Image

CHANNELS = (1, 3, 4)  # grey, RGB, RGB with transparency, which is dropped
DEEP = ("I;16", "I;16L", "I;16B", "I;16N")  # PIL's 16-bit grey, which its own conversion clips to white
SCALELESS = ("I", "F")  # PIL's modes whose white is nowhere said
EMPTY = "An image of {} x {} pixels is empty."
REMEDY = "give uint8, or floats in [0, 1]"


def find_images(source: str | os.PathLike[str]) -> list[Path]:
    """The image file, or all in a folder and its subfolders.

    As in a training, links are followed, and hidden files and folders left out.

    Raises:
        InputError: there is none, or a folder cannot be read.
    """
    source = Path(source)
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise InputError(f"{source} does not exist: give an image file or a folder of images.")
    files = Files(source, work_dirs=True)
    if closed := next(_closed(files), None):
        raise InputError(f"The folder {closed} cannot be read: change its permissions, or take it out of {source}.")
    if images := files.of_kind(IMAGES):
        return images
    raise InputError(f"The folder {source} holds no images ({', '.join(sorted(IMAGES))}).")


def _closed(files: Files) -> Iterator[Path]:
    """The folders that are there, and whose files are not: reading a tree passes over what it may not read."""
    known = {os.path.realpath(place) for place in files.names}
    inside = (place / name for place in files.names for name in next(os.walk(place))[1] if not name.startswith("."))
    yield from (folder for folder in (files.folder, *inside) if os.path.realpath(folder) not in known)


def pixels_of(image: Image) -> np.ndarray:
    """RGB pixels (h, w, 3) uint8 of an image.

    Args:
        image: a file; an array (h, w), (h, w, 1), (h, w, 3) RGB or (h, w, 4) RGBA; a tensor with its channels first;
            both uint8 or floats in [0, 1]; or a PIL image, turned as its EXIF data say. Transparency is dropped.

    Raises:
        InputError: it is none of these, damaged, empty, or too elongated.
    """
    if isinstance(image, (str, os.PathLike)):
        return _of_file(Path(image))
    pixels = next((read(image) for kind, read in READERS if isinstance(image, kind)), None)
    if pixels is None:
        kind = type(image).__name__
        raise InputError(f"An image cannot be {kind}: give a file, an array, a tensor, a PIL image, or a list of them.")
    check_sides("The image", *pixels.shape[:2])
    return pixels


def _of_file(path: Path) -> np.ndarray:
    if not path.exists():
        raise InputError(f"The image {path} does not exist.")
    return read_image(path)


def _of_array(array: np.ndarray) -> np.ndarray:
    layered = array[..., None] if array.ndim == 2 else array
    if layered.ndim != 3 or layered.shape[2] not in CHANNELS:
        raise InputError(
            f"An array of the shape {array.shape} is no image: give (height, width, 3), RGB, or (height, width), grey."
        )
    return _as_rgb(layered)


def _of_tensor(tensor: Tensor) -> np.ndarray:
    if tensor.ndim != 3 or tensor.shape[0] not in CHANNELS:
        raise InputError(
            f"A tensor of the shape {tuple(tensor.shape)} is no image: give (3, height, width), RGB, or a list of such."
        )
    plain = tensor.detach().cpu()  # pixels are needed on the host: the pipelines of mmdet resize there
    return _as_rgb((plain.float() if plain.is_floating_point() else plain).permute(1, 2, 0).numpy())


def _of_pil(image: pil.Image) -> np.ndarray:
    if image.mode in SCALELESS:
        raise InputError(f"A PIL image of the mode {image.mode} does not say what is white: convert it to 8 bits.")
    if 0 in image.size:  # numpy cannot take it
        raise InputError(EMPTY.format(*image.size))
    try:
        upright = ImageOps.exif_transpose(image)
        if upright.mode in DEEP:
            return _as_rgb((np.asarray(upright).astype(np.uint16) >> 8).astype(np.uint8)[..., None])
        return _as_rgb(np.asarray(upright.convert("RGB")))
    except (OSError, ValueError, SyntaxError) as error:  # a file is decoded only now
        name = f" {file}" if (file := getattr(image, "filename", "")) else ""
        fault = fault_of_image(error) or ": it is damaged or not an image"
        raise InputError(f"The PIL image{name} cannot be read{fault}.") from error


READERS: tuple[tuple[type, Callable[[Any], np.ndarray]], ...] = (
    (np.ndarray, _of_array), (Tensor, _of_tensor), (pil.Image, _of_pil),
)  # fmt: skip


def _as_rgb(pixels: np.ndarray) -> np.ndarray:
    """Three channels of uint8 from (h, w, 1, 3 or 4).

    Raises:
        InputError: there are no pixels, or their numbers are no colours.
    """
    if not pixels.size:
        raise InputError(EMPTY.format(pixels.shape[1], pixels.shape[0]))
    colours = pixels[..., :3]
    if np.issubdtype(colours.dtype, np.floating):
        colours = _as_bytes(colours)
    elif colours.dtype != np.uint8:
        raise InputError(f"The pixels of an image are {colours.dtype}: {REMEDY}.")
    return np.array(np.broadcast_to(colours, (*colours.shape[:2], 3)))  # a copy: a program may fill its buffer anew


def _as_bytes(colours: np.ndarray) -> np.ndarray:
    if not np.isfinite(colours).all():
        raise InputError("The pixels of an image are NaN or infinite.")
    least, most = float(colours.min()), float(colours.max())
    if least < 0 or most > 1:
        raise InputError(f"The pixels of an image are floats from {least:g} to {most:g}: {REMEDY}.")
    return np.rint(colours * 255).astype(np.uint8)
