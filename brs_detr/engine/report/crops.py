"""Images and pieces of them as they stand in the page: scaled down, as JPEG in a data address."""

import base64
from collections import defaultdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from brs_detr.data.images import read_image
from brs_detr.errors import InputError

LONGEST, QUALITY = 560, 82  # pixels of an image's longer side, and JPEG's quality
CROP = 96  # pixels of a crop's longer side
MARGIN = 0.25  # of a box's longer side, around it
LEAST = 12  # pixels of a crop's shorter side before it is scaled

Box = tuple[float, float, float, float]


def as_address(pixels: np.ndarray, longest: int) -> str:
    """A data address of RGB pixels (h, w, 3), scaled down where a side is longer."""
    factor = longest / max(pixels.shape[:2])
    if factor < 1:
        size = [max(1, round(side * factor)) for side in pixels.shape[1::-1]]
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    _, encoded = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()


def cut(pixels: np.ndarray, box: Box) -> dict[str, Any]:
    """The surroundings of a box, xyxy in pixels: their size (h, w), the box in them, and their picture."""
    height, width = pixels.shape[:2]
    x1, y1, x2, y2 = (float(np.clip(side, 0, most)) for side, most in zip(box, (width, height) * 2, strict=True))
    margin = MARGIN * max(x2 - x1, y2 - y1, LEAST)
    left, top = int(max(0, min(x1 - margin, width - LEAST))), int(max(0, min(y1 - margin, height - LEAST)))
    right, bottom = int(min(width, max(x2 + margin, left + LEAST))), int(min(height, max(y2 + margin, top + LEAST)))
    sides = right - left, bottom - top
    inside = [round(side, 1) for side in (x1 - left, y1 - top, x2 - left, y2 - top)]
    return {"src": as_address(pixels[top:bottom, left:right], CROP), "box": inside, "size": sides[::-1]}


class Crops:
    """Pieces of images, each once: asked for by image and box, and cut at the end, when each image is opened once."""

    def __init__(self) -> None:
        self._wanted: dict[tuple[Path, Box], int] = {}

    def index(self, path: Path, box: list[float]) -> int:
        """The place of a crop among those that `cut_all` returns. box: xyxy in pixels of the image."""
        x1, y1, x2, y2 = (round(side, 1) for side in box)
        return self._wanted.setdefault((path, (x1, y1, x2, y2)), len(self._wanted))

    def cut_all(self) -> list[dict[str, Any]]:
        """What `cut` says of each; an image that is gone by now leaves its crops empty."""
        crops: list[dict[str, Any]] = [{} for _ in self._wanted]
        by_image = defaultdict(list)
        for (path, box), index in self._wanted.items():
            by_image[path].append((box, index))
        for path, pieces in by_image.items():
            try:
                pixels = read_image(path)
            except InputError:
                continue
            for box, index in pieces:
                crops[index] = cut(pixels, box)
        return crops
