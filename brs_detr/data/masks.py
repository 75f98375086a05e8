"""Masks of objects as COCO files hold them: polygons, or run lengths."""

from typing import Any

import numpy as np
from pycocotools import mask as rle


def encode(mask: np.ndarray) -> dict[str, Any]:
    """COCO's compressed run lengths of a mask (h, w), as JSON takes them: `size` and `counts`."""
    encoded = rle.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": list(mask.shape), "counts": encoded["counts"].decode("ascii")}


def decode(segmentation: Any, height: int, width: int) -> np.ndarray:
    """The mask (h, w) bool of a COCO `segmentation`: a list of polygons, or run lengths of either kind."""
    if isinstance(segmentation, list):
        segmentation = rle.merge(rle.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation["counts"], list):
        segmentation = rle.frPyObjects(segmentation, height, width)
    return rle.decode(segmentation).astype(bool)
