"""Masks of objects as COCO files hold them in `segmentation`: polygons, or run lengths of the image's size."""

from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as rle

from brs_detr.errors import InputError


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


def is_polygon(corners: Any) -> bool:
    """Whether these are x and y of three corners or more."""
    return isinstance(corners, list) and len(corners) >= 6 and len(corners) % 2 == 0


def fault(segmentation: Any, size: list[int]) -> str | None:
    """What makes a segmentation unusable in an image of size [height, width]; None where nothing does."""
    if isinstance(segmentation, list):
        return None
    if not isinstance(segmentation, dict) or not isinstance(segmentation.get("counts"), (list, str)):
        return "neither polygons nor run lengths (size and counts)"
    if segmentation.get("size") != size:
        return f"run lengths of size {segmentation.get('size')}, but its image is {size} (height, width)"
    return None


def check_masks(path: Path, content: dict[str, Any], remedy: str = "annotate masks") -> list[str]:
    """Every annotation has a mask that can be read; objects whose polygons have too few corners are counted.

    Args:
        remedy: what to do where there are none.

    Raises:
        InputError: an annotation has no mask, or one that is broken.
    """
    sizes = {image["id"]: [image["height"], image["width"]] for image in content["images"]}
    flat = 0
    for number, annotation in enumerate(content.get("annotations", [])):
        segmentation = annotation.get("segmentation")
        if not segmentation:
            raise InputError(
                f"Entry {number} of the annotations in {path} has no mask ('segmentation'), which this config needs: "
                f"{remedy}, or choose a config without a mask head."
            )
        if found := fault(segmentation, sizes.get(annotation["image_id"], [])):
            raise InputError(f"The segmentation of entry {number} of the annotations in {path} is broken: {found}.")
        flat += isinstance(segmentation, list) and not any(map(is_polygon, segmentation))
    return [f"{flat} objects whose polygons have fewer than three corners are left out of training"] if flat else []
