"""A picture of some tiles with their boxes, to see that they lie where they should."""

import json
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np

from brs_detr.data.images import read_image

TILES = 5  # of each split, those with the most trees
TREE, CROWD = (255, 40, 40), (0, 160, 255)  # RGB


def preview(folder: Path, splits: tuple[str, ...], side: int) -> np.ndarray:
    """A row of tiles for each split, (H, W, 3) RGB: trees in red, what is ignored in blue.

    side: of a tile's place, in pixels.
    """
    return np.concatenate([np.concatenate(row(folder, split, side), axis=1) for split in splits])


def row(folder: Path, split: str, side: int) -> list[np.ndarray]:
    content = json.loads((folder / "annotations" / f"{split}.json").read_text())
    of_image = defaultdict(list)
    for each in content["annotations"]:
        of_image[each["image_id"]].append(each)
    fullest = sorted(content["images"], key=lambda image: -len(of_image[image["id"]]))[:TILES]
    places = [np.zeros((side, side, 3), np.uint8) for _ in range(TILES)]
    for place, image in zip(places, fullest, strict=False):
        tile = read_image(folder / split / image["file_name"])
        for each in of_image[image["id"]]:
            x, y, width, height = map(round, each["bbox"])
            cv2.rectangle(tile, (x, y), (x + width, y + height), CROWD if each["iscrowd"] else TREE)
        place[: tile.shape[0], : tile.shape[1]] = tile
    return places
