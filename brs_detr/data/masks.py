"""Masks of objects as COCO files hold them in `segmentation`: polygons, or run lengths of the image's size.

pycocotools believes what it decodes: run lengths that do not fill the image read and write memory beyond it. So
nothing reaches it here, or in training, that `fault` has not passed.
"""

import math
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
    """The mask (h, w) bool of a COCO `segmentation`: a list of polygons, or run lengths of either kind.

    Polygons with fewer than three corners cover nothing.

    Raises:
        InputError: it is broken.
    """
    if found := fault(segmentation, [height, width]):
        raise InputError(f"A segmentation is broken: {found}.")
    if isinstance(segmentation, list):
        polygons = list(filter(is_polygon, segmentation))
        if not polygons:
            return np.zeros((height, width), dtype=bool)
        segmentation = rle.merge(rle.frPyObjects(polygons, height, width))
    elif isinstance(segmentation["counts"], list):
        segmentation = rle.frPyObjects(segmentation, height, width)
    return rle.decode(segmentation).astype(bool)


def is_polygon(corners: Any) -> bool:
    """Whether these are x and y of three corners or more."""
    return isinstance(corners, list) and len(corners) >= 6 and len(corners) % 2 == 0


def are_coordinates(corners: Any, limit: int) -> bool:
    """Whether this is a list of finite numbers of at most this size; in C loops, since COCO has 40 million."""
    try:
        return isinstance(corners, list) and (
            not corners or (math.isfinite(sum(corners)) and -limit <= min(corners) and max(corners) <= limit)
        )
    except (TypeError, OverflowError):
        return False


def run_lengths(counts: str) -> list[int] | None:
    """The lengths behind COCO's compressed ones; None where the text is none.

    A length is a number of five bits a character, lowest first, with its sign; from the fourth on, less the one
    before the last.
    """
    lengths: list[int] = []
    value = shift = 0
    for code in (ord(character) - 48 for character in counts):
        if not 0 <= code < 64 or shift > 35:
            return None
        value |= (code & 31) << shift
        shift += 5
        if not code & 32:
            value -= (code & 16) << (shift - 4)
            lengths.append(value + lengths[-2] if len(lengths) > 2 else value)
            value = shift = 0
    return None if shift else lengths


def fault(segmentation: Any, size: list[int]) -> str | None:
    """What makes a segmentation unusable in an image of size [height, width]; None where nothing does."""
    if isinstance(segmentation, list):
        limit = 100 * max(size)  # of pixels: pycocotools allocates by the length of the outline
        usable = all(are_coordinates(corners, limit) for corners in segmentation)
        return None if usable else "a polygon that is no list of numbers x, y, x, y, ... near the image"
    if not isinstance(segmentation, dict) or not isinstance(segmentation.get("counts"), (list, str)):
        return "neither polygons nor run lengths (size and counts)"
    if segmentation.get("size") != size:
        return f"run lengths of size {segmentation.get('size')}, but its image is {size} (height, width)"
    counts = segmentation["counts"]
    lengths = run_lengths(counts) if isinstance(counts, str) else counts
    if lengths is None or not all(type(length) is int and length >= 0 for length in lengths):
        return "run lengths that are no numbers of pixels"
    if sum(lengths) != size[0] * size[1]:
        return f"run lengths of {sum(lengths)} pixels, but its image has {size[0] * size[1]}"
    return None


def drop_flat(annotations: list[dict[str, Any]]) -> int:
    """Leave out, in place, the polygons with too few corners of objects that have others, as training does; how many.

    pycocotools fails where such a polygon comes first.
    """
    dropped = 0
    for annotation in annotations:
        polygons = annotation.get("segmentation")
        if not isinstance(polygons, list) or all(map(is_polygon, polygons)) or not any(map(is_polygon, polygons)):
            continue
        kept = [each for each in polygons if is_polygon(each) or not isinstance(each, list)]
        dropped += len(polygons) - len(kept)
        annotation["segmentation"] = kept
    return dropped


def check_whole(path: Path, content: dict[str, Any]) -> None:
    """No annotation has a broken mask; some may have none.

    Raises:
        InputError: one has.
    """
    sizes = {image["id"]: [image["height"], image["width"]] for image in content["images"]}
    for number, annotation in enumerate(content.get("annotations", [])):
        size, segmentation = sizes.get(annotation["image_id"]), annotation.get("segmentation")
        if size and segmentation and (found := fault(segmentation, size)):
            raise InputError(
                f"The segmentation of entry {number} of the annotations in {path} is broken: {found}. Correct it, or "
                "remove the entry."
            )


def check_masks(
    path: Path, content: dict[str, Any], remedy: str = "annotate masks", *, scored: bool = False
) -> list[str]:
    """Every annotation has a mask that can be read; objects whose polygons have too few corners are counted.

    Args:
        remedy: what to do where there are none.
        scored: whether masks are compared with these, where an object needs one.

    Raises:
        InputError: an annotation has no mask, or one that is broken, or one to compare with has too few corners.
    """
    check_whole(path, content)
    listed = {image["id"] for image in content["images"]}
    flat = 0
    for number, annotation in enumerate(content.get("annotations", [])):
        if annotation["image_id"] not in listed:
            continue
        segmentation = annotation.get("segmentation")
        if not segmentation:
            raise InputError(
                f"Entry {number} of the annotations in {path} has no mask ('segmentation'), which this config needs: "
                f"{remedy}, or choose a config without a mask head."
            )
        if isinstance(segmentation, list) and not any(map(is_polygon, segmentation)):
            if scored:
                raise InputError(
                    f"No polygon of entry {number} of the annotations in {path} has three corners, so that no mask can "
                    "be compared with it: annotate its mask, or remove the entry."
                )
            flat += 1
    return [f"{flat} objects whose polygons have fewer than three corners are left out of training"] if flat else []
