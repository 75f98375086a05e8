"""mmdet's interface to COCO files: its data sets and metrics see the content that all else here sees.

Training leaves out boxes that nothing can be learnt from, and mmdet's metrics would count each of them as missed.
"""

from pathlib import Path

from mmdet.datasets import CocoDataset
from mmdet.datasets.api_wrappers import COCO
from mmdet.evaluation.metrics import coco_metric

from brs_detr.data.coco_boxes import Columns
from brs_detr.data.coco_file import Content, read_annotations


def scored(content: Content) -> Content:
    """What detections are compared with: no box that none can overlap; those marked ``ignore`` are crowds.

    A crowd is neither missed nor is a detection within it wrong. Boxes of less than a pixel, and objects whose ``area``
    is 0, count as they do in COCO's evaluation, though mmdet does not train on them.
    """
    columns = Columns.of(content)
    hopeless = columns.flat() | (columns.outside() & (columns.size > 0).all(axis=1))
    annotations = [
        {**each, "iscrowd": 1} if each.get("ignore") else each
        for each, drop in zip(content.get("annotations", []), hopeless, strict=True)
        if not drop
    ]
    return {**content, "annotations": annotations}


class MendedCOCO(COCO):
    """A COCO file, whose content comes from `read_annotations`."""

    def __init__(self, annotation_file: str | None = None) -> None:
        super().__init__()
        if annotation_file is not None:
            self.dataset = self.read(Path(annotation_file))
            self.createIndex()
            self.img_ann_map, self.cat_img_map = self.imgToAnns, self.catToImgs

    @staticmethod
    def read(path: Path) -> Content:
        return read_annotations(path)[0]


class ScoredCOCO(MendedCOCO):
    """Of it, what `scored` leaves."""

    @staticmethod
    def read(path: Path) -> Content:
        return scored(read_annotations(path)[0])


def install() -> None:
    """Let mmdet's COCO data sets and metrics, and all derived from them, read through these."""
    CocoDataset.COCOAPI = MendedCOCO
    coco_metric.COCO = ScoredCOCO
