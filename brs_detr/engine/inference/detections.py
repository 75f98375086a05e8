"""What a detector finds in one image."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import cv2
import numpy as np
import torch
from mmengine.structures import InstanceData

from brs_detr.data.coco_file import listed
from brs_detr.data.images import read_image
from brs_detr.data.masks import encode
from brs_detr.engine.inference.coco_ids import CocoIds
from brs_detr.engine.inference.labels import score_text
from brs_detr.engine.inference.pictures import draw
from brs_detr.errors import InputError, printable
from brs_detr.files import check_destination, write_bytes

if TYPE_CHECKING:
    import supervision


class Detection(NamedTuple):
    """One object: its box (4,), x1 y1 x2 y2 in pixels, and its mask (h, w) bool where the model has masks."""

    box: np.ndarray
    score: float
    label: int
    name: str
    mask: np.ndarray | None


@dataclass(frozen=True, eq=False, repr=False)
class Detections:
    """The N objects of one image, best first. An index gives a `Detection`, a mask or a slice `Detections`.

    boxes: (N, 4) float32, x1 y1 x2 y2 in pixels of the upright image. scores: (N,) float32. labels: (N,) int64, places
    in the classes. masks: (N, h, w) bool, None where the model has none. size: (width, height) of the image. ids: of
    classes and images. path: the file, None where the image was none. number: its place among the images of the call,
    from 0. best_score: the best, below the threshold or not; 0 where there was no object at all. pixels: RGB (h, w, 3)
    uint8 of an image that was no file.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    masks: np.ndarray | None
    size: tuple[int, int]
    ids: CocoIds
    path: Path | None = None
    number: int = 0
    best_score: float = 0.0
    pixels: np.ndarray | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """The name of each label."""
        return self.ids.classes

    @property
    def names(self) -> list[str]:
        """The class of each object."""
        return [self.classes[label] for label in self.labels]

    @property
    def image(self) -> np.ndarray:
        """RGB pixels (h, w, 3) uint8; a file is read again, so that many detections need little memory.

        Raises:
            InputError: the file is no longer there, or is another one.
        """
        if self.pixels is not None:
            return self.pixels
        assert self.path is not None  # what is no file has been kept
        pixels = read_image(self.path)
        if pixels.shape[1::-1] != self.size:
            raise InputError(f"The image {self.path} has changed since its objects were detected: detect them again.")
        return pixels

    def __repr__(self) -> str:
        objects = [f"{each.name} {score_text(each.score)}" for each in self]
        return f"<Detections in {self.path or f'image {self.number}'}: {printable(listed(objects)) or 'none'}>"

    def __len__(self) -> int:
        return len(self.scores)

    def __iter__(self) -> Iterator[Detection]:
        return (self[index] for index in range(len(self)))

    @overload
    def __getitem__(self, chosen: int) -> Detection: ...
    @overload
    def __getitem__(self, chosen: slice | np.ndarray | list[int] | list[bool]) -> Detections: ...
    def __getitem__(self, chosen: Any) -> Detection | Detections:
        if isinstance(chosen, (int, np.integer)):
            label = int(self.labels[chosen])
            mask = None if self.masks is None else self.masks[chosen]
            return Detection(self.boxes[chosen], float(self.scores[chosen]), label, self.classes[label], mask)
        index = chosen if isinstance(chosen, slice) else _as_index(chosen)
        return replace(
            self,
            boxes=self.boxes[index],
            scores=self.scores[index],
            labels=self.labels[index],
            masks=None if self.masks is None else self.masks[index],
        )

    def instances(self) -> InstanceData:
        """As mmdet has them: tensors ``bboxes``, ``scores``, ``labels`` and perhaps ``masks``."""
        fields = {"bboxes": self.boxes, "scores": self.scores, "labels": self.labels}
        if self.masks is not None:
            fields["masks"] = self.masks
        return InstanceData(**{name: torch.from_numpy(values) for name, values in fields.items()})

    def plot(self, truth: InstanceData | None = None) -> np.ndarray:
        """An RGB picture (h, w, 3) uint8, a small image enlarged; see `pictures.draw` for the ground truth beside."""
        return draw(self.image, self.instances(), truth, self.classes)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write `plot`'s picture; the suffix says in which format.

        Raises:
            InputError: there is such a file, it cannot be written, or the suffix is no image's.
        """
        file = Path(path)
        check_destination(file)
        if file.exists() and not overwrite:
            raise InputError(f"{file} exists: choose another name, or write over it with overwrite=True.")
        if not cv2.haveImageWriter(str(file)):
            raise InputError(f"{file} does not end as an image does: call it .png or .jpg.")
        write_bytes(file, encoded(self.plot(), file.suffix))

    def to_coco(self, image_id: int | str | None = None) -> list[dict[str, Any]]:
        """Entries of COCO's results: boxes x, y, width, height in pixels, masks as compressed run lengths.

        Classes have the ids of the config's annotation file, else of COCO's own classes, else are counted from 1.

        Args:
            image_id: by default that of the annotation file, else the file as text, else `number`.
        """
        image_id = self._image_id() if image_id is None else image_id
        sizes = self.boxes[:, 2:] - self.boxes[:, :2]
        entries: list[dict[str, Any]] = [
            {"image_id": image_id, "category_id": self.ids.categories[label], "bbox": box, "score": score}
            for box, score, label in zip(
                np.hstack([self.boxes[:, :2], sizes]).tolist(), self.scores.tolist(), self.labels.tolist(), strict=True
            )
        ]
        for entry, mask in zip(entries, () if self.masks is None else self.masks, strict=self.masks is not None):
            entry["segmentation"] = encode(mask)
        return entries

    def _image_id(self) -> int | str:
        return self.number if self.path is None else self.ids.images.get(self.path.resolve(), str(self.path))

    def to_supervision(self) -> supervision.Detections:
        """For the package supervision, which draws, tracks and counts; names are in ``data["class_name"]``.

        Raises:
            InputError: it is not installed.
        """
        try:
            import supervision  # optional
        except ImportError as error:
            raise InputError("to_supervision needs the package supervision: run `pip install supervision`.") from error
        return supervision.Detections(
            xyxy=self.boxes,
            mask=self.masks,
            confidence=self.scores,
            class_id=self.labels,
            data={"class_name": np.array(self.names, dtype=str)},
        )


def encoded(picture: np.ndarray, suffix: str) -> bytes:
    """The content of an image file of an RGB picture (h, w, 3)."""
    return cv2.imencode(suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes()


def _as_index(chosen: Any) -> np.ndarray:
    """An array of places or of truth values, from a list or a tensor, too; an empty one chooses nothing."""
    index = np.asarray(chosen)
    return index if index.size else index.astype(np.int64)
