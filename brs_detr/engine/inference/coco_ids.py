"""The ids that COCO's annotation files give to classes and images."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

from brs_detr.data.coco_file import CocoSource, read_annotations


class CocoIds:
    """Ids by a config's annotation files, which are read when an id is first asked for.

    Args:
        classes: the name of each label.
        sources: files that do not exist are passed over.
    """

    def __init__(self, classes: tuple[str, ...], sources: Sequence[CocoSource] = ()) -> None:
        self.classes, self.sources = classes, sources

    @cached_property
    def contents(self) -> list[tuple[CocoSource, dict[str, Any]]]:
        """What the files hold, the first one's ids to be taken before those of the next."""
        return [(each, read_annotations(each.annotations)[0]) for each in self.sources if each.annotations.is_file()]

    @cached_property
    def categories(self) -> tuple[int, ...]:
        """The id of each label: a file's, else that of COCO's own classes, else counted from 1."""
        files = ({each["name"]: each["id"] for each in content["categories"]} for _, content in self.contents)
        of_coco = FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]  # in the place of their ids
        for known in (*files, {name: number for number, name in enumerate(of_coco)}):
            if known.keys() >= set(self.classes):
                return tuple(known[name] for name in self.classes)
        return tuple(range(1, len(self.classes) + 1))

    @cached_property
    def images(self) -> dict[Path, int]:
        """The id of each image file that is listed."""
        return {
            Path(source.images, image["file_name"]).resolve(): image["id"]
            for source, content in reversed(self.contents)
            if source.images
            for image in content["images"]
            if "\0" not in image["file_name"]  # which no file has in its name, and the system refuses to look for
        }
