"""Annotated objects, to be drawn beside predictions."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.structures import InstanceData

from brs_detr.data import masks
from brs_detr.data.coco_api import scored
from brs_detr.data.coco_file import Content, read_annotations
from brs_detr.data.images import size_fault
from brs_detr.data.splits import used_names


class GroundTruth:
    """Annotated objects by image file.

    Args:
        path: a COCO annotation file, None for no ground truth at all.
        classes: the name of each label.

    Objects of other classes are left out; `unknown` lists these classes.
    """

    def __init__(self, path: str | None, classes: tuple[str, ...]) -> None:
        self.path = path
        self.whole: Content = read_annotations(Path(path))[0] if path else {"images": [], "categories": []}
        content = scored(self.whole)
        self.images = {image["file_name"]: image for image in content["images"]}
        self.by_last_part: dict[str, list[str]] = defaultdict(list)
        for name in self.images:
            self.by_last_part[Path(name).name].append(name)
        self.unknown = sorted(used_names(content) - set(classes))
        self.labels = {c["id"]: classes.index(c["name"]) for c in content["categories"] if c["name"] in classes}
        self.objects: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in content["images"]}
        for annotation in content.get("annotations", []):
            if annotation["category_id"] in self.labels and annotation["image_id"] in self.objects:
                self.objects[annotation["image_id"]].append(annotation)

    def names(self, path: Path) -> list[str]:
        """As which entries the file lists an image: by the end of its path, the longest first."""
        names = self.by_last_part.get(path.name, [])
        found = [name for name in names if path.parts[-len(Path(name).parts) :] == Path(name).parts]
        return sorted(found, key=lambda name: -len(Path(name).parts))

    def leave_out_unclear(self, images: Iterable[Path]) -> list[str]:
        """Forget the entries that several of these images may be, and name them."""
        found = Counter(name for path in images for name in self.names(path)[:1])
        unclear = [name for name, number in found.items() if number > 1]
        for name in unclear:
            self.by_last_part[Path(name).name].remove(name)
        return unclear

    def check_masks(self) -> None:
        """Raises InputError if a mask is broken: before detection begins, whose results would be lost with it."""
        if self.path:
            masks.check_whole(Path(self.path), self.whole)  # whose entries are counted as in the file

    def size_fault(self, path: Path, size: tuple[int, int]) -> str | None:
        """How an image's width and height differ from what the file says, whose boxes belong elsewhere then."""
        listed = [self.images[name] for name in self.names(path)[:1]]
        return next((size_fault(path, size, (image["width"], image["height"])) for image in listed), None)

    def of(self, path: Path, with_masks: bool = False) -> InstanceData | None:
        """The boxes (x1 y1 x2 y2), labels, what is a crowd and, if all have them, masks of an image.

        None where it is not annotated.
        """
        names = self.names(path)
        if not names:
            return None
        image = self.images[names[0]]
        objects = self.objects[image["id"]]
        boxes = torch.tensor([annotation["bbox"] for annotation in objects], dtype=torch.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        found = InstanceData(
            bboxes=boxes,
            labels=torch.tensor([self.labels[a["category_id"]] for a in objects]).long(),
            crowd=torch.tensor([bool(a.get("iscrowd")) for a in objects]).bool(),
        )
        if with_masks and objects and all(annotation.get("segmentation") for annotation in objects):
            size = image["height"], image["width"]
            silhouettes = [masks.decode(annotation["segmentation"], *size) for annotation in objects]
            found.masks = torch.from_numpy(np.stack(silhouettes))
        return found
